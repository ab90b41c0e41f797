import { randomUUID } from "node:crypto";
import { dirname } from "node:path";
import { setTimeout } from "node:timers/promises";
import { CheckError } from "../../../errors.ts";
import type { EnrolledFace } from "../../provider.ts";
import { cursorAfter, seqBefore } from "./cursor.ts";
import { assertEmbedding, bytesOf, embeddingOf, signBits } from "./embedding.ts";
import type { Gallery, Neighbour, StoredFace } from "./gallery.ts";
import { damaged } from "./refusal.ts";
import { type DistanceSql, installDistances } from "./sqlite/distance.ts";
import { type Database, type Driver, loadDriver } from "./sqlite/driver.ts";
import { isBusy, openingFailure, sqliteFailure } from "./sqlite/failure.ts";
import { type GalleryFile, preparePrivateFile } from "./sqlite/files.ts";
import { assertCounts, COUNTS, prepareDatabase } from "./sqlite/schema.ts";

export interface SqliteGalleryOptions {
  readonly file: string;
  /** The face model whose embeddings it holds. */
  readonly model: string;
  /** false: compute distances in JavaScript even where sqlite-vec loads. */
  readonly extension?: boolean;
}

/** Up to here every face is compared exactly, about 10 ms for 10,000; above, sign bits choose who is compared. */
const EXACT_UP_TO = 20_000;
/** Of a million faces, the target at cosine 0.4 was always among the 1,000 nearest by sign bits, at 0.3 in nine of ten. */
const PREFILTER_BREADTH = 1000;
/** A disk may lose bits without anybody writing. */
const SOUND_FOR_MS = 60_000;
const OPEN_WAIT_MS = 10_000;
const ERASE_WAIT_MS = 2000;
const RETRY_MS = 25;

/**
 * A gallery in one SQLite file. Its calls are synchronous inside and block the event loop for about 10 ms per 10,000
 * faces up to 20,000, and 20 ms at 100,000.
 */
export async function openSqliteGallery({ file, model, extension = true }: SqliteGalleryOptions): Promise<Gallery> {
  const driver = await loadDriver();
  const place = await preparePrivateFile(file);
  const { database, id } = await connect(driver, place, { file, model, extension });
  try {
    await place.keepMark(id);
    const distances = await installDistances(database, extension);
    return galleryOn(database, place, distances);
  } catch (thrown) {
    database.close();
    throw sqliteFailure(thrown);
  }
}

/** Two processes that create the same file at once can be told "busy" at once, without SQLite's own waiting. */
async function connect(driver: Driver, place: GalleryFile, { file, model, extension }: Required<SqliteGalleryOptions>) {
  const deadline = performance.now() + OPEN_WAIT_MS;
  for (;;) {
    let database: Database | undefined;
    try {
      database = new driver.DatabaseSync(file, { allowExtension: extension });
      return { database, id: prepareDatabase(database, model, place.mark) };
    } catch (thrown) {
      database?.close();
      if (!isBusy(thrown) || performance.now() > deadline) throw await openingFailure(thrown, dirname(file));
      await setTimeout(RETRY_MS * (0.5 + Math.random()));
    }
  }
}

