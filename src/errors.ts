interface Failure {
  /** What the agent, or the person at the terminal, should do next. */
  readonly next: string;
  /** May the same call be repeated as it is? Never true where a repeat could be billed twice. */
  readonly retryable: boolean;
}

/**
 * Every way a call can fail. Two failures that call for the same next step share a code;
 * a new code must bring a new next step.
 */
export const FAILURES = {
  invalid_input: { next: "Correct the arguments and call again.", retryable: false },
  path_refused: {
    next: "Ask the user to put the file into an allowed folder (get_setup lists them), or to allow its folder with BIOMETRICS_IMAGE_DIRS.",
    retryable: false,
  },
  image_rejected: { next: "Ask the user for another file.", retryable: false },
  no_face: { next: "Ask for a new photo with the whole face in view. This is not a sign of fraud.", retryable: false },
  not_found: { next: "Call list_faces to see what there is.", retryable: false },
  unauthorized: { next: "Ask the user to check the API key and its permissions.", retryable: false },
  no_credit: { next: "Tell the user that the account is out of credits, then repeat the check.", retryable: false },
  rate_limited: { next: "Wait, then repeat the call once.", retryable: true },
  no_answer: {
    next: "Nothing was decided. The service may have counted the call, so ask the user before repeating it.",
    retryable: false,
  },
  unavailable: { next: "Nothing was decided. Repeat the call later.", retryable: true },
  bad_response: {
    next: "Nothing was decided. Tell the user that the provider's answer was not understood.",
    retryable: false,
  },
  unsupported: {
    next: "Tell the user which provider is in use (get_setup) and that it cannot do this.",
    retryable: false,
  },
  setup: { next: "Ask the user to correct the configuration of this server, then restart it.", retryable: false },
  cancelled: { next: "Nothing was decided. Call again if the check is still wanted.", retryable: true },
  internal: { next: "Nothing was decided. Tell the user that the server failed; its log says why.", retryable: false },
} as const satisfies Record<string, Failure>;

export type FailureCode = keyof typeof FAILURES;

interface CheckErrorOptions {
  /** What happened underneath: seen by the log alone. */
  readonly cause?: unknown;
  /** A next step that fits better than the code's own. */
  readonly next?: string;
  readonly retryAfterSeconds?: number | undefined;
  /** false where a repeat could be billed twice, though the code allows one. */
  readonly retryable?: boolean | undefined;
}

/** The only error that this project throws on purpose. A failure is never a decision. */
export class CheckError extends Error {
  override readonly name = "CheckError";
  readonly code: FailureCode;
  readonly next: string;
  /** Seconds to wait before a repeat, where the provider said so. */
  readonly retryAfterSeconds: number | undefined;
  readonly retryable: boolean;

  /**
   * `message` and `next` are read by a model: we write them ourselves, with no text from a provider, a file name
   * or a stack. Those go in `cause`.
   */
  constructor(code: FailureCode, message: string, options: CheckErrorOptions = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.next = options.next ?? FAILURES[code].next;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.retryable = options.retryable ?? FAILURES[code].retryable;
  }

  /** A surprise becomes `internal`, an abort becomes `cancelled`; the detail stays in `cause`. */
  static from(thrown: unknown): CheckError {
    if (thrown instanceof CheckError) return thrown;
    if (thrown instanceof Error && thrown.name === "AbortError") {
      return new CheckError("cancelled", "The call was cancelled.", { cause: thrown });
    }
    return new CheckError("internal", "The server failed unexpectedly.", { cause: thrown });
  }

  toText(next: string = this.next): string {
    return `Error [${this.code}]: ${this.message}\nNext: ${next}`;
  }
}

/** Codes of errno(3) that tell of this machine at this moment, not of the file that was asked for. */
const TROUBLE: Readonly<Record<string, string>> = {
  EMFILE: "too many files and connections are open",
  ENFILE: "too many files and connections are open",
  ENOMEM: "there is no memory left",
  ENOBUFS: "there is no memory left",
  EAGAIN: "it is too busy",
  EBUSY: "the file is in use",
  EIO: "the disk reported an error",
  ESTALE: "the network drive did not answer",
  ETIMEDOUT: "the network drive did not answer",
};

export function errnoOf(thrown: unknown): string | undefined {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" ? thrown.code : undefined;
}

/** `unavailable`, where the machine is at fault and a repeat may succeed; undefined for whatever else was thrown. */
export function troubleOf(thrown: unknown): CheckError | undefined {
  const what = TROUBLE[errnoOf(thrown) ?? ""];
  if (what === undefined) return undefined;
  return new CheckError("unavailable", `This machine could not do it: ${what}.`, { cause: thrown });
}
