/**
 * The checks on the device, warm and cold, on a JPEG of 1440x1080. Each figure stands beside what the same networks take
 * on tensors that are ready, in the same run: the rest is decoding, preparing, and the way to the worker and back.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { loadImage } from "../src/image.ts";
import { MODELS, type ModelName } from "../src/providers/on-device/models.ts";
import { onDevice } from "../src/providers/on-device/provider.ts";
import { openRuntime } from "../src/providers/on-device/runtime.ts";
import { groupPhoto } from "../test/support/photos.ts";
import { median, table } from "./figures.ts";

const DIST = new URL("../dist/", import.meta.url);
const WARM_RUNS = 40;
const COLD_RUNS = 5;

const NETWORKS = {
  liveness: ["detect", "landmark", "feature", "liveness"],
  // Both faces, and each mirrored.
  match: ["detect", "landmark", "feature", "feature", "detect", "landmark", "feature", "feature"],
} as const satisfies Record<string, readonly ModelName[]>;

/** The two checks, on images that were not seen before: the engine remembers what it made of one. */
function openChecks(photo: string) {
  const provider = onDevice({
    worker: new URL("worker.js", DIST),
    models: new URL("models/", DIST),
    openGallery: () => Promise.reject(new Error("no check needs it")),
  });
  const calm = { signal: new AbortController().signal, onStage: () => {} };
  const load = () => loadImage(photo, "anywhere", provider.images);
  return {
    liveness: async () => provider.checkLiveness(await load(), calm),
    match: async () => provider.matchFaces(await load(), await load(), calm),
    close: () => provider.close(),
  };
}

function openNetworks() {
  const runtime = openRuntime({
    models: new URL("models/", DIST),
    wasm: new URL("ort-wasm-simd-threaded.wasm", DIST),
  });
  return async (names: readonly ModelName[]) => {
    for (const name of names) {
      const shape: readonly number[] = MODELS[name].input;
      await runtime.run(name, new Float32Array(shape.reduce((size, side) => size * side)).fill(0.1));
    }
  };
}

async function time(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** In a process of its own: what its first check takes, what the networks alone take then, how large it becomes. */
async function measureCold(what: string, photo: string): Promise<void> {
  if (what === "networks") {
    console.log(await time(() => openNetworks()(NETWORKS.liveness)));
    return;
  }
  const checks = openChecks(photo);
  const first = await time(checks.liveness);
  if (what === "size") for (let run = 0; run < WARM_RUNS; run += 1) await checks.match();
  console.log(what === "size" ? process.memoryUsage.rss() / 2 ** 20 : first);
  await checks.close();
}

function cold(what: string, photo: string): number {
  const program = fileURLToPath(import.meta.url);
  const { stdout } = spawnSync(process.execPath, ["--import", "tsx", program, what, photo], { encoding: "utf8" });
  return Number(stdout);
}

async function measure(photo: string): Promise<void> {
  const checks = openChecks(photo);
  const runNetworks = openNetworks();
  const taken = { liveness: [] as number[], match: [] as number[] };
  const bare = { liveness: [] as number[], match: [] as number[] };
  for (let run = -5; run < WARM_RUNS; run += 1) {
    for (const check of ["liveness", "match"] as const) {
      const [ours, theirs] = [await time(checks[check]), await time(() => runNetworks(NETWORKS[check]))];
      if (run < 0) continue; // not warm yet
      taken[check].push(ours);
      bare[check].push(theirs);
    }
  }
  await checks.close();
  const runs = Array.from({ length: COLD_RUNS });
  const [first, firstBare, size] = [
    median(runs.map(() => cold("first", photo))),
    median(runs.map(() => cold("networks", photo))),
    median(runs.map(() => cold("size", photo))),
  ];
  const row = (ours: number, theirs: number) =>
    `${ours.toFixed(0)} ms; the networks alone ${theirs.toFixed(0)} ms; ratio ${(ours / theirs).toFixed(2)}`;
  table(
    `Checks on the device, JPEG of 1440x1080, medians of ${WARM_RUNS} (cold: ${COLD_RUNS}), Node ${process.version}`,
    [
      ["check_liveness, warm", row(median(taken.liveness), median(bare.liveness))],
      ["match_faces, warm", row(median(taken.match), median(bare.match))],
      ["check_liveness, first of a process", row(first, firstBare)],
      ["size of a process after 40 matches", `${size.toFixed(0)} MiB (at most 320)`],
    ],
  );
}

const [what, given] = process.argv.slice(2);
if (what !== undefined && given !== undefined) await measureCold(what, given);
else {
  const folder = mkdtempSync(join(tmpdir(), "bench-"));
  const photo = join(folder, "photo.jpg");
  await writeFile(
    photo,
    await sharp(await groupPhoto(1))
      .resize(1440, 1080)
      .jpeg({ quality: 90 })
      .toBuffer(),
  );
  await measure(photo);
  rmSync(folder, { recursive: true, force: true });
}
