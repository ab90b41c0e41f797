import { Console } from "node:console";
import { parentPort, workerData } from "node:worker_threads";
import { createJobHandler } from "./jobs.ts";
import type { Job, WorkerData } from "./messages.ts";

// A thread of its own for decoding and inference, so that a check does not hold up the protocol.

// What the runtime of the networks prints must be seen, and not between protocol frames.
globalThis.console = new Console(process.stderr, process.stderr);

const { pack, threads }: WorkerData = workerData;
const work = createJobHandler({
  pack,
  threads,
  wasm: new URL("./ort-wasm-simd-threaded.wasm", import.meta.url),
});

parentPort?.on("message", async (job: Job) => {
  parentPort?.postMessage(await work(job));
});
