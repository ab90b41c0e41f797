import { execFile } from "node:child_process";
import { once, setMaxListeners } from "node:events";
import { writeFileSync } from "node:fs";
import { connect as open } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Connection, cleanEnvironment, MAIN, temporaryFolder } from "../support/clients.ts";
import { HTTP_ERAS, type HttpServer, INITIALIZE, raw, spawnHttp, startHttp } from "../support/http.ts";
import { API_KEY, type StandIn, standIn } from "../support/stand-in.ts";

const photos = temporaryFolder("photos-");
const selfie = join(photos, "selfie.jpg");
const PING = '{"jsonrpc":"2.0","id":2,"method":"ping"}';
const TOKEN = "a-token-of-the-operator-0123456789";

let didit: StandIn;
let env: Record<string, string>;
let server: HttpServer;
beforeAll(async () => {
  const picture = sharp({ create: { width: 64, height: 64, channels: 3, background: "#765" } });
  writeFileSync(selfie, await picture.jpeg().toBuffer());
  didit = await standIn();
  env = { DIDIT_API_KEY: API_KEY, DIDIT_API_BASE_URL: didit.url, BIOMETRICS_IMAGE_DIRS: photos };
  server = await spawnHttp({ env });
});
afterAll(() => Promise.all([didit.close(), server.kill()]));

const checkSelfie = (client: Connection, signal?: AbortSignal) =>
  client.call("check_liveness", { image_path: selfie }, signal === undefined ? {} : { signal });

const reached = (calls: number) => expect.poll(() => didit.received.length, { timeout: 10_000 }).toBe(calls);

describe.each(HTTP_ERAS)("over HTTP, $era", ({ connect }) => {
  test("tools are listed and called, with progress", async () => {
    const client = await connect(server);
    expect((await client.listTools()).map(({ name }) => name)).toContain("verify_person");
    const stages: unknown[] = [];
    const onprogress = (stage: object) => stages.push(stage);
    const answer = await client.call("check_liveness", { image_path: selfie }, { onprogress });
    expect(answer.structuredContent).toMatchObject({ provider: "didit", outcome: "approved" });
    expect(stages).toMatchObject([
      { progress: 1, total: 3, message: "reading" },
      { progress: 2, total: 3, message: "asking the provider" },
    ]);
  });

  test("cancelling reaches the provider", async () => {
    const client = await connect(server);
    didit.next({ hang: true });
    const before = didit.received.length;
    const cancelled = new AbortController();
    const call = checkSelfie(client, cancelled.signal);
    call.catch(() => {});
    await reached(before + 1);
    cancelled.abort();
    await expect(call).rejects.toThrow();
    expect(await didit.received.at(-1)?.abandoned).toBe(true);
  });

  test("a link is offered to a client that can open one", async () => {
    const opened: string[] = [];
    const client = await connect(server, { onLink: (url) => opened.push(url) });
    const session = "https://checkout.stripe.com/c/pay/cs_test_1";
    didit.next({ status: 200, body: { checkout_session_id: "cs_test_1", checkout_session_url: session } });
    const { structuredContent } = await client.call("top_up", { amount_in_dollars: 50 });
    expect(structuredContent).toMatchObject({ checkout_url: session });
    expect(opened).toEqual([session]);
  });

  test("a path of another machine is refused with the reason, and the instructions say so before", async () => {
    const client = await connect(server);
    expect(client.instructions()).toContain("Paths are on the machine that runs this server");
    const { text, everything } = await client.call("check_liveness", { image_path: "/home/of/the/client/me.jpg" });
    expect(text).toMatch(/^Error \[path_refused\]: .*\nNext: The file must be on the machine that runs this server/);
    expect(everything).not.toContain("/home/of/the/client");
  });

  test("SIGTERM lets a call finish, and the exit code is 0", async () => {
    const stopped = await startHttp({ env });
    const client = await connect(stopped);
    didit.next({ delayMs: 1500 });
    const before = didit.received.length;
    const call = checkSelfie(client);
    await reached(before + 1);
    stopped.stop();
    expect((await call).structuredContent).toMatchObject({ outcome: "approved" });
    expect(await stopped.exit).toEqual([0, null]);
  });

  test("SIGTERM waits neither for a stream that has no end nor for long", async () => {
    const [idle, busy] = await Promise.all([startHttp({ env }), startHttp({ env })]);
    await connect(idle);
    const told = performance.now();
    idle.stop();
    expect(await idle.exit).toEqual([0, null]);
    expect(performance.now() - told).toBeLessThan(3000); // and not the five seconds that a call may take
    didit.next({ hang: true });
    const before = didit.received.length;
    const call = checkSelfie(await connect(busy));
    await reached(before + 1);
    busy.stop();
    expect(await busy.exit).toEqual([0, null]);
    expect(await didit.received.at(-1)?.abandoned).toBe(true);
    expect((await call).text).toMatch(/^Error \[no_answer\]: The server was stopped .*\nNext: Nothing was decided/);
  });
});

