import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { allOf, callOptions, EMAIL, PASSWORD, refusal, type Setting, setUp } from "./setting.ts";

// Documented answers, kept outside of the repository.
const FOLDER = join(import.meta.dirname, "../../../shared/fixtures");

/** The call that a fixture, by the first part of its name, is an answer to. */
const CALLS: Readonly<Record<string, (setting: Setting) => Promise<unknown>>> = {
  "auth-register": ({ account }) => account.register({ email: EMAIL, password: PASSWORD }, callOptions),
  "auth-verify-email": ({ account }) => account.verifyEmail({ email: EMAIL, code: "A1B2C3" }, callOptions),
  "billing-balance": ({ account }) => account.balance(callOptions),
  "billing-top-up": ({ account }) => account.topUp(100, callOptions),
};

const names = existsSync(FOLDER)
  ? readdirSync(FOLDER).filter((name) => Object.hasOwn(CALLS, name.split(".")[0] ?? ""))
  : [];

test.skipIf(names.length === 0)("the documented answers are there", () => {
  expect(names.length).toBeGreaterThan(0);
});

test.each(names)("%s", async (name) => {
  const fixture = JSON.parse(readFileSync(join(FOLDER, name), "utf8"));
  const setting = await setUp("key-of-an-account-1234");
  const { http_status: status, headers, body } = fixture;
  setting.api.always({ status, headers, body });
  const call = CALLS[name.split(".")[0] ?? ""]?.(setting) ?? Promise.reject(new Error("no such call"));
  if (status < 300) {
    expect(JSON.stringify(await call)).not.toMatch(/"access_token"|"refresh_token"|"api_key"/);
    return;
  }
  const error = await refusal(call);
  for (const prose of [body]
    .flat()
    .flatMap((it) => (typeof it === "object" && it !== null ? Object.values(it) : [it]))) {
    // Words of the service are for the log; short ones stand in any sentence.
    if (typeof prose === "string" && prose.length > 20) expect(`${error.message} ${error.next}`).not.toContain(prose);
  }
  expect(allOf(error)).not.toContain(PASSWORD);
});
