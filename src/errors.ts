interface Failure {
  /** What the agent, or the person at the terminal, should do next. */
  readonly next: string;
  /** May the same call be retried unchanged? Never true where a retry could be billed twice. */
  readonly retryable: boolean;
}

/** Replaced by the wait that the provider named, where it named one. */
const DEFAULT_WAIT = "Wait 30 seconds";

/**
 * Every way a call can fail. Two failures that call for the same next step share a code;
 * a new code must bring a new next step.
 */
export const FAILURES = {
  invalid_input: { next: "Correct the arguments, then retry.", retryable: false },
  path_refused: {
    next: "Use a file in an allowed folder (get_setup lists them); BIOMETRICS_IMAGE_DIRS allows more folders.",
    retryable: false,
  },
  image_rejected: { next: "Use another file.", retryable: false },
  no_face: { next: "Take a new photo that shows the whole face. This is not a sign of fraud.", retryable: false },
  not_found: { next: "Call list_faces to see which faces are enrolled.", retryable: false },
  unauthorized: { next: "Check the API key and its permissions.", retryable: false },
  no_credit: { next: "Top up the account, then retry.", retryable: false },
  rate_limited: { next: `${DEFAULT_WAIT}, then retry once.`, retryable: true },
  no_answer: {
    next: "Nothing was decided. The call may have been billed: retry only if the account owner accepts a second charge.",
    retryable: false,
  },
  unavailable: { next: "Nothing was decided. Retry later.", retryable: true },
  bad_response: {
    next: "Nothing was decided. Update biometrics-mcp, or report the problem to its maintainers.",
    retryable: false,
  },
  unsupported: {
    next: "Use another provider; get_setup shows the current one.",
    retryable: false,
  },
  setup: { next: "Correct the configuration, then restart the server.", retryable: false },
  cancelled: { next: "Nothing was decided. Retry if the check is still wanted.", retryable: true },
  internal: { next: "Nothing was decided. The log (standard error) says why.", retryable: false },
} as const satisfies Record<string, Failure>;

export type FailureCode = keyof typeof FAILURES;

interface CheckErrorOptions {
  /** The underlying cause, for the log only. */
  readonly cause?: unknown;
  /** A next step that fits better than the code's own. */
  readonly next?: string;
  readonly retryAfterSeconds?: number | undefined;
  /** false where a retry could be billed twice although the code allows one. */
  readonly retryable?: boolean | undefined;
}

/** The only error that this project throws on purpose. A failure is never a decision. */
export class CheckError extends Error {
  override readonly name = "CheckError";
  readonly code: FailureCode;
  readonly next: string;
  /** Seconds to wait before a retry, where the provider named them. */
  readonly retryAfterSeconds: number | undefined;
  readonly retryable: boolean;

  /** A model reads `message` and `next`: they hold no provider text, file name or stack trace. Those go in `cause`. */
  constructor(code: FailureCode, message: string, options: CheckErrorOptions = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    const { next = FAILURES[code].next, retryAfterSeconds: wait } = options;
    this.next = wait === undefined ? next : next.replace(DEFAULT_WAIT, `Wait ${wait} second${wait === 1 ? "" : "s"}`);
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.retryable = options.retryable ?? FAILURES[code].retryable;
  }

  /** An unexpected error becomes `internal`, an abort `cancelled`; the detail stays in `cause`. */
  static from(thrown: unknown): CheckError {
    if (thrown instanceof CheckError) return thrown;
    if (thrown instanceof Error && thrown.name === "AbortError") {
      return cancelled(thrown);
    }
    return new CheckError("internal", "The server failed unexpectedly.", { cause: thrown });
  }

  toText(next: string = this.next): string {
    return `Error [${this.code}]: ${this.message}\nNext: ${next}`;
  }
}

/** Whoever asked does not want the answer any more. */
export const cancelled = (cause?: unknown) => new CheckError("cancelled", "The call was cancelled.", { cause });

export function stopIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw cancelled();
}

/** An image whose header was right. */
export const undecodable = (cause: unknown) =>
  new CheckError("image_rejected", "The image is damaged or incomplete: it cannot be decoded.", { cause });

/** Codes of errno(3) that describe this machine at this moment, not the requested file. */
const TROUBLE: Readonly<Record<string, string>> = {
  EMFILE: "too many files and connections are open",
  ENFILE: "too many files and connections are open",
  ENOMEM: "no memory is left",
  ENOBUFS: "no memory is left",
  EAGAIN: "it is too busy",
  EBUSY: "the file is in use",
  EIO: "the disk reported an error",
  ESTALE: "the network drive did not answer",
  ETIMEDOUT: "the network drive did not answer",
};

export function errnoOf(thrown: unknown): string | undefined {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" ? thrown.code : undefined;
}

/** `unavailable` where the machine is at fault and a retry may succeed; undefined for any other error. */
export function troubleOf(thrown: unknown): CheckError | undefined {
  const what = TROUBLE[errnoOf(thrown) ?? ""];
  if (what === undefined) return undefined;
  return new CheckError("unavailable", `This machine could not complete the call: ${what}.`, { cause: thrown });
}
