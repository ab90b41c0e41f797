import { type Dispatcher, EnvHttpProxyAgent } from "undici";
import { type Config, isLoopback } from "../config.ts";
import { CheckError } from "../errors.ts";

const CONNECT_TIMEOUT_MS = 10_000;
/** What is slower than this is given up: 20 s for 1 MB, beside the time that any call may take. */
const BYTES_PER_MS = 50;
const MAX_REDIRECTS = 3;

export interface Wanted {
  readonly address: URL;
  /** May it be, or lead, on this machine itself? Only where the user named such an address. */
  readonly mayBeLocal: boolean;
  /** In a sentence of ours. */
  readonly name: string;
  readonly maxBytes: number;
}

export interface Downloads {
  /**
   * What lies at an https address, in pieces.
   *
   * @throws CheckError where it is not to be had, too large, too slow, or not complete
   */
  read(wanted: Wanted, signal: AbortSignal): AsyncGenerator<Uint8Array>;
  close(): Promise<void>;
}

export function openDownloads({ proxy, timeoutMs }: Pick<Config, "proxy" | "timeoutMs">): Downloads {
  // All three are given, because it reads the environment for each that is not.
  const dispatcher = new EnvHttpProxyAgent({
    connect: { timeout: CONNECT_TIMEOUT_MS },
    httpProxy: proxy?.url ?? "",
    httpsProxy: proxy?.url ?? "",
    noProxy: proxy?.noProxy ?? "",
  });

  async function answerOf(
    { address, name, mayBeLocal }: Wanted,
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData> {
    let at = address;
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
      if (at.username !== "" || !(at.protocol === "https:" || (mayBeLocal && isLoopback(at))))
        throw refused(name, "is not at an https address");
      const { origin, pathname, search } = at;
      const answer = await dispatcher.request({ origin, path: `${pathname}${search}`, method: "GET", signal });
      const { statusCode, headers, body } = answer;
      if (statusCode === 200) return answer;
      body.on("error", () => {}).destroy();
      const { location } = headers;
      if (statusCode < 300 || statusCode >= 400 || typeof location !== "string" || !URL.canParse(location, at.href)) {
        throw refused(name, `cannot be downloaded: the server answered with HTTP ${statusCode}`);
      }
      at = new URL(location, at);
    }
    throw refused(name, "cannot be downloaded: the server sends from one address to the next");
  }

  return {
    async *read(wanted, signal) {
      const { name, maxBytes } = wanted;
      const limitMs = timeoutMs + Math.ceil(maxBytes / BYTES_PER_MS);
      const limit = new AbortController();
      const stop = () => limit.abort();
      const timer = setTimeout(stop, limitMs);
      signal.addEventListener("abort", stop, { once: true });
      let received = 0;
      try {
        signal.throwIfAborted();
        const { body, headers } = await answerOf(wanted, limit.signal);
        body.on("error", () => {}); // leaving early destroys it, which then reports an abort of its own
        if (Number(headers["content-length"] ?? 0) > maxBytes) throw tooLarge(name, maxBytes);
        for await (const chunk of body as AsyncIterable<Uint8Array>) {
          received += chunk.length;
          if (received > maxBytes) throw tooLarge(name, maxBytes);
          yield chunk;
        }
      } catch (cause) {
        if (cause instanceof CheckError) throw cause;
        if (signal.aborted) throw new CheckError("cancelled", "The download was cancelled.", { cause, next: NOTHING });
        const why = limit.signal.aborted
          ? `was not there within ${Math.round(limitMs / 1000)} s`
          : received > 0
            ? `broke off after ${received} bytes`
            : "could not be downloaded: the server cannot be reached";
        throw new CheckError("unavailable", `${name} ${why}.`, {
          cause,
          next: `${NOTHING} Retry later.`,
        });
      } finally {
        clearTimeout(timer);
        signal.removeEventListener("abort", stop);
      }
    },
    close: () => dispatcher.destroy(),
  };
}

const NOTHING = "Nothing was added.";

const tooLarge = (name: string, maxBytes: number) => refused(name, `is larger than ${maxBytes} bytes`);

function refused(name: string, why: string): CheckError {
  return new CheckError("bad_response", `${name} ${why}.`, {
    next: `${NOTHING} Check the address of the model pack.`,
  });
}
