import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import {
  type Connection,
  cleanEnvironment,
  closing,
  ERAS,
  type Era,
  MAIN,
  temporaryFolder,
} from "../support/clients.ts";
import { type AccountStandIn, accountStandIn } from "../support/stand-in/account.ts";
import { DIDIT } from "../support/stand-in.ts";
import { EMAIL, filesOf, PASSWORD } from "./setting.ts";

const photos = temporaryFolder("photos-");
const selfie = join(photos, "selfie.jpg");
beforeAll(async () => {
  const picture = sharp({ create: { width: 64, height: 64, channels: 3, background: "#765" } });
  writeFileSync(selfie, await picture.jpeg().toBuffer());
});

interface Door {
  readonly api: AccountStandIn;
  readonly data: string;
  readonly server: Connection;
  /** Another copy of the server, with the same data folder. */
  another(env?: Record<string, string>): Promise<Connection>;
}

async function open({ connect }: Pick<Era, "connect">, env: Record<string, string> = {}): Promise<Door> {
  const api = await accountStandIn();
  onTestFinished(() => api.close());
  const data = join(temporaryFolder("data-"), "data");
  const settings = { ...api.env, BIOMETRICS_DATA_DIR: data, BIOMETRICS_IMAGE_DIRS: photos };
  const another = async (more = {}) => closing(await connect({ env: { ...settings, ...more } }));
  return { api, data, another, server: await another(env) };
}

const stored = (data: string) => JSON.parse(readFileSync(join(data, "credentials.json"), "utf8"));

async function registered({ api, server }: Door): Promise<string> {
  await server.call("register_account", { email: EMAIL });
  await server.call("verify_email", { email: EMAIL, code: api.accounts.codeOf(EMAIL) });
  return api.accounts.keys[0] ?? "";
}

