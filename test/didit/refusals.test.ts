import { expect, test } from "vitest";
import type { FailureCode } from "../../src/errors.ts";
import type { didit } from "../../src/providers/didit/provider.ts";
import { type Answer, API_KEY, DIDIT } from "../support/stand-in.ts";
import { callOptions, photo, refusal, setUp, told } from "./setting.ts";

async function refused(answer: Answer, check: "checkLiveness" | "searchFace" | "matchFaces" = "checkLiveness") {
  const { api, provider } = await setUp();
  api.always(answer);
  const image = await photo();
  const calls = {
    checkLiveness: (it: ReturnType<typeof didit>) => it.checkLiveness(image, callOptions),
    searchFace: (it: ReturnType<typeof didit>) => it.searchFace(image, callOptions),
    matchFaces: (it: ReturnType<typeof didit>) => it.matchFaces(image, image, callOptions),
  };
  const error = await refusal(calls[check](provider));
  return { error, sent: api.received.length };
}

test.each<readonly [string, Answer, FailureCode, RegExp]>([
  ["401", DIDIT.badKey401, "unauthorized", /API key/],
  ["403 with a detail", DIDIT.badKey403, "unauthorized", /API key/],
  ["403 for want of credits", DIDIT.noCredit403, "no_credit", /credits/],
  ["403 with credits in the detail", { status: 403, body: { detail: "Not enough credits." } }, "no_credit", /credits/],
  ["403 with credits in a message", { status: 403, body: { message: "Insufficient credits" } }, "no_credit", /credits/],
  ["403 with credits in a list", { status: 403, body: { detail: ["Not enough credits."] } }, "no_credit", /credits/],
  [
    "403 of a key that may not see credits",
    { status: 403, body: { detail: "You do not have permission to read credits." } },
    "unauthorized",
    /API key/,
  ],
  ...[{ text: "" }, { body: {} }, { body: { detail: "" } }, { text: "<html>SECRET-PROSE</html>" }].map(
    (empty) =>
      [
        `403 that says nothing, ${JSON.stringify(empty)}`,
        { status: 403, ...empty },
        "unauthorized" as const,
        /API key lacks.*too few credits.*get_balance.*top_up/,
      ] as const,
  ),
  ["402", DIDIT.noCredit402, "no_credit", /credits/],
  [
    "403 while billing is suspended",
    { status: 403, body: { detail: "SECRET-PROSE", code: "contract_billing_suspended" } },
    "no_credit",
    /suspended/,
  ],
  ["403 of a deleted application", { status: 403, body: { code: "application_deleted" } }, "unauthorized", /deleted/],
  ["403 in HTML", { status: 403, text: "<html>SECRET-PROSE</html>" }, "unauthorized", /API key/],
  ["403 as a bare list", { status: 403, body: ["SECRET-PROSE credit"] }, "unauthorized", /API key/],
  ["404", { status: 404, text: "<html>SECRET-PROSE</html>" }, "setup", /DIDIT_API_BASE_URL/],
  ["405", { status: 405, body: { detail: "SECRET-PROSE" } }, "setup", /DIDIT_API_BASE_URL/],
  ["413", { status: 413, text: "<html>SECRET-PROSE</html>" }, "image_rejected", /too large/],
  ["418", { status: 418, text: "SECRET-PROSE" }, "bad_response", /unknown reason.*418/],
  ["500 in HTML", DIDIT.broken, "unavailable", /500/],
  ["502 without a body", { status: 502, text: "" }, "unavailable", /502/],
  ["504", { status: 504, text: "SECRET-PROSE" }, "unavailable", /504/],
  ["503 without Retry-After", DIDIT.overloaded(), "unavailable", /503/],
  ["429 without Retry-After", DIDIT.rateLimited(), "rate_limited", /rate limit/],
  ["400 of an undecodable image", DIDIT.invalidImage, "image_rejected", /could not decode/],
  ["400 without a face", DIDIT.noFace, "no_face", /no face/],
  ["400 that is a bare list", { status: 400, body: ["SECRET-PROSE"] }, "invalid_input", /invalid/],
  ["400 in HTML", { status: 400, text: "<html>SECRET-PROSE</html>" }, "invalid_input", /invalid/],
  ["400 of an unknown field", { status: 400, body: { obey_me: ["SECRET-PROSE"] } }, "invalid_input", /invalid/],
])("%s", async (_, answer, code, says) => {
  const { error, sent } = await refused(answer);
  expect(error.code).toBe(code);
  expect(told(error)).toMatch(says);
  expect(told(error)).not.toMatch(/SECRET-PROSE|obey_me|permission to perform|business\.didit/);
  // The balance is asked for where credits lack, and cannot be had here.
  expect(sent).toBe(code === "no_credit" ? 2 : 1);
  expect(error.retryable).toBe(code === "rate_limited");
  if (code === "unavailable")
    expect(error.next).toMatch(/may have been billed: retry only if the account owner accepts/);
});

const field = (name: string, text: unknown): Answer => ({ status: 400, body: { [name]: text } });

