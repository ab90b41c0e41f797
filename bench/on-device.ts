/**
 * The checks on the device as a host meets them: the built server over stdio, a JPEG of 1440x1080. Each figure stands
 * beside what the same networks take on tensors that are ready, in the same run: the rest is decoding, preparing, and
 * the ways between threads and processes. `BENCH_AGAINST` names the `dist` folder of another build, an earlier version
 * say: the two are then measured in turn, and the ratios are to the other.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import sharp from "sharp";
import { readPack } from "../src/providers/on-device/choice.ts";
import { type Network, networksOf, readingNetworks, shapeOf } from "../src/providers/on-device/models.ts";
import { openRuntime } from "../src/providers/on-device/runtime.ts";
import { groupPhoto } from "../test/support/photos.ts";
import { median, table } from "./figures.ts";

const DIST = new URL("../dist/", import.meta.url);
const WARM_RUNS = 40;
const COLD_RUNS = 5;
/** As many as the server's worker has. */
const THREADS = Math.min(2, availableParallelism());
/** glibc starts with this much, and keeps more once something large was freed, as V8 and the decoder do. */
const TRIM_THRESHOLD = "131072";
/** How many matches are made for the throughput, and how many at a time. */
const MATCHES = 200;
const AT_ONCE = 16;
const CHECKS = ["check_liveness", "match_faces"] as const;

const pack = await readPack(new URL("models/", DIST));

const NETWORKS: Readonly<Record<(typeof CHECKS)[number], readonly Network[]>> = {
  check_liveness: networksOf(pack),
  // Both faces, and the reference mirrored.
  match_faces: [...readingNetworks(pack), ...readingNetworks(pack), pack.embedder],
};

