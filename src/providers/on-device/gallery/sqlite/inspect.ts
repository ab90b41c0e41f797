import { CheckError } from "../../../../errors.ts";
import { COMPONENTS, isUnit, lengthOf, signBits } from "../embedding.ts";
import { attempt, countOf, type Inspection, NONE_YET } from "../inspect.ts";
import { lost, type Mark, readMark, replaced } from "../mark.ts";
import { damaged } from "../refusal.ts";
import { type Database, loadDriver } from "./driver.ts";
import { fileFailure, sqliteFailure } from "./failure.ts";
import { lookAt, sizeOf } from "./files.ts";
import { assertCounts, COUNTS, readMeta, refuseOtherModel, versionOf } from "./schema.ts";

/** As many ids as somebody would read. */
const NAMED = 20;

export async function inspectSqlite(file: string, model: string): Promise<Inspection> {
  const driver = await loadDriver();
  const mark = await readMark(`${file}.mark`).catch((thrown: unknown) => {
    throw fileFailure(thrown);
  });
  const size = await sizeOf(file);
  if (size === 0n && mark.id !== undefined) throw lost(mark);
  if (size === 0n) return NONE_YET;
  const files = await attempt("access", async () => {
    await lookAt(file).catch((thrown: unknown) => {
      throw fileFailure(thrown);
    });
    return "only its owner has access to its files";
  });
  if (!files.ok) return { faces: null, findings: [files] };
  const database = told(() => new driver.DatabaseSync(file, { readOnly: true }));
  try {
    return {
      faces: countFaces(database),
      findings: [
        files,
        ...(await Promise.all(tests(database, model, mark).map(([name, test]) => attempt(name, () => told(test))))),
      ],
    };
  } finally {
    database.close();
  }
}

function told<T>(test: () => T): T {
  try {
    return test();
  } catch (thrown) {
    throw sqliteFailure(thrown);
  }
}

const countFaces = (database: Database): number | null => {
  try {
    return database.prepare(COUNTS).get().faces;
  } catch {
    return null; // the tests say why
  }
};

function tests(database: Database, model: string, mark: Mark): readonly (readonly [string, () => string])[] {
  return [
    [
      "schema",
      () => {
        const version = versionOf(database);
        refuseOtherModel(database, model);
        return `version ${version}, for the face model ${model}`;
      },
    ],
    [
      "identity",
      () => {
        if (mark.id === undefined) return "not recorded yet; the next use records it";
        if (versionOf(database) < 2 || readMeta(database, "id") !== mark.id) throw replaced(mark, "another id");
        return "the gallery that was used here before";
      },
    ],
    [
      "file",
      () => {
        const { integrity_check: found } = database.prepare("PRAGMA integrity_check(1)").get();
        if (found !== "ok") throw damaged(found);
        return "intact";
      },
    ],
    [
      "count",
      () => {
        const counts = database.prepare(COUNTS).get();
        if (versionOf(database) > 1) assertCounts(counts);
        const { blocked } = database.prepare("SELECT count(*) AS blocked FROM faces WHERE blocklisted").get();
        return `${countOf(counts.faces)}, ${blocked} of them on the blocklist`;
      },
    ],
    ["embeddings", () => measureEmbeddings(database)],
  ];
}

interface StoredFace {
  readonly id: string;
  readonly embedding: Uint8Array;
  readonly b: Uint8Array | null;
}

function measureEmbeddings(database: Database): string {
  const rows = database.prepare("SELECT id, embedding, b FROM faces LEFT JOIN face_bits USING (seq)").iterate();
  const broken: string[] = [];
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const { id, embedding, b } of rows as Iterable<StoredFace>) {
    const vector = new Float32Array(embedding.slice().buffer, 0, embedding.byteLength >> 2);
    if (vector.length !== COMPONENTS || !isUnit(vector) || Buffer.compare(b ?? Buffer.of(), signBits(vector)) !== 0) {
      broken.push(id);
      continue;
    }
    least = Math.min(least, lengthOf(vector));
    most = Math.max(most, lengthOf(vector));
  }
  if (broken.length > 0) {
    const ids = broken.slice(0, NAMED).join(", ") + (broken.length > NAMED ? ", ..." : "");
    throw new CheckError("setup", `${countOf(broken.length)} cannot be found by a search: ${ids}.`, {
      next: "Put a backup of the gallery back; or remove these faces (remove-face) and enroll them again.",
    });
  }
  if (most < least) return "none";
  return `lengths from ${least.toFixed(4)} to ${most.toFixed(4)}, as unit vectors have`;
}
