import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Gallery } from "../src/providers/on-device/gallery/gallery.ts";
import { loadDriver } from "../src/providers/on-device/gallery/sqlite/driver.ts";
import { openSqliteGallery } from "../src/providers/on-device/gallery/sqlite.ts";
import { bitsOf, bytesOf, COMPONENTS, cosineOf, FaceMaker, MODEL } from "../test/gallery/faces.ts";
import { quantile, table } from "./figures.ts";

/** Made-up faces in clusters, as families and look-alikes make them: harder to tell apart than random ones. */
const CLUSTERS = 2000;
const CLUSTER_COSINE = 0.42;
const QUERY_COSINE = 0.67;
const QUERIES = 200;
const SIZES = [10_000, 100_000];

interface Target {
  readonly id: string;
  readonly photo: Float32Array;
}

/** Written past the gallery, which makes each face durable by itself. */
async function fill(file: string, size: number): Promise<Target[]> {
  const faces = new FaceMaker(size);
  const centres = Array.from({ length: CLUSTERS }, () => faces.face());
  const targets: Target[] = [];
  const { DatabaseSync } = await loadDriver();
  const database = new DatabaseSync(file);
  const insertFace = database.prepare(
    "INSERT INTO faces (id, label, blocklisted, enrolled_at, embedding) VALUES (?, '', 0, '', ?)",
  );
  const insertBits = database.prepare("INSERT INTO face_bits VALUES (?, ?)");
  database.exec("BEGIN");
  for (let i = 0; i < size; i++) {
    const face = faces.photoOf(centres[i % CLUSTERS] ?? faces.face(), Math.sqrt(CLUSTER_COSINE));
    insertBits.run(insertFace.run(String(i), bytesOf(face)).lastInsertRowid, bitsOf(face));
    if (i % (size / QUERIES) === 0) targets.push({ id: String(i), photo: faces.photoOf(face, QUERY_COSINE) });
  }
  database.exec("UPDATE meta SET value = (SELECT count(*) FROM faces) WHERE key = 'faces'; COMMIT");
  database.close();
  return targets;
}

async function timeSearches(gallery: Gallery, targets: readonly Target[]): Promise<{ ms: number[]; recall: number }> {
  const ms: number[] = [];
  let found = 0;
  for (const { id, photo } of targets) {
    const started = performance.now();
    const { neighbours } = await gallery.search(photo, { minCosine: 0.49, limit: 10, blocklistedFirst: true });
    ms.push(performance.now() - started);
    if (neighbours[0]?.id === id) found++;
  }
  return { ms, recall: found / targets.length };
}

/** The least that finds the nearest face: every embedding in memory, one loop. */
async function timeBareScan(file: string, size: number, targets: readonly Target[]): Promise<number[]> {
  const { DatabaseSync } = await loadDriver();
  const database = new DatabaseSync(file);
  const embeddings = new Float32Array(size * COMPONENTS);
  let at = 0;
  for (const { embedding } of database.prepare("SELECT embedding FROM faces ORDER BY seq").iterate()) {
    embeddings.set(new Float32Array(Uint8Array.from(embedding).buffer), at++ * COMPONENTS);
  }
  database.close();
  return targets.map(({ photo }) => {
    const started = performance.now();
    let best = -1;
    for (let face = 0; face < size; face++) {
      let dot = 0;
      for (let i = 0, j = face * COMPONENTS; i < COMPONENTS; i++, j++) dot += (embeddings[j] ?? 0) * (photo[i] ?? 0);
      if (dot > best) best = dot;
    }
    const ms = performance.now() - started;
    if (cosineOf(photo, photo) < best - 1e-3) throw new Error("no cosine is above 1");
    return ms;
  });
}

const folder = mkdtempSync(join(tmpdir(), "bench-"));
try {
  for (const size of SIZES) {
    const file = join(folder, `${size}.db`);
    await (await openSqliteGallery({ file, model: MODEL })).close();
    const targets = await fill(file, size);
    const gallery = await openSqliteGallery({ file, model: MODEL });
    await timeSearches(gallery, targets.slice(0, 10)); // the disk cache is cold
    const { ms, recall } = await timeSearches(gallery, targets);
    const rss = process.memoryUsage.rss();
    await gallery.close();
    const plain = await openSqliteGallery({ file, model: MODEL, extension: false });
    const inJavaScript = await timeSearches(plain, targets.slice(0, 40));
    await plain.close();
    const bare = await timeBareScan(file, size, targets.slice(0, 60));
    const [p50, bareP50] = [quantile(ms, 0.5), quantile(bare, 0.5)];
    table(`Search among ${size.toLocaleString("en")} faces, the embedding given, Node ${process.version}`, [
      ["p50, p99 of 200", `${p50.toFixed(1)} ms, ${quantile(ms, 0.99).toFixed(1)} ms`],
      ["without sqlite-vec, p50", `${quantile(inJavaScript.ms, 0.5).toFixed(1)} ms`],
      ["bare scan of embeddings in memory, p50", `${bareP50.toFixed(1)} ms`],
      ["ratio", `${(p50 / bareP50).toFixed(2)}`],
      ["found first (recall@1)", `${(recall * 100).toFixed(1)} %`],
      ["memory (RSS)", `${(rss / 2 ** 20).toFixed(0)} MiB`],
    ]);
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
