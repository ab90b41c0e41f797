import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { platform } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { aSecond, cleanEnvironment, MAIN, temporaryFolder } from "../support/clients.ts";
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
  expect(performance.now() - closed).toBeLessThan(await aSecond());
});

describe.skipIf(platform() === "win32")("whatever it is stuck in", () => {
  test("it ends with its client though a file never opens", async () => {
    const home = temporaryFolder("home-");
    mkdirSync(join(home, "data"), { mode: 0o700 });
    execFileSync("mkfifo", ["-m", "600", join(home, "data", "credentials.json")]);
    const { child, exit } = piped(undefined, { BIOMETRICS_DATA_DIR: join(home, "data") });
    child.stdin.write(`${INITIALIZE}\n`);
    await pause(1000);
    const closed = performance.now();
    child.stdin.end();
    await exit;
    expect(performance.now() - closed).toBeLessThan(15_000);
  });

  test("it ends when its parent has gone, though stdin is still open", async () => {
    // The shell starts the server with a stdin that this process holds open, tells its id, and is killed.
    const home = temporaryFolder("home-");
    const script = `"${process.execPath}" "${MAIN}" <&3 & echo $!; wait`;
    const shell = spawn("sh", ["-c", script], {
      env: cleanEnvironment(home, env),
      cwd: home,
      stdio: ["ignore", "pipe", "ignore", "pipe"],
    });
    onTestFinished(() => void shell.stdio[3]?.destroy());
    const [told] = await once(shell.stdout ?? shell, "data");
    const pid = Number(told);
    onTestFinished(() => void (isRunning(pid) && process.kill(pid, "SIGKILL")));
    await pause(500);
    expect(isRunning(pid)).toBe(true);
    shell.kill("SIGKILL");
    await expect.poll(() => isRunning(pid), { timeout: 5000 }).toBe(false);
  });
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

describe.skipIf(platform() !== "linux")("on a terminal", () => {
  const main = `"${process.execPath}" "${MAIN}"`;
  const shell = (script: string, given = env) => {
    const home = temporaryFolder("home-");
    const child = spawn("bash", ["-c", script], { env: cleanEnvironment(home, given), cwd: home });
    const said: string[] = [];
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => said.push(String(chunk)));
    return { child, said: () => said.join(""), exit: once(child, "close") };
  };
  const STACK = /^\s+at |node:internal|Unhandled|throw /m;

  test("alone it says what it is, how to connect it, and serves", async () => {
    const { child, said, exit } = shell(`script -qefc '${main}' /dev/null`);
    await expect.poll(said).toContain("biometrics-mcp --help");
    expect(said()).toMatch(/is running as an MCP server .*\r\nTo connect a client, .*claude mcp add/);
    child.stdin.write(`${INITIALIZE}\n`);
    await expect.poll(said).toContain('"serverInfo"');
    child.stdin.write("\x03");
    expect(await exit).toEqual([130, null]);
    expect(said()).not.toMatch(STACK);
  });

  test("in a pipe it says nothing of that", async () => {
    const { said, exit } = shell(`${main} </dev/null`);
    expect(await exit).toEqual([0, null]);
    expect(said()).toBe("");
  });

  test.each([
    [
      "a command whose result nobody reads",
      `${main} check-liveness ${selfie} --json | true; exit \${PIPESTATUS[0]}`,
      1,
    ],
    ["a command on a full disk", `${main} check-liveness ${selfie} > /dev/full`, 1],
    ["help on a full disk", `${main} --help > /dev/full`, 1],
    ["a server that nobody hears", `echo '${INITIALIZE}' | ${main} | true; exit \${PIPESTATUS[1]}`, 0],
    ["a server on a full disk", `echo '${INITIALIZE}' | ${main} > /dev/full`, 1],
  ])("%s: no stack", async (_what, script, code) => {
    const { child, said, exit } = shell(script);
    child.stdin.end();
    expect(await exit).toEqual([code, null]);
    expect(said()).not.toMatch(STACK);
    if (script.includes("/dev/full")) expect(said()).toContain("Cannot write to standard output (ENOSPC).");
  });

  test("Ctrl-C ends commands and servers with 130", async () => {
    didit.always({ hang: true });
    onTestFinished(() => didit.always(undefined));
    const before = didit.received.length;
    const command = shell(`exec ${main} check-liveness ${selfie}`);
    await expect.poll(() => didit.received.length, { timeout: 10_000 }).toBe(before + 1);
    const server = shell(`exec ${main} serve --http --port 0`);
    await expect.poll(server.said, { timeout: 10_000 }).toContain("Serving MCP");
    const asking = shell(`script -qefc '${main} register-account a@b.example' /dev/null`);
    await expect.poll(asking.said, { timeout: 10_000 }).toContain("password");
    for (const { child } of [command, server]) child.kill("SIGINT");
    asking.child.stdin.write("\x03");
    for (const { exit, said } of [command, server, asking]) {
      expect(await exit).toEqual([130, null]);
      expect(said()).not.toMatch(STACK);
    }
  });
});
