import { setMaxListeners } from "node:events";
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { didit } from "../../src/providers/didit/provider.ts";
import { API_KEY, DIDIT, standIn } from "../support/stand-in.ts";
import { callOptions, photo, refusal, setUp, told } from "./setting.ts";

/** A port on which nobody listens. */
async function freePort(): Promise<number> {
  const api = await standIn();
  await api.close();
  return Number(new URL(api.url).port);
}

test("an answer that never comes ends the call, once sent and never repeated", async () => {
  const { api, provider } = await setUp({ timeoutMs: 150 });
  api.always({ hang: true });
  const error = await refusal(provider.checkLiveness(await photo(), callOptions));
  expect(error).toMatchObject({ code: "no_answer", retryable: false });
  expect(told(error)).toMatch(/0\.15 s.*may have been billed/);
  await pause(300);
  expect(api.received).toHaveLength(1);
  expect(await api.received[0]?.abandoned).toBe(true);
});

test.each([200, 500])("an answer that drips (HTTP %i) does not stretch the limit", async (status) => {
  const { api, provider } = await setUp({ timeoutMs: 200 });
  api.always({ status, text: "{".repeat(1000), drip: { chunkBytes: 1, everyMs: 10 } });
  const began = performance.now();
  expect(await refusal(provider.checkLiveness(await photo(), callOptions))).toMatchObject({ code: "no_answer" });
  expect(performance.now() - began).toBeLessThan(2000);
  expect(api.received).toHaveLength(1);
});

test("a slow answer within the limit is an answer", async () => {
  const { api, provider } = await setUp({ timeoutMs: 5000 });
  api.next({ delayMs: 200, drip: { chunkBytes: 40, everyMs: 5 } });
  expect(await provider.checkLiveness(await photo(), callOptions)).toMatchObject({ verdict: "approved" });
});

test("an abort ends the call at once, and the service sees it", async () => {
  const { api, provider } = await setUp();
  api.always({ hang: true });
  const caller = new AbortController();
  const call = refusal(provider.checkLiveness(await photo(), { ...callOptions, signal: caller.signal }));
  await expect.poll(() => api.received.length).toBe(1);
  caller.abort();
  expect(await call).toMatchObject({ code: "cancelled" });
  expect(await api.received[0]?.abandoned).toBe(true);
});

test("a call that was cancelled before it began sends nothing", async () => {
  const { api, provider } = await setUp();
  const error = await refusal(provider.checkLiveness(await photo(), { ...callOptions, signal: AbortSignal.abort() }));
  expect(error).toMatchObject({ code: "cancelled" });
  expect(api.received).toHaveLength(0);
});

test("an abort ends the wait before a repeat", async () => {
  const { api, provider } = await setUp();
  api.always(DIDIT.rateLimited("5"));
  const caller = new AbortController();
  const call = refusal(provider.checkLiveness(await photo(), { ...callOptions, signal: caller.signal }));
  await expect.poll(() => api.received.length).toBe(1);
  const began = performance.now();
  await pause(50);
  caller.abort();
  expect(await call).toMatchObject({ code: "cancelled" });
  expect(performance.now() - began).toBeLessThan(1000);
  expect(api.received).toHaveLength(1);
});

test("closing ends what is in flight", async () => {
  const { api, provider } = await setUp();
  api.always({ hang: true });
  const call = refusal(provider.checkLiveness(await photo(), callOptions));
  await expect.poll(() => api.received.length).toBe(1);
  await provider.close();
  expect(await call).toMatchObject({ code: "cancelled" });
});

test.each(["before body", "after body", "mid answer"] as const)(
  "a connection dropped %s is not tried again",
  async (drop) => {
    const { api, provider } = await setUp();
    api.always({ drop });
    const error = await refusal(provider.checkLiveness(await photo(), callOptions));
    expect(error).toMatchObject({ code: "no_answer", retryable: false });
    expect(error.next).toContain("Nothing was decided");
    expect(error.next).toContain("may have been billed");
    await pause(600);
    expect(api.received).toHaveLength(1);
  },
);

test("of a refusal that is dropped half way the status counts", async () => {
  const { api, provider } = await setUp();
  api.next({ status: 401, drop: "mid answer" }, { status: 300, drop: "mid answer" });
  const image = await photo();
  expect(await refusal(provider.checkLiveness(image, callOptions))).toMatchObject({ code: "unauthorized" });
  expect(await refusal(provider.checkLiveness(image, callOptions))).toMatchObject({ code: "bad_response" });
});

test("a base URL with a path of its own", async () => {
  const { api } = await setUp({}, { faulty: true });
  const { provider } = await setUp({ baseUrl: `${api.url}/gateway//` });
  await refusal(provider.checkLiveness(await photo(), callOptions));
  expect(api.received.map(({ path }) => path)).toEqual(["/gateway/v3/passive-liveness/"]);
});

