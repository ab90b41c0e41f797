import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as pause } from "node:timers/promises";
import {
  CLIENT_INFO_META_KEY,
  createMcpHandler,
  isInitializeRequest,
  isLegacyRequest,
} from "@modelcontextprotocol/server";
import { CheckError } from "../errors.ts";
import type { Log } from "../log.ts";
import { servedClient } from "../turns.ts";
import { type Delivery, openAdmission } from "./admission.ts";
import { guardOf, inAddress, isLoopback, namesOf, PATH } from "./guard.ts";
import { type Served, serverFactory, type TransportOptions } from "./server.ts";
import { openSessions, refusal, type Sessions } from "./sessions.ts";

/** For whoever watches over the process: no token, and nothing learned but that it serves. */
const HEALTH_PATH = "/healthz";
/** Requests contain paths, not images. */
const MAX_BODY_BYTES = 2 ** 20;
/**
 * Concurrent calls of all clients, unread results included. Checks on the device take turns, so more would wait long.
 */
const MAX_CALLS = 64;
const MAX_CONNECTIONS = 512;
/** Connections from one address that have not sent the token. A burst of honest clients does so within milliseconds. */
const MAX_STRANGERS = 128;
const MAX_SUBSCRIPTIONS = 64;
/** Requests are small: a client that takes longer to send one only holds the connection. */
const HEADERS_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;
/** How long to keep reading from a refused client that is still sending. */
const LINGER_MS = 1_000;
/** How long pending calls may take once the server is told to stop. */
const GRACE_MS = 5_000;
/** To flush what was written. */
const FLUSH_MS = 200;

export interface HttpOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** undefined: one is generated for this run and printed once. */
  readonly token: string | undefined;
  /** Names besides `host` that clients may use for this machine: behind a proxy, in a container. */
  readonly names: readonly string[];
}

/**
 * Serves MCP over Streamable HTTP to clients of both eras until `signal` aborts.
 *
 * @throws CheckError `invalid_input` for a host that others can reach unless the operator set a token, `unavailable` if
 *   the port is not available.
 */
export async function serveOverHttp(
  deps: Served,
  options: HttpOptions,
  { log, signal }: { readonly log: Log; readonly signal: AbortSignal },
): Promise<void> {
  const { host, port } = options;
  if (options.token === undefined && !isLoopback(host)) {
    throw new CheckError("invalid_input", `Others can reach ${host}, so serving there requires your own token.`, {
      next: "Set BIOMETRICS_HTTP_TOKEN (32 characters or more), or omit --host to serve this machine only.",
    });
  }
  const token = options.token ?? randomBytes(32).toString("base64url");
  const stopped = new AbortController();
  const deliveries = new WeakMap<Request, Delivery>();
  const create = serverFactory(deps, log, {
    ...OVER_HTTP,
    admission: openAdmission(MAX_CALLS, stopped.signal),
    deliveryOf: (request) => request && deliveries.get(request),
  });
  const sessions = openSessions(create);
  const modern = createMcpHandler(create, {
    onerror: (error) => log("protocol", error),
    maxSubscriptions: MAX_SUBSCRIPTIONS,
  });
  const guard = guardOf(token, [...namesOf(host), ...options.names]);
  const underWay = new Set<Promise<void>>();

  async function exchange(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url?.split("?")[0] === HEALTH_PATH) return dismiss(request, response, health(request));
    const refused = signal.aborted ? refusal(503, -32000, "The server is shutting down.") : guard(request);
    if (refused !== undefined) return dismiss(request, response, refused);
    strangers.delete(request.socket);
    const body = await readBody(request);
    if (body === undefined) {
      const message = `A request may have at most ${MAX_BODY_BYTES} bytes: pass paths, not images.`;
      return dismiss(request, response, refusal(413, -32000, message));
    }
    const message = parse(body);
    const answered = answer({ request, response, body, message }).catch((error: unknown) => {
      log("HTTP", error);
      response.destroy();
    });
    // A stream of notifications has no end of its own to wait for.
    if (request.method === "POST" && valueAt(message, "method") !== "subscriptions/listen") {
      underWay.add(answered);
      answered.finally(() => underWay.delete(answered));
    }
    await answered;
  }

  async function answer({ request, response, body, message }: Exchange): Promise<void> {
    const ended = new AbortController();
    if (response.closed) return; // the client left while the request was read
    response.once("close", () => ended.abort());
    const closed = new Promise((resolve) => response.once("close", resolve));
    const asked = toRequest(request, body, ended.signal);
    deliveries.set(asked, { ended: closed, giveUp: () => response.destroy() });
    const answer = await servedClient.run(clientOf(request, message), () =>
      route({ sessions, modern }, asked, message, ended.signal),
    );
    if (!response.destroyed) await send(answer, response);
  }

  const server = createServer({
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: 1_000,
  });
  const strangers = boundConnections(server);
  server.on("request", (request, response) => {
    // A client that leaves while sending gets no response.
    exchange(request, response).catch(() => response.destroy());
  });
  log(`Serving MCP at ${await listen(server, host, port)}`);
  if (options.token === undefined) {
    log(
      `Clients must send the header "Authorization: Bearer ${token}". The token is valid for this run and shown only once.`,
    );
  }
  if (!signal.aborted) await once(signal, "abort");

  const closed = once(server, "close");
  server.close();
  await Promise.race([Promise.allSettled(underWay), pause(GRACE_MS)]);
  stopped.abort();
  await Promise.race([Promise.allSettled(underWay), pause(FLUSH_MS)]);
  await Promise.all([sessions.close(), modern.close()]);
  server.closeIdleConnections();
  await Promise.race([closed, pause(FLUSH_MS)]);
  server.closeAllConnections();
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly body: string;
  /** The body as JSON; undefined if it is not JSON, which the protocol answers. */
  readonly message: unknown;
}

