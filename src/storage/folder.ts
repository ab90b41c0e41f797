import { randomBytes } from "node:crypto";
import { type BigIntStats, constants } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { platform } from "node:os";
import { dirname } from "node:path";
import { CheckError, errnoOf, troubleOf } from "../errors.ts";

// Keys and faces are kept in the data folder. What holds for all of it stands here: it is its owner's alone, and only
// regular files of it are opened.

const OTHERS = 0o077n;

/** Makes the folder, for its owner alone, where it is missing. @throws CheckError `setup` where others may enter it */
export async function makeDataFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  refuseShared({ [folder]: await statIfThere(folder) });
}

/** @throws CheckError `setup`, with the command that mends it, where other users have access to one of these paths. */
export function refuseShared(found: Readonly<Record<string, BigIntStats | undefined>>): void {
  if (platform() === "win32") return; // its access lists are not in the mode
  const shared = Object.entries(found).flatMap(([path, stats]) =>
    stats !== undefined && (stats.mode & OTHERS) !== 0n ? [{ path, isFolder: stats.isDirectory() }] : [],
  );
  if (shared.length === 0) return;
  const commands = [
    { mode: 700, paths: shared.filter(({ isFolder }) => isFolder) },
    { mode: 600, paths: shared.filter(({ isFolder }) => !isFolder) },
  ]
    .filter(({ paths }) => paths.length > 0)
    .map(({ mode, paths }) => `chmod ${mode} ${paths.map(({ path }) => shellQuoted(path)).join(" ")}`);
  throw new CheckError("setup", "Other users of this machine have access to the data folder, or to a file in it.", {
    next: `Run \`${commands.join(" && ")}\` for the data folder (BIOMETRICS_DATA_DIR), then retry. Replace any key that others may have read.`,
  });
}

/** Without waiting, as opening a FIFO would. undefined: it is not there. @throws CheckError `setup` for what is no file */
export async function openRegular(file: string): Promise<FileHandle | undefined> {
  refuseIrregular(file, await statIfThere(file)); // a device can act on being opened
  const handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch(undefinedIfMissing);
  try {
    refuseIrregular(file, await handle?.stat({ bigint: true }));
    return handle;
  } catch (thrown) {
    await handle?.close();
    throw thrown;
  }
}

/**
 * The file holds the old text or the new one, whenever the power goes. `mayReplace`: called when the new text is on the
 * disk, to throw where it is too late.
 */
export async function writeWhole(file: string, text: string, mayReplace = async () => {}): Promise<void> {
  const temporary = `${file}.${randomBytes(8).toString("hex")}.tmp`;
  try {
    const handle = await open(temporary, "wx", 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await mayReplace();
    await rename(temporary, file);
  } catch (thrown) {
    await rm(temporary, { force: true });
    throw thrown;
  }
  await syncFolder(dirname(file));
}

/** The name too must outlive a power cut. Not every platform can. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined);
  await handle?.sync().catch(() => {});
  await handle?.close();
}

export function refuseIrregular(file: string, found: BigIntStats | undefined): void {
  if (found === undefined || found.isFile()) return;
  throw new CheckError("setup", "Something in the data folder is not a regular file, and cannot be read.", {
    next: `Move ${shellQuoted(file)} out of the data folder (BIOMETRICS_DATA_DIR), then retry.`,
  });
}

export const statIfThere = (path: string) => stat(path, { bigint: true }).catch(undefinedIfMissing);

/** For a POSIX shell. */
export const shellQuoted = (path: string) => `'${path.replaceAll("'", "'\\''")}'`;

export function undefinedIfMissing(thrown: unknown): undefined {
  if (errnoOf(thrown) !== "ENOENT") throw thrown;
}

const FULL = {
  message: "The disk of the data folder is full; nothing was stored or removed.",
  next: "Free space on the disk of the data folder (BIOMETRICS_DATA_DIR), then retry.",
};
const DISK: Readonly<Record<string, typeof FULL>> = {
  ENOSPC: FULL,
  EDQUOT: FULL,
  EROFS: {
    message: "The disk of the data folder is read-only; nothing was stored or removed.",
    next: "Make the disk of the data folder (BIOMETRICS_DATA_DIR) writable, then retry.",
  },
  EIO: {
    message: "The disk of the data folder failed to read or write.",
    next: "Check the disk of the data folder (BIOMETRICS_DATA_DIR): it must be local and have free space.",
  },
};

/** `unavailable`, where the machine is at fault and not the folder; undefined for any other error. */
export function diskTrouble(cause: unknown, errno = errnoOf(cause)): CheckError | undefined {
  const trouble = DISK[errno ?? ""];
  return trouble ? new CheckError("unavailable", trouble.message, { cause, next: trouble.next }) : troubleOf(cause);
}