test("a connection that was dropped while idle costs the next call nothing", async () => {
  const { api, provider } = await setUp();
  const image = await photo();
  await provider.checkLiveness(image, callOptions);
  api.dropIdle();
  await pause(50);
  expect(await provider.checkLiveness(image, callOptions)).toMatchObject({ verdict: "approved" });
  expect(api.received).toHaveLength(2);
});

test("nobody at the address: three attempts, then unavailable", async () => {
  const provider = didit({ apiKey: API_KEY, baseUrl: `http://127.0.0.1:${await freePort()}` });
  onTestFinished(() => provider.close());
  const began = performance.now();
  const error = await refusal(provider.checkLiveness(await photo(), callOptions));
  expect(error).toMatchObject({ code: "unavailable", retryable: true });
  expect(told(error)).toContain("connection was refused");
  expect(told(error)).not.toContain("127.0.0.1");
  // Two waits of 200 ms at least, with their jitter 1000 ms at most.
  expect(performance.now() - began).toBeGreaterThan(390);
  expect(performance.now() - began).toBeLessThan(3000);
});

test("a service that comes up a moment later is reached", async () => {
  const port = await freePort();
  const provider = didit({ apiKey: API_KEY, baseUrl: `http://127.0.0.1:${port}` });
  onTestFinished(() => provider.close());
  const call = provider.checkLiveness(await photo(), callOptions);
  await pause(150);
  const api = await standIn({ port });
  onTestFinished(() => api.close());
  expect(await call).toMatchObject({ verdict: "approved" });
  expect(api.received).toHaveLength(1);
});

test("a host that does not exist", async () => {
  const provider = didit({ apiKey: API_KEY, baseUrl: "http://name:password@didit.invalid" });
  onTestFinished(() => provider.close());
  const error = await refusal(provider.checkLiveness(await photo(), callOptions));
  expect(error).toMatchObject({ code: "unavailable" });
  expect(told(error)).not.toMatch(/didit\.invalid|password/);
});

test("a service without TLS at an https address", async () => {
  const { api } = await setUp();
  const { provider } = await setUp({ baseUrl: api.url.replace("http:", "https:") });
  const error = await refusal(provider.checkLiveness(await photo(), callOptions));
  expect(error).toMatchObject({ code: "unavailable" });
  expect(told(error)).toMatch(/TLS.*NODE_EXTRA_CA_CERTS/);
  expect(api.received).toHaveLength(0);
});

/** A server that says the same to whoever connects. */
async function listen(server: Server): Promise<string> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => sockets.add(socket));
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("a service that does not speak HTTP", async () => {
  const baseUrl = await listen(
    createTcpServer((socket) => socket.on("error", () => {}).end("SSH-2.0-SECRET-PROSE\r\n")),
  );
  const provider = didit({ apiKey: API_KEY, baseUrl });
  onTestFinished(() => provider.close());
  const error = await refusal(provider.checkLiveness(await photo(), callOptions));
  expect(error).toMatchObject({ code: "bad_response" });
  expect(told(error)).not.toContain("SECRET-PROSE");
});

test("a rate limit with a short Retry-After is waited out", async () => {
  const { api, provider } = await setUp();
  api.next(DIDIT.rateLimited("1"));
  const began = performance.now();
  expect(await provider.checkLiveness(await photo(), callOptions)).toMatchObject({ verdict: "approved" });
  expect(performance.now() - began).toBeGreaterThan(990);
  expect(api.received).toHaveLength(2);
  expect(api.received[1]?.files).toEqual(api.received[0]?.files);
});

test("Retry-After as a date", async () => {
  const { api, provider } = await setUp();
  api.next(DIDIT.rateLimited(new Date(Date.now() + 1000).toUTCString()));
  expect(await provider.checkLiveness(await photo(), callOptions)).toMatchObject({ verdict: "approved" });
  expect(api.received).toHaveLength(2);
  api.next(DIDIT.rateLimited(new Date(Date.now() + 60_500).toUTCString()));
  const error = await refusal(provider.checkLiveness(await photo(), callOptions));
  expect(error.retryAfterSeconds).toBeGreaterThan(55);
  expect(error.retryAfterSeconds).toBeLessThanOrEqual(61);
});

test.each([
  ["a check that is refused for its rate", DIDIT.rateLimited, "rate_limited"],
  ["a call that costs nothing, and an overload", DIDIT.overloaded, "unavailable"],
])("%s is tried three times and no more", async (_, answer, code) => {
  const { api, provider } = await setUp();
  api.always(answer("0"));
  const call = code === "unavailable" ? provider.test(callOptions) : provider.checkLiveness(await photo(), callOptions);
  expect(await refusal(call)).toMatchObject({ code, retryable: true, retryAfterSeconds: 0 });
  expect(api.received).toHaveLength(3);
});

