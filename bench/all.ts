/** Each in a process of its own: memory and caches of one are no matter of the next. */
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";

const BENCHES = ["startup", "didit", "peer", "on-device", "verify-person", "gallery"];

for (const name of BENCHES) {
  const { status } = spawnSync(process.execPath, ["--import", "tsx", resolve(import.meta.dirname, `${name}.ts`)], {
    stdio: "inherit",
  });
  if (status !== 0) process.exitCode = 1;
}
