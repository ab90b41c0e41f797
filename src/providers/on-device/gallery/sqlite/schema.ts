import { randomUUID } from "node:crypto";
import { CheckError } from "../../../../errors.ts";
import { lost, type Mark, replaced } from "../mark.ts";
import { damaged, newerVersion, otherModel } from "../refusal.ts";
import type { Database } from "./driver.ts";

/** "face" in ASCII: tells a gallery from another program's database. */
const APPLICATION_ID = 0x66616365;
/** 1 had neither an id nor a count of its faces. */
const VERSION = 2;

const TABLES = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE faces (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    label TEXT NOT NULL,
    vendor_data TEXT,
    blocklisted INTEGER NOT NULL,
    enrolled_at TEXT NOT NULL,
    embedding BLOB NOT NULL
  ) STRICT;
  CREATE INDEX blocklist ON faces (seq) WHERE blocklisted;
  CREATE TABLE face_bits (seq INTEGER PRIMARY KEY REFERENCES faces ON DELETE CASCADE, b BLOB NOT NULL) STRICT;
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${VERSION};
`;

/**
 * Readies a connection, and makes the tables where there has never been a gallery. Returns the gallery's id. Throws what
 * SQLite throws when another process is doing the same.
 */
export function prepareDatabase(database: Database, model: string, mark: Mark): string {
  database.exec("PRAGMA busy_timeout = 10000");
  // Before anything is written: the file of a newer program, or of nobody, must stay as it is.
  refuseUnmarked(versionOf(database), mark);
  // A page of the default size holds one embedding and wastes half; it can be chosen only while the file is empty.
  database.exec("PRAGMA page_size = 16384");
  const mode = database.prepare("PRAGMA journal_mode = WAL").get();
  if (mode?.journal_mode !== "wal") {
    throw new CheckError("setup", "The disk of the data folder cannot hold a face gallery.", {
      next: "Choose a data folder on a local disk (BIOMETRICS_DATA_DIR), then restart the server.",
      cause: `journal mode ${String(mode?.journal_mode)}`,
    });
  }
  // temp_store: no embedding in a temporary file.
  database.exec(
    "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY",
  );
  makeTables(database, model, mark);
  refuseOtherModel(database, model);
  assertWhole(database);
  return readMeta(database, "id");
}

function refuseUnmarked(version: number, mark: Mark): void {
  if (mark.id === undefined) return;
  if (version === 0) throw lost(mark);
  if (version < VERSION) throw replaced(mark, `a gallery of version ${version}`);
}

function makeTables(database: Database, model: string, mark: Mark): void {
  if (versionOf(database) === VERSION) return;
  database.exec("BEGIN IMMEDIATE");
  try {
    // Asked again now that no other process can answer it differently.
    const version = versionOf(database);
    refuseUnmarked(version, mark);
    if (version === 0) database.exec(TABLES);
    const insert = database.prepare("INSERT INTO meta VALUES (?, ?)");
    if (version === 0) insert.run("model", model);
    if (version < VERSION) {
      insert.run("id", randomUUID());
      database.exec(`INSERT INTO meta SELECT 'faces', count(*) FROM faces; PRAGMA user_version = ${VERSION}`);
    }
    database.exec("COMMIT");
  } catch (thrown) {
    if (database.isTransaction) database.exec("ROLLBACK");
    throw thrown;
  }
}

/** 0: a file without anything in it. */
export function versionOf(database: Database): number {
  const { application, version, objects } = database
    .prepare(
      `SELECT application_id AS application, user_version AS version, (SELECT count(*) FROM sqlite_schema) AS objects
       FROM pragma_application_id, pragma_user_version`,
    )
    .get();
  if (application === 0 && version === 0 && objects === 0) return 0;
  if (application !== APPLICATION_ID) throw damaged(`application id ${application}`);
  if (version > VERSION) throw newerVersion(`schema version ${version}`);
  return version;
}

export function readMeta(database: Database, key: "id" | "model"): string {
  const stored = database.prepare("SELECT value FROM meta WHERE key = ?").get(key);
  if (stored === undefined) throw damaged(`no ${key}`);
  return stored.value;
}

export function refuseOtherModel(database: Database, model: string): void {
  const stored = readMeta(database, "model");
  if (stored !== model) throw otherModel(`made with ${stored}, opened with ${model}`);
}

/** One statement, so that no other process can enrol in between. `counted`: by every enrolment and removal. */
export const COUNTS = `
  SELECT (SELECT count(*) FROM faces) AS faces, (SELECT count(*) FROM face_bits) AS bits,
    (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'faces') AS counted`;

export interface Counts {
  readonly faces: number;
  readonly bits: number;
  readonly counted: number | null;
}

/** Faces that went other than by remove_face, from the blocklist say, would be approved. */
export function assertCounts({ faces, bits, counted }: Counts): void {
  if (faces !== counted || faces !== bits) throw damaged(`${faces} faces, ${bits} sign bits, ${counted} counted`);
}

/** What a prefilter could never find: no face has only negative components. */
export const BLANK_BITS = "SELECT count(*) AS blank FROM face_bits WHERE length(b) <> 64 OR b = zeroblob(64)";

function assertWhole(database: Database): void {
  assertCounts(database.prepare(COUNTS).get());
  const { blank } = database.prepare(BLANK_BITS).get();
  if (blank !== 0) throw damaged(`${blank} faces without sign bits`);
}