function galleryOn(database: Database, place: GalleryFile, distances: DistanceSql): Gallery {
  const insertFace = database.prepare(
    "INSERT INTO faces (id, label, vendor_data, blocklisted, enrolled_at, embedding) VALUES (?, ?, ?, ?, ?, ?)",
  );
  const insertBits = database.prepare("INSERT INTO face_bits (seq, b) VALUES (?, ?)");
  const deleteFace = database.prepare("DELETE FROM faces WHERE id = ?");
  const pageBefore = database.prepare(`SELECT seq, ${COLUMNS} FROM faces WHERE seq < ? ORDER BY seq DESC LIMIT ?`);
  const pageAfter = database.prepare(`SELECT seq, ${COLUMNS}, embedding FROM faces WHERE seq > ? ORDER BY seq LIMIT ?`);
  const findFace = database.prepare("SELECT 1 FROM faces WHERE id = ?");
  const countFaces = database.prepare(COUNTS);
  const count = database.prepare("UPDATE meta SET value = CAST(value + ? AS INTEGER) WHERE key = 'faces'");
  const isLarge = database.prepare(`SELECT 1 FROM face_bits LIMIT 1 OFFSET ${EXACT_UP_TO}`);
  const findDamaged = database.prepare(`SELECT id FROM faces WHERE (${distances.isUnit}) IS NOT TRUE LIMIT 1`);
  const searchAll = database.prepare(searchSql("faces", distances.cosine));
  const searchNear = database.prepare(
    searchSql(prefilterSql(distances), `CASE WHEN ${distances.isUnit} THEN ${distances.cosine} END`),
  );
  const readDataVersion = database.prepare("PRAGMA data_version"); // changes with each commit of another connection
  const truncateLog = database.prepare("PRAGMA wal_checkpoint(TRUNCATE)");

  /** Removed faces may still be in the files, because another process was reading when they were to be overwritten. */
  let owesErasure = place.hasLog;

  /**
   * Moves the log into the database, where removed faces are zeroes, and empties it. Never waits for other processes,
   * and is owed until it succeeds: a disk that is full is no reason to answer nothing.
   */
  function erase(): void {
    if (!owesErasure || !database.isOpen) return;
    try {
      database.exec("PRAGMA busy_timeout = 0");
      owesErasure = truncateLog.get()?.busy !== 0;
    } catch {
      // Busy, or a fault that the work itself will meet.
    } finally {
      database.exec("PRAGMA busy_timeout = 10000");
    }
  }

  function total(): number {
    const counts = countFaces.get();
    assertCounts(counts);
    return counts.faces;
  }

  let sound: { readonly content: string; readonly until: number } | undefined;

  /**
   * Of faces that were lost, and of embeddings that are none, a search finds nobody. Looked for once for each content of
   * the files: it takes as long as a search.
   */
  function assertSound(stamp: string, isExact: boolean): void {
    const content = `${readDataVersion.get().data_version} ${stamp}`;
    if (content === sound?.content && performance.now() < sound.until) return;
    total();
    const found = isExact ? findDamaged.get() : undefined;
    if (found !== undefined) throw damaged(`the embedding of face ${found.id}`);
    sound = { content, until: performance.now() + SOUND_FOR_MS };
  }

  function insert({ id, label, vendorData, blocklisted, enrolledAt, embedding }: StoredFace): void {
    const bytes = bytesOf(embedding);
    const { lastInsertRowid } = insertFace.run(id, label, vendorData, Number(blocklisted), enrolledAt, bytes);
    insertBits.run(lastInsertRowid, signBits(embedding));
  }

  async function assertInPlace(): Promise<string> {
    const stamp = await place.stamp();
    if (stamp !== undefined) return stamp;
    throw new CheckError("setup", "The face gallery was moved, deleted or truncated while it was in use.", {
      next: "Restore the gallery, then restart the server.",
    });
  }

  return {
    async enroll(embedding, { label, vendorData, blocklisted }) {
      assertEmbedding(embedding);
      await assertInPlace();
      const face = { id: randomUUID(), label, vendorData, blocklisted, enrolledAt: new Date().toISOString() };
      return attempt(() => {
        erase();
        inTransaction(database, "IMMEDIATE", () => {
          insert({ ...face, embedding });
          count.run(1);
        });
        return face;
      });
    },

    async search(embedding, { minCosine, limit, blocklistedFirst }) {
      assertEmbedding(embedding);
      const stamp = await assertInPlace();
      return attempt(() => {
        erase();
        const query = { query: bytesOf(embedding), minCosine, limit, blocklistedFirst: Number(blocklistedFirst) };
        // In one transaction, so that what is searched is what was looked at.
        const rows = inTransaction<readonly (NeighbourRow | DamagedRow)[]>(database, "DEFERRED", () => {
          const isExact = isLarge.get() === undefined;
          assertSound(stamp, isExact);
          if (isExact) return searchAll.all(query);
          return searchNear.all({ ...query, bits: signBits(embedding), breadth: PREFILTER_BREADTH });
        });
        return { neighbours: rows.map(neighbourOf), total: rows[0]?.total ?? 0 };
      });
    },

    async list({ limit, cursor }) {
      const before = seqBefore(cursor);
      await assertInPlace();
      return attempt(() => {
        erase();
        const rows: FaceRow[] = pageBefore.all(before, limit + 1);
        const last = rows.length > limit ? rows[limit - 1] : undefined;
        return {
          faces: rows.slice(0, limit).map(faceOf),
          total: total(),
          nextCursor: last === undefined ? null : cursorAfter(last.seq),
        };
      });
    },

    async remove(id) {
      await assertInPlace();
      const removed = attempt(() => {
        erase();
        return inTransaction(database, "IMMEDIATE", () => {
          const { changes } = deleteFace.run(id);
          count.run(-Number(changes));
          return changes > 0;
        });
      });
      if (!removed) return { removed: false, erased: false };
      owesErasure = true;
      const deadline = performance.now() + ERASE_WAIT_MS;
      for (;;) {
        erase();
        if (!owesErasure || performance.now() > deadline) return { removed, erased: !owesErasure };
        await setTimeout(RETRY_MS);
      }
    },

    async count() {
      await assertInPlace();
      return attempt(() => {
        erase();
        return total();
      });
    },

    async has(id) {
      await assertInPlace();
      return attempt(() => findFace.get(id) !== undefined);
    },

    async read({ after, limit }) {
      await assertInPlace();
      return attempt(() => {
        const rows: (FaceRow & { embedding: Uint8Array })[] = pageAfter.all(after, limit);
        return rows.map((row) => ({ ...faceOf(row), seq: row.seq, embedding: embeddingOf(row.embedding) }));
      });
    },

    async store(faces) {
      for (const { embedding } of faces) assertEmbedding(embedding);
      await assertInPlace();
      return attempt(() => {
        erase();
        return inTransaction(database, "IMMEDIATE", () => {
          const isNew = faces.filter((face) => {
            if (findFace.get(face.id) !== undefined) return false;
            insert(face);
            return true;
          });
          count.run(isNew.length);
          return isNew.length;
        });
      });
    },

    async close() {
      if (!database.isOpen) return;
      // The package lets go of the files only when its statements are collected, so SQLite would leave the log behind.
      owesErasure = true;
      attempt(() => {
        erase();
        database.close();
      });
    },
  };
}

