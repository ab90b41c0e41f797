import { randomUUID } from "node:crypto";
import type { PoolClient } from "pg";
import { CheckError } from "../../../../errors.ts";
import { LENGTH_TOLERANCE } from "../embedding.ts";
import { lost, type Mark } from "../mark.ts";
import { damaged, newerVersion, otherModel } from "../refusal.ts";

const VERSION = 1;
/** Any number that no other program locks. */
const LOCK = 0x66616365;

const NOT_UNIT = `vector_norm(embedding) NOT BETWEEN ${1 - LENGTH_TOLERANCE} AND ${1 + LENGTH_TOLERANCE}`;

const TABLES = `
  CREATE TABLE biometrics_meta (key text PRIMARY KEY, value text NOT NULL);
  CREATE TABLE biometrics_faces (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    label text NOT NULL,
    vendor_data text,
    blocklisted boolean NOT NULL,
    enrolled_at timestamptz NOT NULL,
    embedding vector(512) NOT NULL
  );
  CREATE INDEX biometrics_faces_nearest ON biometrics_faces USING hnsw (embedding vector_cosine_ops);
  CREATE INDEX biometrics_faces_blocklist ON biometrics_faces (seq) WHERE blocklisted;
  CREATE INDEX biometrics_faces_damaged ON biometrics_faces (seq) WHERE ${NOT_UNIT};
  INSERT INTO biometrics_meta VALUES ('version', '${VERSION}');
`;

/**
 * Makes the tables in an empty database; the caller's transaction holds it together. What is there is not made again,
 * so that a user who may only read and write rows can use a gallery that an administrator made. Returns its id.
 */
export async function prepareSchema(client: PoolClient, model: string, mark: Mark): Promise<string> {
  await client.query("SELECT pg_advisory_xact_lock($1)", [LOCK]);
  if (!(await exists(client, "SELECT 1 FROM pg_extension WHERE extname = 'vector'"))) await createExtension(client);
  if (!(await tablesExist(client))) {
    if (mark.id !== undefined) throw lost(mark);
    await client.query(TABLES);
    await client.query("INSERT INTO biometrics_meta VALUES ('model', $1)", [model]);
  }
  const meta = await readMeta(client);
  refuseOther(meta, model);
  await refuseDamaged(client);
  const id = meta.get("id") ?? randomUUID();
  if (!meta.has("id")) await client.query("INSERT INTO biometrics_meta VALUES ('id', $1)", [id]);
  return id;
}

export function tablesExist(client: PoolClient): Promise<boolean> {
  return exists(client, "SELECT 1 WHERE to_regclass('biometrics_faces') IS NOT NULL");
}

export function refuseOther(meta: ReadonlyMap<string, string>, model: string): void {
  if (Number(meta.get("version")) !== VERSION) throw newerVersion(`schema version ${meta.get("version")}`);
  if (meta.get("model") !== model) throw otherModel(`made with ${meta.get("model")}, opened with ${model}`);
}

export async function readMeta(client: PoolClient): Promise<ReadonlyMap<string, string>> {
  const { rows } = await client.query<{ key: string; value: string }>("SELECT key, value FROM biometrics_meta");
  return new Map(rows.map(({ key, value }) => [key, value]));
}

/** Counted by an index of its own, which is empty: asking before every search costs nothing. */
const DAMAGED = `SELECT count(*)::int AS damaged FROM biometrics_faces WHERE ${NOT_UNIT}`;

/** An embedding that is no unit vector would be found by no search. */
export async function refuseDamaged(client: PoolClient): Promise<void> {
  const { rows } = await client.query<{ damaged: number }>(DAMAGED);
  if (rows[0]?.damaged !== 0) throw damaged(`${rows[0]?.damaged} embeddings that are no unit vectors`);
}

async function createExtension(client: PoolClient): Promise<void> {
  try {
    await client.query("CREATE EXTENSION vector");
  } catch (cause) {
    throw new CheckError("setup", "The gallery database has no pgvector.", {
      cause,
      next: "Have the database administrator install pgvector and run `CREATE EXTENSION vector` in that database, then restart the server.",
    });
  }
}

async function exists(client: PoolClient, sql: string): Promise<boolean> {
  return (await client.query(sql)).rows.length > 0;
}
