/** The three steps of verify_person against one pass over each of the same two photos, through one server. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { makePhotos } from "../test/support/photos.ts";
import { median, table } from "./figures.ts";

const ROUNDS = 30;
const folder = mkdtempSync(join(tmpdir(), "bench-"));
const photos = await makePhotos(folder);
const client = new Client({ name: "bench", version: "1.0.0" });
await client.connect(
  new StdioClientTransport({
    command: process.execPath,
    args: [resolve(import.meta.dirname, "../dist/main.js")],
    env: {
      PATH: process.env["PATH"] ?? "",
      HOME: folder,
      BIOMETRICS_PROVIDER: "on-device",
      BIOMETRICS_IMAGE_DIRS: folder,
      BIOMETRICS_DATA_DIR: join(folder, "data"),
    },
  }),
);

async function measure(name: string, args: Record<string, unknown>): Promise<number> {
  const started = performance.now();
  const { isError } = await client.callTool({ name, arguments: args });
  if (isError) throw new Error(`${name} failed`);
  return performance.now() - started;
}

// Decode, detect, landmarks, one embedding (for the quality) and liveness: all of it is in a liveness check.
const onePass = async () =>
  (await measure("check_liveness", { image_path: photos.womanB })) +
  (await measure("check_liveness", { image_path: photos.womanA }));
const threeSteps = () => measure("verify_person", { selfie_path: photos.womanB, reference_image_path: photos.womanA });

await onePass();
await threeSteps();
const passes: number[] = [];
const steps: number[] = [];
for (let round = 0; round < ROUNDS; round += 1) {
  passes.push(await onePass());
  steps.push(await threeSteps());
}
await client.close();
rmSync(folder, { recursive: true, force: true });
table(`verify_person on the device, warm, median of ${ROUNDS}, Node ${process.version}`, [
  ["one pass over each photo", `${median(passes).toFixed(0)} ms`],
  ["verify_person (liveness, search, match)", `${median(steps).toFixed(0)} ms`],
  ["ratio (at most 1.3)", (median(steps) / median(passes)).toFixed(2)],
]);