test("a failure that asks for a repeat is repeated only where it says that nothing was done", async () => {
  const { api, provider } = await setUp();
  api.always({ status: 500, headers: { "retry-after": "0" } });
  expect(await refusal(provider.test(callOptions))).toMatchObject({ code: "unavailable" });
  expect(api.received).toHaveLength(1);
});

test.each([500, 502, 503, 504])(
  "a billed call that was answered with %i is not repeated, nor offered for it",
  async (status) => {
    const { api, provider } = await setUp();
    api.always({ status, headers: { "retry-after": "0" }, text: "<html>SECRET-PROSE</html>" });
    const image = await photo();
    for (const call of [
      () => provider.checkLiveness(image, callOptions),
      () => provider.matchFaces(image, image, callOptions),
      () => provider.searchFace(image, callOptions),
    ]) {
      const sent = api.received.length;
      const error = await refusal(call());
      expect(error).toMatchObject({ code: "unavailable", retryable: false });
      expect(error.next).toMatch(/may have been billed: retry only if the account owner accepts/);
      expect(api.received).toHaveLength(sent + 1);
    }
  },
);

test.each([
  ["rate_limited", DIDIT.rateLimited("7"), 7],
  ["rate_limited", DIDIT.rateLimited("70"), 70],
  ["rate_limited", DIDIT.rateLimited(`retry ${new Date(Date.now() + 60_000).toUTCString()}`), undefined],
  ["rate_limited", DIDIT.rateLimited(), undefined],
  ["rate_limited", DIDIT.rateLimited("soon"), undefined],
  ["rate_limited", DIDIT.rateLimited("-1"), undefined],
  ["rate_limited", DIDIT.rateLimited("1.5"), undefined],
])(
  "%s with a long or unreadable Retry-After is the caller's to decide on (%#)",
  async (code, answer, retryAfterSeconds) => {
    const { api, provider } = await setUp();
    api.always(answer);
    const error = await refusal(provider.checkLiveness(await photo(), callOptions));
    expect(error).toMatchObject({ code, retryable: true });
    expect(error.retryAfterSeconds).toBe(retryAfterSeconds);
    expect(api.received).toHaveLength(1);
  },
);

test("a wait that would outlast the limit is not begun", async () => {
  const { api, provider } = await setUp({ timeoutMs: 1000 });
  api.always(DIDIT.rateLimited("3"));
  const began = performance.now();
  expect(await refusal(provider.checkLiveness(await photo(), callOptions))).toMatchObject({
    code: "rate_limited",
    retryAfterSeconds: 3,
  });
  expect(performance.now() - began).toBeLessThan(900);
});

test.each([300, 301, 302, 303, 307, 308])("a redirect (HTTP %i) is not followed", async (status) => {
  const { api, provider } = await setUp();
  const { api: elsewhere } = await setUp();
  const body = { liveness: { status: "Approved", score: 95, warnings: [] } };
  api.always({ status, headers: { location: `${elsewhere.url}/v3/passive-liveness/` }, body });
  const error = await refusal(provider.checkLiveness(await photo(), callOptions));
  expect(error).toMatchObject({ code: "bad_response", message: expect.stringContaining("redirected") });
  expect(error.next).toContain("Check the base URL");
  expect(api.received).toHaveLength(1);
  expect(elsewhere.received).toHaveLength(0);
});

const HUGE = `{"liveness": {"status": "Approved", "score": 95, "x": "${"x".repeat(6 * 2 ** 20)}"}}`;

test("an answer of just 5 MB is read", async () => {
  const { api, provider } = await setUp();
  api.next({
    status: 200,
    text: '{"liveness": {"status": "Approved", "score": 95, "warnings": []}}'.padEnd(5 * 2 ** 20),
  });
  expect(await provider.checkLiveness(await photo(), callOptions)).toMatchObject({ verdict: "approved" });
});

test("an answer larger than 5 MB is not read to its end", async () => {
  const { api, provider } = await setUp();
  api.next({ status: 200, text: HUGE }, { status: 200, text: HUGE, headers: { "transfer-encoding": "chunked" } });
  const image = await photo();
  expect(await refusal(provider.checkLiveness(image, callOptions))).toMatchObject({ code: "bad_response" });
  expect(await refusal(provider.checkLiveness(image, callOptions))).toMatchObject({ code: "bad_response" });
  expect(await provider.checkLiveness(image, callOptions)).toMatchObject({ verdict: "approved" });
});

const lists = (count: number, items: number) =>
  Array.from({ length: count }, () => Array.from({ length: items }, () => 0));
