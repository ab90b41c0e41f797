import type { IncomingHttpHeaders } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { type Dispatcher, EnvHttpProxyAgent, Pool } from "undici";
import * as z from "zod";
import { CheckError, FAILURES, type FailureCode } from "../../errors.ts";
import { describeError, excerpt, explain, type Setback } from "./faults.ts";
import { encodeForm, type FormPart } from "./form.ts";
import { readJson } from "./json.ts";

const DEFAULT_TIMEOUT_MS = 60_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** Answers are a few KB of JSON; more than this is no answer. */
const MAX_ANSWER_BYTES = 5 * 2 ** 20;
/** Of hundreds of faults the first tell enough. */
const MAX_FAULTS = 5;
/** One call at a time each (no pipelining), so none waits behind another's upload; further calls queue. */
const MAX_CONNECTIONS = 128;
/** Further attempts of a call that certainly was not carried out. */
const MAX_REPEATS = 2;
/** A longer wait than this is the caller's to decide on. */
const LONGEST_RETRY_AFTER_S = 5;
/** Spreads the repeats of calls that were refused together. */
const JITTER_MS = 200;

/** What a provider's refusal means, in our words. */
export interface Refusal {
  readonly code: FailureCode;
  /** A sentence for the model: nothing of the body may stand in it. */
  readonly message: string;
  readonly next?: string;
}
/** HTTP status -> refusal, or how to read it from the parsed body (undefined when that is no JSON). */
export type Refusals = Readonly<Record<number, Refusal | ((body: unknown) => Refusal)>>;

/** For base URLs of either scheme. */
export interface ProxySettings {
  /** http or https; a name and password in it are sent to the proxy. */
  readonly url: string;
  /** Hosts that are reached directly, separated by commas, as in NO_PROXY. */
  readonly noProxy?: string | undefined;
}

export interface HttpOptions {
  /** Its name in a sentence. */
  readonly provider: string;
  readonly baseUrl: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Removed from all that is kept for the log. */
  readonly secrets?: readonly string[];
  /** The whole call with its repeats, in milliseconds. Default 60,000. */
  readonly timeoutMs?: number | undefined;
  readonly proxy?: ProxySettings | undefined;
  readonly refusals?: Refusals;
}

export interface Call<T> {
  readonly method: "GET" | "POST" | "DELETE";
  /** Below the base URL, with its leading slash and its query. */
  readonly path: string;
  /** At most one of the two bodies. */
  readonly form?: readonly FormPart[];
  readonly json?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Further secrets of this call: a password that a refusal may echo. */
  readonly secrets?: readonly string[];
  /** It costs money once it is carried out, and no answer of 5xx says that it was not. */
  readonly billed?: true;
  /** What a good answer holds; undefined is what it gets to see of an empty body. */
  readonly schema: z.ZodType<T>;
  /** Rows that go before those of the provider. */
  readonly refusals?: Refusals;
  readonly signal: AbortSignal;
}

export interface Answer<T> {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** As parsed, untouched. */
  readonly json: unknown;
  /** What the schema made of it. */
  readonly data: T;
}

export interface HttpClient {
  /**
   * One call, answered with 2xx and JSON that fits the schema, or CheckError. It is repeated only where the service
   * cannot have carried it out: no connection, 429 with a short Retry-After, or 503 with one of a call that costs nothing. Redirects are not followed.
   */
  request<T>(call: Call<T>): Promise<Answer<T>>;
  /** Drops the connections, and with them what is still in flight. */
  close(): Promise<void>;
}

interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** undefined: larger than we read. */
  readonly text: string | undefined;
}