test("clients of both eras are served at once, by one provider", async () => {
  const clients = await Promise.all(HTTP_ERAS.flatMap(({ connect }) => [connect(server), connect(server)]));
  const answers = await Promise.all(
    clients.flatMap((client, n) =>
      Array.from({ length: 10 }, (_, m) =>
        client.call("check_liveness", { image_path: selfie, vendor_data: `${n}-${m}` }),
      ),
    ),
  );
  const echoed = answers.map(({ structuredContent }) => structuredContent?.["raw"]);
  expect(echoed).toMatchObject(
    clients.flatMap((_, n) => Array.from({ length: 10 }, (_, m) => ({ vendor_data: `${n}-${m}` }))),
  );
});

test("a call over the bound is refused at once; a place that becomes free is used again", async () => {
  const [, modern] = HTTP_ERAS;
  const client = await modern?.connect(await startHttp({ env }));
  if (client === undefined) return expect.unreachable();
  didit.always({ hang: true });
  const before = didit.received.length;
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const calls = Array.from({ length: 64 }, () => checkSelfie(client, stop.signal).catch(() => undefined));
  await reached(before + 64);
  const refused = await checkSelfie(client);
  expect(refused.text).toMatch(/^Error \[rate_limited\]: The server is busy: 64 calls/);
  expect(refused._meta).toMatchObject({ code: "rate_limited", retryable: true, retry_after_seconds: 5 });
  expect(didit.received).toHaveLength(before + 64);
  didit.always(undefined);
  stop.abort();
  await Promise.all(calls);
  await expect.poll(async () => (await checkSelfie(client)).isError).toBeFalsy();
});

