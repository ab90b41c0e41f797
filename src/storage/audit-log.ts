import { createHash, type Hash } from "node:crypto";
import { type BigIntStats, constants, createReadStream } from "node:fs";
import { type FileHandle, lstat, open, statfs } from "node:fs/promises";
import { platform } from "node:os";
import { dirname } from "node:path";
import { CheckError, errnoOf, troubleOf } from "../errors.ts";
import { shellQuoted, syncFolder, undefinedIfMissing } from "./folder.ts";
import { acquireLock, type Lock, type Patience } from "./lock.ts";

// A file of JSON lines, each with the hash of the one before and, at its end, its own. Lines are only ever appended, so
// that a file which the system lets nobody do more with (chattr +a) works as well.

/** What a line says beside its place in the chain. */
export type AuditEntry = Readonly<Record<string, unknown>>;

export interface AuditLog {
  /**
   * The entry is on the disk when this settles.
   *
   * @throws CheckError `setup` or `unavailable`: it is not, or not for certain.
   */
  append(entry: AuditEntry): Promise<void>;
  /** All that appending does, but for the entry. Makes the file where there is none. @throws CheckError as `append` */
  test(): Promise<void>;
}

const NO_HASH = "0".repeat(64);
const START = '{"line":';
/** `torn`: the hash of what a writer that was killed had left in between. */
const LINE = /^\{"line":(\d{1,15}),"prev":"([\da-f]{64})",(?:"torn":"([\da-f]{64})",)?.*,"hash":"([\da-f]{64})"\}$/s;
const SUFFIX_CHARS = `,"hash":"${NO_HASH}"}`.length;
/** No line is as long. */
const MAX_LINE_BYTES = 2 ** 18;
/** What is waiting is written at once, so many lines at most. */
const MAX_BATCH = 256;
/** A line is there within a few milliseconds. */
const POLL_MS = 5;
/** Where there is less, no check begins: its line might not find room. */
const MIN_FREE_BYTES = 2 ** 20;
/** They may read it (what ships logs may run as another user), and no more. */
const WRITABLE_BY_OTHERS = 0o022n;

interface Line {
  readonly number: number;
  readonly prev: string;
  readonly torn: string | undefined;
  readonly hash: string;
  /** Its hash is that of its contents. */
  readonly isIntact: boolean;
}

/** A place in the chain. */
interface Head {
  readonly number: number;
  readonly hash: string;
}

/** Texts are latin1: one character is one byte, also of what is cut off within a character. */
function parseLine(text: string): Line | undefined {
  const [, number, prev, torn, hash] = LINE.exec(text) ?? [];
  if (number === undefined || prev === undefined || hash === undefined) return undefined;
  const isIntact = sha256(`${text.slice(0, -SUFFIX_CHARS)}}`) === hash;
  return { number: Number(number), prev, torn, hash, isIntact };
}

function toLine(entry: AuditEntry, { number, hash: prev }: Head, torn: string | undefined): { text: string } & Head {
  const place = { line: number + 1, prev, ...(torn === undefined ? {} : { torn }), at: new Date().toISOString() };
  const contents = Buffer.from(JSON.stringify({ ...place, ...entry })).toString("latin1");
  const hash = sha256(contents);
  return { text: `${contents.slice(0, -1)},"hash":"${hash}"}\n`, number: number + 1, hash };
}

const sha256 = (latin1: string) => createHash("sha256").update(latin1, "latin1").digest("hex");

/** The beginning of a line that was not written to its end. After a power cut a file system may have put zeros there. */
function isBeginning(text: string): boolean {
  const written = text.replace(/\0+$/, "").slice(0, START.length);
  return parseLine(text) === undefined && START.startsWith(written);
}

