/** Of a change: its file in src, without the extension, and what becomes what. */
export interface Change {
  readonly file: string;
  readonly change: string;
}

/**
 * Changes that no test notices, by the reason why none does, and by file. The runner prints a change as it stands here.
 */
const REASONS: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  "What it would tell apart does not occur: the type, or a condition before it, excludes it.": {
    "decision/decision": [
      "thresholds?.operator -> thresholds.operator", // the doubt applies only where there is one
      "score !== null -> true", // of a doubtful match; beside a comparison that null does not pass
      "MATCH_BANDS.find(([from]) => score >= from)?.[1] -> MATCH_BANDS.find(([from]) => score >= from)[1]", // one is from 0
      "warnings[at]?.advice -> warnings[at].advice", // as many as before
      '[] -> ["Stryker was here"]', // among the advice that is dropped
    ],
    "decision/search": ["vendorData !== undefined -> true"], // a match has null
  },
  "Something else says the same: both would have to go.": {
    "decision/decision": ["score === null -> false"], // without a score there is a doubt anyway
    "decision/search": ["blocked.length > 0 -> false"], // the warning declines, too
  },
  "The order of equals, of which the same is told.": {
    "decision/search": ["b.similarity > a.similarity -> b.similarity >= a.similarity"],
  },
};

export const UNNOTICED: readonly Change[] = Object.values(REASONS).flatMap((files) =>
  Object.entries(files).flatMap(([file, changes]) => changes.map((change) => ({ file, change }))),
);
