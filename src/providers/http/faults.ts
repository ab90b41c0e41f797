import { CheckError, type FailureCode } from "../../errors.ts";
import { hideAll, MAX_SPELLING } from "../../secret.ts";

const BACKOFF_MS = 200;
/** What the log gets to see of an answer. */
const EXCERPT_CHARS = 500;

/** A failed attempt, and the milliseconds after which it may be repeated without risk. */
export interface Setback {
  readonly error: CheckError;
  readonly repeatAfterMs?: number | undefined;
}

interface NetworkFault {
  readonly codes: RegExp;
  readonly code: FailureCode;
  /** Follows the name of the provider. */
  readonly what: string;
  readonly next?: string;
  /** The request was never sent, and a moment later it may be. */
  readonly mayRepeat?: true;
}

/** Codes of Node, OpenSSL and undici -> failure; the first row that fits. */
const NETWORK_FAULTS: readonly NetworkFault[] = [
  {
    codes: /^ECONNREFUSED$/,
    code: "unavailable",
    what: "could not be reached: the connection was refused",
    mayRepeat: true,
  },
  {
    codes: /^(ENOTFOUND|EAI_AGAIN)$/,
    code: "unavailable",
    what: "could not be found: its host name does not resolve",
    next: "Nothing was decided. Check the network connection and the base URL, then retry.",
    mayRepeat: true,
  },
  {
    codes: /^(EMFILE|ENFILE)$/,
    code: "unavailable",
    what: "was not called: too many files and connections are open on this machine",
    mayRepeat: true,
  },
  {
    codes: /^(UND_ERR_CONNECT_TIMEOUT|EHOSTUNREACH|ENETUNREACH)$/,
    code: "unavailable",
    what: "could not be reached: the connection timed out or had no route",
  },
  {
    codes: /^(ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH|EPROTO$|UND_ERR_PRX_TLS)/,
    code: "unavailable",
    what: "could not be authenticated: there is no trusted TLS connection, and nothing was sent",
    next: "Nothing was decided. Check the clock, the base URL, and whether a proxy replaces certificates (NODE_EXTRA_CA_CERTS adds its authority).",
  },
  {
    // Our own signals are looked at before this table: what is left is a proxy that opens no tunnel.
    codes: /^UND_ERR_ABORTED$/,
    code: "unavailable",
    what: "could not be reached through the proxy, which refused to connect",
    next: "Nothing was decided. Check the proxy settings (HTTPS_PROXY, NO_PROXY).",
  },
  {
    // Not every error of the parser has a code.
    codes: /^(HPE_(?!INVALID_EOF)|HTTPParserError$|UND_ERR_HEADERS_OVERFLOW)/,
    code: "bad_response",
    what: "sent a response that is not HTTP",
  },
  { codes: /^UND_ERR_(DESTROYED|CLOSED)$/, code: "cancelled", what: "was not called: the server is shutting down" },
  {
    codes: /^UND_ERR_INVALID_ARG$/,
    code: "setup",
    what: "was not called: the key or URL in the configuration contains characters that cannot be sent",
  },
];

/** All else, a reset above all: the request may have arrived. */
const DROPPED: Omit<NetworkFault, "codes"> = {
  code: "no_answer",
  what: "dropped the connection before it answered",
};

/** Why there is no answer. */
export function explain(provider: string, thrown: unknown, secrets: readonly string[]): Setback {
  const errorCode = codeOf(thrown);
  const fault = NETWORK_FAULTS.find(({ codes }) => codes.test(errorCode)) ?? DROPPED;
  return {
    error: new CheckError(fault.code, `${provider} ${fault.what}.`, {
      cause: describeError(thrown, secrets),
      ...(fault.next === undefined ? {} : { next: fault.next }),
    }),
    repeatAfterMs: fault.mayRepeat ? BACKOFF_MS : undefined,
  };
}

/** The code, or the name of an error that has none. */
function codeOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return "";
  if ("code" in thrown && typeof thrown.code === "string") return thrown.code;
  return thrown.cause === undefined ? thrown.name : codeOf(thrown.cause);
}

/** Not the error itself: those of undici carry pieces of the answer. */
export function describeError(thrown: unknown, secrets: readonly string[]): string {
  const text = thrown instanceof Error ? `${thrown.name} ${codeOf(thrown)}: ${thrown.message}` : String(thrown);
  return excerpt(text, secrets);
}

/** The beginning of a text for the log, without the secrets, however they are spelled. */
export function excerpt(text: string, secrets: readonly string[]): string {
  // A secret that the end of the beginning cuts in two is not found: so much of it is left out.
  const margin = MAX_SPELLING * Math.max(0, ...secrets.map((it) => it.length));
  const beginning = text.slice(0, EXCERPT_CHARS + margin);
  const rest = hideAll(secrets)(beginning);
  const safe = beginning.length < text.length ? Math.max(0, rest.length - margin) : rest.length;
  return rest.slice(0, Math.min(EXCERPT_CHARS, safe));
}
