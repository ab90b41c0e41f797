import { CheckError } from "../../errors.ts";
import type { Answer, Call, HttpClient, Refusal, Refusals } from "../http/client.ts";

/** A refusal that a caller may read more from than its error. */
export interface Refused {
  readonly status: number;
  /** undefined: no JSON. */
  readonly body: unknown;
  readonly error: CheckError;
}

/**
 * A call whose refusals, those of the table, are returned instead of thrown. What else goes wrong is thrown.
 *
 * Didit says in the text alone, sometimes, how long to wait: that too becomes `retryAfterSeconds`.
 */
export async function attempt<T>(
  http: HttpClient,
  call: Omit<Call<T>, "refusals">,
  table: Refusals,
): Promise<Answer<T> | Refused> {
  let last: { status: number; body: unknown; refusal: Refusal } | undefined;
  const rows = Object.entries(table).map(([status, row]) => [
    status,
    (body: unknown): Refusal => {
      const refusal = typeof row === "function" ? row(body) : row;
      last = { status: Number(status), body, refusal };
      return refusal;
    },
  ]);
  try {
    return await http.request({ ...call, refusals: Object.fromEntries(rows) });
  } catch (thrown) {
    const error = CheckError.from(thrown);
    // After a refusal the call may have been repeated, and have failed in another way.
    if (last?.refusal.message !== error.message) throw error;
    const { status, body } = last;
    const retryAfterSeconds = error.retryAfterSeconds ?? secondsIn(body);
    return { status, body, error: errorWith(error, { retryAfterSeconds }) };
  }
}

/** The answer of a call of which no refusal is more than its error. */
export async function answered<T>(reply: Promise<Answer<T> | Refused>): Promise<Answer<T>> {
  const settled = await reply;
  if ("error" in settled) throw settled.error;
  return settled;
}

/** The same failure with a part of it replaced. */
export function errorWith(
  { code, message, next, cause, retryAfterSeconds, retryable }: CheckError,
  part: Partial<Pick<CheckError, "message" | "next" | "cause" | "retryAfterSeconds">>,
): CheckError {
  return new CheckError(code, part.message ?? message, { next, cause, retryAfterSeconds, retryable, ...part });
}

/** "Expected available in 30 seconds." */
function secondsIn(body: unknown): number | undefined {
  const [, count, unit] = /\b(\d{1,5}) (second|minute)/i.exec(JSON.stringify(body) ?? "") ?? [];
  if (count === undefined) return undefined;
  return Number(count) * (unit?.toLowerCase() === "minute" ? 60 : 1);
}
