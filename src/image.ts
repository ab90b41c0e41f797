import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  read,
  readdirSync,
  readlinkSync,
  readSync,
  open as startOpen,
  statSync,
} from "node:fs";
import { realpath } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { CheckError, errnoOf, troubleOf } from "./errors.ts";

/** The types that a provider can accept, with their names in a sentence and the extension of an upload. */
const IMAGE_TYPES = {
  "image/jpeg": { name: "JPEG", extension: "jpg" },
  "image/png": { name: "PNG", extension: "png" },
  "image/webp": { name: "WebP", extension: "webp" },
  "image/tiff": { name: "TIFF", extension: "tiff" },
  "image/bmp": { name: "BMP", extension: "bmp" },
  "image/gif": { name: "GIF", extension: "gif" },
} as const;

export type ImageMime = keyof typeof IMAGE_TYPES;

/** What a provider accepts. */
export interface ImageLimits {
  readonly maxBytes: number;
  readonly mimes: readonly ImageMime[];
  /** Shortest and longest side, in pixels, both included. */
  readonly minSide?: number;
  readonly maxSide?: number;
  /** Width times height: what a decoder is prepared to unpack. */
  readonly maxPixels?: number;
}

/** Folders that may be read with everything below them, or `anywhere` for a path that the user typed in person. */
export type Folders = readonly string[] | "anywhere";

/** What may be read. */
export interface Access {
  readonly folders: Folders;
  /** Holds keys and the gallery: nothing in it is read, wherever it lies and however it is reached. */
  readonly dataFolder: string;
  /** Nor is this file. */
  readonly auditLog?: string | undefined;
}

declare const checked: unique symbol;
/** A file that starts like an image of an accepted type. Only this module makes one, so nobody downstream checks again. */
export interface Image {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly mime: ImageMime;
  /** In pixels, from the header, as displayed (EXIF orientation applied). */
  readonly width: number;
  readonly height: number;
  readonly [checked]: true;
}

/** The neutral name that an image is uploaded under: the user's own file name may be personal. */
export function uploadName(field: string, { mime }: Pick<Image, "mime">): string {
  return `${field}.${IMAGE_TYPES[mime].extension}`;
}

/** "JPEG, PNG or WebP" */
export function namesOf(mimes: readonly ImageMime[]): string {
  const names = mimes.map((mime) => IMAGE_TYPES[mime].name);
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
}

const rejected = (why: string, cause?: unknown) => new CheckError("image_rejected", why, { cause });

/**
 * Reads one local image: inside `folders`, a regular file, within the limits, of an accepted type by content.
 *
 * @throws CheckError `path_refused` for whatever lies outside or does not exist (one answer for both: existence must
 *   not leak), `image_rejected` for a file that is there but is no image we can use, `invalid_input` for what is no
 *   path, `unavailable` where the machine is out of descriptors or memory.
 */
export async function loadImage(path: string, access: Access, limits: ImageLimits): Promise<Image> {
  await loadDetectors();
  return toImage(await readFile(path, access, { maxBytes: limits.maxBytes, noun: "an image" }), limits);
}

export interface FileLimits {
  readonly maxBytes: number;
  /** What it holds, as the sentences of a refusal say it. */
  readonly noun: string;
}

/** The reading half of `loadImage`, for a file that is no image, nor a hidden file. The same errors. */
export async function readLocalFile(
  path: string,
  access: Access,
  limits: FileLimits,
): Promise<Uint8Array<ArrayBuffer>> {
  return readFile(path, access, limits, (real) => {
    if (basename(real).startsWith(".")) throw rejected(`A hidden file is not read as ${limits.noun}.`);
  });
}

