import { spawn } from "node:child_process";
import { once } from "node:events";
import { type IncomingHttpHeaders, request } from "node:http";
import { Client as ModernClient, StreamableHTTPClientTransport as ModernTransport } from "@modelcontextprotocol/client";
import { Client as LegacyClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as LegacyTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { assert, onTestFinished, vi } from "vitest";
import { type Connection, cleanEnvironment, closing, connected, MAIN, temporaryFolder } from "./clients.ts";

export interface HttpServer {
  readonly url: string;
  readonly token: string;
  readonly pid: number;
  stdout(): string;
  stderr(): string;
  /** Asks it to end. */
  stop(): void;
  kill(): Promise<void>;
  /** Code and signal. */
  readonly exit: Promise<unknown[]>;
}

export interface HttpSetup {
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
}

/** The built program as `serve --http` on any free port, which ends with the test. */
export async function startHttp(setup: HttpSetup = {}): Promise<HttpServer> {
  const server = await spawnHttp(setup);
  onTestFinished(() => server.kill());
  return server;
}

/** The same, to be ended by the caller. */
export async function spawnHttp({ env = {}, args = [] }: HttpSetup = {}): Promise<HttpServer> {
  const home = temporaryFolder("home-");
  const child = spawn(process.execPath, [MAIN, "serve", "--http", "--port", "0", ...args], {
    env: cleanEnvironment(home, env),
    cwd: home,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exit = once(child, "exit");
  const [out, err]: [string[], string[]] = [[], []];
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => err.push(chunk.toString()));
  const stderr = () => err.join("");
  const given = env["BIOMETRICS_HTTP_TOKEN"];
  const token = () => given ?? /Bearer ([\w-]{43})"/.exec(stderr())?.[1];
  const url = () => /http:\S+(?=\n)/.exec(stderr())?.[0];
  // Asked for in hooks too, where expect cannot poll.
  await vi.waitFor(() => assert(url() !== undefined && token() !== undefined, stderr()), 10_000);
  return {
    url: url() ?? "",
    token: token() ?? "",
    pid: child.pid ?? 0,
    stdout: () => out.join(""),
    stderr,
    stop: () => void child.kill("SIGTERM"),
    async kill() {
      child.kill("SIGKILL");
      await exit;
    },
    exit,
  };
}

interface HttpClient {
  /** Makes the client one that can open links, which it is told here. */
  readonly onLink?: (url: string) => void;
  /** What it says that it is. */
  readonly name?: string;
  /** As a proxy before the server adds them. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface HttpEra {
  readonly era: string;
  connect(server: HttpServer, client?: HttpClient): Promise<Connection>;
}

const LINKS = { capabilities: { elicitation: { url: {} } } };

/** The two protocol eras over HTTP, each with its real client, which is closed with the test. */
export const HTTP_ERAS: readonly HttpEra[] = [
  {
    era: "2025-11-25",
    async connect(server, { onLink, name = "test", headers } = {}) {
      const client = new LegacyClient({ name, version: "1.0.0" }, onLink && LINKS);
      if (onLink !== undefined) client.setRequestHandler(ElicitRequestSchema, open(onLink));
      const transport = new LegacyTransport(new URL(server.url), authorized(server, headers));
      // The types of the old package predate exact optional properties.
      return closing(await connected(client, processOf(server), () => client.connect(transport as never)));
    },
  },
  {
    era: "2026-07-28",
    async connect(server, { onLink, name = "test", headers } = {}) {
      const client = new ModernClient(
        { name, version: "1.0.0" },
        { versionNegotiation: { mode: { pin: "2026-07-28" } }, ...(onLink && LINKS) },
      );
      if (onLink !== undefined) client.setRequestHandler("elicitation/create", open(onLink));
      const transport = new ModernTransport(new URL(server.url), authorized(server, headers));
      return closing(await connected(client, processOf(server), () => client.connect(transport)));
    },
  },
];

function open(onLink: (url: string) => void) {
  return async ({ params }: { params: object }) => {
    onLink("url" in params ? String(params.url) : "");
    return { action: "accept" as const };
  };
}

const authorized = ({ token }: HttpServer, headers: HttpClient["headers"]) => ({
  requestInit: { headers: { ...headers, authorization: `Bearer ${token}` } },
});
const processOf = ({ pid }: HttpServer) => ({ pid, stderr: null });

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface RawRequest {
  readonly method?: string;
  readonly path?: string;
  /** Laid over those of a well-behaved client; undefined takes one out. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: string | Buffer;
  /** Sends the body without telling its length. */
  readonly chunked?: true;
}

/** One request as it is written here, by no client. */
export async function raw(server: HttpServer, options: RawRequest = {}): Promise<RawAnswer> {
  const { method = "POST", path = "/mcp", body = JSON.stringify(INITIALIZE), chunked } = options;
  const headers: Record<string, string | number | undefined> = {
    authorization: `Bearer ${server.token}`,
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    ...(chunked ? { "transfer-encoding": "chunked" } : {}),
    ...(method === "POST" && !chunked ? { "content-length": Buffer.byteLength(body) } : {}),
    ...options.headers,
  };
  const { hostname, port } = new URL(server.url);
  const given = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined));
  const sent = request({ host: hostname, port, method, path, headers: given, agent: false });
  sent.end(method === "POST" ? body : undefined);
  const [answer] = await once(sent, "response");
  sent.on("error", () => {}); // the server may hang up on what it no longer reads
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk);
  return { status: answer.statusCode, headers: answer.headers, text: Buffer.concat(chunks).toString() };
}

export const INITIALIZE = {
  jsonrpc: "2.0",
  id: 1,
  method: "initialize",
  params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "raw", version: "1" } },
};
