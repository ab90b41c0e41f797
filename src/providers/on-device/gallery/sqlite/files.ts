import { closeSync, openSync, type Stats } from "node:fs";
import { mkdir, stat } from "node:fs/promises";
import { platform } from "node:os";
import { dirname } from "node:path";
import { CheckError } from "../../../../errors.ts";
import { fileFailure } from "./failure.ts";

const OTHERS = 0o077;
/** SQLite's companions of a database. They take its mode, but an older file may have been left with another. */
const SUFFIXES = ["", "-wal", "-shm"] as const;

export interface GalleryFile {
  /** The write-ahead log was left with content, by a crash or by a process still at work: it may hold removed faces. */
  readonly hasLog: boolean;
  /** Does the name still lead to the file that was prepared? Else what is stored now goes with the deleted file. */
  isInPlace(): Promise<boolean>;
}

/** Makes the folder and the file when they are missing, and refuses files that other users can read. */
export async function preparePrivateFile(file: string): Promise<GalleryFile> {
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    createPrivate(file);
    const { dev, ino } = await stat(file);
    const parts = await Promise.all(SUFFIXES.map((suffix) => statIfThere(file + suffix)));
    if (platform() !== "win32" && parts.some((part) => part !== undefined && (part.mode & OTHERS) !== 0)) {
      throw new CheckError("setup", "Other users of this machine have access to the face gallery in the data folder.", {
        next: 'Ask the user to run `chmod -R go-rwx "<the data folder>"` (BIOMETRICS_DATA_DIR), then to restart this server.',
      });
    }
    return {
      hasLog: (parts[1]?.size ?? 0) > 0,
      async isInPlace() {
        const now = await statIfThere(file);
        return now !== undefined && now.dev === dev && now.ino === ino;
      },
    };
  } catch (thrown) {
    throw fileFailure(thrown);
  }
}

/**
 * SQLite would take the mode of a new file from the umask. Synchronous, and never on a file that is there: closing any
 * handle of a database drops every lock that this process holds on it (POSIX), also those of an open gallery.
 */
function createPrivate(file: string): void {
  try {
    closeSync(openSync(file, "ax", 0o600));
  } catch (thrown) {
    if (!hasCode(thrown, "EEXIST")) throw thrown;
  }
}

async function statIfThere(file: string): Promise<Stats | undefined> {
  try {
    return await stat(file);
  } catch (thrown) {
    if (hasCode(thrown, "ENOENT")) return undefined;
    throw thrown;
  }
}

function hasCode(thrown: unknown, code: string): boolean {
  return thrown instanceof Error && "code" in thrown && thrown.code === code;
}
