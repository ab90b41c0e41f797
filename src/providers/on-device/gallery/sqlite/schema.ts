import { CheckError } from "../../../../errors.ts";
import { newerVersion, otherModel } from "../refusal.ts";
import type { Database } from "./driver.ts";
import { damaged } from "./failure.ts";

/** "face" in ASCII: tells a gallery from another program's database. */
const APPLICATION_ID = 0x66616365;
const VERSION = 1;

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

/** Readies a connection, and makes the tables in a new file. Throws what SQLite throws when another process is doing the same. */
export function prepareDatabase(database: Database, model: string): void {
  database.exec("PRAGMA busy_timeout = 10000");
  // Before anything is written: a newer program's file must stay as it is.
  isNew(database);
  // A page of the default size holds one embedding and wastes half; it can be chosen only while the file is empty.
  database.exec("PRAGMA page_size = 16384");
  const mode = database.prepare("PRAGMA journal_mode = WAL").get();
  if (mode?.journal_mode !== "wal") {
    throw new CheckError("setup", "The disk of the data folder cannot hold a face gallery.", {
      next: "Ask the user to choose a data folder on a local disk (BIOMETRICS_DATA_DIR), then restart this server.",
      cause: `journal mode ${String(mode?.journal_mode)}`,
    });
  }
  // temp_store: no embedding in a temporary file.
  database.exec(
    "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY",
  );
  createTables(database, model);
  refuseOtherModel(database, model);
}

function createTables(database: Database, model: string): void {
  if (!isNew(database)) return;
  database.exec("BEGIN IMMEDIATE");
  try {
    // Asked again now that no other process can answer it differently.
    if (isNew(database)) {
      database.exec(TABLES);
      database.prepare("INSERT INTO meta VALUES ('model', ?)").run(model);
    }
    database.exec("COMMIT");
  } catch (thrown) {
    if (database.isTransaction) database.exec("ROLLBACK");
    throw thrown;
  }
}

function isNew(database: Database): boolean {
  const { application, version, objects } = database
    .prepare(
      `SELECT application_id AS application, user_version AS version, (SELECT count(*) FROM sqlite_schema) AS objects
       FROM pragma_application_id, pragma_user_version`,
    )
    .get();
  if (application === 0 && version === 0 && objects === 0) return true;
  if (application !== APPLICATION_ID) throw damaged(`application id ${application}`);
  if (version > VERSION) {
    throw newerVersion(`schema version ${version}`);
  }
  return false;
}

function refuseOtherModel(database: Database, model: string): void {
  const stored = database.prepare("SELECT value FROM meta WHERE key = 'model'").get();
  if (stored === undefined) throw damaged("no model");
  if (stored.value !== model) throw otherModel(`made with ${stored.value}, opened with ${model}`);
}
