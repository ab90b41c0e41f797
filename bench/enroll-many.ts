/** `enroll-face` of a folder of ID photos, by the built command: `npx tsx bench/enroll-many.ts 300`. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { readPack } from "../src/providers/on-device/choice.ts";
import { type Network, readingNetworks, shapeOf } from "../src/providers/on-device/models.ts";
import { decode } from "../src/providers/on-device/pipeline/decode.ts";
import { openRuntime } from "../src/providers/on-device/runtime.ts";
import { portrait } from "../test/support/photos.ts";
import { median, table } from "./figures.ts";

const DIST = new URL("../dist/", import.meta.url);
const WIDTH = 640;
const HEIGHT = 480;
const RUNS = 30;
const count = Number(process.argv[2] ?? 300);

/** A portrait in the middle of an ID photo, of another brightness each: no two files are the same. */
async function makeFolder(folder: string): Promise<string> {
  const people = await Promise.all((["womanA", "womanB", "otherWoman", "thirdWoman"] as const).map(portrait));
  mkdirSync(folder);
  for (let i = 0; i < count; i += 1) {
    const photo = await sharp(people[i % people.length])
      .resize(WIDTH, HEIGHT, { fit: "contain", background: "#ccd" })
      .modulate({ brightness: 0.9 + (0.2 * i) / count })
      .jpeg({ quality: 92 })
      .toBuffer();
    writeFileSync(join(folder, `${i}.jpg`), photo);
  }
  return join(folder, "0.jpg");
}

/** Told at the end of the command: the time of all cores that it took. */
const TELL = `import { isMainThread } from "node:worker_threads";
  if (isMainThread) process.on("exit", () => {
    const { user, system } = process.cpuUsage();
    process.stderr.write("cpu " + (user + system) / 1e6);
  });`;

/** One run of the command, with its start, in seconds. */
function enrol(folder: string, data: string, expected: number) {
  const began = performance.now();
  const tell = `--import=data:text/javascript,${encodeURIComponent(TELL)}`;
  const args = [tell, fileURLToPath(new URL("main.js", DIST)), "enroll-face", folder, "--json"];
  const env = { ...process.env, BIOMETRICS_DATA_DIR: data, BIOMETRICS_PROVIDER: "on-device" };
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", env, maxBuffer: 2 ** 26 });
  const took = (performance.now() - began) / 1000;
  const { enrolled } = JSON.parse(stdout);
  if (enrolled !== expected) throw new Error(`${enrolled} of ${expected} were enrolled: ${stderr}`);
  return { took, cpu: Number(/cpu ([\d.]+)/.exec(stderr)?.[1]) };
}

/** What the networks of one enrolment take on tensors that are ready. */
async function networksAlone(threads: number) {
  const pack = await readPack(new URL("models/", DIST));
  const runtime = openRuntime({ pack, wasm: new URL("ort-wasm-simd-threaded.wasm", DIST), threads });
  // The face, and its mirror image.
  const networks: readonly Network[] = [...readingNetworks(pack), pack.embedder];
  const ms: number[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    const began = performance.now();
    for (const network of networks) {
      await runtime.run(network, new Float32Array(shapeOf(network).reduce((size, side) => size * side)).fill(0.1));
    }
    ms.push(performance.now() - began);
  }
  return { p50: median(ms), best: Math.min(...ms) };
}

async function decoding(file: string): Promise<number> {
  const bytes = readFileSync(file);
  const ms: number[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    const began = performance.now();
    await decode(bytes);
    ms.push(performance.now() - began);
  }
  return Math.min(...ms);
}

const root = mkdtempSync(join(tmpdir(), "bench-"));
try {
  const first = await makeFolder(join(root, "people"));
  const { took, cpu } = enrol(join(root, "people"), join(root, "data"), count);
  const again = enrol(join(root, "people"), join(root, "data"), 0);
  const alone = await networksAlone(1);
  const perMinute = (ms: number) => `${(60_000 / ms).toFixed(0)} a minute`;
  table(`enroll-face of a folder: ${count} JPEG files of ${WIDTH}x${HEIGHT}, on ${availableParallelism()} cores`, [
    ["faces, by the clock", perMinute((1000 * took) / count)],
    ["faces for each core, by the time that it worked for this", perMinute((1000 * cpu) / count)],
    [
      "one face: its networks alone on one thread, median and best",
      `${alone.p50.toFixed(0)} ms, ${alone.best.toFixed(0)} ms`,
    ],
    ["that is at best, for each worker", perMinute(alone.best)],
    ["one face: decoding, best", `${(await decoding(first)).toFixed(0)} ms`],
    ["the same folder again, nobody new", `${again.took.toFixed(1)} s`],
  ]);
} finally {
  rmSync(root, { recursive: true, force: true });
}
