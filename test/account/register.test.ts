import { expect, test } from "vitest";
import { lacksOf, makePassword } from "../../src/providers/didit/password.ts";
import type { Behaviour } from "../support/stand-in.ts";
import { ago, allOf, callOptions, EMAIL, PASSWORD, pathsOf, refusal, setUp } from "./setting.ts";

const request = (given?: string) => ({ email: EMAIL, password: given });

test("a made password follows every published rule, and no two are alike", () => {
  const made = Array.from({ length: 500 }, makePassword);
  expect(new Set(made).size).toBe(500);
  for (const password of made) {
    expect(lacksOf(password)).toEqual([]);
    expect(password).toMatch(/^[\w!@#$%^&*()+\-=[\]{}|;:,.<>?]{24}$/);
  }
  // Not always in the same places.
  expect(new Set(made.map((password) => password.search(/[0-9]/))).size).toBeGreaterThan(3);
});

test.each([
  ["short", ["at least 8", "upper-case", "digit", "special"]],
  ["ALLUPPERCASE", ["lower-case", "digit", "special"]],
  ["nodigitorspecial", ["upper-case", "digit", "special"]],
  ["Almost-there", ["digit"]],
  ["Almost there1", ["special"]],
])("a weak password is refused before it is sent, with all that %s lacks", async (password, lacks) => {
  const { account, api, folder, credentials } = await setUp();
  const error = await refusal(account.register(request(password), callOptions));
  expect(error.code).toBe("invalid_input");
  for (const lack of lacks) expect(error.message).toContain(lack);
  expect(error.message.split(", ")).toHaveLength(lacks.length);
  expect(allOf(error)).not.toContain(password);
  expect(api.received).toEqual([]);
  expect((await credentials.read()).pending, folder).toEqual([]);
});

test("a registration makes a password, keeps it, and tells nobody", async () => {
  const { account, api, credentials } = await setUp();
  const done = await account.register(request(), callOptions);
  expect(done).toEqual({ status: "code_sent", email: EMAIL, isNew: true, password: "made" });
  const [pending] = (await credentials.read()).pending;
  expect(pending).toMatchObject({ email: EMAIL, password_made_here: true, code_sent_at: expect.any(String) });
  expect(JSON.parse(api.received[0]?.body.toString() ?? "")).toEqual({ email: EMAIL, password: pending?.password });
  expect(api.received[0]?.headers).toMatchObject({ "content-type": "application/json" });
  expect(api.accounts.mails).toHaveLength(1);
});

test("a given password is used as it is", async () => {
  const { account, api } = await setUp();
  expect(await account.register(request(PASSWORD), callOptions)).toMatchObject({ password: "given" });
  expect(JSON.parse(api.received[0]?.body.toString() ?? "")).toEqual({ email: EMAIL, password: PASSWORD });
});

test("the password is on the disk before it is sent, and used again when no answer came", async () => {
  const { account, api, credentials } = await setUp();
  api.next({ drop: "after body" });
  const error = await refusal(account.register(request(), callOptions));
  expect(error).toMatchObject({ code: "no_answer", retryable: false });
  expect(error.next).toMatch(/verify_email.*register_account/);
  const [kept] = (await credentials.read()).pending;
  expect(kept).toMatchObject({ email: EMAIL, code_sent_at: null });
  expect(await account.register(request(), callOptions)).toMatchObject({ status: "code_sent", password: "made" });
  const sent = api.received.map(({ body }) => JSON.parse(body.toString()).password);
  expect(sent).toEqual([kept?.password, kept?.password]);
  expect(pathsOf(api)).toEqual(["/programmatic/register/", "/programmatic/register/"]);
});

test("the second call for an address asks for another code, with the kept password, once a minute", async () => {
  const setting = await setUp();
  const { account, api, credentials } = setting;
  await account.register(request(), callOptions);
  const soon = await refusal(account.register({ email: EMAIL.toUpperCase() }, callOptions));
  expect(soon).toMatchObject({ code: "rate_limited", retryable: true });
  expect(soon.retryAfterSeconds).toBeGreaterThan(55);
  expect(soon.retryAfterSeconds).toBeLessThanOrEqual(60);
  expect(api.received).toHaveLength(1);

  await ago(61, setting);
  expect(await account.register(request(), callOptions)).toMatchObject({ isNew: false, password: "made" });
  const [pending] = (await credentials.read()).pending;
  expect(pathsOf(api)).toEqual(["/programmatic/register/", "/programmatic/resend-otp/"]);
  expect(JSON.parse(api.received[1]?.body.toString() ?? "")).toEqual({ email: EMAIL, password: pending?.password });
  expect(api.accounts.mails).toHaveLength(2);
  expect(await refusal(account.register(request(), callOptions))).toMatchObject({ code: "rate_limited" });
});

test("an address is the same however it is written", async () => {
  const setting = await setUp();
  await setting.account.register({ email: "Jane@Mail.org" }, callOptions);
  expect(await refusal(setting.account.register(request(), callOptions))).toMatchObject({ code: "rate_limited" });
  expect((await setting.credentials.read()).pending).toHaveLength(1);
});

test("the cool-down of the service is told with its seconds", async () => {
  const setting = await setUp();
  const { account, api } = setting;
  await account.register(request(), callOptions);
  await ago(61, setting);
  api.accounts.cooldownMs = 90_000;
  const error = await refusal(account.register(request(), callOptions));
  expect(error).toMatchObject({ code: "rate_limited", message: expect.stringContaining("one a minute") });
  expect(error.retryAfterSeconds).toBeGreaterThan(80);
});

test("a clock that was set back locks nobody out", async () => {
  const setting = await setUp();
  await setting.account.register(request(), callOptions);
  await ago(-86_400, setting);
  setting.api.accounts.cooldownMs = 0;
  expect(await setting.account.register(request(), callOptions)).toMatchObject({ isNew: false });
});

test("an address that Didit has forgotten is registered anew", async () => {
  const setting = await setUp();
  const { account, api, credentials } = setting;
  const code_sent_at = new Date(0).toISOString();
  const pending = [{ email: EMAIL, password: PASSWORD, password_made_here: false, code_sent_at }];
  await credentials.update((it) => ({ ...it, pending }));
  expect(await account.register(request(), callOptions)).toMatchObject({ isNew: true, password: "given earlier" });
  expect(pathsOf(api)).toEqual(["/programmatic/resend-otp/", "/programmatic/register/"]);
});

test.each<[string, Behaviour, string, RegExp, number | undefined]>([
  [
    "an undeliverable domain, or an outage",
    { status: 500, text: "" },
    "invalid_input",
    /receives no email.*Didit is down/,
    undefined,
  ],
  ["a gateway that fails", { status: 502, text: "<p>SECRET-PROSE" }, "unavailable", /502/, undefined],
  ["5 an hour", { status: 429, body: { detail: "SECRET-PROSE" } }, "rate_limited", /5 requests an hour/, undefined],
  [
    "5 an hour, with a header",
    { status: 429, headers: { "retry-after": "1800" }, body: {} },
    "rate_limited",
    /5 requests/,
    1800,
  ],
  [
    "5 an hour, with minutes in the text",
    { status: 429, body: { detail: "SECRET-PROSE Available in 12 minutes" } },
    "rate_limited",
    /5 requests/,
    720,
  ],
  [
    "an address it refuses",
    { status: 400, body: { email: ["Enter a valid email address."] } },
    "invalid_input",
    /address/,
    undefined,
  ],
  [
    "a password it refuses",
    { status: 400, body: { password: ["SECRET-PROSE This password is too common."] } },
    "invalid_input",
    /did not accept the password.*at least 8/,
    undefined,
  ],
  [
    "a taken address",
    { status: 409, text: "" },
    "invalid_input",
    /already is a Didit account with this address/,
    undefined,
  ],
  [
    "a taken address, in words",
    { status: 400, body: { email: ["SECRET-PROSE A user has this email already, enter a valid password."] } },
    "invalid_input",
    /already is a Didit account with this address/,
    undefined,
  ],
  ["a bare list", { status: 400, body: ["SECRET-PROSE"] }, "invalid_input", /most likely/, undefined],
  ["a page of a firewall", { status: 403, text: "<p>SECRET-PROSE" }, "bad_response", /403/, undefined],
  ["a wrong address", { status: 404, text: "<p>SECRET-PROSE" }, "setup", /account API/, undefined],
])("%s is answered in our words", async (_what, behaviour, code, says, seconds) => {
  const { account, api } = await setUp();
  api.next(behaviour);
  const error = await refusal(account.register(request(), callOptions));
  expect(error.code).toBe(code);
  expect(`${error.message} ${error.next}`).toMatch(says);
  expect(`${error.message} ${error.next}`).not.toContain("SECRET-PROSE");
  expect(error.retryAfterSeconds).toBe(seconds);
  expect(api.received).toHaveLength(1);
});

test("the stand-in's own refusals: a domain without mail, and the sixth request of an hour", async () => {
  const { account, api } = await setUp();
  const nowhere = await refusal(account.register({ email: "jane@example.com" }, callOptions));
  expect(nowhere.message).toContain("example.com");
  for (const n of [2, 3, 4, 5]) await account.register({ email: `jane${n}@mail.org` }, callOptions);
  expect(await refusal(account.register(request(), callOptions))).toMatchObject({ code: "rate_limited" });
  expect(api.received).toHaveLength(6);
});

test.each([200, 400, 429, 500, 502])("a password that comes back with HTTP %i goes nowhere", async (status) => {
  const { account, api } = await setUp();
  api.next({ status, text: `<p>the password ${PASSWORD}, &quot;${encodeURIComponent(PASSWORD)}&quot; is bad` });
  const error = await refusal(account.register(request(PASSWORD), callOptions));
  expect(allOf(error)).not.toContain(PASSWORD);
  expect(error.stack).not.toContain(PASSWORD);
});

test("cancelling reaches the request, and the password stays for the next try", async () => {
  const { account, api, credentials } = await setUp();
  api.next({ hang: true });
  const cancel = new AbortController();
  const call = refusal(account.register(request(), { ...callOptions, signal: cancel.signal }));
  await expect.poll(() => api.received.length).toBe(1);
  cancel.abort();
  expect(await call).toMatchObject({ code: "cancelled" });
  expect((await credentials.read()).pending).toHaveLength(1);
});
