import { spawnSync } from "node:child_process";
import { type Browser, chromium } from "playwright-core";

/** The command of a browser for tests of pages; undefined: none is installed. */
export const CHROMIUM = ["chromium", "chromium-browser", "google-chrome"].find(
  (name) => spawnSync(name, ["--version"]).status === 0,
);

export function openBrowser(): Promise<Browser> {
  if (CHROMIUM === undefined) throw new Error("No Chromium is installed.");
  const { stdout: path } = spawnSync("which", [CHROMIUM], { encoding: "utf8" });
  return chromium.launch({ executablePath: path.trim(), args: ["--no-sandbox"] });
}
