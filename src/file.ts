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

/** Folders that may be read with everything below them, or `anywhere` for a path that the user typed in person. */
export type Folders = readonly string[] | "anywhere";

/** What may be read. */
export interface Access {
  readonly folders: Folders;
  /** Holds keys and the gallery: nothing in it is read, wherever it lies and however it is reached. */
  readonly dataFolder: string;
}

export const rejected = (why: string, cause?: unknown) => new CheckError("image_rejected", why, { cause });

export interface FileLimits {
  readonly maxBytes: number;
  /** What it holds, as the sentences of a refusal say it. */
  readonly noun: string;
}

/** The same for a file that is no image, nor a hidden file. */
export async function readLocalFile(
  path: string,
  access: Access,
  limits: FileLimits,
): Promise<Uint8Array<ArrayBuffer>> {
  return readFile(path, access, limits, (real) => {
    if (basename(real).startsWith(".")) throw rejected(`A hidden file is not read as ${limits.noun}.`);
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

/** Was the opened file swapped in after its path was resolved, or is it one of the data folder under a second name? */
async function isStillAllowed(
  file: number,
  opened: BigIntStats,
  { real, dataFolder }: Place,
  access: Access,
): Promise<boolean> {
  if (dataFolder !== undefined && opened.nlink > 1n && isLinkedFrom(access.dataFolder, opened)) return false;
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
