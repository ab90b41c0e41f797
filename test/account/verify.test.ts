import { chmodSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { openCredentials } from "../../src/storage/credentials.ts";
import type { Behaviour } from "../support/stand-in.ts";
import { ago, allOf, callOptions, EMAIL, filesOf, PASSWORD, pathsOf, refusal, setUp } from "./setting.ts";

test("the right code brings a key, which is kept, and no more of it than its end is told", async () => {
  const { account, api, credentials, folder } = await setUp();
  await account.register({ email: EMAIL }, callOptions);
  const made = (await credentials.read()).pending[0]?.password;
  const ready = await account.verifyEmail({ email: EMAIL, code: api.accounts.codeOf(EMAIL) }, callOptions);
  const [key = ""] = api.accounts.keys;
  expect(ready).toEqual({
    status: "ready",
    email: EMAIL,
    apiKey: `ends in ${key.slice(-4)}`,
    organization: "developer",
    application: "developer",
    isReplacing: false,
  });
  const [application] = api.accounts.applications;
  const { pending, didit } = await credentials.read();
  expect(pending).toEqual([]);
  // Only this machine knows the password that it made.
  expect(didit).toMatchObject({
    api_key: key,
    email: EMAIL,
    password: made,
    organization: api.accounts.organizations[0],
  });
  expect(didit?.application).toEqual({ uuid: application?.uuid, name: "developer", client_id: application?.client_id });
  expect(Object.keys(filesOf(folder))).toEqual(["credentials.json"]);
  for (const token of api.accounts.tokens) expect(filesOf(folder)["credentials.json"]).not.toContain(token);
});

test("a password that the user gave is not kept longer than it is needed", async () => {
  const { account, api, folder } = await setUp();
  await account.register({ email: EMAIL, password: PASSWORD }, callOptions);
  expect(filesOf(folder)["credentials.json"]).toContain(PASSWORD);
  await account.verifyEmail({ email: EMAIL, code: api.accounts.codeOf(EMAIL) }, callOptions);
  expect(filesOf(folder)["credentials.json"]).not.toContain(PASSWORD);
});

test("an account that was saved before stays in the file", async () => {
  const setting = await setUp();
  const { account, api, credentials, verified } = setting;
  await verified();
  const { didit: first } = await credentials.read();
  const { applications } = api.accounts;
  api.accounts.applications = [api.accounts.newApplication()];
  await account.register({ email: "joe@mail.org" }, callOptions);
  const code = api.accounts.codeOf("joe@mail.org");
  expect(await account.verifyEmail({ email: "joe@mail.org", code }, callOptions)).toMatchObject({ isReplacing: true });
  const { didit, earlier } = await credentials.read();
  expect(didit).toMatchObject({ email: "joe@mail.org" });
  expect(earlier).toEqual([first]);
  // And comes back from there.
  api.accounts.applications = applications;
  expect(await account.register({ email: EMAIL }, callOptions)).toMatchObject({ status: "ready", isReplacing: true });
  const back = await credentials.read();
  expect(back.earlier).toEqual([didit]);
  expect(back.didit).toMatchObject({ email: EMAIL, password: first?.password, api_key: first?.api_key });
});

test("a colleague's key of the same application does not take the first account with it", async () => {
  const { account, api, credentials, verified } = await setUp();
  await verified();
  const { didit: first } = await credentials.read();
  api.accounts.enrol("joe@mail.org", PASSWORD);
  await account.register({ email: "joe@mail.org", password: PASSWORD }, callOptions);
  expect((await credentials.read()).earlier).toEqual([first]);
});

test("a wrong code and one that is too old are told with the way to another", async () => {
  const { account, api, credentials } = await setUp();
  await account.register({ email: EMAIL }, callOptions);
  const code = "A1B2C3";
  const wrong = await refusal(account.verifyEmail({ email: EMAIL, code }, callOptions));
  expect(wrong).toMatchObject({ code: "invalid_input", retryable: false });
  expect(wrong.next).toMatch(/register_account.*60 s/);
  expect(allOf(wrong)).not.toMatch(/A1B2C3/);
  api.accounts.codeLivesMs = -1;
  const late = await refusal(account.verifyEmail({ email: EMAIL, code: api.accounts.codeOf(EMAIL) }, callOptions));
  expect(late.message).toContain("older than 10 minutes");
  expect((await credentials.read()).didit).toBeUndefined();
});

const key = "dk_0123456789abcdef";
const answer = (application: object): Behaviour => ({
  status: 200,
  body: {
    access_token: "eyJ.TOKEN.sig",
    organization: { uuid: "o-1", name: "developer" },
    application: { uuid: "a-1", name: "developer", client_id: "c-1", ...application },
  },
});

test.each<[string, Behaviour, string, RegExp]>([
  ["no key", answer({}), "bad_response", /Nothing was saved.*register_account/],
  ["a key that is none", answer({ api_key: "a b" }), "bad_response", /Nothing was saved/],
  ["a key in text", { status: 200, text: `your key is ${key}` }, "bad_response", /Nothing was saved/],
  ["no answer", { drop: "after body" }, "no_answer", /Nothing was saved.*verify_email again.*register_account/],
  ["half an answer", { drop: "mid answer" }, "no_answer", /Nothing was saved/],
  ["too many tries", { status: 429, body: {} }, "rate_limited", /new code/],
  ["a page of a firewall", { status: 403, text: "<p>SECRET-PROSE" }, "bad_response", /./],
  ["an outage", { status: 500, text: "<p>SECRET-PROSE" }, "unavailable", /./],
])("%s: nothing is stored", async (_what, behaviour, code, next) => {
  const { account, api, credentials, folder } = await setUp();
  api.next(behaviour);
  const error = await refusal(account.verifyEmail({ email: EMAIL, code: "A1B2C3" }, callOptions));
  expect(error.code).toBe(code);
  expect(error.next).toMatch(next);
  expect(allOf(error) + error.stack).not.toMatch(/dk_0123|TOKEN|A1B2C3/);
  expect((await credentials.read()).didit).toBeUndefined();
  expect(filesOf(folder)["credentials.json"]).not.toContain(key);
});

test.each<[string, object, object]>([
  ["without names and ids", { application: { api_key: key } }, { organization: null, application: null }],
  [
    "with odd ones",
    { organization: "x", application: { api_key: key, uuid: "../..", name: 7, client_id: [] } },
    { organization: null, application: null },
  ],
  [
    "of an organization alone",
    { organization: { name: "developer" }, application: { api_key: key, uuid: null, name: null } },
    { organization: "developer", application: null },
  ],
  ["by itself", { api_key: key, access_token: "eyJ.TOKEN.sig" }, { organization: null, application: null }],
])("a key %s is kept, for the code works once", async (_what, body, told) => {
  const { account, api, credentials, folder } = await setUp();
  await account.register({ email: EMAIL }, callOptions);
  api.next({ status: 200, body });
  expect(await account.verifyEmail({ email: EMAIL, code: "A1B2C3" }, callOptions)).toMatchObject({
    status: "ready",
    apiKey: "ends in cdef",
    isReplacing: false,
    ...told,
  });
  expect((await openCredentials(folder).read()).didit).toMatchObject({ api_key: key, email: EMAIL });
  expect(filesOf(folder)["credentials.json"]).not.toContain("TOKEN");

  // Another key of the same address is another account, as far as anybody can tell; the same key is not.
  await account.register({ email: EMAIL }, callOptions);
  api.next({ status: 200, body }, { status: 200, body: { api_key: `${key}-2` } });
  expect(await account.verifyEmail({ email: EMAIL, code: "A1B2C3" }, callOptions)).toMatchObject({
    isReplacing: false,
  });
  expect(await account.verifyEmail({ email: EMAIL, code: "A1B2C3" }, callOptions)).toMatchObject({ isReplacing: true });
  const { didit, earlier } = await credentials.read();
  expect([didit?.api_key, ...earlier.map((it) => it.api_key)]).toEqual([`${key}-2`, key]);
});

test("names from the service are one line of visible text", async () => {
  const { account, api } = await setUp();
  api.next(answer({ api_key: key, name: `evil\n\u202eIGNORE${"x".repeat(500)}` }));
  const { application } = await account.verifyEmail({ email: EMAIL, code: "A1B2C3" }, callOptions);
  expect(application).toMatch(/^evil IGNOREx{68}…$/);
});

test("a code is not spent where its key could not be kept", async () => {
  const { account, api, credentials, folder } = await setUp();
  await account.register({ email: EMAIL }, callOptions);
  chmodSync(folder, 0o755);
  const error = await refusal(account.verifyEmail({ email: EMAIL, code: api.accounts.codeOf(EMAIL) }, callOptions));
  expect(error.next).toContain(`chmod 700 '${folder}'`);
  expect(api.received).toHaveLength(1);
  chmodSync(folder, 0o700);
  await account.verifyEmail({ email: EMAIL, code: api.accounts.codeOf(EMAIL) }, callOptions);
  expect((await credentials.read()).didit).toBeDefined();
});

describe("an account that exists", () => {
  const given = { email: EMAIL, password: PASSWORD };

  test("its key is fetched with the password that was given, which is not kept", async () => {
    const { account, api, credentials, folder } = await setUp();
    api.accounts.enrol(EMAIL, PASSWORD);
    const ready = await account.register(given, callOptions);
    const [key = ""] = api.accounts.keys;
    expect(ready).toMatchObject({ status: "ready", apiKey: `ends in ${key.slice(-4)}` });
    expect((await credentials.read()).didit).toMatchObject({ api_key: key, email: EMAIL });
    expect(JSON.stringify(filesOf(folder))).not.toContain(PASSWORD);
    for (const token of api.accounts.tokens) expect(JSON.stringify(filesOf(folder))).not.toContain(token);
    const [organization] = api.accounts.organizations;
    const [application] = api.accounts.applications;
    expect(pathsOf(api)).toEqual([
      "/programmatic/register/",
      "/programmatic/login/",
      "/organizations/me/",
      `/organizations/me/${organization?.uuid}/applications/`,
      `/organizations/me/${organization?.uuid}/applications/${application?.uuid}/`,
    ]);
  });

  test("its key is fetched with the password that was made here, when the answer of verify_email was lost", async () => {
    const setting = await setUp();
    const { account, api, credentials } = setting;
    await account.register({ email: EMAIL }, callOptions);
    const made = (await credentials.read()).pending[0]?.password ?? "";
    api.accounts.enrol(EMAIL, made);
    await ago(61, setting);
    expect(await account.register({ email: EMAIL }, callOptions)).toMatchObject({ status: "ready" });
    expect((await credentials.read()).didit).toMatchObject({ password: made });
    // And again later, for a key that was revoked since.
    const replacement = api.accounts.replaceKey();
    expect(await account.register({ email: EMAIL }, callOptions)).toMatchObject({
      status: "ready",
      isReplacing: false,
    });
    expect((await credentials.read()).didit).toMatchObject({ password: made, api_key: replacement });
  });

  test("without a password nobody signs in, and the ways out are named", async () => {
    const { account, api, credentials } = await setUp();
    api.accounts.enrol(EMAIL, PASSWORD);
    const error = await refusal(account.register({ email: EMAIL }, callOptions));
    expect(error).toMatchObject({ code: "invalid_input", message: expect.stringContaining("already") });
    expect(error.next).toMatch(/password.*DIDIT_API_KEY/);
    expect(pathsOf(api)).toEqual(["/programmatic/register/"]);
    expect((await credentials.read()).pending).toEqual([]);
  });

  test("a wrong password is told with the lock-out, and not kept", async () => {
    const { account, api, folder } = await setUp();
    api.accounts.enrol(EMAIL, PASSWORD);
    const error = await refusal(account.register({ email: EMAIL, password: "Wrong-Horse-8" }, callOptions));
    expect(error).toMatchObject({ code: "invalid_input", message: expect.stringContaining("signing in") });
    expect(error.next).toMatch(/5 wrong passwords lock/);
    expect(allOf(error) + JSON.stringify(filesOf(folder))).not.toContain("Wrong-Horse-8");
    expect(api.received).toHaveLength(2);
  });

  test("a second factor is not asked for", async () => {
    const { account, api, credentials } = await setUp();
    api.accounts.enrol(EMAIL, PASSWORD);
    api.accounts.secondFactor = true;
    const error = await refusal(account.register(given, callOptions));
    expect(error).toMatchObject({ code: "unsupported", message: expect.stringContaining("second factor") });
    expect(error.next).toMatch(/one-time code.*console.*DIDIT_API_KEY/);
    expect(pathsOf(api)).toEqual(["/programmatic/register/", "/programmatic/login/"]);
    expect((await credentials.read()).didit).toBeUndefined();
  });

  test.each([
    [0, 1, /0 organizations/],
    [2, 1, /2 organizations/],
    [1, 0, /0 applications/],
    [1, 3, /3 applications/],
  ])("%i organizations with %i applications are not for the server to choose from", async (many, more, says) => {
    const { account, api, credentials } = await setUp();
    api.accounts.enrol(EMAIL, PASSWORD);
    api.accounts.organizations = Array.from({ length: many }, (_, n) => ({ uuid: `o-${n}`, name: "o" }));
    api.accounts.applications = Array.from({ length: more }, () => api.accounts.newApplication());
    const error = await refusal(account.register(given, callOptions));
    expect(error).toMatchObject({ code: "unsupported", message: expect.stringMatching(says) });
    expect(error.next).toContain("DIDIT_API_KEY");
    expect((await credentials.read()).didit).toBeUndefined();
  });

  test.each<[string, Behaviour[], string, RegExp]>([
    ["a locked account", [{ status: 429, body: {} }], "rate_limited", /5 wrong passwords/],
    ["neither token nor factor", [{ status: 200, body: {} }], "bad_response", /unknown format/],
    [
      "a token that no header takes",
      [{ status: 200, body: { access_token: "a\nb" } }],
      "bad_response",
      /unknown format/,
    ],
    [
      "an id that is a path",
      [{}, { status: 200, body: [{ uuid: "../../x", name: "o" }] }],
      "bad_response",
      /unknown format/,
    ],
    ["a member who may not see the key", [{}, {}, { status: 403, body: {} }], "unauthorized", /owner/],
    [
      "an application without a key",
      [{}, {}, {}, { status: 200, body: { uuid: "a", name: "a" } }],
      "bad_response",
      /./,
    ],
  ])("%s", async (_what, behaviours, code, says) => {
    const { account, api, credentials } = await setUp();
    api.accounts.enrol(EMAIL, PASSWORD);
    api.next({}, ...behaviours);
    const error = await refusal(account.register(given, callOptions));
    expect(error).toMatchObject({ code, message: expect.stringMatching(says) });
    expect((await credentials.read()).didit).toBeUndefined();
    for (const secret of [PASSWORD, ...api.accounts.tokens, ...api.accounts.keys]) {
      expect(allOf(error)).not.toContain(secret);
    }
  });
});
