import { closeSync, openSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { CheckError, errnoOf } from "../errors.ts";
import { loadDriver } from "../providers/on-device/gallery/sqlite/driver.ts";
import type { Template } from "../providers/provider.ts";
import { diskTrouble, makeDataFolder, refuseIrregular, refuseShared, statIfThere } from "../storage/folder.ts";

// Templates are biometric data: they lie in the data folder, for its owner alone, until `--purge` removes them.

/** What was measured, by the SHA-256 of the images: so that an evaluation can go on, and be repeated at no cost. */
export interface Cache {
  /** undefined: it was not measured; null: there was no face. */
  template(hash: string): Template | null | undefined;
  keepTemplate(hash: string, template: Template | null): void;
  /** 0..100, of one image (liveness) or of two (match), joined. The same. */
  score(hash: string): number | null | undefined;
  keepScore(hash: string, score: number | null): void;
  close(): void;
}

export const cacheFileOf = (dataFolder: string) => join(dataFolder, "evaluation.db");
const partsOf = (file: string) => ["", "-wal", "-shm", "-journal"].map((suffix) => file + suffix);

const TABLE = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  CREATE TABLE IF NOT EXISTS measurements (
    model TEXT NOT NULL, hash TEXT NOT NULL, kind TEXT NOT NULL, value BLOB,
    PRIMARY KEY (model, hash, kind)
  ) WITHOUT ROWID`;
const BUSY_TIMEOUT_MS = 10_000;

/** `model`: what else the measurements depend on. Those of another are there, and not seen. @throws CheckError */
export async function openCache(dataFolder: string, model: string): Promise<Cache> {
  const file = cacheFileOf(dataFolder);
  try {
    const { DatabaseSync } = await loadDriver();
    await makeDataFolder(dataFolder);
    await lookAt(file);
    createPrivate(file);
    const database = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
    database.exec(TABLE);
    const find = database.prepare("SELECT value FROM measurements WHERE model = ? AND hash = ? AND kind = ?");
    const keep = database.prepare("INSERT OR REPLACE INTO measurements VALUES (?, ?, ?, ?)");

    const found = (hash: string, kind: string): Float32Array | Float64Array | null | undefined =>
      guarded(() => {
        const row = find.get(model, hash, kind);
        if (row === undefined || row.value === null) return row && null;
        const { buffer } = Uint8Array.from(row.value); // aligned
        return kind === "score" ? new Float64Array(buffer) : new Float32Array(buffer);
      });
    const store = (hash: string, kind: string, values: Float32Array | Float64Array | null) =>
      void guarded(() => keep.run(model, hash, kind, values && new Uint8Array(values.buffer)));

    return {
      template(hash) {
        const both = found(hash, "template");
        if (!(both instanceof Float32Array)) return both === null ? null : undefined;
        return { user: both.slice(0, both.length / 2), reference: both.slice(both.length / 2) };
      },
      keepTemplate(hash, template) {
        if (template === null) return store(hash, "template", null);
        const { user, reference } = template;
        const both = new Float32Array(user.length + reference.length);
        both.set(user);
        both.set(reference, user.length);
        store(hash, "template", both);
      },
      score(hash) {
        const kept = found(hash, "score");
        return kept === undefined || kept === null ? kept : kept[0];
      },
      keepScore: (hash, score) => store(hash, "score", score === null ? null : Float64Array.of(score)),
      close: () => database.close(),
    };
  } catch (thrown) {
    throw failureOf(thrown);
  }
}

/** Removes the whole cache; false if there is none. */
export async function purgeCache(dataFolder: string): Promise<boolean> {
  const file = cacheFileOf(dataFolder);
  const wasThere = (await statIfThere(file)) !== undefined;
  await Promise.all(partsOf(file).map((part) => rm(part, { force: true })));
  return wasThere;
}

async function lookAt(file: string): Promise<void> {
  for (const part of partsOf(file)) {
    const found = await statIfThere(part);
    refuseIrregular(part, found);
    refuseShared({ [part]: found });
  }
}

/** SQLite would take the mode of a new file from the umask. */
function createPrivate(file: string): void {
  try {
    closeSync(openSync(file, "ax", 0o600));
  } catch (thrown) {
    if (errnoOf(thrown) !== "EEXIST") throw thrown;
  }
}

function guarded<T>(work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    throw failureOf(thrown);
  }
}

/** SQLITE_FULL, by its primary result code. */
const FULL = 13;

function failureOf(thrown: unknown): CheckError {
  if (thrown instanceof CheckError) return thrown;
  const isFull = thrown instanceof Error && "errcode" in thrown && thrown.errcode === FULL;
  return (
    diskTrouble(thrown, isFull ? "ENOSPC" : undefined) ??
    new CheckError("setup", "The measurements of earlier evaluations in the data folder cannot be read or written.", {
      cause: thrown,
      next: "Remove them with biometrics-mcp evaluate --purge, then run the command again, which measures every image again.",
    })
  );
}
