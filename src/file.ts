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

/** Folders that may be read with everything below them, or `anywhere` for a path that the user typed. */
export type Folders = readonly string[] | "anywhere";

/** What may be read. */
export interface Access {
  readonly folders: Folders;
  /** Holds keys and the gallery: no file in it is read as an image, whatever path leads to it. */
  readonly dataFolder: string;
  /** Nor is this file. */
  readonly auditLog?: string | undefined;
}

export const rejected = (why: string, cause?: unknown, next?: string) =>
  new CheckError("image_rejected", why, { cause, ...(next === undefined ? {} : { next }) });

export interface FileLimits {
  readonly maxBytes: number;
  /** What it should contain, for error messages. */
  readonly noun: string;
  /** What to do with a file that is too large. */
  readonly next?: string | undefined;
}

/** What is read to be converted: a camera's largest JPEG has about 40 MB. */
const MAX_SOURCE_BYTES = 50 * 2 ** 20;

export const bytesToRead = ({
  maxBytes,
  convert,
}: {
  readonly maxBytes: number;
  readonly convert?: boolean | undefined;
}) => (convert === true ? Math.max(maxBytes, MAX_SOURCE_BYTES) : maxBytes);

/** The same for a file that is no image, nor a hidden file. */
export async function readLocalFile(
  path: string,
  access: Access,
  limits: FileLimits,
): Promise<Uint8Array<ArrayBuffer>> {
  return readFile(path, access, limits, (real) => {
    if (basename(real).startsWith(".")) throw rejected(`Hidden files are not read as ${limits.noun}.`);
  });
}

/**
 * Reads one local file: inside the folders of `access`, regular, within the limits.
 *
 * @throws CheckError `path_refused` for whatever lies outside or does not exist (one answer for both: existence must
 *   not leak), `image_rejected` for a file that is there but cannot be used, `invalid_input` for what is no path,
 *   `unavailable` where the machine is out of descriptors or memory.
 */
