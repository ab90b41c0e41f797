/**
 * The checks on the device as a host meets them: the built server over stdio, a JPEG of 1440x1080. Each figure stands
 * beside what the same networks take on tensors that are ready, in the same run: the rest is decoding, preparing, and
 * the ways between threads and processes.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { readPack } from "../src/providers/on-device/choice.ts";
import { type Network, networksOf, readingNetworks, shapeOf } from "../src/providers/on-device/models.ts";
import { openRuntime } from "../src/providers/on-device/runtime.ts";
import { groupPhoto } from "../test/support/photos.ts";
import { median, table } from "./figures.ts";

const DIST = new URL("../dist/", import.meta.url);
const WARM_RUNS = 40;
const COLD_RUNS = 5;
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
  const runtime = openRuntime({ pack, wasm: new URL("ort-wasm-simd-threaded.wasm", DIST) });
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
  const ort = await import("onnxruntime-web/wasm");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await readFile("dist/ort-wasm-simd-threaded.wasm");
  for (const [file, shape] of ${JSON.stringify(NETWORKS.check_liveness.map((it) => [it.file, shapeOf(it)]))}) {
    const session = await ort.InferenceSession.create(await readFile("dist/models/" + file));
    const input = new Float32Array(shape.reduce((size, side) => size * side));
    await session.run({ input: new ort.Tensor("float32", input, shape) });
  }
  console.log(performance.now() - started);`;

function coldNetworks(): number {
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", COLD_NETWORKS], {
    cwd: fileURLToPath(new URL("..", DIST)),
    encoding: "utf8",
  });
  return Number(stdout);
}

/** A server of its own in `folder`, ready for calls. */
async function startServer(folder: string) {
  const child = spawn(process.execPath, [fileURLToPath(new URL("main.js", DIST))], {
    cwd: folder,
    env: { PATH: process.env["PATH"], HOME: folder, BIOMETRICS_PROVIDER: "on-device", BIOMETRICS_IMAGE_DIRS: folder },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface(child.stdout);
  let id = 0;
  const send = (message: object) => child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  async function ask(method: string, params: object): Promise<{ isError?: boolean }> {
    id += 1;
    send({ id, method, params });
    for (;;) {
      const [line] = await once(lines, "line");
      const answer = JSON.parse(line);
      if (answer.id === id) return answer.result;
    }
  }
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
    first.bare.push(coldNetworks());
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
  const row = (ours: readonly number[], theirs: readonly number[]) => {
    const [a, b] = [median(ours), median(theirs)];
    return `${a.toFixed(0)} ms; the networks alone ${b.toFixed(0)} ms; ratio ${(a / b).toFixed(2)}; best ${Math.min(...ours).toFixed(0)} ms`;
  };
  table(`Checks on the device over stdio, medians of ${WARM_RUNS} (first: ${COLD_RUNS}), Node ${process.version}`, [
    ["check_liveness", row(warm.check_liveness, bare.check_liveness)],
    ["match_faces", row(warm.match_faces, bare.match_faces)],
    ["check_liveness, first of a server", row(first.ours, first.bare)],
    ["memory of the server afterwards", `${size.toFixed(0)} MiB (at most 320)`],
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
rmSync(folder, { recursive: true, force: true });
