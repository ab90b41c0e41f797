import { CheckError, type FailureCode } from "../../../../errors.ts";

interface Explanation {
  readonly code: FailureCode;
  readonly message: string;
  readonly next?: string;
}

const CANNOT_OPEN = {
  code: "setup",
  message: "The face gallery cannot be opened in the data folder.",
  next: "Ask the user to check that the data folder (BIOMETRICS_DATA_DIR) exists, is a folder of theirs on a local disk and holds no folder where the gallery file should be, then restart this server.",
} as const satisfies Explanation;
const NOT_WRITABLE = {
  code: "setup",
  message: "The face gallery in the data folder cannot be written.",
  next: "Ask the user to make the data folder (BIOMETRICS_DATA_DIR) and the files in it writable for this server's user, then restart this server.",
} as const satisfies Explanation;
const DISK_FULL = {
  code: "setup",
  message: "The disk of the data folder is full; nothing was stored.",
  next: "Ask the user to free space on the disk of the data folder (BIOMETRICS_DATA_DIR), then call again.",
} as const satisfies Explanation;
const DAMAGED = {
  code: "setup",
  message: "The face gallery in the data folder is damaged or is not a gallery.",
  next: "Ask the user to put a backup of the gallery back, or to move its files out of the data folder (BIOMETRICS_DATA_DIR) and enrol the faces anew, then restart this server.",
} as const satisfies Explanation;
const DISK_FAILED = {
  code: "setup",
  message: "The disk of the data folder failed to read or write the face gallery.",
  next: "Ask the user to check the disk of the data folder (BIOMETRICS_DATA_DIR): it must be local and have free space.",
} as const satisfies Explanation;
const BUSY = {
  code: "unavailable",
  message: "Another program keeps the face gallery locked.",
} as const satisfies Explanation;

/** SQLite's primary result codes. */
const BY_RESULT: Readonly<Record<number, Explanation>> = {
  3: CANNOT_OPEN, // SQLITE_PERM
  5: BUSY,
  6: BUSY, // SQLITE_LOCKED
  8: NOT_WRITABLE, // SQLITE_READONLY
  10: DISK_FAILED, // SQLITE_IOERR
  11: DAMAGED, // SQLITE_CORRUPT
  13: DISK_FULL,
  14: CANNOT_OPEN, // SQLITE_CANTOPEN
  26: DAMAGED, // SQLITE_NOTADB
};

const BY_ERRNO: Readonly<Record<string, Explanation>> = {
  EACCES: NOT_WRITABLE,
  EPERM: NOT_WRITABLE,
  EROFS: NOT_WRITABLE,
  ENOSPC: DISK_FULL,
  EDQUOT: DISK_FULL,
};

/** What SQLite threw, in our words: its own hold file names and SQL. */
export function sqliteFailure(thrown: unknown): CheckError {
  const result = resultOf(thrown);
  const explanation = result === undefined ? undefined : BY_RESULT[result];
  return explanation === undefined ? CheckError.from(thrown) : asCheckError(explanation, thrown);
}

/** What the file system threw while the gallery's files were prepared. */
export function fileFailure(thrown: unknown): CheckError {
  if (thrown instanceof CheckError) return thrown;
  const errno = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
  return asCheckError(BY_ERRNO[errno] ?? CANNOT_OPEN, thrown);
}

export function isBusy(thrown: unknown): boolean {
  const result = resultOf(thrown);
  return result !== undefined && BY_RESULT[result] === BUSY;
}

export function damaged(cause: string): CheckError {
  return asCheckError(DAMAGED, cause);
}

/** The built-in and the package both give `errcode`, with the extended code in its upper bytes. */
function resultOf(thrown: unknown): number | undefined {
  if (!(thrown instanceof Error) || !("errcode" in thrown) || typeof thrown.errcode !== "number") return undefined;
  return thrown.errcode & 0xff;
}

function asCheckError({ code, message, next }: Explanation, cause: unknown): CheckError {
  return new CheckError(code, message, next === undefined ? { cause } : { cause, next });
}
