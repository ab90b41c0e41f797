import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { decide } from "../../src/decision/decision.ts";
import { decideSearch } from "../../src/decision/search.ts";
import type { FailureCode } from "../../src/errors.ts";
import { OUTCOMES, type Outcome } from "../../src/warnings.ts";
import { callOptions, photo, refusal, setUp, told } from "./setting.ts";

// Documented answers, kept outside of the repository.
const FOLDER = join(import.meta.dirname, "../../../shared/fixtures");

interface Fixture {
  readonly http_status: number;
  readonly headers: Record<string, string>;
  readonly body: unknown;
  readonly body_raw?: string;
}

const names = existsSync(FOLDER)
  ? readdirSync(FOLDER).filter((name) => /^(passive-liveness|face-match|face-search|common)\..*\.json$/.test(name))
  : [];

/** By the part of the file's name behind its endpoint. */
const CODES: Readonly<Record<string, FailureCode>> = {
  "400.file-too-large": "image_rejected",
  "400.invalid-image-format": "image_rejected",
  "400.unsupported-file-extension": "image_rejected",
  "400.missing-image": "invalid_input",
  "400.missing-required-image": "invalid_input",
  "400.threshold-out-of-range": "invalid_input",
  "400.no-face-detected": "no_face",
  "401.newer-docs-wrong-key": "unauthorized",
  "402.payment": "no_credit",
  "403.contract-billing-suspended": "no_credit",
  "403.missing-or-invalid-api-key": "unauthorized",
  "403.not-enough-credits": "no_credit",
  "429.write-rate-limit-exceeded": "rate_limited",
  "500.no-json": "unavailable",
  "502.gateway": "unavailable",
};

const OUTCOME_OF = { Approved: "approved", "In Review": "review", Declined: "declined" } as Record<string, Outcome>;
/** What a file's name says of itself, where its warnings make it graver than its status. */
const GRAVER: readonly (readonly [RegExp, Outcome])[] = [
  [/multiple-faces|duplicate/, "review"],
  [/imported-match|unsaved-internal-path|legacy-skill-shape/, "approved"],
];

const gravity = (outcome: Outcome) => OUTCOMES.indexOf(outcome);

/** All texts in a body that are sentences rather than words of a protocol. */
function prose(value: unknown): string[] {
  if (typeof value === "string") return value.trim().split(/\s+/).length > 3 ? [value] : [];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(prose) : [];
}

async function serve(name: string) {
  const fixture = JSON.parse(readFileSync(join(FOLDER, name), "utf8")) as Fixture;
  const { api, provider } = await setUp();
  const answer = fixture.body_raw === undefined ? { body: fixture.body } : { text: fixture.body_raw };
  api.always({ status: fixture.http_status, headers: fixture.headers, ...answer });
  const image = await photo();
  const call = name.startsWith("face-search")
    ? async () => {
        const report = await provider.searchFace(image, callOptions);
        return {
          report,
          decision: decideSearch({ check: "face_search", provider: "didit", images: [] }, report, undefined),
        };
      }
    : async () => {
        const isMatch = name.startsWith("face-match");
        const report = await (isMatch
          ? provider.matchFaces(image, image, callOptions)
          : provider.checkLiveness(image, callOptions));
        const check = isMatch ? "face_match" : "liveness";
        return { report, decision: decide({ check, provider: "didit", images: [] }, report) };
      };
  return { fixture, call };
}

test.skipIf(names.length === 0)("the documented answers are there", () => {
  expect(names.length).toBeGreaterThan(45);
});

test.each(names.filter((name) => name.includes(".200.")))("%s becomes a report", async (name) => {
  const { fixture, call } = await serve(name);
  const { report, decision } = await call();
  const body = fixture.body as { request_id: string } & Record<string, { status: string; score?: number | null }>;
  const { liveness, face_match, face_search } = body;
  const block = liveness ?? face_match ?? face_search;
  const documented = OUTCOME_OF[block?.status ?? ""];
  if (documented === undefined) throw new Error("the fixture has no status");
  expect(report).toMatchObject({ verdict: documented, reference: body.request_id });
  expect(report.raw).toEqual(fixture.body);
  if (!name.startsWith("face-search")) expect(report.score).toBe(block?.score);
  const least = GRAVER.find(([part]) => part.test(name))?.[1] ?? documented;
  expect(gravity(decision.outcome)).toBeGreaterThanOrEqual(Math.max(gravity(documented), gravity(least)));
  const { raw, ...ours } = decision;
  for (const text of prose(raw)) expect(JSON.stringify(ours.warnings) + ours.summary).not.toContain(text);
});

test.each(names.filter((name) => !name.includes(".200.")))("%s becomes a failure", async (name) => {
  const { fixture, call } = await serve(name);
  const error = await refusal(call());
  expect(error.code).toBe(CODES[name.split(".").slice(1, -1).join(".")]);
  const { headers, body, body_raw } = fixture;
  expect(error.retryAfterSeconds).toBe(
    headers["Retry-After"] === undefined ? undefined : Number(headers["Retry-After"]),
  );
  for (const text of [...prose(body), ...prose(body_raw)]) expect(told(error)).not.toContain(text);
});
