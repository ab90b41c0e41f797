import { versions } from "node:process";
import { CheckError } from "../../../../errors.ts";

export type Driver = Pick<typeof import("@photostructure/sqlite"), "DatabaseSync">;
export type Database = InstanceType<Driver["DatabaseSync"]>;

/** Older ones can lose a commit when two processes meet while the write-ahead log is reset. */
const OLDEST_SAFE_SQLITE = [3, 51, 3] as const;

/**
 * The SQLite that Node brings, where it is recent enough: it is patched with Node and loads no native addon. Otherwise
 * the package with the same API, which is all there is on Node 20. Asking `versions` first keeps the built-in of an
 * older Node unloaded, and so its ExperimentalWarning unsaid.
 */
export async function loadDriver(): Promise<Driver> {
  const { sqlite } = versions;
  if (isSafe(sqlite)) {
    // A name that the compiler cannot see through: the types of Node 20 do not know the module.
    const builtIn: string = "node:sqlite";
    const driver: Driver = await import(builtIn);
    return driver;
  }
  try {
    return await import("@photostructure/sqlite");
  } catch (cause) {
    throw new CheckError("unsupported", "There is no face gallery in this setup; everything else works.", {
      cause,
      next: "Enrolling and searching faces on this device needs a newer Node.js, or a reinstall on a platform with a prebuilt SQLite. Liveness and face match need neither.",
    });
  }
}

function isSafe(version: string | undefined): boolean {
  if (version === undefined) return false;
  const parts = version.split(".").map(Number);
  for (const [i, oldest] of OLDEST_SAFE_SQLITE.entries()) {
    const part = parts[i] ?? 0;
    if (part !== oldest) return part > oldest;
  }
  return true;
}
