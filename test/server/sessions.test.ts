import { setTimeout as pause } from "node:timers/promises";
import { McpServer } from "@modelcontextprotocol/server";
import { expect, test } from "vitest";
import { openSessions } from "../../src/mcp/sessions.ts";
import { INITIALIZE } from "../support/http.ts";

const create = async () => new McpServer({ name: "test", version: "1" });

function post(message: object, id?: string): Request {
  const headers = { "content-type": "application/json", accept: "application/json, text/event-stream" };
  const session = id === undefined ? {} : { "mcp-session-id": id };
  const body = JSON.stringify(message);
  return new Request("http://localhost/mcp", { method: "POST", headers: { ...headers, ...session }, body });
}

const over = AbortSignal.abort();
/** Of an exchange that goes on. */
const goingOn = () => new AbortController().signal;
const idOf = (answer: Response) => answer.headers.get("mcp-session-id") ?? "";

test("a session that nobody used for long ends when the next one opens, unless something is under way in it", async () => {
  const sessions = openSessions(create, { maxIdleMs: 50 });
  const [unused, used] = await Promise.all([new AbortController(), new AbortController()].map(opened));
  const ping = { jsonrpc: "2.0", id: 2, method: "ping" };
  unused?.done.abort();
  await pause(100);
  await opened(new AbortController());
  expect(sessions.serve(unused?.id ?? "", post(ping, unused?.id), ping, over)).toBeUndefined();
  const answer = await sessions.serve(used?.id ?? "", post(ping, used?.id), ping, over);
  expect(answer?.status).toBe(200);

  async function opened(done: AbortController) {
    return { done, id: idOf(await sessions.open(post(INITIALIZE), INITIALIZE, done.signal)) };
  }
});

test("where all sessions are in use, the next client is asked to wait", async () => {
  const sessions = openSessions(create, { max: 2 });
  const open = () => sessions.open(post(INITIALIZE), INITIALIZE, goingOn());
  expect((await Promise.all([open(), open()])).map(({ status }) => status)).toEqual([200, 200]);
  const refused = await open();
  expect(refused).toMatchObject({ status: 503 });
  expect(refused.headers.get("retry-after")).toBe("60");
});

test("an initialize that is refused leaves no session", async () => {
  const sessions = openSessions(create, { max: 1 });
  const wrong = new Request("http://localhost/mcp", { method: "POST", body: JSON.stringify(INITIALIZE) });
  expect((await sessions.open(wrong, INITIALIZE, goingOn())).status).toBeGreaterThanOrEqual(400);
  expect(await sessions.open(post(INITIALIZE), INITIALIZE, goingOn())).toMatchObject({ status: 200 });
});
