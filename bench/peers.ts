/** What the benchmarks compare with. It is installed here, and nothing else of the project needs it. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

const HERE = import.meta.dirname;

export const PACKAGES = join(HERE, "node_modules");

/** Installs the peers, unless they are there. */
export function installPeers(): void {
  if (existsSync(join(PACKAGES, "@vladmandic/human"))) return;
  const args = ["install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"];
  const { status } = spawnSync("npm", args, { cwd: HERE, stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) throw new Error("The packages to compare with could not be installed.");
}