/** For clients that may be on another machine. */
const OVER_HTTP = {
  note: "Paths are on the machine that runs this server; files on another machine cannot be read. ",
  next: {
    path_refused:
      "The file must be on the machine that runs this server, in an allowed folder (get_setup lists them). " +
      "Copy the image there, or have the operator allow its folder.",
  },
} satisfies Partial<TransportOptions>;

/** Sessions for clients of 2025 that open one; all others, of either era, are served per request. */
async function route(
  { sessions, modern }: { readonly sessions: Sessions; readonly modern: ReturnType<typeof createMcpHandler> },
  request: Request,
  message: unknown,
  ended: AbortSignal,
): Promise<Response> {
  if (await isLegacyRequest(request, message)) {
    const id = request.headers.get("mcp-session-id");
    if (id !== null) {
      return sessions.serve(id, request, message, ended) ?? refusal(404, -32001, "This session does not exist.");
    }
    if (isInitializeRequest(message)) return sessions.open(request, message, ended);
  }
  return modern.fetch(request, message === undefined ? {} : { parsedBody: message });
}

/**
 * Limits connections, so that a client holding many without a token locks nobody out: a new one replaces the oldest
 * stranger.
 *
 * @returns the strangers, oldest first; the caller removes those that have sent the token.
 */
function boundConnections(server: Server): Set<Socket> {
  const strangers = new Set<Socket>();
  let open = 0;
  server.on("connection", (socket) => {
    open += 1;
    strangers.add(socket);
    socket.once("close", () => {
      open -= 1;
      strangers.delete(socket);
    });
    const neighbours = [...strangers].filter(({ remoteAddress }) => remoteAddress === socket.remoteAddress);
    const [oldest] = neighbours.length > MAX_STRANGERS ? neighbours : open > MAX_CONNECTIONS ? strangers : [];
    if (oldest === undefined) return;
    strangers.delete(oldest);
    oldest.destroy();
  });
  return strangers;
}

async function listen(server: Server, host: string, port: number): Promise<string> {
  try {
    await once(server.listen(port, host), "listening");
  } catch (cause) {
    throw new CheckError("unavailable", `Port ${port} of ${host} is not available.`, {
      cause,
      next: "Choose another one with --port; 0 picks a free one.",
    });
  }
  return `http://${inAddress(host)}:${(server.address() as AddressInfo).port}${PATH}`;
}

/** undefined for one that is too large; the rest of it is not read. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  if (Number(request.headers["content-length"]) > MAX_BODY_BYTES) return undefined;
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

/**
 * Tells clients apart, so that they can take turns. All have the same token, and one may use several connections, so a
 * client without a session is known by its address and the name that it gives itself.
 */
function clientOf({ headers, socket }: IncomingMessage, message: unknown): string {
  const session = headers["mcp-session-id"];
  if (session !== undefined) return String(session);
  const name = valueAt(message, "params", "_meta", CLIENT_INFO_META_KEY, "name");
  return `${headers["x-forwarded-for"] ?? socket.remoteAddress} ${typeof name === "string" ? name : ""}`;
}

function valueAt(value: unknown, ...path: readonly string[]): unknown {
  return path.reduce(
    (inner, key) => (typeof inner === "object" && inner !== null ? Reflect.get(inner, key) : undefined),
    value,
  );
}

function toRequest({ headers, method = "GET" }: IncomingMessage, body: string, signal: AbortSignal): Request {
  const given = Object.entries(headers).map(([name, value]): [string, string] => [name, String(value ?? "")]);
  // The host name no longer matters.
  return new Request(`http://localhost${PATH}`, { method, headers: given, signal, ...(body === "" ? {} : { body }) });
}

async function send(answer: Response, response: ServerResponse): Promise<void> {
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  if (answer.body === null) {
    response.end();
    return;
  }
  response.flushHeaders(); // a stream may be silent for long
  // A client that leaves ends the stream, which is not an error.
  await pipeline(Readable.fromWeb(answer.body), response).catch(() => {});
}

function health({ method }: IncomingMessage): Response {
  const status = method === "GET" || method === "HEAD" ? 200 : 405;
  return new Response(null, { status, headers: { "cache-control": "no-store" } });
}

/**
 * Answers and ends the connection. A client that is still sending would lose the response with it, so we keep reading a
 * little longer.
 */
async function dismiss(request: IncomingMessage, response: ServerResponse, answer: Response): Promise<void> {
  const body = Buffer.from(await answer.text());
  response.writeHead(answer.status, {
    ...Object.fromEntries(answer.headers),
    "content-length": body.length,
    connection: "close",
  });
  response.write(body);
  const sent = new AbortController();
  const ended = request.readableEnded ? undefined : once(request.resume(), "end", sent).catch(() => {});
  await Promise.race([ended, pause(LINGER_MS, undefined, sent).catch(() => {})]);
  sent.abort();
  response.end();
}
