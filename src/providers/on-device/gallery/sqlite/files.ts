import { closeSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { errnoOf } from "../../../../errors.ts";
import { makeDataFolder, refuseIrregular, refuseShared, statIfThere } from "../../../../storage/folder.ts";
import { keepMark, lost, type Mark, readMark } from "../mark.ts";
import { fileFailure } from "./failure.ts";

export interface GalleryFile {
  readonly mark: Mark;
  /** The write-ahead log was left with content, by a crash or by a process still at work: it may hold removed faces. */
  readonly hasLog: boolean;
  /**
   * Changes whenever anything is written into the gallery's files. undefined: the name no longer leads to the file that
   * was prepared, or not to all of it, and what is stored now goes with the deleted file.
   */
  stamp(): Promise<string | undefined>;
  /** Remembers the id of the gallery in the file. @throws CheckError `setup` where it was another */
  keepMark(id: string): Promise<void>;
}

/** SQLite's companions of a database take its mode, but an older file may have been left with another. */
const partsOf = (file: string) => ["", "-wal", "-shm", ".mark"].map((suffix) => file + suffix);

/** Makes the folder and the file where there has never been one, and refuses files that other users can read. */
export async function preparePrivateFile(file: string): Promise<GalleryFile> {
  try {
    await makeDataFolder(dirname(file));
    // The mark first: another process that is making the gallery writes it last.
    const mark = await readMark(`${file}.mark`);
    const before = await lookAt(file);
    if (mark.id !== undefined && !before[file]?.size) throw lost(mark);
    if (before[file] === undefined) createPrivate(file);
    const found = await statIfThere(file);
    let size = found?.size ?? 0n;
    return {
      mark,
      hasLog: (before[`${file}-wal`]?.size ?? 0n) > 0n,
      async stamp() {
        const [now, log] = await Promise.all([statIfThere(file), statIfThere(`${file}-wal`)]);
        if (now === undefined || now.size < size) return undefined; // it never shrinks by itself
        size = now.size;
        if (now.dev !== found?.dev || now.ino !== found.ino) return undefined;
        return [now, log].map((it) => `${it?.size} ${it?.mtimeNs} ${it?.ctimeNs}`).join();
      },
      keepMark: (id) => keepMark(mark, id).catch(rethrow),
    };
  } catch (thrown) {
    return rethrow(thrown);
  }
}

/** @throws CheckError `setup` where one of the gallery's files is no file, or other users have access to it. */
export async function lookAt(file: string) {
  const parts = partsOf(file);
  const stats = await Promise.all(parts.map(statIfThere));
  for (const [i, part] of parts.entries()) refuseIrregular(part, stats[i]);
  const found = Object.fromEntries(parts.map((part, i) => [part, stats[i]]));
  refuseShared(found);
  return found;
}

/** 0 for a file that is not there. */
export const sizeOf = async (file: string) => (await statIfThere(file))?.size ?? 0n;

/**
 * SQLite would take the mode of a new file from the umask. Synchronous, and never on a file that is there: closing any
 * handle of a database drops every lock that this process holds on it (POSIX), also those of an open gallery.
 */
function createPrivate(file: string): void {
  try {
    closeSync(openSync(file, "ax", 0o600));
  } catch (thrown) {
    if (errnoOf(thrown) !== "EEXIST") throw thrown;
  }
}

function rethrow(thrown: unknown): never {
  throw fileFailure(thrown);
}