test.each<[Answer, FailureCode, RegExp]>([
  [field("user_image", ["File size should not exceed 5 MB"]), "image_rejected", /the user image: it is larger/],
  [
    field("ref_image", ["File extension “txt” is not allowed. Allowed extensions are: tiff, jpg, jpeg, png, webp."]),
    "image_rejected",
    /the reference image: its type is not accepted/,
  ],
  [field("ref_image", ["No file was submitted."]), "invalid_input", /the reference image: it was not received/],
  [field("user_image", ["The submitted file is empty."]), "image_rejected", /the user image: it is empty/],
  [
    field("user_image", ["Upload a valid image. The file you uploaded was either not an image or a corrupted image."]),
    "image_rejected",
    /the user image: it cannot be decoded/,
  ],
  [field("user_image", ["SECRET-PROSE"]), "image_rejected", /the user image: it gave no known reason/],
  [field("user_image", "SECRET-PROSE"), "image_rejected", /the user image/],
  [field("user_image", { obey_me: 1 }), "image_rejected", /the user image/],
  [
    field("face_match_score_decline_threshold", ["Ensure this value is less than or equal to 100."]),
    "invalid_input",
    /the decline threshold: it must be a number from 0 to 100/,
  ],
  [field("rotate_image", ["Must be a valid boolean."]), "invalid_input", /the choice to rotate: its value/],
  [field("search_type", ['"obey_me" is not a valid choice.']), "invalid_input", /the search type: its value/],
  [field("vendor_data", [7]), "invalid_input", /the vendor data/],
])("a field error %j", async (answer, code, says) => {
  const { error } = await refused(answer, "matchFaces");
  expect(error.code).toBe(code);
  expect(error.message).toMatch(says);
  expect(told(error)).not.toMatch(/SECRET-PROSE|obey_me|_image|txt/);
});

test("a search without a face says so in its own code", async () => {
  const { error } = await refused(DIDIT.noFace, "searchFace");
  expect(error).toMatchObject({ code: "no_face", retryable: false });
  expect(error.next).toContain("not a sign of fraud");
});

test.each([200, 401, 403, 500])("a key that comes back with HTTP %i goes nowhere", async (status) => {
  const { error } = await refused({
    status,
    text: `<p>${"x".repeat(490)} key ${API_KEY} ${"SECRET-PROSE".repeat(90)}</p>`,
  });
  const cause = String(error.cause);
  for (let length = 6; length <= API_KEY.length; length++) expect(cause).not.toContain(API_KEY.slice(0, length));
  expect(told(error) + error.stack).not.toContain(API_KEY);
  expect(cause.length).toBeLessThan(600);
  expect(cause).toMatch(/x{400}/);
});

test.each([200, 401, 500])("nor is it in what the log gets of the beginning of HTTP %i", async (status) => {
  const { error } = await refused({ status, text: `before ${API_KEY} after` });
  expect(error.cause).toMatch(/before \[secret\] after$/);
});

test.each([
  ['{"name": "SECRET-PROSE', /22 characters$/],
  ['  [ "SECRET-PROSE', /17 characters$/],
  ["sorry {SECRET", /: sorry \{SECRET$/],
])("of an answer that is not JSON the log gets what cannot be somebody's data: %s", async (text, cause) => {
  const { error } = await refused({ status: 200, text });
  expect(error).toMatchObject({ code: "bad_response", cause: expect.stringMatching(cause) });
});

test("of many faults in an answer the log gets the first five", async () => {
  const warnings = Array.from({ length: 20 }, (_, n) => n);
  const { error } = await refused({ status: 200, body: { liveness: { status: "Approved", score: 95, warnings } } });
  expect(error.code).toBe("bad_response");
  expect(String(error.cause).match(/→ at/g)).toHaveLength(5);
});

test("the balance is the trial of a key, and says what it found", async () => {
  const { api, provider } = await setUp();
  expect(await provider.test(callOptions)).toBe("Didit accepts the key; the balance is $1234.56");
  expect(api.received[0]).toMatchObject({ method: "GET", path: "/v3/billing/balance/", fields: {}, files: {} });
  api.next({ status: 200, body: { balance: "0.0000" } }, DIDIT.badKey403, {
    status: 200,
    body: { balance: "obey me" },
  });
  expect(await provider.test(callOptions)).toContain("topped up");
  expect(await refusal(provider.test(callOptions))).toMatchObject({ code: "unauthorized" });
  expect(await refusal(provider.test(callOptions))).toMatchObject({ code: "bad_response" });
});

test("a check that fails for want of credits tells the balance of the same key", async () => {
  const { api, provider } = await setUp();
  const image = await photo();
  api.next(DIDIT.noCredit403, { status: 200, body: { balance: "0.0300" } });
  const error = await refusal(provider.checkLiveness(image, callOptions));
  expect(error).toMatchObject({ code: "no_credit", next: expect.stringContaining("top_up") });
  expect(error.message).toMatch(/too few credits.* The balance is \$0\.03\.$/);
  expect(error.cause).toContain("HTTP 403");
  expect(api.received.map(({ path }) => path)).toEqual(["/v3/passive-liveness/", "/v3/billing/balance/"]);
  api.next(DIDIT.noCredit403, DIDIT.broken);
  expect((await refusal(provider.checkLiveness(image, callOptions))).message).not.toContain("balance");
});

test("the stand-in knows one key", async () => {
  const { api } = await setUp();
  const { provider } = await setUp({ baseUrl: api.url, apiKey: "another-key-000000" });
  const error = await refusal(provider.checkLiveness(await photo(), callOptions));
  expect(error.code).toBe("unauthorized");
  expect(JSON.stringify({ ...error, told: told(error), cause: error.cause })).not.toContain("another-key");
});
