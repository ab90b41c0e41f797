import { randomUUID } from "node:crypto";
import type { PoolClient, QueryConfig } from "pg";
import { DEFAULT_GALLERY } from "../../../../config.ts";
import { CheckError } from "../../../../errors.ts";
import { LENGTH_TOLERANCE } from "../embedding.ts";
import { lost, type Mark } from "../mark.ts";
import { damaged, newerVersion, otherModel, unknownGallery } from "../refusal.ts";

/** 1 had one gallery, without a name. */
const VERSION = 2;
/** Any number that no other program locks. */
const LOCK = 0x66616365;
/** An index of 1,000,000 faces takes more than the 20 s that a statement has. */
const UPGRADE_TIMEOUT_MS = 3_600_000;

const NOT_UNIT = `vector_norm(embedding) NOT BETWEEN ${1 - LENGTH_TOLERANCE} AND ${1 + LENGTH_TOLERANCE}`;

const META = "CREATE TABLE biometrics_meta (key text PRIMARY KEY, value text NOT NULL)";

/** Each gallery is a partition with indexes of its own, so that a search reads no other. */
const FACES = `
  CREATE SEQUENCE biometrics_faces_seq;
  CREATE TABLE biometrics_faces (
    gallery text NOT NULL,
    seq bigint NOT NULL DEFAULT nextval('biometrics_faces_seq'),
    id text NOT NULL,
    label text NOT NULL,
    vendor_data text,
    blocklisted boolean NOT NULL,
    enrolled_at timestamptz NOT NULL,
    embedding vector(512) NOT NULL,
    PRIMARY KEY (gallery, seq),
    UNIQUE (gallery, id)
  ) PARTITION BY LIST (gallery);
  ALTER SEQUENCE biometrics_faces_seq OWNED BY biometrics_faces.seq;
  CREATE INDEX biometrics_faces_nearest ON biometrics_faces
    USING hnsw ((embedding::halfvec(512)) halfvec_cosine_ops);
  CREATE INDEX biometrics_faces_blocklist ON biometrics_faces (seq) WHERE blocklisted;
  CREATE INDEX biometrics_faces_damaged ON biometrics_faces (seq) WHERE ${NOT_UNIT};
`;

/** The table of version 1 becomes the partition of the default gallery, with its rows where they are. */
const UPGRADE = `
  ALTER TABLE biometrics_faces RENAME TO ${partitionOf(DEFAULT_GALLERY)};
  ALTER TABLE ${partitionOf(DEFAULT_GALLERY)}
    ALTER seq DROP IDENTITY,
    DROP CONSTRAINT biometrics_faces_pkey,
    DROP CONSTRAINT biometrics_faces_id_key,
    ADD gallery text NOT NULL DEFAULT '${DEFAULT_GALLERY}';
  DROP INDEX IF EXISTS biometrics_faces_nearest, biometrics_faces_blocklist, biometrics_faces_damaged;
  ${FACES}
  ALTER TABLE biometrics_faces ATTACH PARTITION ${partitionOf(DEFAULT_GALLERY)} FOR VALUES IN ('${DEFAULT_GALLERY}');
  SELECT setval('biometrics_faces_seq', (SELECT coalesce(max(seq), 0) + 1 FROM biometrics_faces), false);
  INSERT INTO biometrics_meta VALUES ('${keyOf(DEFAULT_GALLERY)}', '');
  UPDATE biometrics_meta SET value = '${VERSION}' WHERE key = 'version';
`;

/** No other relation of ours has a name that begins like this. Quoted: a name may hold hyphens. */
export function partitionOf(name: string): string {
  return `"biometrics_gallery_${name}"`;
}

function keyOf(name: string): string {
  return `gallery:${name}`;
}

/**
 * Makes the tables in an empty database; the caller's transaction holds it together. What is there is not made again,
 * so that a user who is only allowed to read and write rows can use galleries that an administrator made. Returns the
 * id of what is there.
 */
export async function prepareSchema(client: PoolClient, model: string, mark: Mark): Promise<string> {
  await client.query("SELECT pg_advisory_xact_lock($1)", [LOCK]);
  if (!(await exists(client, "SELECT 1 FROM pg_extension WHERE extname = 'vector'"))) await createExtension(client);
  if (!(await tablesExist(client))) {
    if (mark.id !== undefined) throw lost(mark);
    await client.query(`${META}; ${FACES}`);
    await client.query("INSERT INTO biometrics_meta VALUES ('version', $1), ('model', $2)", [VERSION, model]);
  }
  if ((await readMeta(client)).get("version") === "1") {
    await client.query(`SET LOCAL statement_timeout = ${UPGRADE_TIMEOUT_MS}`);
    await client.query({ text: UPGRADE, query_timeout: UPGRADE_TIMEOUT_MS } as QueryConfig);
  }
  const meta = await readMeta(client);
  refuseOther(meta, model);
  const id = meta.get("id") ?? randomUUID();
  if (!meta.has("id")) await client.query("INSERT INTO biometrics_meta VALUES ('id', $1)", [id]);
  return id;
}

/** @throws CheckError `not_found` where there is no gallery of that name and it is not to be made */
export async function prepareGallery(
  client: PoolClient,
  name: string,
  { create }: { readonly create: boolean },
): Promise<void> {
  if (await isKnown(client, name)) return refuseDamaged(client, name);
  if (!create) throw unknownGallery(name, await listGalleries(client));
  await client.query("SELECT pg_advisory_xact_lock($1)", [LOCK]);
  if (await isKnown(client, name)) return; // another process was first
  await client.query(`CREATE TABLE ${partitionOf(name)} PARTITION OF biometrics_faces FOR VALUES IN ('${name}')`);
  await client.query("INSERT INTO biometrics_meta VALUES ($1, '')", [keyOf(name)]);
}

function isKnown(client: PoolClient, name: string): Promise<boolean> {
  return exists(client, "SELECT 1 FROM biometrics_meta WHERE key = $1", [keyOf(name)]);
}

export async function listGalleries(client: PoolClient): Promise<string[]> {
  return [...(await readMeta(client)).keys()]
    .flatMap((key) => (key.startsWith(keyOf("")) ? [key.slice(keyOf("").length)] : []))
    .sort();
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
const DAMAGED = `
  SELECT (SELECT count(*)::int FROM biometrics_faces WHERE gallery = $1 AND ${NOT_UNIT}) AS damaged,
    to_regclass($2) IS NULL AS gone`;

/** An embedding that is no unit vector would be found by no search, nor is anybody in a partition that was dropped. */
export async function refuseDamaged(client: PoolClient, name: string): Promise<void> {
  const { rows } = await client.query<{ damaged: number; gone: boolean }>(DAMAGED, [name, partitionOf(name)]);
  const [found] = rows;
  if (found?.gone !== false) throw damaged(`the partition of the gallery ${name} is gone`);
  if (found.damaged !== 0) throw damaged(`${found.damaged} embeddings that are no unit vectors`);
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

async function exists(client: PoolClient, sql: string, values: readonly string[] = []): Promise<boolean> {
  return (await client.query(sql, [...values])).rows.length > 0;
}
