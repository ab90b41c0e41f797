/** A gallery of so many faces: `gallery.ts 100000`. */
import { mkdtempSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Gallery } from "../src/providers/on-device/gallery/gallery.ts";
import { loadDriver } from "../src/providers/on-device/gallery/sqlite/driver.ts";
import { openSqliteGallery } from "../src/providers/on-device/gallery/sqlite.ts";
import { bitsOf, bytesOf, COMPONENTS, cosineOf, FaceMaker, MODEL } from "../test/gallery/faces.ts";
import { bar, median, quantile, ratio, table } from "./figures.ts";

/** Made-up faces in clusters, as families and look-alikes make them: harder to tell apart than random ones. */
const CLUSTERS = 2000;
const CLUSTER_COSINE = 0.42;
const QUERY_COSINE = 0.67;
const QUERIES = 200;
const ENROLMENTS = 50;
const size = Number(process.argv[2] ?? 10_000);
/** Where a scan of all embeddings in memory, or in JavaScript, takes gigabytes or minutes. */
const MOST_SCANNED = 100_000;
/** A gallery that takes longer to make is not measured. */
const LONGEST_FILL_MS = 15 * 60_000;

interface Target {
  readonly id: string;
  readonly photo: Float32Array;
}

/** Written past the gallery, which makes each face durable by itself. */
async function fill(file: string): Promise<Target[]> {
  const began = performance.now();
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
    if (i % 10_000 === 0 && performance.now() - began > LONGEST_FILL_MS) {
      throw new Error(
        `not measured: only ${i.toLocaleString("en")} faces were stored in ${LONGEST_FILL_MS / 60_000} min`,
      );
    }
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
async function timeBareScan(file: string, targets: readonly Target[]): Promise<number[]> {
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

/** Each stored durably by itself, in a gallery that is full already. */
async function timeEnrolments(gallery: Gallery): Promise<number[]> {
  const faces = new FaceMaker(1);
  const ms: number[] = [];
  for (let i = 0; i < ENROLMENTS; i++) {
    const face = faces.face();
    const started = performance.now();
    await gallery.enroll(face, { label: `new ${i}`, vendorData: null, blocklisted: false });
    ms.push(performance.now() - started);
  }
  return ms;
}

const folder = mkdtempSync(join(tmpdir(), "bench-"));
const file = join(folder, "gallery.db");
const ms = (value: number) => `${value.toFixed(1)} ms`;
try {
  await (await openSqliteGallery({ file, model: MODEL })).close();
  const targets = await fill(file);
  const disk = statSync(file).size;
  const before = process.memoryUsage.rss();
  const gallery = await openSqliteGallery({ file, model: MODEL });
  await timeSearches(gallery, targets.slice(0, 10)); // the disk cache is cold
  const found = await timeSearches(gallery, targets);
  const rss = process.memoryUsage.rss();
  await gallery.close();
  const p50 = median(found.ms);
  const rows = [
    [`search, p50 and p99 of ${targets.length}`, `${ms(p50)}, ${ms(quantile(found.ms, 0.99))}`],
    ["found first (recall@1)", `${(found.recall * 100).toFixed(1)} %`],
    ["on disk", `${(disk / 2 ** 20).toFixed(0)} MiB`],
    [
      "memory (RSS), and before it was opened",
      `${(rss / 2 ** 20).toFixed(0)} and ${(before / 2 ** 20).toFixed(0)} MiB`,
    ],
  ];
  if (size <= MOST_SCANNED) {
    const plain = await openSqliteGallery({ file, model: MODEL, extension: false });
    const inJavaScript = await timeSearches(plain, targets.slice(0, 40));
    await plain.close();
    const bare = median(await timeBareScan(file, targets.slice(0, 60)));
    rows.push(
      ["search without sqlite-vec, p50", ms(median(inJavaScript.ms))],
      ["bare scan of embeddings in memory, p50", ms(bare)],
      ["search to bare scan, ratio", ratio(p50, bare)],
    );
  } else rows.push(["without sqlite-vec, and a bare scan", `not measured above ${MOST_SCANNED.toLocaleString("en")}`]);
  const again = await openSqliteGallery({ file, model: MODEL });
  rows.push([`enroll, p50 of ${ENROLMENTS}, each durable`, ms(median(await timeEnrolments(again)))]);
  await again.close();
  const name = `${size.toLocaleString("en")} faces`;
  table(`A gallery of ${name}, the embedding given`, rows);
  bar("One search in a gallery, p50", name, p50, "ms");
} finally {
  await rm(folder, { recursive: true, force: true });
}
