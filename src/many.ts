import { setTimeout as pause } from "node:timers/promises";
import { CheckError, type FailureCode } from "./errors.ts";

// For commands that make many calls: so many at one time, and what to do when one fails.

/** Some at a time, in their order; stops at the first that throws, once those under way have ended. */
export async function each<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T, place: number) => Promise<void>,
): Promise<void> {
  const entries = items.entries();
  let hasFailed = false;
  const worker = async () => {
    for (const [place, item] of entries) {
      if (hasFailed) return;
      await work(item, place);
    }
  };
  const workers = Array.from({ length: atOnce }, () =>
    worker().catch((thrown: unknown) => {
      hasFailed = true;
      throw thrown;
    }),
  );
  const settled = await Promise.allSettled(workers);
  for (const one of settled) if (one.status === "rejected") throw one.reason;
}

/** Waits for a provider that asks to wait, in all, for one call. */
const MAX_WAITS = 10;
const LONGEST_WAIT_S = 120;

/** These are about one image; what else fails would fail for the next as well. */
const OF_IMAGE: readonly FailureCode[] = ["image_rejected", "path_refused", "no_face"];
/** One call may fail for itself; so many in a row are the provider's trouble. */
const OF_CALL: readonly FailureCode[] = ["no_answer", "bad_response", "unavailable"];
const MAX_FAILED_CALLS = 5;

export type Attempt = <T>(work: () => Promise<T>) => Promise<{ readonly value: T } | { readonly failure: CheckError }>;

/**
 * Tries one call of many: what it gives, or the failure that concerns it alone.
 *
 * @throws CheckError where the next call would fail as well, or `signal` aborts before the call begins
 */
export function attempts(signal: AbortSignal): Attempt {
  let failedCalls = 0;
  return async (work) => {
    for (let waits = 0; ; waits += 1) {
      try {
        signal.throwIfAborted();
        const value = await work();
        failedCalls = 0;
        return { value };
      } catch (thrown) {
        const failure = CheckError.from(thrown);
        const { code, retryAfterSeconds = 5 } = failure;
        if (code === "rate_limited" && waits < MAX_WAITS && retryAfterSeconds <= LONGEST_WAIT_S) {
          await pause(retryAfterSeconds * 1000, undefined, { signal });
          continue;
        }
        if (OF_CALL.includes(code)) failedCalls += 1;
        if (!OF_IMAGE.includes(code) && !(OF_CALL.includes(code) && failedCalls <= MAX_FAILED_CALLS)) throw failure;
        return { failure };
      }
    }
  };
}

/** Waits until the next of so many calls a minute may be made. */
export function pace(perMinute: number, signal: AbortSignal): () => Promise<void> {
  let next = 0;
  return async () => {
    const now = performance.now();
    const at = Math.max(now, next);
    next = at + 60_000 / perMinute;
    if (at > now) await pause(at - now, undefined, { signal });
  };
}
