import { spawnSync } from "node:child_process";

/** A browser for tests of pages; undefined: none is installed. */
export const CHROMIUM = ["chromium", "chromium-browser", "google-chrome"].find(
  (name) => spawnSync(name, ["--version"]).status === 0,
);