async function readFile(
  path: string,
  access: Access,
  { maxBytes, noun }: FileLimits,
  checkName: (real: string) => void = () => {},
): Promise<Uint8Array<ArrayBuffer>> {
  const absolute = toAbsolute(path);
  let file: number | undefined;
  try {
    const place = await locate(absolute, access);
    checkName(place.real);
    // A device can act on being opened, so what is no regular file is not opened; the handle is asked again below.
    const named = lstatSync(place.real, { bigint: true });
    if (named.isDirectory()) throw rejected(`That path is a folder, not a file with ${noun}.`);
    if (!named.isFile()) throw rejected("That path is not a regular file.");
    const { open, read } = isAtHand(named) ? AT_ONCE : IN_THE_POOL;
    // Windows has neither flag. Non-blocking, or a FIFO swapped in here would hang us.
    const flags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
    file = await open(place.real, flags);
    const opened = fstatSync(file, { bigint: true });
    if (!opened.isFile()) throw rejected("That path is not a regular file.");
    if (!(await isStillAllowed(file, opened, place, access))) throw refused(access);
    if (opened.size === 0n) throw rejected("The file is empty.");
    if (opened.size > BigInt(maxBytes)) throw rejected(tooLarge(Number(opened.size), maxBytes));
    // Not zeroed first: it is filled, or not returned.
    const bytes = new Uint8Array(Buffer.allocUnsafeSlow(Number(opened.size)).buffer);
    for (let filled = 0; filled < bytes.length; ) {
      const count = await read(file, bytes, filled, bytes.length - filled, filled);
      if (count === 0) throw rejected("The file became shorter while it was read.");
      filled += count;
    }
    return bytes;
  } catch (thrown) {
    throw thrown instanceof CheckError ? thrown : failureOf(thrown, access);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** "The file is 6.0 MB; the limit is 5 MB." Rounded up, so that one byte too many shows. */
export function tooLarge(bytes: number, maxBytes: number): string {
  return `The file is ${(Math.ceil((bytes / 2 ** 20) * 10) / 10).toFixed(1)} MB; the limit is ${maxBytes / 2 ** 20} MB.`;
}

const AT_ONCE = { open: openSync, read: readSync };
const poolRead = promisify(read);
/** Hops to the thread pool, which cost more than the work itself where the file is at hand. */
const IN_THE_POOL = {
  open: promisify(startOpen),
  read: async (file: number, bytes: Uint8Array<ArrayBuffer>, offset: number, length: number, position: number) =>
    (await poolRead(file, bytes, offset, length, position)).bytesRead,
};

/** From a cache 0.1 ms, from a network drive of 10 MB/s 26 ms: for so long nothing else is answered. */
const LONGEST_AT_ONCE = 2n ** 18n;
const BLOCK_BYTES = 512n;

/**
 * May this file be opened and read without leaving the thread? Its path has just been resolved in the pool, so a drive
 * that hangs has hung there. Not what a cloud drive would first download: its size is more than its blocks.
 */
const isAtHand = ({ size, blocks }: BigIntStats) => size <= LONGEST_AT_ONCE && blocks * BLOCK_BYTES >= size;

function failureOf(thrown: unknown, access: Access): CheckError {
  const code = errnoOf(thrown) ?? "";
  // Removed, or replaced by a link, since it was found.
  if (["ENOENT", "ENOTDIR", "ELOOP", "EMLINK"].includes(code)) return refused(access);
  return (
    troubleOf(thrown) ??
    (/^(EACCES|EPERM)$/.test(code)
      ? rejected("The file cannot be opened: this program may not read it.", thrown)
      : rejected("The file cannot be read.", thrown))
  );
}

/** The last check, also for bytes that did not come from a path. */
export async function toImage(bytes: Uint8Array<ArrayBuffer>, limits: ImageLimits): Promise<Image> {
  const mime = await detectType(bytes, limits.mimes);
  const { width, height } = await readDimensions(bytes);
  const { minSide = 1, maxSide = Number.POSITIVE_INFINITY, maxPixels = Number.POSITIVE_INFINITY } = limits;
  if (Math.min(width, height) < minSide || Math.max(width, height) > maxSide) {
    throw rejected(`The image is ${width}x${height} pixels; each side must be from ${minSide} to ${maxSide}.`);
  }
  if (width * height > maxPixels) {
    throw rejected(`The image is ${width}x${height} pixels; at most ${maxPixels / 1e6} million are unpacked.`);
  }
  return { bytes, mime, width, height } as Image;
}

function toAbsolute(path: string): string {
  if (path.includes("\0")) throw new CheckError("invalid_input", "The path holds a NUL character.");
  if (/^file:/i.test(path)) {
    try {
      return fileURLToPath(path);
    } catch (cause) {
      throw new CheckError("invalid_input", "That file: address does not name a local file.", { cause });
    }
  }
  // Two letters at least: one is a drive of Windows.
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(path)?.[1]?.toLowerCase();
  if (scheme !== undefined) {
    throw new CheckError("invalid_input", "That is an address, not the path of a local file.", {
      next: "Ask the user to save the image to a file, and give its path. An image pasted into a chat has no path either.",
    });
  }
  if (process.platform === "win32" && isForeignToWindows(path)) {
    throw new CheckError(
      "invalid_input",
      "Network, device and stream names are not read; give the path of a local file.",
    );
  }
  return resolve(path.startsWith("~/") ? join(homedir(), path.slice(2)) : path);
}

/** UNC and device prefixes, alternate data streams, and the names that Windows keeps for devices. */
function isForeignToWindows(path: string): boolean {
  const device = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)$/i;
  return (
    /^[\\/]{2}/.test(path) ||
    path.slice(2).includes(":") ||
    path.split(/[\\/]/).some((part) => device.test(part.split(".")[0]?.trim() ?? ""))
  );
}

interface Place {
  readonly real: string;
  /** undefined: there is none yet. */
  readonly dataFolder: BigIntStats | undefined;
}

/** The real path, if it lies inside a real allowed folder. */
async function locate(path: string, access: Access): Promise<Place> {
  const real = await realpath(path).catch((thrown: unknown) => {
    throw troubleOf(thrown) ?? refused(access);
  });
  const dataFolder = statIfThere(access.dataFolder);
  if (!(await isAllowed(real, dataFolder, access))) throw refused(access);
  return { real, dataFolder };
}

/** Waits for no thread: the gallery wants this folder on a local disk. What cannot be reached cannot be read either. */
function statIfThere(folder: string): BigIntStats | undefined {
  try {
    return statSync(folder, { bigint: true, throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

function refused({ folders }: Access): CheckError {
  if (folders === "anywhere") {
    return new CheckError("path_refused", "There is no file at that path that may be read.", {
      next: "Check the path. Files in the data folder are never read.",
    });
  }
  return new CheckError("path_refused", "There is no readable file at that path in the folders that may be read.");
}

async function isAllowed(real: string, dataFolder: BigIntStats | undefined, { folders }: Access): Promise<boolean> {
  if (dataFolder !== undefined && isBelow(real, dataFolder)) return false;
  if (folders === "anywhere" || folders.some((folder) => isInside(real, folder))) return true;
  // Resolved at every call: a folder may be made, or become a link, while the server runs.
  const roots = await Promise.all(folders.map((folder) => realpath(folder).catch(() => undefined)));
  return roots.some((root) => root !== undefined && isInside(real, root));
}

/** Of a real path, every folder above it is real too: one that is allowed need not be resolved. */
function isInside(real: string, folder: string): boolean {
  const rest = relative(folder, real);
  return rest !== "" && rest !== ".." && !rest.startsWith(`..${sep}`) && !isAbsolute(rest);
}

/** By what the folders are, not by their names: case may not count, and a mount gives a folder a second path. */
function isBelow(real: string, folder: BigIntStats): boolean {
  for (let at = real; ; at = dirname(at)) {
    if (isSame(statSync(at, { bigint: true, throwIfNoEntry: false }), folder)) return true;
    if (at === dirname(at)) return false;
  }
}

const isSame = (one: BigIntStats | undefined, other: BigIntStats) => one?.dev === other.dev && one.ino === other.ino;

/** Was the opened file swapped in after its path was resolved, or is it one of ours under a second name? */
async function isStillAllowed(
  file: number,
  opened: BigIntStats,
  { real, dataFolder }: Place,
  access: Access,
): Promise<boolean> {
  if (dataFolder !== undefined && opened.nlink > 1n && isLinkedFrom(access.dataFolder, opened)) return false;
  if (access.auditLog !== undefined && isSame(statIfThere(access.auditLog), opened)) return false;
  const held = heldPath(file);
  if (held !== undefined) return isAllowed(held, dataFolder, access);
  const again = await realpath(real);
  if (!(await isAllowed(again, dataFolder, access))) return false;
  return isSame(statSync(again, { bigint: true, throwIfNoEntry: false }), opened);
}

/** Linux says which path an open file has. */
function heldPath(file: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${file}`);
  } catch {
    return undefined;
  }
}

/** Our files lie in the folder itself, none further down. */
function isLinkedFrom(folder: string, file: BigIntStats): boolean {
  return readdirSync(folder).some((name) =>
    isSame(statSync(join(folder, name), { bigint: true, throwIfNoEntry: false }), file),
  );
}

/** Formats that people do have, with the way out. */
const FOREIGN_TYPES: Readonly<Record<string, string>> = {
  "image/heic": "The image is HEIC. Export it as JPEG (iPhone: Settings > Camera > Formats > Most Compatible).",
  "image/heic-sequence":
    "The image is HEIC. Export it as JPEG (iPhone: Settings > Camera > Formats > Most Compatible).",
  "image/heif": "The image is HEIF: convert it to JPEG first.",
  "image/heif-sequence": "The image is HEIF: convert it to JPEG first.",
  "image/avif": "The image is AVIF: convert it to JPEG first.",
  "image/gif": "The image is a GIF: convert it to JPEG or PNG first.",
  "image/bmp": "The image is a BMP: convert it to JPEG or PNG first.",
  "image/tiff": "The image is a TIFF: convert it to JPEG or PNG first.",
  "image/apng": "The image is an animated PNG: save one frame of it as JPEG or PNG first.",
  "application/pdf": "The file is a PDF: export the page as JPEG or PNG first.",
  "image/svg+xml": "The file is an SVG drawing, not a photo.",
};

/**
 * Types that are known by how they start, as file-type knows them, in a hundredth of its time. What may still be another
 * type (an animated PNG, raw pictures of cameras, which are TIFF) is left to it.
 */
const SIGNATURES: readonly (readonly [mime: ImageMime, starts: RegExp, unless?: string])[] = [
  ["image/jpeg", /^\xff\xd8\xff[^\xf7]/], // JPEG-LS
  ["image/png", /^\x89PNG\r\n.\n/, "acTL"],
  ["image/webp", /^RIFF.{4}WEBP/s],
];

/** Before a file is open: where descriptors have run out, a failed import would be remembered for ever. */
const loadDetectors = () => Promise.all([import("file-type"), import("image-size")]);

async function detectType(bytes: Uint8Array<ArrayBuffer>, accepted: readonly ImageMime[]): Promise<ImageMime> {
  const mime = typeOf(bytes) ?? (await askFileType(bytes));
  const match = accepted.find((type) => type === mime);
  if (match !== undefined) return match;
  const foreign = mime === undefined ? undefined : FOREIGN_TYPES[mime];
  throw rejected(`${foreign ?? "The file is not an image that is accepted."} Accepted: ${namesOf(accepted)}.`);
}

function typeOf({ buffer, byteOffset, length }: Uint8Array<ArrayBuffer>): ImageMime | undefined {
  const all = Buffer.from(buffer, byteOffset, length);
  const start = all.toString("latin1", 0, 12);
  const [mime, , unless] = SIGNATURES.find(([, starts]) => starts.test(start)) ?? [];
  return unless !== undefined && all.includes(unless) ? undefined : mime;
}

async function askFileType(bytes: Uint8Array<ArrayBuffer>): Promise<string | undefined> {
  const [{ fileTypeFromBuffer }] = await loadDetectors();
  // All of it: a TIFF may say at its end what it is.
  const found = await fileTypeFromBuffer(bytes).catch(() => undefined);
  const isSvg = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 4096)).includes("<svg");
  return isSvg && (found === undefined || found.mime === "application/xml") ? "image/svg+xml" : found?.mime;
}

async function readDimensions(bytes: Uint8Array<ArrayBuffer>): Promise<{ width: number; height: number }> {
  const [, { imageSize }] = await loadDetectors();
  const damaged = (cause?: unknown) =>
    rejected("The image is damaged: its size cannot be read from its header.", cause);
  try {
    const { width, height, orientation = 1 } = imageSize(bytes);
    if (!(width > 0 && height > 0)) throw damaged({ width, height });
    // EXIF orientations from 5 on lie on their side.
    return orientation >= 5 ? { width: height, height: width } : { width, height };
  } catch (cause) {
    throw damaged(cause);
  }
}
