import { once } from "node:events";
import { copyFile, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { expect, onTestFinished, test } from "vitest";
import type { Job, WorkerData } from "../../src/providers/on-device/messages.ts";
import {
  type Network,
  networksOf,
  outputsOf,
  type Pack,
  sha256Of,
  shapeOf,
} from "../../src/providers/on-device/models.ts";
import { openRuntime, type Runtime } from "../../src/providers/on-device/runtime.ts";
import { temporaryFolder } from "../support/clients.ts";
import { makePhotos } from "../support/photos.ts";
import { BUILT } from "./setting.ts";

const MODELS = join(createRequire(import.meta.url).resolve("faceplugin-face-recognition-js/package.json"), "../model");
/** How far apart two outputs may be that are the same. */
const MAX_ERROR = 3e-6;

/** The networks that are published with the program, as they were before the build optimised them. */
async function original(): Promise<Pack> {
  const folder = temporaryFolder();
  async function before<N extends Network>(network: N): Promise<N> {
    const file = join(MODELS, network.file);
    await copyFile(file, join(folder, network.file));
    const bytes = await readFile(file);
    return { ...network, bytes: bytes.length, sha256: sha256Of(bytes), optimised: false };
  }
  const { pack } = BUILT;
  if (pack.landmarks.points === 5) throw new Error("the pack has no network of landmarks");
  return {
    ...pack,
    folder: pathToFileURL(`${folder}/`).href,
    detector: await before(pack.detector),
    landmarks: await before(pack.landmarks),
    embedder: await before(pack.embedder),
    liveness: { ...pack.liveness, networks: await Promise.all(pack.liveness.networks.map(before)) },
  };
}

/** Neither dark nor bright, and without a pattern. */
function noiseFor(network: Network): Float32Array {
  const { mean, scale } = network.input;
  const [m, s] = [[mean].flat()[0] ?? 0, [scale].flat()[0] ?? 1];
  const size = shapeOf(network).reduce((product, side) => product * side);
  return Float32Array.from({ length: size }, (_, i) => (((i * 2_654_435_761) % 256) - m) / s);
}

/** The largest difference between the outputs, relative to the largest of them. */
async function difference(a: Runtime, b: Runtime): Promise<Record<string, number>> {
  const differences: Record<string, number> = {};
  const others = networksOf(b.pack);
  for (const [i, network] of networksOf(a.pack).entries()) {
    const other = others[i] ?? network;
    const [one, two] = [await a.run(network, noiseFor(network)), await b.run(other, noiseFor(network))];
    for (const name of outputsOf(network)) {
      const [x, y] = [one[name] ?? new Float32Array(), two[name] ?? new Float32Array()];
      const largest = x.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
      expect(x.length).toBe(y.length);
      expect(largest).toBeGreaterThan(0);
      differences[`${network.file} ${name}`] = x.reduce(
        (max, value, at) => Math.max(max, Math.abs(value - (y[at] ?? Number.NaN)) / largest),
        0,
      );
    }
  }
  return differences;
}

test("the networks answer as before the build optimised them", async () => {
  const { pack, wasm } = BUILT;
  const differences = await difference(openRuntime({ wasm, pack }), openRuntime({ wasm, pack: await original() }));
  expect(Object.keys(differences)).toHaveLength(5);
  for (const [output, by] of Object.entries(differences)) expect(by, output).toBeLessThan(MAX_ERROR);
});

test("and in two threads as in one", async () => {
  const bytes = new Uint8Array(await readFile((await makePhotos()).womanA));
  const [one, two] = await Promise.all([1, 2].map((threads) => embeddingBy(threads, bytes)));
  const apart = (one ?? []).map((value, i) => Math.abs(value - (two?.[i] ?? Number.NaN)));
  expect(apart).toHaveLength(512);
  expect(Math.max(...apart)).toBeLessThan(MAX_ERROR);
});

/** Of the photograph's main face, by a worker of the build. */
async function embeddingBy(threads: number, bytes: Uint8Array): Promise<number[]> {
  const worker = new Worker(BUILT.worker, { workerData: { pack: BUILT.pack, threads } satisfies WorkerData });
  onTestFinished(async () => void (await worker.terminate()));
  const stop = new Int32Array(new SharedArrayBuffer(4));
  worker.postMessage({ id: 1, operation: "read", input: { bytes, rotate: false }, stop } satisfies Job);
  const [{ output }] = await once(worker, "message");
  return [...output.main.embedding];
}
