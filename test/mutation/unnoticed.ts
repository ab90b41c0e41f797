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
  "Only how fast, or how often, it is done.": {
    file: [
      "size <= LONGEST_AT_ONCE && blocks * BLOCK_BYTES >= size -> true",
      "size <= LONGEST_AT_ONCE && blocks * BLOCK_BYTES >= size -> false",
      "size <= LONGEST_AT_ONCE && blocks * BLOCK_BYTES >= size -> size <= LONGEST_AT_ONCE || blocks * BLOCK_BYTES >= size",
      "size <= LONGEST_AT_ONCE -> true",
      "size <= LONGEST_AT_ONCE -> size < LONGEST_AT_ONCE",
      "size <= LONGEST_AT_ONCE -> size > LONGEST_AT_ONCE",
      "blocks * BLOCK_BYTES >= size -> true",
      "blocks * BLOCK_BYTES >= size -> blocks * BLOCK_BYTES > size",
      "blocks * BLOCK_BYTES >= size -> blocks * BLOCK_BYTES < size",
      "blocks * BLOCK_BYTES -> blocks / BLOCK_BYTES",
      "(folder) => isInside(real, folder) -> () => undefined", // resolved, they are asked again
    ],
    "storage/lock": [
      "pollMs * (0.5 + Math.random()) -> pollMs / (0.5 + Math.random())",
      "0.5 + Math.random() -> 0.5 - Math.random()",
    ],
  },
  "The cause of an error, which only the log gets.": {
    file: ["{ cause } -> {}"],
    "images/image": ["{ type } -> {}", "{ width, height } -> {}"],
    "storage/credentials": ["{ throw damaged(`its {json.length} characters are not JSON`); } -> {}"],
  },
  "One moment in which the other says the same.": {
    "storage/lock": [
      "now - seen.since > deadAfterMs -> now - seen.since >= deadAfterMs",
      "now - start > longestWaitMs -> now - start >= longestWaitMs",
      "waits > 2 -> waits >= 2",
    ],
  },
  "The order of equals, of which the same is told.": {
    "decision/search": ["b.similarity > a.similarity -> b.similarity >= a.similarity"],
  },
};

export const UNNOTICED: readonly Change[] = Object.values(REASONS).flatMap((files) =>
  Object.entries(files).flatMap(([file, changes]) => changes.map((change) => ({ file, change }))),
);
