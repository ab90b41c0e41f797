import { randomUUID } from "node:crypto";
import { dirname } from "node:path";
import type { Pool, PoolClient } from "pg";
import { CheckError } from "../../../errors.ts";
import { onceEach } from "../../../once.ts";
import { diskTrouble, makeDataFolder } from "../../../storage/folder.ts";
import type { EnrolledFace } from "../../provider.ts";
import { cursorAfter, seqBefore } from "./cursor.ts";
import { assertEmbedding } from "./embedding.ts";
import type { Galleries, Gallery } from "./gallery.ts";
import { keepMark, type Mark, readMark } from "./mark.ts";
import { recordRemoval } from "./postgres/erasure.ts";
import { postgresFailure } from "./postgres/failure.ts";
import { listGalleries, prepareGallery, prepareSchema, refuseDamaged } from "./postgres/schema.ts";

export interface PostgresOptions {
  /** `postgres://`, password and all: it is given to the driver and to nobody else. */
  readonly url: string;
  /** The file that says on this machine that there are galleries. */
  readonly mark: string;
  /** The face model whose embeddings it holds. */
  readonly model: string;
}

const CONNECT_TIMEOUT_MS = 10_000;
/** The database gives up first, so that what is told as failed was not stored. */
const STATEMENT_TIMEOUT_MS = 20_000;
const ANSWER_TIMEOUT_MS = 25_000;
/** A host starts several copies of this server, and a database has about a hundred connections for everybody. */
const CONNECTIONS = 4;
/** With the index's default of 40 it missed 7 of 100 targets among 100,000 faces; with 200, none. */
const BREADTH = 200;
const REMAINS =
  "its template is in the table until the database is vacuumed (`biometrics-mcp gallery check` shows whether it was), and in the write-ahead log and in backups until those are recycled";
const COLUMNS = "id, label, vendor_data, blocklisted, enrolled_at";

/** Galleries in a Postgres database with pgvector, for more faces or more machines than one file serves. */
export async function openPostgresGalleries({ url, mark: file, model }: PostgresOptions): Promise<Galleries> {
  const pool = await connect(url);
  try {
    const mark = await onDisk(prepareMark(file));
    const id = await inTransaction(pool, (client) => prepareSchema(client, model, mark));
    await onDisk(keepMark(mark, id));
  } catch (thrown) {
    await pool.end();
    throw thrown;
  }
  const galleries = onceEach<Gallery>();
  let closing: Promise<void> | undefined;
  return {
    async open(name, { create }) {
      if (!create) await inTransaction(pool, (client) => prepareGallery(client, name, { create }));
      return galleries.get(name, async () => {
        await inTransaction(pool, (client) => prepareGallery(client, name, { create }));
        return galleryOn(pool, name);
      });
    },
    names: () => inTransaction(pool, listGalleries),
    close() {
      closing ??= pool.end();
      return closing;
    },
  };
}

async function prepareMark(file: string): Promise<Mark> {
  await makeDataFolder(dirname(file));
  return readMark(file);
}

function onDisk<T>(work: Promise<T>): Promise<T> {
  return work.catch((thrown: unknown) => {
    if (thrown instanceof CheckError) throw thrown;
    throw (
      diskTrouble(thrown) ??
      new CheckError("setup", "The data folder cannot be written.", {
        cause: thrown,
        next: "Make the data folder (BIOMETRICS_DATA_DIR) writable for the user who runs biometrics-mcp, then retry.",
      })
    );
  });
}

export async function connect(url: string): Promise<Pool> {
  assertSafe(url);
  const { Pool } = await import("pg");
  const pool = new Pool({
    connectionString: url,
    application_name: "biometrics-mcp",
    max: CONNECTIONS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    allowExitOnIdle: true,
  });
  // A connection lost between two statements, or while nobody used it, would end the process. The call under way fails
  // by itself, and the next one gets another connection.
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  return pool;
}