const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
/** Inside of the answer, which has two levels, seven values and three items before. */
test.each<[what: string, most: string, tooMuch: string]>([
  ["levels", nested(62), nested(63)],
  ["levels of objects", `${'{"a":'.repeat(62)}0${"}".repeat(62)}`, `${'{"a":'.repeat(63)}0${"}".repeat(63)}`],
  ["items in one list", JSON.stringify(lists(2, 500)), JSON.stringify(lists(1, 501))],
  ["values in all", JSON.stringify(lists(38, 262)), JSON.stringify([...lists(37, 262), [0, ...lists(1, 262).flat()]])],
  ["characters in one string", `"${"x".repeat(2 ** 20 - 1)}"`, `"${"x".repeat(2 ** 20)}"`],
  ["escaped quotes", `"${'\\"'.repeat(2 ** 19 - 1)}"`, `"${'\\"'.repeat(2 ** 19)}"`],
  ["brackets and commas, of which those in strings do not count", `"${"[,{".repeat(999)}\\\\"`, nested(999)],
])("an answer of just so many %s is one, and of more none", async (_what, most, tooMuch) => {
  const { api, provider } = await setUp();
  const answer = (news: string) => ({
    status: 200,
    text: `{"liveness":{"status":"Approved","score":95,"warnings":[],"news":${news}}}`,
  });
  api.next(answer(most), answer(tooMuch));
  const image = await photo();
  expect(await provider.checkLiveness(image, callOptions)).toMatchObject({ verdict: "approved" });
  const error = await refusal(provider.checkLiveness(image, callOptions));
  expect(error).toMatchObject({ code: "bad_response", message: expect.stringContaining("too large") });
});

test("of a refusal larger than 5 MB the status still counts", async () => {
  const { api, provider } = await setUp();
  api.next({ status: 500, text: HUGE }, { status: 401, text: HUGE });
  const image = await photo();
  expect(await refusal(provider.checkLiveness(image, callOptions))).toMatchObject({ code: "unavailable" });
  expect(await refusal(provider.checkLiveness(image, callOptions))).toMatchObject({ code: "unauthorized" });
});

test("400 calls at once are all answered, each with its own answer", async () => {
  const { api, provider } = await setUp();
  api.always({ delayMs: 20 });
  const image = await photo();
  const calls = Array.from({ length: 400 }, (_, index) =>
    provider.checkLiveness(image, { ...callOptions, vendorData: `user-${index}` }),
  );
  const reports = await Promise.all(calls);
  expect(reports.map(({ raw }) => (raw as { vendor_data: string }).vendor_data)).toEqual(
    Array.from({ length: 400 }, (_, index) => `user-${index}`),
  );
  expect(api.received).toHaveLength(400);
}, 30_000);

test("calls that hang hold up no other", async () => {
  const { api, provider } = await setUp();
  api.next(...Array.from({ length: 20 }, () => ({ hang: true }) as const));
  const image = await photo();
  const caller = new AbortController();
  setMaxListeners(0, caller.signal);
  const hanging = Array.from({ length: 20 }, () =>
    refusal(provider.checkLiveness(image, { ...callOptions, signal: caller.signal })),
  );
  await expect.poll(() => api.received.length).toBe(20);
  expect(await provider.checkLiveness(image, callOptions)).toMatchObject({ verdict: "approved" });
  caller.abort();
  expect((await Promise.all(hanging)).map(({ code }) => code)).toEqual(Array.from({ length: 20 }, () => "cancelled"));
});

test.each([
  ["an address that is none", { baseUrl: "didit" }],
  ["an address of another kind", { baseUrl: "ftp://didit.example" }],
  ["a proxy without its scheme", { proxy: { url: "name:password@proxy:8080" } }],
])("%s is a fault of the setup", async (_, options) => {
  const error = await refusal(Promise.resolve().then(() => didit({ apiKey: API_KEY, ...options })));
  expect(error).toMatchObject({ code: "setup" });
  expect(told(error)).not.toContain("password");
});

test("a key that no header can carry is a fault of the setup", async () => {
  const { api, provider } = await setUp({ apiKey: "key-with-a\nline-break" });
  const error = await refusal(provider.checkLiveness(await photo(), callOptions));
  expect(error).toMatchObject({ code: "setup" });
  expect(told(error) + error.cause).not.toContain("line-break");
  expect(api.received).toHaveLength(0);
});

test("the caller's signal keeps nothing of the calls that are over", async () => {
  const { api, provider } = await setUp();
  api.next(DIDIT.broken);
  const { signal } = new AbortController();
  let held = 0;
  const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
  signal.addEventListener = (...args: Parameters<typeof add>) => [add(...args), held++];
  signal.removeEventListener = (...args: Parameters<typeof remove>) => [remove(...args), held--];
  const image = await photo();
  await refusal(provider.checkLiveness(image, { ...callOptions, signal }));
  await provider.checkLiveness(image, { ...callOptions, signal });
  expect(held).toBe(0);
});