const COLUMNS = "id, label, vendor_data, blocklisted, enrolled_at";

/** The nearest by sign bits, and everybody on the blocklist: a blocked face is never lost to the prefilter. */
function prefilterSql({ hamming }: DistanceSql): string {
  return `(
        SELECT seq FROM (SELECT seq FROM face_bits ORDER BY ${hamming} LIMIT :breadth)
        UNION SELECT seq FROM faces WHERE blocklisted
      ) CROSS JOIN faces USING (seq)`;
}

/**
 * CROSS JOIN keeps the planner from reading every face to join a few.
 *
 * `chosen` keeps the nearest blocklisted face even when `limit` others are nearer: a caller that looks for it must not
 * take a crowded first page for an empty blocklist. A face without a usable embedding comes before all others: nobody
 * knows whose it was.
 */
function searchSql(candidates: string, cosine: string): string {
  return `
    WITH near AS MATERIALIZED (
      SELECT seq, blocklisted, ${cosine} AS cosine FROM ${candidates} WHERE ifnull(cosine, 2) >= :minCosine
    ),
    ranked AS (
      SELECT seq, blocklisted, cosine, count(*) OVER () AS total,
        row_number() OVER (PARTITION BY blocklisted ORDER BY cosine DESC, seq) AS place
      FROM near
    ),
    chosen AS (
      SELECT seq, cosine, total FROM ranked
      ORDER BY cosine IS NULL DESC, blocklisted AND (:blocklistedFirst OR place = 1) DESC, cosine DESC, seq LIMIT :limit
    )
    SELECT ${COLUMNS}, cosine, total FROM chosen CROSS JOIN faces USING (seq)
    ORDER BY :blocklistedFirst AND blocklisted DESC, cosine DESC, seq`;
}

interface FaceRow {
  readonly seq: number;
  readonly id: string;
  readonly label: string;
  readonly vendor_data: string | null;
  readonly blocklisted: number;
  readonly enrolled_at: string;
}

interface NeighbourRow extends FaceRow {
  readonly cosine: number;
  readonly total: number;
}

/** Its embedding is none. */
interface DamagedRow extends FaceRow {
  readonly cosine: null;
  readonly total: number;
}

function faceOf(row: FaceRow): EnrolledFace {
  return {
    id: row.id,
    label: row.label,
    vendorData: row.vendor_data,
    blocklisted: row.blocklisted === 1,
    enrolledAt: row.enrolled_at,
  };
}

function neighbourOf(row: NeighbourRow | DamagedRow): Neighbour {
  if (row.cosine === null) throw damaged(`the embedding of face ${row.id}`);
  return { ...faceOf(row), cosine: row.cosine };
}

function inTransaction<T>(database: Database, begin: "IMMEDIATE" | "DEFERRED", work: () => T): T {
  database.exec(`BEGIN ${begin}`);
  try {
    const result = work();
    database.exec("COMMIT");
    return result;
  } catch (thrown) {
    if (database.isTransaction) database.exec("ROLLBACK");
    throw thrown;
  }
}

function attempt<T>(work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    throw sqliteFailure(thrown);
  }
}