/** One pool of kept-alive connections to one service. */
export function httpClient(options: HttpOptions): HttpClient {
  const { provider, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const base = parseUrl(options.baseUrl, `The base URL of ${provider}`);
  const prefix = base.pathname.replace(/\/+$/, "");
  const dispatcher = connectTo(base, options.proxy);

  async function send<T>(call: Call<T>, signal: AbortSignal): Promise<Reply> {
    const { headers, body } = encodeBody(call);
    const response = await dispatcher.request({
      origin: base.origin,
      path: `${prefix}${call.path}`,
      method: call.method,
      headers: {
        accept: "application/json",
        "user-agent": "biometrics-mcp",
        ...options.headers,
        ...call.headers,
        ...headers,
      },
      body,
      signal,
    });
    const isGood = response.statusCode >= 200 && response.statusCode < 300;
    const text = await readText(response.body).catch((thrown: unknown) => {
      // The status of a refusal says enough without its body.
      if (isGood || signal.aborted) throw thrown;
      return undefined;
    });
    return { status: response.statusCode, headers: response.headers, text };
  }

  function refuse<T>(call: Call<T>, { status, headers, text }: Reply): Setback {
    const row = call.refusals?.[status] ?? options.refusals?.[status] ?? defaultRefusal(provider, status);
    const refusal = typeof row === "function" ? row(readJson(text ?? "").json) : row;
    const retryAfterSeconds = parseRetryAfter(headers["retry-after"]);
    const cause = `HTTP ${status}: ${excerpt(text ?? "(a body that was not read)", secretsOf(options, call))}`;
    const mayBeBilled = call.billed === true && status >= 500;
    const mayRepeat = status === 429 || (status === 503 && !mayBeBilled);
    const next = mayBeBilled ? FAILURES.no_answer.next : refusal.next;
    return {
      error: new CheckError(refusal.code, refusal.message, {
        cause,
        retryAfterSeconds,
        ...(mayBeBilled ? { retryable: false } : {}),
        ...(next === undefined ? {} : { next }),
      }),
      repeatAfterMs:
        mayRepeat && retryAfterSeconds !== undefined && retryAfterSeconds <= LONGEST_RETRY_AFTER_S
          ? retryAfterSeconds * 1000
          : undefined,
    };
  }

  function understand<T>(call: Call<T>, { status, headers, text }: Reply): Answer<T> {
    const fail = (what: string, cause: string) => new CheckError("bad_response", `${provider} ${what}.`, { cause });
    if (text === undefined) throw fail("sent a response that is too large", `over ${MAX_ANSWER_BYTES} bytes`);
    const { json, excess } = readJson(text);
    if (excess !== undefined) throw fail("sent a response that is too large", excess);
    if (text !== "" && json === undefined) {
      // Broken JSON may hold names and numbers of a person: its size is enough for the log.
      const isHalfJson = /^\s*[[{]/.test(text);
      const what = isHalfJson ? `${text.length} characters` : excerpt(text, secretsOf(options, call));
      throw fail("sent a response that is not JSON", `HTTP ${status}, ${headers["content-type"]}: ${what}`);
    }
    const parsed = call.schema.safeParse(json);
    if (!parsed.success) {
      const first = new z.ZodError(parsed.error.issues.slice(0, MAX_FAULTS));
      throw fail("sent a response in an unknown format", z.prettifyError(first));
    }
    return { status, headers, json, data: parsed.data };
  }

  async function attempt<T>(call: Call<T>, signal: AbortSignal): Promise<Answer<T> | Setback> {
    let reply: Reply;
    try {
      reply = await send(call, signal);
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      return explain(provider, thrown, secretsOf(options, call));
    }
    const isGood = reply.status >= 200 && reply.status < 300;
    return isGood ? understand(call, reply) : refuse(call, reply);
  }

  async function repeatedly<T>(call: Call<T>, signal: AbortSignal): Promise<Answer<T>> {
    const deadline = performance.now() + timeoutMs;
    for (let repeats = 0; ; repeats++) {
      const result = await attempt(call, signal);
      if (!("error" in result)) return result;
      const waitMs = (result.repeatAfterMs ?? 0) + Math.random() * JITTER_MS * (repeats + 1);
      const isPointless = performance.now() + waitMs >= deadline;
      if (result.repeatAfterMs === undefined || repeats === MAX_REPEATS || isPointless) throw result.error;
      await pause(waitMs, undefined, { signal });
    }
  }

  return {
    async request(call) {
      // Not AbortSignal.any with AbortSignal.timeout: on Node 20 they outlive the call when the caller's signal does.
      const limit = new AbortController();
      const stop = () => limit.abort();
      const timer = setTimeout(stop, timeoutMs);
      call.signal.addEventListener("abort", stop, { once: true });
      try {
        call.signal.throwIfAborted();
        return await repeatedly(call, limit.signal);
      } catch (thrown) {
        if (thrown instanceof CheckError) throw thrown;
        const cause = describeError(thrown, secretsOf(options, call));
        if (call.signal.aborted) throw new CheckError("cancelled", `The call to ${provider} was cancelled.`, { cause });
        if (!limit.signal.aborted) throw new CheckError("internal", `The call to ${provider} failed.`, { cause });
        throw new CheckError("no_answer", `${provider} did not answer within ${timeoutMs / 1000} s.`, { cause });
      } finally {
        clearTimeout(timer);
        call.signal.removeEventListener("abort", stop);
      }
    },
    // Not close(): it would wait for a service that does not answer.
    close: () => dispatcher.destroy(),
  };
}

function connectTo(base: URL, proxy: ProxySettings | undefined): Dispatcher {
  const pooling = {
    connections: MAX_CONNECTIONS,
    connect: { timeout: CONNECT_TIMEOUT_MS },
    // The limit of the whole call rules.
    headersTimeout: 0,
    bodyTimeout: 0,
  };
  if (proxy === undefined) return new Pool(base.origin, pooling);
  const { href } = parseUrl(proxy.url, "The proxy URL");
  // All three are given, because it reads the environment for each that is not.
  return new EnvHttpProxyAgent({ ...pooling, httpProxy: href, httpsProxy: href, noProxy: proxy.noProxy ?? "" });
}

function parseUrl(text: string, noun: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === "http:" || url?.protocol === "https:") return url;
  throw new CheckError("setup", `${noun} is not an http or https URL.`);
}

function encodeBody<T>({ form, json }: Call<T>): { headers: Record<string, string>; body: Uint8Array | null } {
  if (form !== undefined) {
    const { contentType, body } = encodeForm(form);
    return { headers: { "content-type": contentType }, body };
  }
  if (json === undefined) return { headers: {}, body: null };
  return { headers: { "content-type": "application/json" }, body: Buffer.from(JSON.stringify(json)) };
}

/** undefined: too large. */
async function readText(body: Dispatcher.ResponseData["body"]): Promise<string | undefined> {
  // Leaving the loop early destroys the body, which then reports an abort of its own.
  body.on("error", () => {});
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) return undefined;
    chunks.push(chunk);
  }
  return new TextDecoder().decode(Buffer.concat(chunks));
}

/** Seconds from a Retry-After, which is a number of them or a date. */
function parseRetryAfter(header: string | string[] | undefined): number | undefined {
  if (typeof header !== "string") return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header);
  // Date.parse alone finds a date in "-1" and in "1.5" too.
  const at = /^[A-Z][a-z]{2,8}, /.test(header) ? Date.parse(header) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - Date.now()) / 1000));
}

function defaultRefusal(provider: string, status: number): Refusal {
  const said = `(HTTP ${status})`;
  if (status === 429) return { code: "rate_limited", message: `${provider} accepts no more calls for now ${said}.` };
  if (status >= 500) return { code: "unavailable", message: `${provider} failed or is overloaded ${said}.` };
  if (status < 400) {
    return {
      code: "bad_response",
      message: `${provider} redirected the call ${said}; redirects are not followed.`,
      next: "Nothing was decided. Check the base URL in the configuration, then restart the server.",
    };
  }
  return { code: "bad_response", message: `${provider} refused the call for an unknown reason ${said}.` };
}

function secretsOf(...holders: readonly { readonly secrets?: readonly string[] }[]): string[] {
  return holders.flatMap(({ secrets = [] }) => secrets).filter((secret) => secret !== "");
}