export function openAuditLog(file: string, patience: Patience = {}): AuditLog {
  let waiting: { readonly entry: AuditEntry | undefined; settle(failure?: unknown): void }[] = [];
  let isWriting = false;

  /** With one lock and one flush for all that wait. */
  async function work(): Promise<void> {
    isWriting = true;
    while (waiting.length > 0) {
      const batch = waiting.slice(0, MAX_BATCH);
      waiting = waiting.slice(MAX_BATCH);
      const failure = await write(batch.flatMap(({ entry }) => (entry === undefined ? [] : [entry]))).then(
        () => undefined,
        (thrown: unknown) => failureOf(thrown, file),
      );
      for (const { settle } of batch) settle(failure);
    }
    isWriting = false;
  }

  async function write(entries: readonly AuditEntry[]): Promise<void> {
    const lock = await acquireLock(`${file}.lock`, "the audit log", { pollMs: POLL_MS, ...patience });
    try {
      // Opened for every batch: it may have been moved away.
      const handle = await openForAppend(file);
      try {
        await append(handle, lock, entries);
      } finally {
        await handle.close();
      }
    } finally {
      await lock.release();
    }
  }

  async function append(handle: FileHandle, lock: Lock, entries: readonly AuditEntry[]): Promise<void> {
    const tail = await readTail(handle, file);
    if (entries.length === 0) return refuseFull(file);
    let { head } = tail;
    let text = tail.isEnded ? "" : "\n";
    for (const [at, entry] of entries.entries()) {
      const line = toLine(entry, head, at === 0 ? tail.torn : undefined);
      text += line.text;
      head = line;
    }
    if (!(await lock.isHeld())) throw new CheckError("unavailable", "Writing the audit log took too long.");
    // On a full disk, a part of it. That is left for the next writer, which knows it for what it is.
    await handle.appendFile(text, "latin1");
    await handle.sync();
    if (tail.size === 0) await syncFolder(dirname(file));
  }

  const settled = (entry?: AuditEntry) =>
    new Promise<void>((resolve, reject) => {
      waiting.push({ entry, settle: (failure) => (failure === undefined ? resolve() : reject(failure)) });
      if (!isWriting) work();
    });
  return { append: settled, test: () => settled() };
}

/** Never by way of a link: it could lead anywhere. */
async function openForAppend(file: string): Promise<FileHandle> {
  refuseUnfit(file, await lstat(file, { bigint: true }).catch(undefinedIfMissing));
  const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT;
  const handle = await open(file, flags | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0), 0o600);
  try {
    refuseUnfit(file, await handle.stat({ bigint: true }));
    return handle;
  } catch (thrown) {
    await handle.close();
    throw thrown;
  }
}

function refuseUnfit(file: string, found: BigIntStats | undefined): void {
  if (found === undefined) return;
  if (!found.isFile() || found.nlink > 1n) {
    throw new CheckError("setup", "The audit log is not a regular file with one name.", {
      next: "Name a new file in BIOMETRICS_AUDIT_LOG, or one that this program made; links are refused.",
    });
  }
  if (platform() !== "win32" && (found.mode & WRITABLE_BY_OTHERS) !== 0n) {
    throw new CheckError("setup", "Other users of this machine can write to the audit log.", {
      next: `Run \`chmod go-w ${shellQuoted(file)}\`, then retry.`,
    });
  }
}

/** Some file systems do not say what they have. */
async function refuseFull(file: string): Promise<void> {
  const { blocks, bavail, bsize } = await statfs(dirname(file));
  if (blocks > 0 && bavail * bsize < MIN_FREE_BYTES) throw full(file);
}

interface Tail {
  readonly head: Head;
  readonly size: number;
  /** The hash of what a writer that was killed has left behind the head. */
  readonly torn: string | undefined;
  /** The file ends with the end of a line. */
  readonly isEnded: boolean;
}

/** The end of a log is looked for in the last of these bytes, then in the last of those. */
const TAIL_BYTES = [2 ** 14, 2 * MAX_LINE_BYTES];

/** Where the chain ends. @throws CheckError `setup` where nothing can be appended to it. */
async function readTail(handle: FileHandle, file: string): Promise<Tail> {
  const { size } = await handle.stat();
  for (const bytes of TAIL_BYTES) {
    const from = Math.max(0, size - bytes);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(size - from), 0, size - from, from);
    const text = buffer.toString("latin1", 0, bytesRead);
    const isEnded = text === "" || text.endsWith("\n");
    const lines = (isEnded ? text.slice(0, -1) : text).split("\n");
    const at = lines.findLastIndex((line) => parseLine(line) !== undefined);
    const last = parseLine(lines[at] ?? "");
    if (last === undefined && from > 0) continue;
    const rest = lines.slice(at + 1);
    if (last?.isIntact === false || !rest.every(isBeginning)) break;
    const torn = rest.join("\n");
    return {
      head: last ?? { number: 0, hash: NO_HASH },
      size,
      torn: torn === "" ? undefined : sha256(torn),
      isEnded,
    };
  }
  throw new CheckError("setup", "The audit log was changed at its end, or is another kind of file.", {
    next: `Run \`biometrics-mcp audit verify ${shellQuoted(file)}\`, and name a new file in BIOMETRICS_AUDIT_LOG.`,
  });
}

