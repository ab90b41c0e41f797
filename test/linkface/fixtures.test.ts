import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { decide } from "../../src/decision/decision.ts";
import type { FailureCode } from "../../src/errors.ts";
import type { Outcome } from "../../src/warnings.ts";
import { callOptions, LIVENESS_DATA, photo, refusal, setUp, told } from "./setting.ts";

// Documented answers, kept outside of the repository.
const FOLDER = join(import.meta.dirname, "../../../shared/fixtures");

interface Fixture {
  readonly request: { readonly method: string; readonly url: string };
  readonly http_status: number;
  readonly headers: Record<string, string>;
  readonly body: Readonly<Record<string, unknown>>;
}

const names = existsSync(FOLDER) ? readdirSync(FOLDER).filter((name) => /^linkface\..*\.json$/.test(name)) : [];

const DECISIONS: Readonly<Record<string, readonly [Outcome, number]>> = {
  "200.ok": ["approved", 93],
  "200.ok-string-scores": ["approved", 93],
  "200.different-person": ["declined", 69],
  "200.hack": ["declined", 95],
};

const FAILURES: Readonly<Record<string, FailureCode>> = {
  "400.corrupt-image": "image_rejected",
  "400.download-error": "invalid_input",
  "400.download-timeout": "invalid_input",
  "400.encoding-error": "invalid_input",
  "400.image-file-size-too-big": "image_rejected",
  "400.image-id-not-exist": "not_found",
  "400.invalid-argument": "invalid_input",
  "400.invalid-image-format-or-size": "image_rejected",
  "400.no-face-detected": "no_face",
  "400.wrong-liveness-data": "invalid_input",
  "401.key-expired": "unauthorized",
  "401.unauthorized": "unauthorized",
  "403.no-permission": "unauthorized",
  "403.out-of-quota": "no_credit",
  "403.rate-limit-exceeded": "rate_limited",
  "404.not-found": "setup",
  "500.internal-error": "unavailable",
};

async function serve(name: string) {
  const fixture = JSON.parse(readFileSync(join(FOLDER, name), "utf8")) as Fixture;
  const { api, provider } = await setUp();
  api.always({ status: fixture.http_status, headers: fixture.headers, body: fixture.body });
  const image = await photo();
  return { fixture, api, call: () => provider.verifyLivenessSelfie({ image }, { bytes: LIVENESS_DATA }, callOptions) };
}

const partOf = (name: string) => name.split(".").slice(1, -1).join(".");

test.skipIf(names.length === 0)("the documented answers are those that are known here", () => {
  expect(names.map(partOf).sort()).toEqual([...Object.keys(DECISIONS), ...Object.keys(FAILURES)].sort());
});

test.each(names.filter((name) => name.includes(".200.")))("%s becomes a decision", async (name) => {
  const { fixture, api, call } = await serve(name);
  const report = await call();
  const decision = decide({ check: "liveness_selfie", provider: "linkface", images: [] }, report);
  const [outcome, score] = DECISIONS[partOf(name)] ?? [];
  expect(decision).toMatchObject({ outcome, score, threshold: 70, reference: fixture.body["request_id"] });
  expect(decision.raw).toEqual(fixture.body);
  const [sent] = api.received;
  expect(sent).toMatchObject({ method: fixture.request.method, path: new URL(fixture.request.url).pathname });
});

test.each(names.filter((name) => !name.includes(".200.")))("%s becomes a failure", async (name) => {
  const { fixture, call } = await serve(name);
  const error = await refusal(call());
  expect(error.code).toBe(FAILURES[partOf(name)]);
  const { image, reason, request_id, status } = fixture.body;
  if (typeof image === "string") expect(error.message).toContain("the selfie");
  // The reason for an invalid argument is a quotation, and nothing else of the service's words is told.
  const isQuoted = status === "INVALID_ARGUMENT";
  if (!isQuoted && reason !== undefined) expect(told(error)).not.toContain(reason);
  if (isQuoted) expect(error.message).toContain(` Linkface's reason: "${reason}".`);
  for (const word of [image, request_id, status]) if (word !== undefined) expect(told(error)).not.toContain(word);
});
