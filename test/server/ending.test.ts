import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { cleanEnvironment, MAIN, temporaryFolder } from "../support/clients.ts";
import { API_KEY, type StandIn, standIn } from "../support/stand-in.ts";

const photos = temporaryFolder("photos-");
const selfie = join(photos, "selfie.jpg");
let didit: StandIn;
let env: Record<string, string>;
beforeAll(async () => {
  const picture = sharp({ create: { width: 64, height: 64, channels: 3, background: "#765" } });
  writeFileSync(selfie, await picture.jpeg().toBuffer());
  didit = await standIn();
  env = { DIDIT_API_KEY: API_KEY, DIDIT_API_BASE_URL: didit.url, BIOMETRICS_IMAGE_DIRS: photos };
});
afterAll(() => didit.close());

const clientInfo = { name: "test", version: "1" };
const META = {
  "io.modelcontextprotocol/protocolVersion": "2026-07-28",
  "io.modelcontextprotocol/clientInfo": clientInfo,
  "io.modelcontextprotocol/clientCapabilities": {},
};
const INITIALIZE = request(1, "initialize", { protocolVersion: "2025-11-25", capabilities: {}, clientInfo });

/** What a client of each era sends to have one selfie checked, by nothing but a pipe. */
const SCRIPTS = [
  { era: "2025-11-25", opening: [INITIALIZE], meta: {} },
  { era: "2026-07-28", opening: [], meta: { _meta: META } },
] as const;

function request(id: number, method: string, params: object = {}): string {
  return JSON.stringify({ jsonrpc: "2.0", id, method, params });
}

function checkSelfie(id: number, meta: object): string {
  return request(id, "tools/call", { name: "check_liveness", arguments: { image_path: selfie }, ...meta });
}

/** The server with these bytes on its stdin, which then closes. */
function piped(stdin: string | undefined, given = env, main = [MAIN]) {
  const home = temporaryFolder("home-");
  const child = spawn(process.execPath, main, { env: cleanEnvironment(home, given), cwd: home });
  onTestFinished(() => void child.kill("SIGKILL"));
  const out: string[] = [];
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk.toString()));
  if (stdin !== undefined) child.stdin.end(stdin);
  const lines = () => out.join("").split("\n").filter(Boolean);
  const answers = () => lines().map((line) => JSON.parse(line) as { id: number; result?: object; error?: object });
  return { child, answers, exit: once(child, "close") };
}

test.each(SCRIPTS)("what came before stdin closed is answered, in $era", async ({ opening, meta }) => {
  const lines = [...opening, checkSelfie(2, meta), request(3, "tools/list", meta), request(4, "no/such", meta)];
  // The last line of `printf` has no end.
  for (const end of ["\n", ""]) {
    didit.next({ delayMs: 1500 });
    const { answers, exit } = piped(lines.join("\n") + end);
    expect(await exit).toEqual([0, null]);
    const told = new Map(answers().map((answer) => [answer.id, answer]));
    expect([...told.keys()].sort()).toEqual([...(opening.length > 0 ? [1] : []), 2, 3, 4]);
    expect(told.get(2)?.result).toMatchObject({ structuredContent: { outcome: "approved" } });
    expect(told.get(3)?.result).toHaveProperty("tools");
    expect(told.get(4)).toHaveProperty("error");
  }
});

test.each(SCRIPTS)("a call that takes over 10 s is answered with that, in $era", async ({ opening, meta }) => {
  didit.next({ hang: true });
  const began = performance.now();
  const { answers, exit } = piped([...opening, checkSelfie(2, meta), ""].join("\n"));
  expect(await exit).toEqual([0, null]);
  expect(performance.now() - began).toBeGreaterThan(9_000);
  expect(performance.now() - began).toBeLessThan(14_000);
  expect(JSON.stringify(answers().find(({ id }) => id === 2))).toContain("Error [no_answer]: The server was stopped");
  expect(await didit.received.at(-1)?.abandoned).toBe(true);
});

test("a call that was cancelled, and a stream of notifications, are not waited for", async () => {
  const [, { meta }] = SCRIPTS;
  didit.next({ hang: true });
  const before = didit.received.length;
  const { child, exit } = piped(undefined);
  const send = (line: string) => child.stdin.write(`${line}\n`);
  send(request(1, "subscriptions/listen", { notifications: { toolsListChanged: true }, ...meta }));
  send(checkSelfie(2, meta));
  await expect.poll(() => didit.received.length).toBe(before + 1);
  send(JSON.stringify({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 2, ...meta } }));
  const closed = performance.now();
  child.stdin.end();
  expect(await exit).toEqual([0, null]);
  expect(performance.now() - closed).toBeLessThan(1000);
});
