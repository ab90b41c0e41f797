import { CheckError } from "../../../errors.ts";
import type { GalleryLocation } from "./open.ts";

/** One thing that was looked at. */
export interface Finding {
  readonly test: string;
  readonly ok: boolean;
  /** What was found, and where it is not in order, what to do. */
  readonly said: string;
}

export async function attempt(test: string, work: () => string | Promise<string>): Promise<Finding> {
  try {
    return { test, ok: true, said: await work() };
  } catch (thrown) {
    const { message, next } = CheckError.from(thrown);
    return { test, ok: false, said: `${message} ${next}` };
  }
}

/**
 * Looks at a gallery without changing it, also at one that would not be opened.
 *
 * @throws CheckError where there is none that could be looked at: `unsupported` without SQLite, `unavailable` where the
 *   database does not answer, `setup` where a gallery was lost.
 */
export async function inspectGallery(options: { location: GalleryLocation; model: string }): Promise<Inspection> {
  const { location, model } = options;
  if ("file" in location) {
    const { inspectSqlite } = await import("./sqlite/inspect.ts");
    return inspectSqlite(location.file, model);
  }
  const { inspectPostgres } = await import("./postgres/inspect.ts");
  return inspectPostgres(location, model);
}

export interface Inspection {
  /** null: there is no gallery yet. */
  readonly faces: number | null;
  readonly findings: readonly Finding[];
}

export const NONE_YET: Inspection = {
  faces: null,
  findings: [{ test: "gallery", ok: true, said: "there is none yet; the first face that is enrolled makes one" }],
};

export function countOf(faces: number): string {
  return faces === 1 ? "1 face" : `${faces} faces`;
}
