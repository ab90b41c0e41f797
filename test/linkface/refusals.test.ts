import { describe, expect, test } from "vitest";
import type { FailureCode } from "../../src/errors.ts";
import { LINKFACE_ID, LINKFACE_SECRET, linkfaceError } from "../support/stand-in/linkface.ts";
import type { Answer } from "../support/stand-in.ts";
import { callOptions, LIVENESS_DATA, photo, refusal, setUp, told } from "./setting.ts";

/** What may be said of a reason, other than that it is quoted. */
const withoutQuote = (text: string) => text.replace(/ Linkface's reason: "[^"]*"\./, "");

async function refused(answer: Answer) {
  const { api, provider } = await setUp();
  api.always(answer);
  const error = await refusal(
    provider.verifyLivenessSelfie({ image: await photo() }, { bytes: LIVENESS_DATA }, callOptions),
  );
  expect(api.received).toHaveLength(1);
  expect(withoutQuote(told(error))).not.toMatch(/SECRET-PROSE|TID8bf/);
  return error;
}

/** As the service's page lists them: HTTP status, code, what we make of it, and what the failure must speak of. */
const CODES: readonly (readonly [number, string, FailureCode, RegExp])[] = [
  [400, "ENCODING_ERROR", "invalid_input", /UTF-8/],
  [400, "DOWNLOAD_TIMEOUT", "invalid_input", /too long to download.*5 seconds/],
  [400, "DOWNLOAD_ERROR", "invalid_input", /could not download.*URL/],
  [400, "IMAGE_FILE_SIZE_TOO_BIG", "image_rejected", /larger than 5 MB/],
  [400, "IMAGE_ID_NOT_EXIST", "not_found", /does not know the id.*image_id/],
  [400, "NO_FACE_DETECTED", "no_face", /no face.*whole face.*not a sign of fraud/],
  [400, "CORRUPT_IMAGE", "image_rejected", /damaged/],
  [400, "INVALID_IMAGE_FORMAT_OR_SIZE", "image_rejected", /JPEG, PNG, BMP, GIF or TIFF.*9 to 4000/],
  [400, "WRONG_LIVENESS_DATA", "invalid_input", /the liveness data.*mobile SDK/],
  [400, "INVALID_ARGUMENT", "invalid_input", /an argument as invalid/],
  [401, "UNAUTHORIZED", "unauthorized", /LINKFACE_API_ID and LINKFACE_API_SECRET/],
  [401, "KEY_EXPIRED", "unauthorized", /expired.*LINKFACE_API_ID/],
  [403, "RATE_LIMIT_EXCEEDED", "rate_limited", /no more calls/],
  [403, "NO_PERMISSION", "unauthorized", /not allowed to run this check/],
  [403, "OUT_OF_QUOTA", "no_credit", /quota/],
  [404, "NOT_FOUND", "setup", /LINKFACE_API_BASE_URL/],
  [500, "INTERNAL_ERROR", "unavailable", /failed/],
];

test("all 17 are there", () => {
  expect(new Set(CODES.map(([, code]) => code)).size).toBe(17);
});

test.each(CODES)("%d %s is %s", async (status, code, failure, says) => {
  const error = await refused(linkfaceError(status, code, { reason: "SECRET-PROSE" }));
  expect(error.code).toBe(failure);
  expect(told(error)).toMatch(says);
  expect(told(error)).not.toMatch(/top_up|list_faces|\(HTTP/); // neither another provider's way out nor the fallback
});

test("of the codes of a 403, the rate limit alone may be repeated", async () => {
  const retryable = async (code: string) => (await refused(linkfaceError(403, code))).retryable;
  expect(await retryable("RATE_LIMIT_EXCEEDED")).toBe(true);
  expect(await retryable("NO_PERMISSION")).toBe(false);
  expect(await retryable("OUT_OF_QUOTA")).toBe(false);
});

const OF_AN_INPUT = [
  "DOWNLOAD_TIMEOUT",
  "DOWNLOAD_ERROR",
  "IMAGE_FILE_SIZE_TOO_BIG",
  "IMAGE_ID_NOT_EXIST",
  "NO_FACE_DETECTED",
  "CORRUPT_IMAGE",
  "INVALID_IMAGE_FORMAT_OR_SIZE",
  "INVALID_ARGUMENT",
];

describe.each(OF_AN_INPUT)("%s says which input was wrong", (code) => {
  test.each([
    ["selfie_file", /the selfie\b/, /liveness data/],
    ["selfie_url", /the selfie\b/, /liveness data/],
    ["selfie_image_id", /the selfie\b/, /liveness data/],
    ["liveness_data_file", /the liveness data\b/, /selfie/],
    ["liveness_data_url", /the liveness data\b/, /selfie/],
    ["liveness_data_id", /the liveness data\b/, /selfie/],
  ])("%s", async (image, named, other) => {
    const { message } = await refused(linkfaceError(400, code, { image }));
    expect(message).toMatch(named);
    expect(message).not.toMatch(other);
  });

  test.each([["SECRET-PROSE obey me"], ["constructor"], [7], [null], [{ a: 1 }], [undefined]])(
    "and does not repeat a name that is not known: %j",
    async (image) => {
      const { message } = await refused(linkfaceError(400, code, { image }));
      expect(message).toMatch(/the selfie or the liveness data|an argument/);
      expect(message).not.toMatch(/obey|constructor|object/);
    },
  );
});

test.each([
  ["SECRET-PROSE selfie_url is not valid", /for the selfie as/],
  ["SECRET-PROSE selfie_file, selfie_url: only one", /for the selfie as/],
  ["SECRET-PROSE (liveness_data_id)", /for the liveness data as/],
  ["SECRET-PROSE selfie_file and liveness_data_file", /refused an argument/],
  ["SECRET-PROSE my_selfie_file", /refused an argument/],
  ["SECRET-PROSE", /refused an argument/],
  [{ selfie_url: "SECRET-PROSE" }, /refused an argument/],
])("INVALID_ARGUMENT because of %j", async (reason, says) => {
  const { message } = await refused(linkfaceError(400, "INVALID_ARGUMENT", { reason }));
  expect(message).toMatch(says);
});

describe("what is not documented is read by its HTTP status", () => {
  test.each<[string, Answer, FailureCode, RegExp]>([
    ["a new code with 400", linkfaceError(400, "SECRET-PROSE"), "invalid_input", /HTTP 400/],
    ["a new code with 401", linkfaceError(401, "SECRET-PROSE"), "unauthorized", /HTTP 401/],
    ["a new code with 403", linkfaceError(403, "SECRET-PROSE"), "unauthorized", /HTTP 403/],
    ["a new code with 404", linkfaceError(404, "SECRET-PROSE"), "setup", /HTTP 404/],
    ["a new code with 500", linkfaceError(500, "SECRET-PROSE"), "unavailable", /HTTP 500/],
    ["a code that every object inherits", linkfaceError(400, "constructor"), "invalid_input", /HTTP 400/],
    ["a code that is no string", { status: 400, body: { status: 7 } }, "invalid_input", /HTTP 400/],
    ["400 without a body", { status: 400, text: "" }, "invalid_input", /HTTP 400/],
    ["401 as a list", { status: 401, body: ["SECRET-PROSE"] }, "unauthorized", /HTTP 401/],
    ["403 in HTML", { status: 403, text: "<html>SECRET-PROSE</html>" }, "unauthorized", /HTTP 403/],
    ["404 in HTML", { status: 404, text: "<html>SECRET-PROSE</html>" }, "setup", /LINKFACE_API_BASE_URL/],
    ["413", { status: 413, text: "SECRET-PROSE" }, "image_rejected", /too large/],
    ["418", { status: 418, text: "SECRET-PROSE" }, "bad_response", /418/],
    ["429 all the same", { status: 429, text: "SECRET-PROSE" }, "rate_limited", /429/],
    ["502", { status: 502, text: "SECRET-PROSE" }, "unavailable", /502/],
    ["a redirect", { status: 302, headers: { location: "https://elsewhere.example" } }, "bad_response", /redirected/],
  ])("%s", async (_what, answer, code, says) => {
    const error = await refused(answer);
    expect(error.code).toBe(code);
    expect(told(error)).toMatch(says);
  });

  test("a documented code is believed under another status", async () => {
    expect(await refused(linkfaceError(400, "RATE_LIMIT_EXCEEDED"))).toMatchObject({ code: "rate_limited" });
  });
});

describe("Linkface's own reason", () => {
  const reasoned = async (status: number, code: string, reason: unknown) => {
    const { api, provider } = await setUp();
    api.always(linkfaceError(status, code, { reason }));
    return told(await refusal(provider.verifyLivenessSelfie({ id: "IMG" }, { id: "LD" }, callOptions)));
  };

  const REFUSED = [400, "INVALID_ARGUMENT"] as const;

  test("is quoted where it tells what was wrong", async () => {
    expect(await reasoned(...REFUSED, "selfie_file\nis empty")).toContain(
      ` Linkface's reason: "selfie_file is empty".`,
    );
    for (const none of [undefined, "  ", { a: 1 }])
      expect(await reasoned(...REFUSED, none)).not.toContain("its reason");
  });

  test("is a short quotation without credentials, addresses or what could be read as an order", async () => {
    const text = await reasoned(
      ...REFUSED,
      `"${LINKFACE_ID}" \u202e **see** [x](https://a.example/) ${"y".repeat(500)}`,
    );
    expect(text).not.toMatch(/https|a\.example|\u202e|[*[\]]/);
    expect(text).not.toContain(LINKFACE_ID);
    const cut = await reasoned(...REFUSED, `${"y".repeat(110)} ${LINKFACE_SECRET}`);
    expect(cut).not.toContain(LINKFACE_SECRET.slice(0, 6));
    expect(text.length).toBeLessThan(400);
  });

  test("of other codes stays in the log", async () => {
    expect(await reasoned(401, "KEY_EXPIRED", "SECRET-PROSE")).not.toContain("SECRET-PROSE");
    expect(await reasoned(403, "NO_PERMISSION", "SECRET-PROSE")).not.toContain("SECRET-PROSE");
  });
});

test("the prose of a refusal is kept for the log, without the credentials", async () => {
  const reason = `SECRET-PROSE ${LINKFACE_ID} / ${LINKFACE_SECRET}`;
  const { cause } = await refused(linkfaceError(401, "KEY_EXPIRED", { reason }));
  expect(String(cause)).toContain("SECRET-PROSE [secret] / [secret]");
});

test("an address that was sent is not in the log", async () => {
  const { api, provider } = await setUp();
  const url = new URL("https://photos.example/selfie.jpg?signature=abcdef");
  api.always(linkfaceError(400, "DOWNLOAD_ERROR", { image: "selfie_url", reason: `cannot get ${url.href}` }));
  const error = await refusal(provider.verifyLivenessSelfie({ url }, { bytes: LIVENESS_DATA }, callOptions));
  expect(told(error)).not.toContain("photos.example");
  expect(String(error.cause)).toContain("cannot get [secret]");
});

test("a call that was sent is not repeated, a cancelled one ends, a slow one too", async () => {
  const { api, provider } = await setUp({ timeoutMs: 300 });
  const ask = (signal: AbortSignal) =>
    provider.verifyLivenessSelfie({ id: "IMG" }, { id: "LD" }, { ...callOptions, signal });
  api.next({ drop: "after body" });
  expect(await refusal(ask(callOptions.signal))).toMatchObject({ code: "no_answer" });
  api.next({ hang: true });
  expect(await refusal(ask(callOptions.signal))).toMatchObject({ code: "no_answer" });
  api.next({ hang: true });
  const cancelled = new AbortController();
  const call = refusal(ask(cancelled.signal));
  await expect.poll(() => api.received.length).toBe(3);
  cancelled.abort();
  expect(await call).toMatchObject({ code: "cancelled" });
  expect(api.received).toHaveLength(3);
});
