import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Every temporary folder of a test run lies in one, which goes when the run ends, however it ends. */
export function setup(): () => void {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), "biometrics-test-"));
  process.env["TMPDIR"] = folder;
  return () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}
