import { describe, expect, test } from "vitest";
import { decide, decideSearch, sumUp } from "../src/decision.ts";
import type { Match, Report, SearchReport } from "../src/provider.ts";
import { about, type Outcome, WARNINGS } from "../src/warnings.ts";

const SUBJECT = { check: "liveness", provider: "didit", images: [] } as const;
const report = (given: Partial<Report>): Report => ({
  verdict: "approved",
  score: 90,
  threshold: 30,
  warnings: [],
  reference: "r-1",
  raw: {},
  ...given,
});

describe("the worst of the verdict and the warnings wins", () => {
  test.each<[verdict: Outcome, effect: Outcome, outcome: Outcome]>([
    ["approved", "approved", "approved"],
    ["approved", "review", "review"],
    ["approved", "declined", "declined"],
    ["review", "approved", "review"],
    ["review", "declined", "declined"],
    ["declined", "approved", "declined"],
    ["declined", "review", "declined"],
  ])("%s with an effect of %s is %s", (verdict, effect, outcome) => {
    // A tag that the table gives no effect of its own beyond review would blur the rows.
    const warnings = effect === "approved" ? [] : [{ tag: "MULTIPLE_FACES_DETECTED", effect }];
    expect(decide(SUBJECT, report({ verdict, warnings }))).toMatchObject({ outcome });
  });

  test.each(Object.entries(WARNINGS))(
    "%s lowers an approval to %o at most, whatever the severity given",
    (tag, { effect }) => {
      const { outcome } = decide(SUBJECT, report({ warnings: [{ tag, effect: "approved" }] }));
      expect(outcome).toBe(effect);
      expect(outcome).not.toBe("approved");
    },
  );

  test("an unknown tag is a matter for a person", () => {
    const { outcome, warnings } = decide(SUBJECT, report({ warnings: [{ tag: "NEW_IN_2027", effect: "approved" }] }));
    expect(outcome).toBe("review");
    expect(warnings).toEqual([
      { tag: "NEW_IN_2027", effect: "review", meaning: expect.any(String), advice: "Have a person look." },
    ]);
  });

  test("a tag named after a property of every object is unknown too", () => {
    expect(about("constructor").advice).toBe("Have a person look.");
  });
});

describe("an approval must be borne out", () => {
  test.each([
    ["no score", { score: null }],
    ["a score at the threshold", { score: 30 }],
    ["a score below the threshold", { score: 12 }],
  ])("%s is for review", (_what, given) => {
    expect(decide(SUBJECT, report(given))).toMatchObject({ outcome: "review" });
  });

  test("no score stays null, not 0", () => {
    const declined = report({
      verdict: "declined",
      score: null,
      warnings: [{ tag: "NO_FACE_DETECTED", effect: "declined" }],
    });
    expect(decide(SUBJECT, declined)).toMatchObject({
      outcome: "declined",
      score: null,
      summary: expect.stringContaining("no score"),
      next_steps: [expect.stringMatching(/^Retake/)],
    });
  });
});

test("a retake and a fraud are told apart", () => {
  const actions = Object.entries(WARNINGS).map(([tag, { action, advice }]) => [tag, action, advice] as const);
  for (const [tag, action, advice] of actions) {
    const said = { retake: /retake/i, review: /review|retake/i, fraud: /fraud/i }[action];
    expect(advice, tag).toMatch(said);
    if (action !== "fraud") expect(advice, tag).not.toMatch(/treat as (possible )?fraud/i);
    if (action === "fraud") expect(advice, tag).not.toMatch(/^retake/i);
  }
  expect(WARNINGS.NO_FACE_DETECTED.action).toBe("retake");
  expect(WARNINGS.LIVENESS_FACE_ATTACK.action).toBe("fraud");
});

test.each([
  [95, "very high similarity"],
  [90, "very high similarity"],
  [89.9, "high similarity"],
  [70, "high similarity"],
  [50, "moderate similarity"],
  [30, "low similarity"],
  [29, "very low similarity"],
])("a match score of %d reads %s", (score, words) => {
  const { summary } = decide({ ...SUBJECT, check: "face_match" }, report({ score, threshold: 20 }));
  expect(summary).toContain(`, ${words};`);
  expect(summary).toContain("declines at or below 20");
});

describe("a search", () => {
  const match = (given: Partial<Match>): Match => ({
    id: "m-1",
    similarity: 95,
    label: null,
    vendorData: null,
    blocklisted: false,
    allowlisted: false,
    status: null,
    ...given,
  });
  const search = (matches: readonly Match[], given: Partial<SearchReport> = {}): SearchReport => ({
    ...report({ score: null, threshold: null }),
    matches,
    totalMatches: matches.length,
    ...given,
  });
  const SEARCH = { ...SUBJECT, check: "face_search" } as const;

  test.each<[what: string, matches: readonly Match[], vendorData: string | undefined, outcome: Outcome]>([
    ["nobody", [], undefined, "approved"],
    ["a duplicate", [match({})], undefined, "review"],
    ["a possible duplicate", [match({ similarity: 70 })], undefined, "review"],
    ["a weak resemblance", [match({ similarity: 69.9 })], undefined, "approved"],
    ["a blocklisted face", [match({ similarity: 70, blocklisted: true })], undefined, "declined"],
    ["a weak resemblance to a blocklisted face", [match({ similarity: 69, blocklisted: true })], undefined, "approved"],
    ["a face that was cleared", [match({ allowlisted: true })], undefined, "approved"],
    ["the person's own record", [match({ vendorData: "u1" })], "u1", "approved"],
    ["another person's record", [match({ vendorData: "u2" })], "u1", "review"],
    ["the person's own record, blocklisted", [match({ vendorData: "u1", blocklisted: true })], "u1", "declined"],
    ["no id on either side", [match({ vendorData: null })], undefined, "review"],
  ])("%s", (_what, matches, vendorData, outcome) => {
    expect(decideSearch(SEARCH, search(matches), vendorData).outcome).toBe(outcome);
  });

  test("speaks of duplicates, and never of approval where somebody was found", () => {
    const found = decideSearch(
      SEARCH,
      search([match({ label: 'Ann \u202e\n"x"' })], { verdict: "approved" }),
      undefined,
    );
    expect(found.summary).toMatch(/1 possible duplicate found/);
    expect(found.summary).not.toMatch(/approved/i);
    expect(found.summary).toContain("\"Ann 'x'\"");
    expect(decideSearch(SEARCH, search([]), undefined).summary).toBe("Face search by Didit: no such face found.");
  });

  test("the provider's own decline stands without a match", () => {
    expect(decideSearch(SEARCH, search([], { verdict: "declined" }), undefined).outcome).toBe("declined");
  });

  test.each([
    [90, "strong"],
    [89.99, "possible"],
    [70, "possible"],
    [69.99, "weak"],
  ])("a similarity of %d is %s", (similarity, band) => {
    expect(decideSearch(SEARCH, search([match({ similarity })]), undefined).matches[0]?.band).toBe(band);
  });
});

test("many different warnings are summed up in no time, each once", () => {
  const warnings = Array.from({ length: 50_000 }, (_, n) => ({
    tag: `TAG_${n % 49_000}`,
    effect: "review" as const,
    meaning: "m",
    advice: "a",
  }));
  const step = { ...decide(SUBJECT, report({})), warnings };
  const began = performance.now();
  const { warnings: told } = sumUp({ ...SUBJECT, check: "verify_person" }, [step], 1);
  expect(performance.now() - began).toBeLessThan(1000);
  expect(told).toEqual(warnings.slice(0, 49_000));
});