describe("who may come in", () => {
  test("/healthz needs no token, and says nothing but that the server is there", async () => {
    const stranger = { authorization: undefined, host: "10.0.0.7:80", origin: "https://probe.example" };
    for (const [method, status] of Object.entries({ GET: 200, HEAD: 200, POST: 405 })) {
      const answer = await raw(server, { method, path: "/healthz", headers: stranger });
      expect(answer).toMatchObject({ status, text: "" });
      expect(Object.keys(answer.headers).sort()).toEqual(["cache-control", "connection", "content-length", "date"]);
    }
    for (const path of ["/healthz/", "/healthz/mcp", "/Healthz", "//healthz"]) {
      const headers = { authorization: undefined };
      expect(await raw(server, { method: "GET", path, headers })).toMatchObject({ status: 404 });
    }
  });

  test.each([
    ["no token", undefined, undefined],
    ["another token", `Bearer ${"x".repeat(43)}`, "invalid_token"],
    ["a token that is longer", (token: string) => `Bearer ${token}x`, "invalid_token"],
    ["an empty token", "Bearer ", undefined],
    ["another scheme", (token: string) => `Basic ${token}`, undefined],
  ])("%s is 401, with a challenge", async (_what, given, fault) => {
    const authorization = typeof given === "function" ? given(server.token) : given;
    const { status, headers } = await raw(server, { headers: { authorization } });
    expect(status).toBe(401);
    expect(headers["www-authenticate"]).toBe(`Bearer realm="biometrics-mcp"${fault ? `, error="${fault}"` : ""}`);
  });

  test.each([
    ["the token", {}, 200],
    ["a lower-case scheme", { authorization: "bearer TOKEN" }, 200],
    ["Host evil.example", { host: "evil.example" }, 403],
    ["Host evil.example with the port", { host: "evil.example:PORT" }, 403],
    ["Host that only starts well", { host: "localhost.evil.example" }, 403],
    ["Host localhost", { host: "localhost:PORT" }, 200],
    ["Origin https://evil.example", { origin: "https://evil.example" }, 403],
    ["Origin null", { origin: "null" }, 403],
    ["Origin of this machine", { origin: "http://localhost:5173" }, 200],
  ])("%s", async (_what, given, status) => {
    const filled = Object.entries(given).map(([name, value]) => [
      name,
      value.replace("TOKEN", server.token).replace("PORT", new URL(server.url).port),
    ]);
    expect(await raw(server, { headers: Object.fromEntries(filled) })).toMatchObject({ status });
  });

  test.each([
    [404, { path: "/" }],
    [404, { path: "/mcp/x" }],
    [404, { path: "http://evil.example/mcp" }],
    [405, { method: "PUT" }],
    [405, { method: "OPTIONS" }],
    [404, { method: "DELETE", headers: { "mcp-session-id": "made-up" } }],
    [404, { headers: { "mcp-session-id": "made-up" }, body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}' }],
  ])("%d for %j", async (status, options) => {
    const answer = await raw(server, options);
    expect(answer).toMatchObject({ status });
    if (status === 405) expect(answer.headers.allow).toBe("GET, POST, DELETE");
  });

  test.each([{}, { chunked: true as const }])("a body over 1 MB is 413, %j", async (how) => {
    const body = JSON.stringify({ ...INITIALIZE, padding: "x".repeat(2 ** 20) });
    const { status, text } = await raw(server, { body, ...how });
    expect({ status, text }).toEqual({ status: 413, text: expect.stringContaining("pass paths, not images") });
  });

  test("a body that is announced as too large is refused before it comes", async () => {
    const socket = open(Number(new URL(server.url).port), "127.0.0.1");
    const head = `POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${server.token}\r\n`;
    socket.write(`${head}content-length: ${2 ** 20 + 1}\r\n\r\n{`);
    const [answer] = await once(socket, "data");
    expect(String(answer)).toMatch(/^HTTP\/1.1 413 /);
    socket.destroy();
  });

  test("a body of many times 1 MB is not read on", async () => {
    const { status } = await raw(server, { body: Buffer.alloc(50 * 2 ** 20, " "), chunked: true });
    expect(status).toBe(413);
  });

  test("a host that others can reach needs a token", async () => {
    const home = temporaryFolder("home-");
    const run = (args: readonly string[], env: Record<string, string> = {}) =>
      new Promise((done) => {
        const options = { env: cleanEnvironment(home, env), cwd: home, timeout: 10_000 };
        execFile(process.execPath, [MAIN, "serve", ...args], options, (error, out, err) => {
          done({ code: Number(error?.code ?? 0), out, err });
        });
      });
    for (const host of ["0.0.0.0", "::", "192.0.2.1", "127.example"]) {
      expect(await run(["--http", "--host", host])).toEqual({
        code: 2,
        out: "",
        err: expect.stringMatching(/^Error .*\nNext: Set BIOMETRICS_HTTP_TOKEN/),
      });
    }
    const short = await run(["--http"], { BIOMETRICS_HTTP_TOKEN: "too-short-a-token" });
    expect(short).toMatchObject({ code: 2, err: expect.stringContaining("BIOMETRICS_HTTP_TOKEN must be 32") });
    expect(JSON.stringify(short)).not.toContain("too-short-a-token");
    const { port } = new URL(server.url);
    expect(await run(["--http", "--port", port])).toMatchObject({ code: 1, err: expect.stringContaining("--port") });
    expect(await run(["--port", "1"])).toMatchObject({ code: 2 });
    const reachable = await startHttp({
      env: { BIOMETRICS_HTTP_TOKEN: TOKEN },
      args: ["--host", "0.0.0.0", "--name", "checks.example"],
    });
    for (const [host, status] of [
      ["127.0.0.1", 200],
      ["checks.example", 200],
      ["evil.example", 403],
    ] as const) {
      expect(await raw(reachable, { headers: { host } })).toMatchObject({ status });
    }
    expect(reachable.stderr()).not.toContain(TOKEN);
  });

  test("a token of no operator is told once, on stderr alone, and never again", async () => {
    const fresh = await startHttp({ env });
    const other = await startHttp({ env });
    expect(fresh.token).not.toBe(other.token);
    const tell = JSON.stringify({ jsonrpc: "2.0", id: 1, method: fresh.token, params: { token: fresh.token } });
    await Promise.all([raw(fresh), raw(fresh, { body: tell }), raw(fresh, { headers: { host: fresh.token } })]);
    for (const { connect } of HTTP_ERAS) await (await connect(fresh)).call("check_liveness", { image_path: "/none" });
    fresh.stop();
    await fresh.exit;
    expect(fresh.stderr().split(fresh.token)).toHaveLength(2);
    expect(fresh.stdout()).toBe("");
    expect(fresh.stderr()).not.toContain(API_KEY);
  });
});

describe("what must not bring it down", () => {
  test.each([
    ["no JSON", { body: "{" }, 400],
    ["no body", { body: "" }, 400],
    ["null", { body: "null" }, 400],
    ["an empty batch", { body: "[]" }, 400],
    ["depth", { body: "[".repeat(100_000) }, 400],
    ["a method that objects have", { body: '{"jsonrpc":"2.0","method":"constructor","id":1}' }, 200],
    ["a property that objects have", { body: '{"__proto__":{"x":1},"jsonrpc":"2.0","method":"ping","id":1}' }, 400],
    ["another type", { headers: { "content-type": "text/plain" } }, 415],
    ["no protocol of ours", { headers: { "mcp-protocol-version": "1999-01-01" }, body: '{"jsonrpc":"2.0"}' }, 400],
    ["an answer to nothing", { body: '{"jsonrpc":"2.0","id":99,"result":{}}' }, 202],
  ])("%s", async (_what, options, status) => {
    expect(await raw(server, options)).toMatchObject({ status });
    expect(await raw(server)).toMatchObject({ status: 200 });
  });

  test("bytes that are no HTTP, and clients that hang up", async () => {
    const { port } = new URL(server.url);
    const head = `POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${server.token}\r\n`;
    for (const bytes of ["\x16\x03\x01\x02\x00", "GET\r\n\r\n", `${head}x: ${"y".repeat(20_000)}\r\n\r\n`]) {
      const socket = open(Number(port), "127.0.0.1");
      socket.on("error", () => {}).end(bytes, "latin1");
      await once(socket.resume(), "close");
    }
    for (const bytes of [head, `${head}content-length: 900\r\n\r\n{"jsonrpc"`]) {
      const socket = open(Number(port), "127.0.0.1");
      await once(
        socket.on("error", () => {}),
        "connect",
      );
      socket.write(bytes, () => socket.destroy());
      await once(socket, "close");
    }
    expect(await raw(server)).toMatchObject({ status: 200 });
  });

  test("who sends slowly is cut off", async () => {
    const { port } = new URL(server.url);
    const head = `POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${server.token}\r\n`;
    const cutOff = async (bytes: string) => {
      const socket = open(Number(port), "127.0.0.1");
      const heard: Buffer[] = [];
      socket.on("error", () => {}).on("data", (chunk: Buffer) => heard.push(chunk));
      socket.write(bytes);
      const drip = setInterval(() => socket.write("x"), 500);
      await once(socket, "close");
      clearInterval(drip);
      return Buffer.concat(heard).toString();
    };
    const began = performance.now();
    for (const answer of await Promise.all([cutOff(head), cutOff(`${head}content-length: 900\r\n\r\n`)])) {
      expect(answer).toMatch(/^HTTP\/1.1 408 /);
    }
    expect(performance.now() - began).toBeLessThan(15_000);
  });

  test("sessions are bounded: the one that is silent for longest makes room", async () => {
    const crowded = await startHttp({ env });
    const initialized = Array.from({ length: 65 }, () => () => raw(crowded));
    const ids: string[] = [];
    for (const initialize of initialized) ids.push(String((await initialize()).headers["mcp-session-id"]));
    expect(new Set(ids).size).toBe(65);
    const ping = (id = "") =>
      raw(crowded, { headers: { "mcp-session-id": id }, body: '{"jsonrpc":"2.0","id":2,"method":"ping"}' });
    expect(await ping(ids[0])).toMatchObject({ status: 404 });
    expect(await ping(ids[1])).toMatchObject({ status: 200 });
    expect(await ping(ids[64])).toMatchObject({ status: 200 });
    const end = { method: "DELETE", headers: { "mcp-session-id": ids[64] } };
    expect(await raw(crowded, end)).toMatchObject({ status: 200 });
    expect(await ping(ids[64])).toMatchObject({ status: 404 });
  });

  test("who holds many connections without a token keeps nobody out", async () => {
    const besieged = await startHttp({ env });
    const { port } = new URL(besieged.url);
    const sockets = Array.from({ length: 600 }, () => open(Number(port), "127.0.0.1").on("error", () => {}));
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    for (const socket of sockets) socket.write("POST /mcp HTTP/1.1\r\nhost: localhost\r\n");
    for (let n = 0; n < 5; n++) expect(await raw(besieged)).toMatchObject({ status: 200 });
    // A burst of clients who do have one is not taken for that.
    const burst = await Promise.all(Array.from({ length: 100 }, () => raw(besieged, { body: PING })));
    expect(burst.filter(({ status }) => status !== 200)).toEqual([]);
    for (const socket of sockets) socket.destroy();
  });

  test("opening many sessions ends none that is in use", async () => {
    const crowded = await startHttp({ env });
    const id = String((await raw(crowded)).headers["mcp-session-id"]);
    const ping = () => raw(crowded, { headers: { "mcp-session-id": id }, body: PING });
    expect(await ping()).toMatchObject({ status: 200 });
    for (let n = 0; n < 200; n++) expect(await raw(crowded)).toMatchObject({ status: 200 });
    expect(await ping()).toMatchObject({ status: 200 });
  });

  test.each(["with a session", "without one"])(
    "answers that nobody reads take the places of calls, %s",
    async (how) => {
      const busy = await startHttp({ env });
      const session = how === "without one" ? undefined : String((await raw(busy)).headers["mcp-session-id"]);
      const params = { name: "check_liveness", arguments: { image_path: selfie } };
      const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params });
      const call = () => raw(busy, { body, headers: { "mcp-session-id": session } });
      didit.next({});
      await call();
      const approved = { status: "Approved", method: "PASSIVE", score: 95.2, user_image: null, warnings: [] };
      const page = Array.from({ length: 100 }, () => "x".repeat(1000));
      const padding = Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`page_${n}`, page]));
      didit.always({ status: 200, body: { request_id: "1", liveness: approved, padding } });
      const before = didit.received.length;
      const head = [
        "POST /mcp HTTP/1.1",
        "host: localhost",
        `authorization: Bearer ${busy.token}`,
        "content-type: application/json",
        "accept: application/json, text/event-stream",
        ...(session === undefined ? [] : [`mcp-session-id: ${session}`]),
      ];
      const sockets = Array.from({ length: 200 }, (_, n) => {
        const numbered = body.replace('"id":1', `"id":${n + 100}`);
        const socket = open(Number(new URL(busy.url).port), "127.0.0.1");
        socket.on("error", () => {}).pause();
        socket.write(`${head.join("\r\n")}\r\ncontent-length: ${numbered.length}\r\n\r\n${numbered}`);
        return socket;
      });
      await expect.poll(() => didit.received.length, { timeout: 60_000 }).toBeGreaterThanOrEqual(before + 64);
      await pause(1500);
      // The system may take an answer or two into its own buffers.
      expect(didit.received.length).toBeLessThan(before + 80);
      didit.always(undefined);
      for (const socket of sockets) socket.destroy();
      await expect.poll(async () => (await call()).text).toContain('"outcome":"approved"');
    },
  );
});