describe.each(ERAS)("accounts, $era", (era) => {
  test("from nothing to a check by Didit, without a restart", async () => {
    const door = await open(era);
    const { api, data, server } = door;
    expect((await server.call("get_setup")).structuredContent).toMatchObject({ provider: "on-device", api_key: null });

    const sent = await server.call("register_account", { email: EMAIL });
    expect(sent.structuredContent).toMatchObject({
      provider: "didit",
      email: EMAIL,
      status: "code_sent",
      api_key: null,
    });
    expect(sent.text).toMatch(/emailed a code to "jane@mail\.org".*password was generated.*\nNext:\n- Pass the six/);

    const code = api.accounts.codeOf(EMAIL);
    const ready = await server.call("verify_email", { email: EMAIL, code: ` ${code} ` });
    const [key = ""] = api.accounts.keys;
    expect(ready.isError, ready.text).toBeFalsy();
    expect(ready.structuredContent).toMatchObject({
      provider: "didit",
      api_key: `ends in ${key.slice(-4)}`,
      organization: "developer",
      application: "developer",
    });
    expect(ready.text).toContain("Checks use it from now on.");

    const check = await server.call("check_liveness", { image_path: selfie });
    expect(check.structuredContent).toMatchObject({ provider: "didit", outcome: "approved" });
    expect(api.received.at(-1)?.headers).toMatchObject({ "x-api-key": key });
    expect((await server.call("get_setup")).structuredContent).toMatchObject({
      provider: "didit",
      api_key: `ends in ${key.slice(-4)}`,
    });
    expect(statSync(join(data, "credentials.json")).mode & 0o777).toBe(0o600);
    expect(statSync(data).mode & 0o777).toBe(0o700);
  });

  test("one process registers, the next call of another uses the key", async () => {
    const door = await open(era);
    const other = await door.another();
    expect((await other.call("get_setup")).structuredContent).toMatchObject({ provider: "on-device" });
    await door.server.call("register_account", { email: EMAIL });
    // The other has what the first kept.
    await other.call("verify_email", { email: EMAIL, code: door.api.accounts.codeOf(EMAIL) });
    for (const server of [door.server, other]) {
      const { structuredContent } = await server.call("check_liveness", { image_path: selfie });
      expect(structuredContent).toMatchObject({ provider: "didit" });
    }
    const later = await door.another();
    expect((await later.call("get_balance")).structuredContent).toMatchObject({ balance: "1234.5600" });
  });

  test("a setting wins over a stored key, and the answer says so", async () => {
    const door = await open(era, { BIOMETRICS_PROVIDER: "on-device" });
    await door.server.call("register_account", { email: EMAIL });
    const code = door.api.accounts.codeOf(EMAIL);
    const ready = await door.server.call("verify_email", { email: EMAIL, code });
    expect(ready.text).toMatch(/do not use it: the current provider is on-device \(set by BIOMETRICS_PROVIDER\)/);
    expect((await door.server.call("get_setup")).structuredContent).toMatchObject({ provider: "on-device" });
    const own = await door.another({ DIDIT_API_KEY: "key-of-the-operator" });
    expect((await own.call("get_setup")).structuredContent).toMatchObject({
      provider: "didit",
      api_key: "ends in ator",
    });
    await own.call("check_liveness", { image_path: selfie });
    expect(door.api.received.at(-1)?.headers).toMatchObject({ "x-api-key": "key-of-the-operator" });
  });

  test("the balance and the link to pay", async () => {
    const door = await open(era);
    const { api, server } = door;
    const none = await server.call("get_balance");
    expect(none.text).toMatch(/^Error \[unauthorized\]: .*\nNext: .*register_account/);
    await registered(door);
    expect((await server.call("get_balance")).text).toBe(
      "The Didit account has $1234.56. It does not refill automatically.",
    );
    api.accounts.balance = "0.0000";
    api.accounts.autoRefill = true;
    const empty = await server.call("get_balance");
    expect(empty.structuredContent).toMatchObject({
      balance: "0.0000",
      auto_refill_enabled: true,
      auto_refill_amount: "500.00",
      auto_refill_threshold: "100.00",
    });
    expect(empty.text).toMatch(
      /\$0\.00\. It refills automatically by \$500\.00 when it falls to \$100\.00\.\nNext:\n.*top_up/,
    );

    const link = await server.call("top_up", { amount_in_dollars: 50 });
    const { checkout_url, checkout_id } = link.structuredContent ?? {};
    expect(link.structuredContent).toMatchObject({ provider: "didit", amount_in_dollars: 50 });
    expect(checkout_url).toBe(`https://checkout.stripe.com/c/pay/${checkout_id}#fidkdWxOYHw`);
    expect(link.text).toContain(String(checkout_url));
    expect(link.text).toMatch(
      /Nothing has been charged yet; get_balance shows when it has\.\nNext:\n(.*\n)*.*get_balance/,
    );
    expect(link.text).not.toMatch(/paid\.|was charged|successful/);

    const before = api.received.length;
    for (const amount of [49.99, 1_000_000.01, -50, 50.001, "50", null]) {
      const refused = await server.call("top_up", { amount_in_dollars: amount });
      expect(refused.text).toMatch(/^Error \[invalid_input\]: .*amount_in_dollars/);
    }
    expect(api.received).toHaveLength(before);
    api.accounts.checkoutUrl = "https://evil.org/pay";
    const evil = await server.call("top_up", { amount_in_dollars: 50 });
    expect(evil.text).toMatch(/^Error \[bad_response\]/);
    expect(evil.everything).not.toContain("evil");
  });

  test("a check that fails for want of credits names the balance and top_up", async () => {
    const door = await open(era);
    await registered(door);
    door.api.accounts.balance = "0.0300";
    door.api.next(DIDIT.noCredit403);
    const check = await door.server.call("check_liveness", { image_path: selfie });
    expect(check.text).toMatch(/^Error \[no_credit\]: .*The balance is \$0\.03\.\nNext: .*top_up/);
  });

  test("each way to fail has its own answer", async () => {
    const door = await open(era);
    const { api, server, data } = door;
    const register = (args: Record<string, unknown>) => server.call("register_account", args);
    const verify = (code: string, email = EMAIL) => server.call("verify_email", { email, code });

    expect((await register({ email: "jane" })).text).toMatch(/\[invalid_input\]: .*email must be an email address/);
    expect((await register({ email: EMAIL, password: "weak" })).text).toMatch(/\[invalid_input\]: .*at least 8.*digit/);
    expect((await verify("12345")).text).toMatch(/\[invalid_input\]: .*code must be six/);
    expect(api.received).toEqual([]);

    expect((await register({ email: "jane@example.com" })).text).toMatch(/\[invalid_input\]: .*500.*\nNext: .*address/);
    expect((await register({ email: EMAIL })).isError).toBeFalsy();
    const soon = await register({ email: EMAIL });
    expect(soon.text).toMatch(/\[rate_limited\]/);
    expect(soon._meta).toMatchObject({ retryable: true, retry_after_seconds: expect.any(Number) });
    expect((await verify("zzzzzz")).text).toMatch(/\[invalid_input\]: .*code.*wrong.*\nNext: .*register_account/);

    api.accounts.enrol("taken@mail.org", PASSWORD);
    const taken = await register({ email: "taken@mail.org" });
    expect(taken.text).toMatch(/\[invalid_input\]: .*already.*\nNext: .*password.*DIDIT_API_KEY/);
    api.accounts.secondFactor = true;
    const factor = await register({ email: "taken@mail.org", password: PASSWORD });
    expect(factor.text).toMatch(/\[unsupported\]: .*second factor.*\nNext: .*DIDIT_API_KEY/);
    await register({ email: "five@mail.org" });
    expect((await register({ email: "six@mail.org" })).text).toMatch(/\[rate_limited\]: .*5 requests an hour/);
    api.next({ status: 200, body: { access_token: "eyJ.x", organization: {}, application: {} } });
    expect((await verify("zzzzzz")).text).toMatch(/\[bad_response\]: .*\nNext: Nothing was saved/);

    chmodSync(data, 0o755);
    for (const tool of ["get_setup", "get_balance"]) {
      expect((await server.call(tool)).text).toContain(`chmod 700 '${data}'`);
    }
    expect((await register({ email: EMAIL })).text).toMatch(/\[setup\]/);
    chmodSync(data, 0o700);
    expect((await server.call("get_setup")).isError).toBeFalsy();
    expect(stored(data).didit).toBeUndefined();
  });

  test("what the tools say of themselves is true", async () => {
    const { server } = await open(era);
    const tools = new Map((await server.listTools()).map((tool) => [tool.name, tool.annotations]));
    const changing = { readOnlyHint: false, destructiveHint: false, idempotentHint: false, openWorldHint: true };
    for (const name of ["register_account", "verify_email", "top_up"]) expect(tools.get(name)).toMatchObject(changing);
    expect(tools.get("get_balance")).toMatchObject({ readOnlyHint: true, openWorldHint: true });
  });
});