async function time(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

function openNetworks() {
  const runtime = openRuntime({ pack, wasm: new URL("ort-wasm-simd-threaded.wasm", DIST), threads: THREADS });
  return async (networks: readonly Network[]) => {
    for (const network of networks) {
      const shape = shapeOf(network);
      await runtime.run(network, new Float32Array(shape.reduce((size, side) => size * side)).fill(0.1));
    }
  };
}

/** What the first answer cannot do without: loading the runtime and the networks, and running each. In ms. */
const COLD_NETWORKS = `
  const started = performance.now();
  const { readFile } = await import("node:fs/promises");
  const ort = await import(${JSON.stringify(import.meta.resolve("onnxruntime-web"))});
  ort.env.wasm.numThreads = ${THREADS};
  ort.env.wasm.wasmBinary = await readFile("dist/ort-wasm-simd-threaded.wasm");
  for (const [file, shape] of ${JSON.stringify(NETWORKS.check_liveness.map((it) => [it.file, shapeOf(it)]))}) {
    const model = await readFile("dist/models/" + file);
    const session = await ort.InferenceSession.create(model, { graphOptimizationLevel: "disabled" });
    const input = new Float32Array(shape.reduce((size, side) => size * side));
    await session.run({ input: new ort.Tensor("float32", input, shape) });
  }
  console.log(performance.now() - started);`;

function coldNetworks(folder: string): number {
  const file = join(folder, "cold.mjs"); // further threads do not take a program from the command line
  writeFileSync(file, COLD_NETWORKS);
  const { stdout } = spawnSync(process.execPath, [file], {
    cwd: fileURLToPath(new URL("..", DIST)),
    encoding: "utf8",
  });
  return Number(stdout);
}

/** A server of its own in `folder`, ready for calls. */
async function startServer(folder: string, dist = DIST, more: Readonly<Record<string, string>> = {}) {
  const child = spawn(process.execPath, [fileURLToPath(new URL("main.js", dist))], {
    cwd: folder,
    env: {
      PATH: process.env["PATH"],
      HOME: folder,
      BIOMETRICS_PROVIDER: "on-device",
      BIOMETRICS_IMAGE_DIRS: folder,
      ...more,
    },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const asked = new Map<number, (answer: { isError?: boolean }) => void>();
  createInterface(child.stdout).on("line", (line) => {
    const { id, result, error } = JSON.parse(line);
    asked.get(id)?.(result ?? { isError: true, ...error });
  });
  const send = (message: object) => child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  const ask = (method: string, params: object) =>
    new Promise<{ isError?: boolean }>((resolve) => {
      const id = asked.size;
      asked.set(id, resolve);
      send({ id, method, params });
    });
  const clientInfo = { name: "bench", version: "1" };
  await ask("initialize", { protocolVersion: "2025-11-25", capabilities: {}, clientInfo });
  send({ method: "notifications/initialized" });
  const photo = join(folder, "photo.jpg");
  const paths = {
    check_liveness: { image_path: photo },
    match_faces: { user_image_path: photo, reference_image_path: photo },
  };
  return {
    async call(name: (typeof CHECKS)[number]) {
      const result = await ask("tools/call", { name, arguments: paths[name] });
      if (result.isError !== false && result.isError !== undefined) throw new Error(JSON.stringify(result));
    },
    /** Resident memory in MiB; NaN where the system does not say it this way. */
    size() {
      if (process.platform !== "linux") return Number.NaN;
      return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]) / 1024;
    },
    async close() {
      child.stdin.end();
      await once(child, "exit");
    },
  };
}

async function measure(folder: string): Promise<void> {
  const first = { ours: [] as number[], bare: [] as number[] };
  for (let run = 0; run < COLD_RUNS; run += 1) {
    const server = await startServer(folder);
    first.ours.push(await time(() => server.call("check_liveness")));
    await server.close();
    first.bare.push(coldNetworks(folder));
  }
  const server = await startServer(folder);
  const runNetworks = openNetworks();
  const warm = { check_liveness: [] as number[], match_faces: [] as number[] };
  const bare = { check_liveness: [] as number[], match_faces: [] as number[] };
  for (let run = -5; run < WARM_RUNS; run += 1) {
    for (const check of CHECKS) {
      const [ours, theirs] = [await time(() => server.call(check)), await time(() => runNetworks(NETWORKS[check]))];
      if (run < 0) continue; // not warm yet
      warm[check].push(ours);
      bare[check].push(theirs);
    }
  }
  const size = server.size();
  await server.close();
  const trimmed = await startServer(folder, DIST, { MALLOC_TRIM_THRESHOLD_: TRIM_THRESHOLD });
  for (let run = -5; run < WARM_RUNS; run += 1) for (const check of CHECKS) await trimmed.call(check);
  const sizeTrimmed = trimmed.size();
  await trimmed.close();
  const row = (ours: readonly number[], theirs: readonly number[]) => {
    const [a, b] = [median(ours), median(theirs)];
    return `${a.toFixed(0)} ms; the networks alone ${b.toFixed(0)} ms; ratio ${(a / b).toFixed(2)}; best ${Math.min(...ours).toFixed(0)} ms`;
  };
  table(`Checks on the device over stdio, medians of ${WARM_RUNS} (first: ${COLD_RUNS}), Node ${process.version}`, [
    ["check_liveness", row(warm.check_liveness, bare.check_liveness)],
    ["match_faces", row(warm.match_faces, bare.match_faces)],
    ["check_liveness, first of a server", row(first.ours, first.bare)],
    ["memory of the server afterwards", `${size.toFixed(0)} MiB (at most 320)`],
    [`the same with MALLOC_TRIM_THRESHOLD_=${TRIM_THRESHOLD}`, `${sizeTrimmed.toFixed(0)} MiB`],
  ]);
}

/** The same calls to this build and another, in turn. */
async function compare(folder: string, other: URL): Promise<void> {
  const builds = [DIST, other].map((dist) => ({
    dist,
    first: [] as number[],
    check_liveness: [] as number[],
    match_faces: [] as number[],
    matches: Number.NaN,
    size: Number.NaN,
  }));
  for (let run = 0; run < COLD_RUNS; run += 1) {
    for (const build of builds) {
      const server = await startServer(folder, build.dist);
      build.first.push(await time(() => server.call("check_liveness")));
      await server.close();
    }
  }
  const servers = await Promise.all(
    builds.map(async (build) => ({ build, ...(await startServer(folder, build.dist)) })),
  );
  for (let run = -5; run < 100; run += 1) {
    for (const { build, call } of servers) {
      for (const check of CHECKS) {
        const took = await time(() => call(check));
        if (run >= 0) build[check].push(took);
      }
    }
  }
  for (const { build, size, close } of servers) {
    build.size = size();
    await close();
  }
  for (const build of builds) {
    const server = await startServer(folder, build.dist);
    let left = MATCHES;
    const one = async () => {
      while (left-- > 0) await server.call("match_faces");
    };
    build.matches = await time(() => Promise.all(Array.from({ length: AT_ONCE }, one)));
    await server.close();
  }
  const [ours, theirs] = builds;
  if (ours === undefined || theirs === undefined) return;
  const row = (a: number, b: number, unit: string) =>
    `${a.toFixed(0)} ${unit}; the other ${b.toFixed(0)} ${unit}; ratio ${(a / b).toFixed(2)}`;
  table(`The same against ${fileURLToPath(other)}`, [
    ["check_liveness", row(median(ours.check_liveness), median(theirs.check_liveness), "ms")],
    ["match_faces", row(median(ours.match_faces), median(theirs.match_faces), "ms")],
    ["check_liveness, first of a server", row(median(ours.first), median(theirs.first), "ms")],
    [`${MATCHES} matches, ${AT_ONCE} at a time`, row(ours.matches, theirs.matches, "ms")],
    ["memory after 210 checks", row(ours.size, theirs.size, "MiB")],
  ]);
}

const folder = mkdtempSync(join(realpathSync(tmpdir()), "bench-"));
await writeFile(
  join(folder, "photo.jpg"),
  await sharp(await groupPhoto(1))
    .resize(1440, 1080)
    .jpeg({ quality: 90 })
    .toBuffer(),
);
await measure(folder);
const other = process.env["BENCH_AGAINST"];
if (other !== undefined) await compare(folder, pathToFileURL(`${resolve(other)}/`));
rmSync(folder, { recursive: true, force: true });