function galleryOn(pool: Pool, name: string): Gallery {
  return {
    enroll(embedding, { label, vendorData, blocklisted }) {
      return inTransaction(pool, async (client) => {
        assertEmbedding(embedding);
        const face = { id: randomUUID(), label, vendorData, blocklisted, enrolledAt: new Date().toISOString() };
        await client.query(
          `INSERT INTO biometrics_faces (gallery, ${COLUMNS}, embedding) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
          [name, face.id, label, vendorData, blocklisted, face.enrolledAt, vectorOf(embedding)],
        );
        return face;
      });
    },

    search(embedding, { minCosine, limit, blocklistedFirst }) {
      return inTransaction(pool, async (client) => {
        assertEmbedding(embedding);
        await refuseDamaged(client, name);
        const { rows } = await client.query<NeighbourRow>(SEARCH, [
          vectorOf(embedding),
          minCosine,
          blocklistedFirst,
          limit,
          name,
        ]);
        const neighbours = rows.map((row) => ({ ...faceOf(row), cosine: row.cosine }));
        return { neighbours, total: rows[0]?.total ?? 0 };
      });
    },

    async list({ limit, cursor }) {
      const before = seqBefore(cursor);
      return inTransaction(pool, async (client) => {
        const { rows } = await client.query<FaceRow>(
          `SELECT seq::float8, ${COLUMNS} FROM biometrics_faces WHERE gallery = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3`,
          [name, before, limit + 1],
        );
        const last = rows.length > limit ? rows[limit - 1] : undefined;
        return {
          faces: rows.slice(0, limit).map(faceOf),
          total: await countFaces(client, name),
          nextCursor: last === undefined ? null : cursorAfter(last.seq),
        };
      });
    },

    remove(id) {
      return inTransaction(pool, async (client) => {
        const { rowCount } = await client.query("DELETE FROM biometrics_faces WHERE gallery = $1 AND id = $2", [
          name,
          id,
        ]);
        if (rowCount !== 1) return { removed: false, erased: false };
        await recordRemoval(client, name);
        return { removed: true, erased: false, remains: REMAINS };
      });
    },

    count() {
      return inTransaction(pool, (client) => countFaces(client, name));
    },

    has(id) {
      return inTransaction(pool, async (client) => {
        const { rows } = await client.query("SELECT 1 FROM biometrics_faces WHERE gallery = $1 AND id = $2", [
          name,
          id,
        ]);
        return rows.length > 0;
      });
    },

    read({ after, limit }) {
      return inTransaction(pool, async (client) => {
        const { rows } = await client.query<FaceRow & { embedding: string }>(
          `SELECT seq::float8, ${COLUMNS}, embedding::text FROM biometrics_faces
           WHERE gallery = $1 AND seq > $2 ORDER BY seq LIMIT $3`,
          [name, after, limit],
        );
        return rows.map((row) => ({ ...faceOf(row), seq: row.seq, embedding: embeddingIn(row.embedding) }));
      });
    },

    store(faces) {
      return inTransaction(pool, async (client) => {
        for (const { embedding } of faces) assertEmbedding(embedding);
        const { rowCount } = await client.query(STORE, [
          name,
          faces.map(({ id }) => id),
          faces.map(({ label }) => label),
          faces.map(({ vendorData }) => vendorData),
          faces.map(({ blocklisted }) => blocklisted),
          faces.map(({ enrolledAt }) => enrolledAt),
          faces.map(({ embedding }) => vectorOf(embedding)),
        ]);
        return rowCount ?? 0;
      });
    },

    close: async () => {}, // the galleries of a database share its connections
  };
}

/**
 * The nearest by the index, whose components have 16 bits, compared again with 32; and everybody on the blocklist: a blocked face is never lost to an approximate index. The
 * nearest of those is kept even when `limit` others are nearer.
 */
const SEARCH = `
  WITH candidate AS MATERIALIZED (
    (SELECT seq FROM biometrics_faces WHERE gallery = $5
      ORDER BY embedding::halfvec(512) <=> $1::vector::halfvec(512) LIMIT ${BREADTH})
    UNION SELECT seq FROM biometrics_faces WHERE gallery = $5 AND blocklisted
  ),
  scored AS MATERIALIZED (
    SELECT seq, blocklisted, 1 - (embedding <=> $1::vector) AS cosine FROM candidate JOIN biometrics_faces USING (seq)
    WHERE gallery = $5
  ),
  ranked AS (
    SELECT seq, cosine, count(*) OVER () AS total,
      blocklisted AND ($3::boolean OR row_number() OVER (PARTITION BY blocklisted ORDER BY cosine DESC, seq) = 1) AS kept
    FROM scored WHERE cosine >= $2::float8
  ),
  chosen AS (
    SELECT seq, cosine, total FROM ranked ORDER BY kept DESC, cosine DESC, seq LIMIT $4
  )
  SELECT ${COLUMNS}, cosine, total::int FROM chosen JOIN biometrics_faces USING (seq) WHERE gallery = $5
  ORDER BY $3::boolean AND blocklisted DESC, cosine DESC, seq`;

const STORE = `
  INSERT INTO biometrics_faces (gallery, ${COLUMNS}, embedding)
  SELECT $1, id, label, vendor_data, blocklisted, enrolled_at, embedding::vector
  FROM unnest($2::text[], $3::text[], $4::text[], $5::boolean[], $6::timestamptz[], $7::text[])
    AS face (id, label, vendor_data, blocklisted, enrolled_at, embedding)
  ON CONFLICT (gallery, id) DO NOTHING`;

interface FaceRow {
  readonly seq: number;
  readonly id: string;
  readonly label: string;
  readonly vendor_data: string | null;
  readonly blocklisted: boolean;
  readonly enrolled_at: Date;
}

interface NeighbourRow extends FaceRow {
  readonly cosine: number;
  readonly total: number;
}

function faceOf(row: FaceRow): EnrolledFace {
  return {
    id: row.id,
    label: row.label,
    vendorData: row.vendor_data,
    blocklisted: row.blocklisted,
    enrolledAt: row.enrolled_at.toISOString(),
  };
}

/** Written with as many digits as bring back the same 32 bits. */
function embeddingIn(text: string): Float32Array {
  const embedding = Float32Array.from(JSON.parse(text) as readonly number[]);
  assertEmbedding(embedding);
  return embedding;
}

function vectorOf(embedding: Float32Array): string {
  return `[${embedding.join(",")}]`;
}

async function countFaces(client: PoolClient, name: string): Promise<number> {
  const { rows } = await client.query<{ total: number }>(
    "SELECT count(*)::int AS total FROM biometrics_faces WHERE gallery = $1",
    [name],
  );
  return rows[0]?.total ?? 0;
}

/** Settings that hold for the transaction alone: a connection pooler in between may give the next one to somebody else. */
export async function inTransaction<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  let client: PoolClient | undefined;
  let failure: CheckError | undefined;
  try {
    client = await pool.connect();
    await client.query(
      `BEGIN; SET LOCAL statement_timeout = ${STATEMENT_TIMEOUT_MS}; SET LOCAL hnsw.ef_search = ${BREADTH}`,
    );
    const result = await work(client);
    await client.query("COMMIT");
    return result;
  } catch (thrown) {
    failure = postgresFailure(thrown);
    throw failure;
  } finally {
    // With a failure the connection is closed, and the database rolls back what was under way.
    client?.release(failure);
  }
}

/** Faces and the password cross a network in the clear only when the user has said so. */
function assertSafe(url: string): void {
  // The error of `new URL` holds its input, and so the password.
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !/^postgres(ql)?:$/.test(parsed.protocol)) {
    throw new CheckError("setup", "BIOMETRICS_GALLERY_URL is not a postgres:// URL.");
  }
  // The driver lets ?host= win over the host before it; a path there is a socket of this machine.
  const host = parsed.searchParams.get("host") ?? parsed.hostname;
  if (/^(localhost|127(\.\d+){3}|\[?::1\]?|\/.*|)$/.test(host) || parsed.searchParams.has("sslmode")) return;
  throw new CheckError("setup", "BIOMETRICS_GALLERY_URL does not say whether the connection is encrypted.", {
    next: "Add ?sslmode=verify-full to it, or ?sslmode=disable on a trusted network, then restart the server.",
  });
}