export async function readFile(
  path: string,
  access: Access,
  { maxBytes, noun, next }: FileLimits,
  checkName: (real: string) => void = () => {},
): Promise<Uint8Array<ArrayBuffer>> {
  const absolute = toAbsolute(path);
  let file: number | undefined;
  try {
    const place = await locate(absolute, access);
    checkName(place.real);
    // Opening a device can have effects, so only regular files are opened; the handle is checked again below.
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
    if (opened.size > BigInt(maxBytes)) throw rejected(tooLarge(Number(opened.size), maxBytes), undefined, next);
    // Not zeroed first: it is filled, or not returned.
    const bytes = new Uint8Array(Buffer.allocUnsafeSlow(Number(opened.size)).buffer);
    for (let filled = 0; filled < bytes.length; ) {
      const count = await read(file, bytes, filled, bytes.length - filled, filled);
      if (count === 0) throw rejected("The file shrank while it was being read.");
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

export const tooManyPixels = (width: number, height: number, limit: number) =>
  rejected(`The image is ${width}x${height} pixels; the limit is ${limit / 1e6} million pixels.`);

const AT_ONCE = { open: openSync, read: readSync };
const poolRead = promisify(read);
/** Goes through the thread pool, which costs more than reading a local file. */
const IN_THE_POOL = {
  open: promisify(startOpen),
  read: async (file: number, bytes: Uint8Array<ArrayBuffer>, offset: number, length: number, position: number) =>
    (await poolRead(file, bytes, offset, length, position)).bytesRead,
};

/** 0.1 ms from a cache, 26 ms from a network drive of 10 MB/s, during which nothing else is answered. */
const LONGEST_AT_ONCE = 2n ** 18n;
const BLOCK_BYTES = 512n;

/**
 * May this file be read on this thread? Its path has just been resolved in the pool, where a hanging drive would have
 * hung. A file that a cloud drive must download first has fewer blocks than its size.
 */
const isAtHand = ({ size, blocks }: BigIntStats) => size <= LONGEST_AT_ONCE && blocks * BLOCK_BYTES >= size;

function failureOf(thrown: unknown, access: Access): CheckError {
  const code = errnoOf(thrown) ?? "";
  // Removed, or replaced by a link, since it was found.
  if (["ENOENT", "ENOTDIR", "ELOOP", "EMLINK"].includes(code)) return refused(access);
  return (
    troubleOf(thrown) ??
    (/^(EACCES|EPERM)$/.test(code)
      ? rejected("The file cannot be opened: permission denied.", thrown)
      : rejected("The file cannot be read.", thrown))
  );
}

function toAbsolute(path: string): string {
  if (path.includes("\0")) throw new CheckError("invalid_input", "The path contains a NUL character.");
  if (/^file:/i.test(path)) {
    try {
      return fileURLToPath(path);
    } catch (cause) {
      throw new CheckError("invalid_input", "That file: URL does not name a local file.", { cause });
    }
  }
  // Two letters at least: one is a drive of Windows.
  if (/^[a-z][a-z0-9+.-]+:/i.test(path)) {
    throw new CheckError("invalid_input", "That is a URL, not the path of a local file.", {
      next: "Save the image to a file, then pass its path. An image pasted into a chat has no path.",
    });
  }
  if (process.platform === "win32" && isForeignToWindows(path)) {
    throw new CheckError(
      "invalid_input",
      "Network, device and stream names are not read; pass the path of a local file.",
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

/** Synchronous: the gallery requires this folder to be on a local disk. What cannot be reached cannot be read either. */
function statIfThere(folder: string): BigIntStats | undefined {
  try {
    return statSync(folder, { bigint: true, throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

function refused({ folders }: Access): CheckError {
  if (folders === "anywhere") {
    return new CheckError("path_refused", "There is no readable file at that path.", {
      next: "Check the path. Files in the data folder are never read.",
    });
  }
  return new CheckError("path_refused", "There is no readable file at that path in the allowed folders.");
}

async function isAllowed(real: string, dataFolder: BigIntStats | undefined, { folders }: Access): Promise<boolean> {
  if (dataFolder !== undefined && isBelow(real, dataFolder)) return false;
  if (folders === "anywhere" || folders.some((folder) => isInside(real, folder))) return true;
  // Resolved at every call: a folder may be made, or become a link, while the server runs.
  const roots = await Promise.all(folders.map((folder) => realpath(folder).catch(() => undefined)));
  return roots.some((root) => root !== undefined && isInside(real, root));
}

/** Every folder above a real path is real too, so an allowed folder need not be resolved. */
function isInside(real: string, folder: string): boolean {
  const rest = relative(folder, real);
  return rest !== "" && rest !== ".." && !rest.startsWith(`..${sep}`) && !isAbsolute(rest);
}

/** Compares device and inode, not names: case may not count, and a mount gives a folder a second path. */
function isBelow(real: string, folder: BigIntStats): boolean {
  for (let at = real; ; at = dirname(at)) {
    if (isSame(statSync(at, { bigint: true, throwIfNoEntry: false }), folder)) return true;
    if (at === dirname(at)) return false;
  }
}

const isSame = (one: BigIntStats | undefined, other: BigIntStats) => one?.dev === other.dev && one.ino === other.ino;

/** Was the opened file swapped in after its path was resolved, or is it one of the data folder under a second name? */
async function isStillAllowed(
  file: number,
  opened: BigIntStats,
  { real, dataFolder }: Place,
  access: Access,
): Promise<boolean> {
  // Asked of a file with one name, too: its second may have gone since it was opened.
  if (dataFolder !== undefined && isLinkedFrom(access.dataFolder, opened)) return false;
  if (access.auditLog !== undefined && isSame(statIfThere(access.auditLog), opened)) return false;
  const held = heldPath(file);
  if (held !== undefined) return isAllowed(held, dataFolder, access);
  const again = await realpath(real);
  if (!(await isAllowed(again, dataFolder, access))) return false;
  return isSame(statSync(again, { bigint: true, throwIfNoEntry: false }), opened);
}

/** The path of an open file, which Linux reports. */
function heldPath(file: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${file}`);
  } catch {
    return undefined;
  }
}

/** Our files are in the folder itself, none in subfolders. */
function isLinkedFrom(folder: string, file: BigIntStats): boolean {
  return readdirSync(folder).some((name) =>
    isSame(statSync(join(folder, name), { bigint: true, throwIfNoEntry: false }), file),
  );
}
