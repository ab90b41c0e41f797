import { randomBytes } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { CheckError } from "../../../errors.ts";
import { openRegular, shellQuoted } from "../../../storage/folder.ts";

/** Longer than any id. */
const MAX_BYTES = 100;

/**
 * The id of a gallery, in a file of its own: it tells a gallery that was lost, or replaced by another, from one that
 * has never been. A lost one that was made anew would find nobody, and approve.
 */
export interface Mark {
  readonly file: string;
  /** undefined: there has never been a gallery. */
  readonly id: string | undefined;
}

export async function readMark(file: string): Promise<Mark> {
  const handle = await openRegular(file);
  if (handle === undefined) return { file, id: undefined };
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_BYTES), 0, MAX_BYTES, 0);
    return { file, id: buffer.toString("utf8", 0, bytesRead).trim() };
  } finally {
    await handle.close();
  }
}

/** Remembers a gallery that is new, or from before there were marks. @throws CheckError `setup` where it is another */
export async function keepMark({ file }: Mark, id: string): Promise<void> {
  const mark = await readMark(file); // another process may have been first
  if (mark.id === id) return;
  if (mark.id !== undefined) throw replaced(mark, id);
  const temporary = `${file}.${randomBytes(8).toString("hex")}.tmp`;
  try {
    const handle = await open(temporary, "wx", 0o600);
    try {
      await handle.writeFile(`${id}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (thrown) {
    await rm(temporary, { force: true });
    throw thrown;
  }
}

export function lost({ file }: Mark): CheckError {
  return new CheckError("setup", "The face gallery is missing or empty: all faces and the blocklist are gone.", {
    next: `Restore a backup, then run \`biometrics-mcp gallery check\`. To start with an empty gallery instead, remove ${shellQuoted(file)}.`,
  });
}

export function replaced({ file }: Mark, cause: string): CheckError {
  return new CheckError("setup", "The face gallery is not the one that was used here before.", {
    cause,
    next: `Restore the previous one or a backup of it, then run \`biometrics-mcp gallery check\`. To use this one from now on, remove ${shellQuoted(file)}.`,
  });
}
