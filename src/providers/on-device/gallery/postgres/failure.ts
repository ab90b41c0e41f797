import { CheckError, type FailureCode } from "../../../../errors.ts";
import { RESTORE } from "../refusal.ts";

interface Explanation {
  readonly code: FailureCode;
  readonly message: string;
  readonly next?: string;
}

const CHECK_URL = "Correct BIOMETRICS_GALLERY_URL, then restart the server.";

const UNREACHABLE = {
  code: "unavailable",
  message: "The gallery database could not be reached or did not answer.",
} as const satisfies Explanation;

/** By SQLSTATE: all five characters, else the two of its class. */
const BY_STATE: Readonly<Record<string, Explanation>> = {
  "28": { code: "setup", message: "The gallery database refused the login.", next: CHECK_URL },
  "3D": { code: "setup", message: "The gallery database does not exist.", next: CHECK_URL },
  "42501": {
    code: "setup",
    message: "The database user lacks privileges that the face gallery needs.",
    next: "Have the database administrator grant it the right to create, read and write tables, then restart the server.",
  },
  "25006": {
    code: "setup",
    message: "The gallery database is read-only: it may be a replica.",
    next: CHECK_URL,
  },
  "42P01": {
    code: "setup",
    message: "The face gallery's tables are missing from its database.",
    next: RESTORE,
  },
  "42704": {
    code: "setup",
    message: "The gallery database has a pgvector that is too old.",
    next: "Have the database administrator update pgvector to 0.7.0 or newer, then restart the server.",
  },
  "53100": {
    code: "unavailable",
    message: "The gallery database has no disk space left; nothing was stored or removed.",
    next: "Have the database administrator free space, then retry.",
  },
  "57014": { code: "unavailable", message: "The gallery database took too long." },
  "22021": {
    code: "invalid_input",
    message: "The label or vendor_data contains a character that the face gallery cannot store.",
  },
  "08": UNREACHABLE,
  "40": UNREACHABLE,
  "53": UNREACHABLE,
  "57": UNREACHABLE,
};

const TLS_REFUSED = {
  code: "setup",
  message: "The encrypted connection to the gallery database could not be verified.",
  next: "Check the database's certificate, and sslmode and sslrootcert in BIOMETRICS_GALLERY_URL.",
} as const satisfies Explanation;

/** What the driver or the database threw, in our words: theirs hold host names, SQL and values. */
export function postgresFailure(thrown: unknown): CheckError {
  if (thrown instanceof CheckError) return thrown;
  if (!(thrown instanceof Error)) return CheckError.from(thrown);
  const state = sqlStateOf(thrown);
  // The driver has no code of its own for a lost connection, an ended one or a wait that was too long.
  const explanation: Explanation | undefined =
    state === undefined
      ? isTls(thrown)
        ? TLS_REFUSED
        : UNREACHABLE
      : (BY_STATE[state] ?? BY_STATE[state.slice(0, 2)]);
  if (explanation === undefined) return CheckError.from(thrown);
  const { code, message, next } = explanation;
  return new CheckError(code, message, next === undefined ? { cause: thrown } : { cause: thrown, next });
}

function sqlStateOf(thrown: Error): string | undefined {
  return "severity" in thrown && "code" in thrown && typeof thrown.code === "string" ? thrown.code : undefined;
}

function isTls(thrown: Error): boolean {
  const code = "code" in thrown ? String(thrown.code) : "";
  return /CERT|SSL|TLS|UNABLE_TO_VERIFY/.test(code) || /does not support SSL/.test(thrown.message);
}