/** A server of which every byte is kept, and a client that speaks to it by hand. */
async function bare(env: Record<string, string>, home: string) {
  const child = spawn(process.execPath, [MAIN], { env: { ...cleanEnvironment(home), ...env }, cwd: home });
  onTestFinished(() => void child.kill("SIGKILL"));
  const written = { out: "", err: "" };
  child.stdout.on("data", (chunk: Buffer) => {
    written.out += chunk.toString("latin1");
  });
  child.stderr.on("data", (chunk: Buffer) => {
    written.err += chunk.toString("latin1");
  });
  let id = 0;
  async function request(method: string, params: object): Promise<string> {
    id += 1;
    const own = new RegExp(`^.*"id":${id}[,}].*$`, "m");
    child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id, method, params })}\n`);
    await expect.poll(() => own.exec(written.out)?.[0], { timeout: 20_000 }).toBeDefined();
    return own.exec(written.out)?.[0] ?? "";
  }
  const clientInfo = { name: "test", version: "1" };
  await request("initialize", { protocolVersion: "2025-11-25", capabilities: {}, clientInfo });
  return {
    written,
    call: (name: string, args: object) =>
      request("tools/call", { name, arguments: args, _meta: { progressToken: `p-${id}` } }),
    request,
    async end() {
      const exit = once(child, "exit");
      child.stdin.end();
      await exit;
    },
  };
}

test("no secret is in anything that the server ever wrote, but for the file of credentials", async () => {
  const api = await accountStandIn();
  onTestFinished(() => api.close());
  const home = temporaryFolder("home-");
  const data = join(home, "data");
  const env = { ...api.env, BIOMETRICS_IMAGE_DIRS: photos, NODE_DEBUG: "http,net,undici" };
  const server = await bare(env, home);
  const codes: string[] = [];
  const echo = (status: number, ...secrets: string[]) =>
    api.next({
      status,
      text: `<p>${secrets.join(" ")} ${JSON.stringify(secrets)} ${encodeURIComponent(secrets.join(" "))}`,
    });

  // With a password that is made, then with one that is given, and each time with a service that repeats what it hears.
  await server.call("register_account", { email: EMAIL });
  const made: string = stored(data).pending[0].password;
  codes.push(api.accounts.codeOf(EMAIL));
  for (const status of [200, 400, 422, 500]) {
    echo(status, made, codes[0] ?? "");
    await server.call("verify_email", { email: EMAIL, code: codes[0] ?? "" });
  }
  expect(await server.call("verify_email", { email: EMAIL, code: codes[0] ?? "" })).toContain("ends in");
  echo(400, PASSWORD);
  await server.call("register_account", { email: "joe@mail.org", password: PASSWORD });
  await server.call("register_account", { email: "joe@mail.org", password: PASSWORD });
  codes.push(api.accounts.codeOf("joe@mail.org"));
  await server.call("verify_email", { email: "joe@mail.org", code: codes[1] ?? "" });
  // An account that exists: wrong password, second factor, and the way that works.
  const mine = "Taken-Horse-99";
  const wrong = "Wrong-Horse-88";
  api.accounts.requestsAnHour = 100;
  api.accounts.enrol("taken@mail.org", mine);
  await server.call("register_account", { email: "taken@mail.org", password: wrong });
  api.accounts.secondFactor = true;
  await server.call("register_account", { email: "taken@mail.org", password: mine });
  api.accounts.secondFactor = false;
  expect(await server.call("register_account", { email: "taken@mail.org", password: mine })).toContain("ends in");
  await server.call("register_account", { email: "weak@mail.org", password: "weak-secret-word" });
  // With the key in use, and a service that repeats it.
  const [key = ""] = api.accounts.keys;
  for (const status of [200, 400, 403, 500]) {
    for (const [tool, args] of [
      ["get_balance", {}],
      ["top_up", { amount_in_dollars: 60 }],
      ["check_liveness", { image_path: selfie }],
    ] as const) {
      echo(status, key);
      await server.call(tool, args);
    }
  }
  await server.call("check_liveness", { image_path: selfie });
  await server.call("get_setup", {});
  await server.request("tools/list", {});
  await server.end();

  const files = filesOf(home);
  const { "credentials.json": credentials = "", ...others } = files;
  const everywhere = { ...server.written, ...others };
  const secrets = { key, made, given: PASSWORD, mine, wrong, weak: "weak-secret-word" };
  const all = { ...secrets, ...Object.fromEntries([...codes, ...api.accounts.tokens].map((it) => [it, it])) };
  expect(server.written.out.length).toBeGreaterThan(10_000);
  expect(server.written.err).toContain("failed");
  expect(api.accounts.tokens.length).toBeGreaterThan(5);
  for (const [name, secret] of Object.entries(all)) {
    expect(secret.length, name).toBeGreaterThan(5);
    for (const [place, text] of Object.entries(everywhere)) {
      for (const spelling of [secret, encodeURIComponent(secret), Buffer.from(secret).toString("base64")]) {
        expect(text.includes(spelling), `${name} in ${place}`).toBe(false);
      }
    }
  }
  expect(credentials).toContain(key);
  expect(credentials).toContain(made);
  for (const text of [PASSWORD, mine, wrong, "weak-secret-word", ...codes, ...api.accounts.tokens]) {
    expect(credentials).not.toContain(text);
  }
});
