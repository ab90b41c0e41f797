import { randomUUID } from "node:crypto";
import { type McpServer, WebStandardStreamableHTTPServerTransport } from "@modelcontextprotocol/server";

export const MAX_SESSIONS = 64;
const MAX_IDLE_MS = 30 * 60_000;
/** A client seen within this time keeps its session, however many others come. */
const IN_USE_MS = 5 * 60_000;

/**
 * For clients of 2025 over HTTP, whose protocol uses sessions: progress, cancellation and questions to the user need the
 * server that the client started with. A client of 2026 sends everything with each request and has no session.
 */
export interface Sessions {
  /** Opens a session with the `initialize` of a request. `ended` aborts when its answer has been sent or given up. */
  open(request: Request, message: unknown, ended: AbortSignal): Promise<Response>;
  /** undefined for a session that does not exist, or no longer. */
  serve(id: string, request: Request, message: unknown, ended: AbortSignal): Promise<Response> | undefined;
  close(): Promise<void>;
}

interface Session {
  readonly server: McpServer;
  readonly transport: WebStandardStreamableHTTPServerTransport;
  /** Pending requests, including the stream of notifications. */
  underWay: number;
  /** Milliseconds of `performance.now()`. */
  usedAt: number;
  /** Requests so far, including `initialize`. */
  requests: number;
}

export function openSessions(
  create: () => Promise<McpServer>,
  { max = MAX_SESSIONS, maxIdleMs = MAX_IDLE_MS, inUseMs = IN_USE_MS } = {},
): Sessions {
  /** Least recently used first. */
  const sessions = new Map<string, Session>();
  let opening = 0;

  async function end(id: string, { server }: Session): Promise<void> {
    sessions.delete(id);
    await server.close();
  }

  async function endIdle(): Promise<void> {
    const long = performance.now() - maxIdleMs;
    for (const [id, session] of sessions) if (session.underWay === 0 && session.usedAt < long) await end(id, session);
  }

  /**
   * Clients rarely close their session, so the longest silent one is replaced: first those that were opened and never
   * used, and none that is in use.
   */
  async function makeRoom(): Promise<boolean> {
    if (sessions.size + opening < max) return true;
    const silent = performance.now() - inUseMs;
    const idle = [...sessions].filter(([, { underWay }]) => underWay === 0);
    const goes = idle.find(([, { requests }]) => requests === 1) ?? idle.find(([, { usedAt }]) => usedAt < silent);
    if (goes === undefined) return false;
    await end(...goes);
    return true;
  }

  function use(session: Session, request: Request, message: unknown, ended: AbortSignal): Promise<Response> {
    const done = () => {
      session.underWay -= 1;
      session.usedAt = performance.now();
    };
    session.underWay += 1;
    session.requests += 1;
    if (ended.aborted) done();
    else ended.addEventListener("abort", done, { once: true });
    return session.transport.handleRequest(request, { parsedBody: message });
  }

  return {
    async open(request, message, ended) {
      await endIdle();
      if (!(await makeRoom())) return refusal(503, -32000, "Too many sessions are open.", { "retry-after": "60" });
      opening += 1;
      try {
        const server = await create();
        const transport = new WebStandardStreamableHTTPServerTransport({
          sessionIdGenerator: randomUUID,
          onsessioninitialized: (id) => void sessions.set(id, session),
          onsessionclosed: (id) => void sessions.delete(id),
        });
        const session: Session = { server, transport, underWay: 0, usedAt: performance.now(), requests: 0 };
        await server.connect(transport);
        const answer = await use(session, request, message, ended);
        if (transport.sessionId === undefined) await server.close(); // it was refused
        return answer;
      } finally {
        opening -= 1;
      }
    },
    serve(id, request, message, ended) {
      const session = sessions.get(id);
      if (session === undefined) return undefined;
      sessions.delete(id);
      sessions.set(id, session);
      return use(session, request, message, ended);
    },
    async close() {
      await Promise.all([...sessions].map(([id, session]) => end(id, session)));
    },
  };
}

/** A protocol error that refers to no request. */
export function refusal(status: number, code: number, message: string, headers: Record<string, string> = {}): Response {
  return Response.json({ jsonrpc: "2.0", error: { code, message }, id: null }, { status, headers });
}
