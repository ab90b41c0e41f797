import { access, constants, open } from "node:fs/promises";
import { CheckError, errnoOf, type FailureCode } from "../../../../errors.ts";
import { diskTrouble } from "../../../../storage/folder.ts";
import { damaged, RESTORE } from "../refusal.ts";

interface Explanation {
  readonly code: FailureCode;
  readonly message: string;
  readonly next?: string;
}

const CANNOT_OPEN = {
  code: "setup",
  message: "The face gallery cannot be opened in the data folder.",
  next: "Check that the data folder (BIOMETRICS_DATA_DIR) exists, is on a local disk, belongs to the user who runs biometrics-mcp and contains no folder in place of the gallery file, then restart the server.",
} as const satisfies Explanation;
const NOT_WRITABLE = {
  code: "setup",
  message: "The face gallery in the data folder cannot be written.",
  next: "Make the data folder (BIOMETRICS_DATA_DIR) and its files writable for the user who runs biometrics-mcp, then restart the server.",
} as const satisfies Explanation;
const DAMAGED = { code: "setup", message: damaged("").message, next: RESTORE } as const satisfies Explanation;
const BUSY = {
  code: "unavailable",
  message: "Another program has locked the face gallery.",
} as const satisfies Explanation;

/** SQLite's primary result codes. */
const BY_RESULT: Readonly<Record<number, Explanation>> = {
  3: CANNOT_OPEN, // SQLITE_PERM
  5: BUSY,
  6: BUSY, // SQLITE_LOCKED
  8: NOT_WRITABLE, // SQLITE_READONLY
  11: DAMAGED, // SQLITE_CORRUPT
  14: CANNOT_OPEN, // SQLITE_CANTOPEN
  26: DAMAGED, // SQLITE_NOTADB
};

/** Those that the system has a name for. */
const ERRNO_OF: Readonly<Record<number, string>> = { 10: "EIO", 13: "ENOSPC" };

const BY_ERRNO: Readonly<Record<string, Explanation>> = { EACCES: NOT_WRITABLE, EPERM: NOT_WRITABLE };

/** What SQLite threw, in our words: its own hold file names and SQL. */
export function sqliteFailure(thrown: unknown): CheckError {
  const result = resultOf(thrown);
  if (result === undefined) return CheckError.from(thrown);
  const explanation = BY_RESULT[result];
  if (explanation !== undefined) return asCheckError(explanation, thrown);
  return diskTrouble(thrown, ERRNO_OF[result]) ?? CheckError.from(thrown);
}

/** The same of a gallery that could not be opened: SQLite does not say why, its folder does. */
export async function openingFailure(thrown: unknown, folder: string): Promise<CheckError> {
  if (resultOf(thrown) === undefined) return sqliteFailure(thrown);
  try {
    await (await open(folder)).close();
    await access(folder, constants.W_OK);
    return sqliteFailure(thrown);
  } catch (cause) {
    return diskTrouble(cause) ?? sqliteFailure(thrown);
  }
}

/** What the file system threw while the gallery's files were prepared. */
export function fileFailure(thrown: unknown): CheckError {
  if (thrown instanceof CheckError) return thrown;
  return diskTrouble(thrown) ?? asCheckError(BY_ERRNO[errnoOf(thrown) ?? ""] ?? CANNOT_OPEN, thrown);
}

export function isBusy(thrown: unknown): boolean {
  const result = resultOf(thrown);
  return result !== undefined && BY_RESULT[result] === BUSY;
}

/** SQLite's own words for its results: all that the package's `all` leaves of them. */
const BY_WORDS: Readonly<Record<string, number>> = {
  "access permission denied": 3,
  "database is locked": 5,
  "database table is locked": 6,
  "attempt to write a readonly database": 8,
  "disk I/O error": 10,
  "database disk image is malformed": 11,
  "database or disk is full": 13,
  "unable to open database file": 14,
  "file is not a database": 26,
};

/** The built-in and the package both give `errcode` nearly always, with the extended code in its upper bytes. */
function resultOf(thrown: unknown): number | undefined {
  if (!(thrown instanceof Error) || errnoOf(thrown) !== "ERR_SQLITE_ERROR") return undefined;
  return "errcode" in thrown && typeof thrown.errcode === "number" ? thrown.errcode & 0xff : BY_WORDS[thrown.message];
}

function asCheckError({ code, message, next }: Explanation, cause: unknown): CheckError {
  return new CheckError(code, message, next === undefined ? { cause } : { cause, next });
}
