import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { beforeEach } from "vitest";

const ASK_ONCE = ["--fetch-retries=0", "--fetch-timeout=10000"];

/** npm, with what it printed. */
export async function npm(args: readonly string[], cwd: string): Promise<string> {
  const { stdout } = await promisify(execFile)("npm", [...args], { cwd, shell: process.platform === "win32" });
  return stdout;
}

/**
 * Is there a registry to install from? Without one, every test of the file is skipped, and says so. With CI set it is
 * not asked: there the tests run, and fail if they cannot.
 */
export async function hasRegistry(): Promise<boolean> {
  const isThere =
    (process.env["CI"] ?? "") !== "" ||
    (await npm(["ping", ...ASK_ONCE], import.meta.dirname).then(
      () => true,
      () => false,
    ));
  if (!isThere) console.log("skipped: no npm registry answers");
  beforeEach((context) => context.skip(!isThere)); // a machine without a network can install nothing
  return isThere;
}
