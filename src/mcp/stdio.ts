import { PassThrough } from "node:stream";
import { setTimeout as pause, setImmediate as turn } from "node:timers/promises";
import type { JSONRPCMessage, Transport } from "@modelcontextprotocol/server";
import { StdioServerTransport, serveStdio } from "@modelcontextprotocol/server/stdio";
import { brokenApp, openApp, VERSION } from "../app.ts";
import type { Config, Language } from "../config.ts";
import { CheckError } from "../errors.ts";
import type { Log } from "../log.ts";
import { openAdmission } from "./admission.ts";
import { type Served, serverFactory } from "./server.ts";

/** More than one client can need. */
const MAX_CALLS = 1000;
/** How long calls made before the client left may take. */
const GRACE_MS = 10_000;
/** To flush what was written and close what is open. */
const FLUSH_MS = 200;
const CLOSE_MS = 500;
const PARENT_CHECK_MS = 1000;

/** For a person who started the server manually. */
const ON_A_TERMINAL = `biometrics-mcp ${VERSION} is running as an MCP server and waiting for a client on standard input.
To connect a client, have it start this command, for example: claude mcp add biometrics -- biometrics-mcp
To run a check from this terminal, see biometrics-mcp --help. Ctrl-C stops the server.`;

interface Place {
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Of what a client is told where the configuration cannot be read. */
  readonly clientLanguage: Language;
}

/** Serves MCP over stdio until the client or the operator ends it. */
export async function serve(configure: () => Config, { log, signal, clientLanguage }: Place): Promise<void> {
  const app = tryOpen(configure, log, clientLanguage);
  if (process.stdin.isTTY) log(ON_A_TERMINAL);
  await serveOverStdio(app, log, signal);
  await Promise.race([app.close(), pause(CLOSE_MS)]);
}

/** Hosts show only a bare failure for a server that does not start; one that answers can say what to correct. */
function tryOpen(configure: () => Config, log: Log, language: Language) {
  try {
    return openApp(configure());
  } catch (thrown) {
    const fault = CheckError.from(thrown);
    log(fault.toText());
    return brokenApp(fault, language);
  }
}

/**
 * Serves one client over stdin and stdout. When stdin ends or the parent is gone, pending calls are answered first; when
 * `signal` aborts, or no response can be delivered, it ends at once.
 */
async function serveOverStdio(deps: Served, log: Log, signal: AbortSignal): Promise<void> {
  const { stdin, stdout } = process;
  const stopped = new AbortController();
  const cut = new AbortController();
  const input = new PassThrough();
  const wire = new Wire(new StdioServerTransport(input, stdout), () => cut.abort());
  const admission = openAdmission(MAX_CALLS, stopped.signal);
  const create = serverFactory(deps, log, { note: "", next: {}, admission, deliveryOf: () => undefined });
  const handle = serveStdio(create, { transport: wire, onerror: ({ message }) => log("protocol", message) });
  if (signal.aborted) cut.abort();
  signal.addEventListener("abort", () => cut.abort(), { once: true });
  stdout.once("error", () => cut.abort());

  stdin.pipe(input, { end: false });
  await clientGone(stdin, cut.signal);
  input.write("\n"); // the last line may lack its newline
  await turn();
  await Promise.race([wire.answered(), pause(GRACE_MS, undefined, cut).catch(() => {})]);
  stopped.abort();
  await Promise.race([wire.answered(), pause(FLUSH_MS)]);
  await handle.close();
}

function clientGone(stdin: NodeJS.ReadStream, cut: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    for (const event of ["end", "close", "error"]) stdin.once(event, () => resolve());
    if (cut.aborted) resolve();
    cut.addEventListener("abort", () => resolve(), { once: true });
    // Another child of a dead parent may hold stdin open.
    const parent = process.ppid;
    setInterval(() => {
      if (process.ppid !== parent) resolve();
    }, PARENT_CHECK_MS).unref();
  });
}

/** A transport that tracks unanswered requests. */
class Wire implements Transport {
  onclose?: Transport["onclose"];
  onerror?: Transport["onerror"];
  onmessage?: Transport["onmessage"];
  readonly #inner: StdioServerTransport;
  readonly #unanswered = new Set<unknown>();
  #notify = () => {};

  constructor(inner: StdioServerTransport, onEnd: () => void) {
    this.#inner = inner;
    inner.onmessage = (message) => {
      this.#take(message);
      this.onmessage?.(message);
    };
    inner.onerror = (error) => this.onerror?.(error);
    inner.onclose = () => {
      onEnd();
      this.onclose?.();
    };
  }

  #take(message: JSONRPCMessage): void {
    if (!("method" in message)) return;
    // A stream of notifications has no end of its own to wait for.
    if ("id" in message && message.method !== "subscriptions/listen") this.#unanswered.add(message.id);
    if (message.method === "notifications/cancelled") this.#settle(message.params?.["requestId"]);
  }

  #settle(id: unknown): void {
    this.#unanswered.delete(id);
    if (this.#unanswered.size === 0) this.#notify();
  }

  /** Resolves when every request has been answered. */
  answered(): Promise<void> {
    return new Promise((resolve) => {
      this.#notify = resolve;
      if (this.#unanswered.size === 0) resolve();
    });
  }

  start() {
    return this.#inner.start();
  }

  async send(message: JSONRPCMessage): Promise<void> {
    await this.#inner.send(message);
    if (!("method" in message)) this.#settle(message.id);
  }

  close() {
    return this.#inner.close();
  }
}