function full(file: string, cause?: unknown): CheckError {
  return new CheckError("unavailable", "The audit log cannot be written: the disk is full.", {
    cause,
    next: `Free space on the disk of ${shellQuoted(file)} (BIOMETRICS_AUDIT_LOG), then retry.`,
  });
}

function failureOf(thrown: unknown, file: string): CheckError {
  if (thrown instanceof CheckError) return thrown;
  const errno = errnoOf(thrown) ?? "";
  if (["ENOSPC", "EDQUOT", "EFBIG"].includes(errno)) return full(file, thrown);
  return (
    troubleOf(thrown) ??
    new CheckError("setup", `The audit log cannot be written${errno === "" ? "" : ` (${errno})`}.`, {
      cause: thrown,
      next: `Check that the folder of ${shellQuoted(file)} (BIOMETRICS_AUDIT_LOG) exists and that you can write to it, then retry.`,
    })
  );
}

export interface Verification {
  readonly lines: number;
  /** The hash of the last line; null: there is none. */
  readonly head: string | null;
  /** Where something was changed, removed or added. */
  readonly faults: readonly string[];
  /** Where a writer was ended while it wrote: no decision was given for such a line. */
  readonly torn: readonly string[];
}

/**
 * Follows the chain through the file.
 *
 * @param noted - the hash of a line that was there before.
 * @throws CheckError `invalid_input` where the file cannot be read.
 */
export async function verifyAuditLog(file: string, noted?: string): Promise<Verification> {
  const faults: string[] = [];
  const torn: string[] = [];
  let [row, lines, isThere] = [0, 0, noted === undefined];
  let head: Head = { number: 0, hash: NO_HASH };
  /** Rows in between that are no lines. */
  let rest: { readonly first: number; readonly isOurs: boolean; readonly hash: Hash } | undefined;
  for await (const { text, isLast } of rowsOf(file)) {
    if (isLast && text === "") break; // what follows the newline of the last line
    row += 1;
    const line = parseLine(text);
    if (line === undefined) {
      const hash = rest === undefined ? createHash("sha256") : rest.hash.update("\n");
      const isOurs = isBeginning(text) && rest?.isOurs !== false;
      rest = { first: rest?.first ?? row, isOurs, hash: hash.update(text, "latin1") };
      continue;
    }
    lines += 1;
    isThere ||= line.hash === noted;
    const left = rest?.hash.digest("hex");
    if (rest !== undefined && left === line.torn) {
      torn.push(`line ${rest.first} is not finished: its writer was ended while it wrote`);
    } else if (rest !== undefined) faults.push(`line ${rest.first} was not written by this program`);
    else if (line.torn !== undefined) faults.push(`an unfinished line was removed before line ${row}`);
    rest = undefined;
    if (!line.isIntact) faults.push(`line ${row} was changed`);
    const missing = line.number - head.number - 1;
    if (missing > 0) {
      faults.push(`${missing === 1 ? "one line is" : `${missing} lines are`} missing before line ${row}`);
    } else if (missing < 0) faults.push(`line ${row} is out of place: it says that it is number ${line.number}`);
    else if (line.prev !== head.hash) {
      faults.push(`line ${row} does not follow from the one before it, which was changed or replaced`);
    }
    head = line;
  }
  if (rest?.isOurs) {
    torn.push(
      `line ${rest.first}, the last, is not finished: it is being written, its writer was ended, or it was cut`,
    );
  } else if (rest !== undefined) faults.push(`line ${rest.first} was not written by this program`);
  if (!isThere) faults.push("the line with the hash that you noted is missing: the log was cut off, or replaced");
  return { lines, head: lines === 0 ? null : head.hash, faults, torn };
}

/** Holds one row in memory; of one that is too long, what is needed to see that. The last follows the last newline. */
async function* rowsOf(file: string): AsyncGenerator<{ readonly text: string; readonly isLast: boolean }> {
  const handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch(unreadable);
  try {
    if (!(await handle.stat()).isFile()) unreadable();
    let held = "";
    for await (const chunk of createReadStream(file, { fd: handle.fd, autoClose: false, encoding: "latin1" })) {
      const pieces = `${held}${chunk}`.split("\n");
      held = (pieces.pop() ?? "").slice(0, 2 * MAX_LINE_BYTES);
      for (const text of pieces) yield { text, isLast: false };
    }
    yield { text: held, isLast: true };
  } finally {
    await handle.close();
  }
}

function unreadable(cause?: unknown): never {
  throw new CheckError("invalid_input", "There is no audit log at that path that can be read.", { cause });
}
