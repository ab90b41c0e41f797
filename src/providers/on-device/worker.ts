import { parentPort, workerData } from "node:worker_threads";
import { openWorkshop } from "./jobs.ts";
import type { Job } from "./messages.ts";

/** A thread of its own for decoding and inference, so that a check does not hold up the protocol. */
const { models }: { models: string } = workerData;
const work = openWorkshop({
  models: new URL(models),
  wasm: new URL("./ort-wasm-simd-threaded.wasm", import.meta.url),
});

parentPort?.on("message", async (job: Job) => {
  parentPort?.postMessage(await work(job));
});
