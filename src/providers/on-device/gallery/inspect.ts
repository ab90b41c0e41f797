import { CheckError } from "../../../errors.ts";

/** One thing that was looked at. */
export interface Finding {
  readonly test: string;
  readonly ok: boolean;
  /** What was found, and where it is not in order, what to do. */
  readonly detail: string;
}

export async function attempt(test: string, work: () => string | Promise<string>): Promise<Finding> {
  try {
    return { test, ok: true, detail: await work() };
  } catch (thrown) {
    const { message, next } = CheckError.from(thrown);
    return { test, ok: false, detail: `${message} ${next}` };
  }
}

export interface Inspection {
  /** null: there is no gallery yet. */
  readonly faces: number | null;
  readonly findings: readonly Finding[];
}

export const NONE_YET: Inspection = {
  faces: null,
  findings: [{ test: "gallery", ok: true, detail: "does not exist yet; it is created with the first enrolled face" }],
};

export function countOf(faces: number): string {
  return faces === 1 ? "1 face" : `${faces} faces`;
}
