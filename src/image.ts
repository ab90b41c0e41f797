import { type BigIntStats, constants } from "node:fs";
import { type FileHandle, lstat, open, readlink, realpath, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { CheckError } from "./errors.ts";

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
 *   not leak), `image_rejected` for a file that is there but is no image we can use, `invalid_input` for what is no path.
 */
export async function loadImage(path: string, folders: Folders, limits: ImageLimits): Promise<Image> {
  return toImage(await readLocalFile(path, folders, { maxBytes: limits.maxBytes, noun: "an image" }), limits);
}

export interface FileLimits {
  readonly maxBytes: number;
  /** What it holds, as the sentences of a refusal say it. */
  readonly noun: string;
}

/** The reading half of `loadImage`, for a file that is no image. The same errors. */
export async function readLocalFile(
  path: string,
  folders: Folders,
  { maxBytes, noun }: FileLimits,
): Promise<Uint8Array<ArrayBuffer>> {
  const real = await locate(toAbsolute(path), folders);
  // A device can act on being opened, so what is no regular file is not opened; the handle is asked again below.
  const named = await lstat(real, { bigint: true }).catch(() => undefined);
  if (named?.isDirectory()) throw rejected(`That path is a folder, not a file with ${noun}.`);
  if (named !== undefined && !named.isFile()) throw rejected("That path is not a regular file.");
  // Windows has neither flag. Non-blocking, or a FIFO swapped in here would hang us.
  const flags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
  const file = await open(real, flags).catch((cause: unknown) => {
    throw rejected("The file cannot be opened: this program may not read it.", cause);
  });
  try {
    const opened = await file.stat({ bigint: true });
    if (!opened.isFile()) throw rejected("That path is not a regular file.");
    if (!(await isStillInside(file, opened, real, folders))) throw refused(folders);
    if (opened.size === 0n) throw rejected("The file is empty.");
    if (opened.size > BigInt(maxBytes)) {
      throw rejected(`The file is larger than ${inMegabytes(maxBytes)}.`, { bytes: Number(opened.size) });
    }
    return await readExactly(file, Number(opened.size));
  } finally {
    await file.close();
  }
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

/** The real path, if it lies inside a real allowed folder. */
async function locate(path: string, folders: Folders): Promise<string> {
  const real = await realpath(path).catch(() => undefined);
  if (real === undefined || !(await isInside(real, folders))) throw refused(folders);
  return real;
}

function refused(folders: Folders): CheckError {
  if (folders === "anywhere") {
    return new CheckError("path_refused", "There is no file at that path.", { next: "Check the path." });
  }
  return new CheckError("path_refused", "There is no readable file at that path in the folders that may be read.");
}

async function isInside(real: string, folders: Folders): Promise<boolean> {
  if (folders === "anywhere") return true;
  for (const folder of folders) {
    // Resolved at every call: a folder may be made, or become a link, while the server runs.
    const root = await realpath(folder).catch(() => undefined);
    const rest = root === undefined ? "" : relative(root, real);
    if (rest !== "" && rest !== ".." && !rest.startsWith(`..${sep}`) && !isAbsolute(rest)) return true;
  }
  return false;
}

/** Was the opened file swapped in after its path was resolved? */
async function isStillInside(file: FileHandle, opened: BigIntStats, real: string, folders: Folders): Promise<boolean> {
  const held = await readlink(`/proc/self/fd/${file.fd}`).catch(() => undefined);
  if (held !== undefined) return isInside(held, folders);
  const again = await realpath(real).catch(() => undefined);
  if (again === undefined || !(await isInside(again, folders))) return false;
  const now = await stat(again, { bigint: true }).catch(() => undefined);
  return now !== undefined && now.dev === opened.dev && now.ino === opened.ino;
}

async function readExactly(file: FileHandle, size: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(size);
  let filled = 0;
  while (filled < size) {
    const { bytesRead } = await file.read(bytes, filled, size - filled, filled).catch((cause: unknown) => {
      throw rejected("The file cannot be read.", cause);
    });
    if (bytesRead === 0) throw rejected("The file became shorter while it was read.");
    filled += bytesRead;
  }
  return bytes;
}

/** Formats that people do have, with the way out. */
const FOREIGN_TYPES: Readonly<Record<string, string>> = {
  "image/heic": "The image is HEIC, the format of iPhones: convert it to JPEG first.",
  "image/heic-sequence": "The image is HEIC, the format of iPhones: convert it to JPEG first.",
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

async function detectType(bytes: Uint8Array<ArrayBuffer>, accepted: readonly ImageMime[]): Promise<ImageMime> {
  const { fileTypeFromBuffer } = await import("file-type");
  // All of it: a TIFF may say at its end what it is.
  const found = await fileTypeFromBuffer(bytes).catch(() => undefined);
  const isSvg = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 4096)).includes("<svg");
  const mime = isSvg && (found === undefined || found.mime === "application/xml") ? "image/svg+xml" : found?.mime;
  const match = accepted.find((type) => type === mime);
  if (match !== undefined) return match;
  const foreign = mime === undefined ? undefined : FOREIGN_TYPES[mime];
  throw rejected(`${foreign ?? "The file is not an image that is accepted."} Accepted: ${namesOf(accepted)}.`);
}

async function readDimensions(bytes: Uint8Array<ArrayBuffer>): Promise<{ width: number; height: number }> {
  const { imageSize } = await import("image-size");
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

export function inMegabytes(bytes: number): string {
  return `${bytes / 2 ** 20} MB`;
}
