import { describe, expect, test } from "vitest";
import { type Decision, decide, fraudFirst, onReencoded, sumUp } from "../src/decision/decision.ts";
import { decideSearch } from "../src/decision/search.ts";
import type { Match, Report, SearchReport } from "../src/providers/provider.ts";
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
      expect(outcome === "approved").toBe(tag === "REENCODED_IMAGE");
    },
  );

  test("an unknown tag is a matter for a person", () => {
    const { outcome, warnings } = decide(SUBJECT, report({ warnings: [{ tag: "NEW_IN_2027", effect: "approved" }] }));
    expect(outcome).toBe("review");
    expect(warnings).toEqual([
      { tag: "NEW_IN_2027", effect: "review", meaning: expect.any(String), advice: "Have a person review the images." },
    ]);
  });

  test("a tag named after a property of every object is unknown too", () => {
    expect(about("constructor").advice).toBe("Have a person review the images.");
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
    const said = { retake: /retake/i, review: /review/i, fraud: /fraud/i }[action];
    expect(advice, tag).toMatch(said);
    if (action !== "fraud") expect(advice, tag).not.toMatch(/treat as (possible )?fraud/i);
    if (action === "fraud") expect(advice, tag).not.toMatch(/^retake/i);
  }
  expect(WARNINGS.NO_FACE_DETECTED.action).toBe("retake");
  expect(WARNINGS.LIVENESS_FACE_ATTACK.action).toBe("fraud");
});

describe("fraud wins over retake", () => {
  const ENDS_RETAKES = ["LIVENESS_FACE_ATTACK", "FACE_IN_BLOCKLIST", "POSSIBLE_FACE_IN_BLOCKLIST"];
  const others = Object.keys(WARNINGS).filter((tag) => !ENDS_RETAKES.includes(tag));
  const asksAgain = /retake|(new|another|better) photo (?!from)|ask for|anew/i;
  const adviceOf = ({ warnings, next_steps }: Decision) => [...next_steps, ...warnings.map(({ advice }) => advice)];
  const forbids = (text: string) => /^Do not ask for another photo/.test(text);

  test.each(ENDS_RETAKES)("%s: nothing asks for another photo, whatever else was found", (tag) => {
    for (const tags of [...others.map((other) => [other, tag]), [...others, tag], [tag, ...others, "NEW_IN_2027"]]) {
      const warnings = tags.map((tag) => ({ tag, effect: "approved" as const }));
      const decision = decide(SUBJECT, report({ verdict: "declined", warnings }));
      expect(decision.warnings.map(({ tag }) => tag)).toEqual(tags);
      for (const text of adviceOf(decision)) if (!forbids(text)) expect(text, `${tags}`).not.toMatch(asksAgain);
      expect(decision.next_steps).toContain(about(tag).advice);
    }
  });

  test("without them a retake is asked for as before", () => {
    const warnings = [{ tag: "LOW_LIVENESS_SCORE", effect: "declined" as const }];
    const { next_steps } = decide(SUBJECT, report({ verdict: "declined", warnings }));
    expect(next_steps).toEqual([WARNINGS.LOW_LIVENESS_SCORE.advice]);
  });

  test("of several steps too: a poor selfie is not taken again once the search has met the blocklist", () => {
    const dark = [{ tag: "LOW_FACE_LUMINANCE", effect: "review" as const }];
    const liveness = decide(SUBJECT, report({ warnings: dark }));
    const listed = [{ tag: "POSSIBLE_FACE_IN_BLOCKLIST", effect: "declined" as const }];
    const search = decide({ ...SUBJECT, check: "face_search" }, report({ verdict: "declined", warnings: listed }));
    expect(liveness.next_steps[0]).toMatch(/^Retake/);
    const summed = sumUp({ ...SUBJECT, check: "verify_person" }, [liveness, search], 3);
    for (const text of adviceOf(summed)) if (!forbids(text)) expect(text).not.toMatch(asksAgain);
    expect(summed.next_steps).toContain(WARNINGS.POSSIBLE_FACE_IN_BLOCKLIST.advice);
  });
});

describe("a match of 70 or below", () => {
  const match = (score: number, threshold: number, more: object = {}) =>
    decide({ ...SUBJECT, check: "face_match", ...more }, report({ score, threshold }));
  const caller = (threshold: number) => ({ thresholds: { caller: threshold } });
  const operator = (threshold: number) => ({ thresholds: { operator: threshold } });

  test.each<[score: number, threshold: number, more: object, outcome: Outcome]>([
    // Nobody's threshold: the provider's own approval holds above 70 alone.
    [30.1, 30, {}, "review"],
    [49, 30, {}, "review"],
    [69.9, 30, {}, "review"],
    [70, 30, {}, "review"],
    [70.01, 30, {}, "approved"],
    [70, 30, { thresholds: {} }, "review"],
    // Somebody's: theirs.
    [60, 50, caller(50), "approved"],
    [31, 30, caller(30), "approved"],
    [1, 0, caller(0), "approved"],
    [50, 50, caller(50), "review"],
    [60, 50, operator(50), "approved"],
    [88, 90, operator(90), "review"],
    // Both: the call's is sent, and what does not clear the operator's is not approved.
    [75, 60, { thresholds: { caller: 60, operator: 80 } }, "review"],
    [80, 60, { thresholds: { caller: 60, operator: 80 } }, "review"],
    [80.5, 60, { thresholds: { caller: 60, operator: 80 } }, "approved"],
    [60, 55, { thresholds: { caller: 55, operator: 40 } }, "approved"],
    // On the device never, whoever names a threshold.
    [70, 30, { provider: "on-device" }, "review"],
    [60, 50, { provider: "on-device", ...caller(50) }, "review"],
    [60, 50, { provider: "on-device", ...operator(50) }, "review"],
    [70.01, 50, { provider: "on-device", ...caller(50) }, "approved"],
  ])("%d with a threshold of %d, %j, is %s", (score, threshold, more, outcome) => {
    expect(match(score, threshold, more).outcome).toBe(outcome);
  });

  test("is never approved by a rule: the provider's decline stands", () => {
    const given = report({ verdict: "declined", score: 60, threshold: 65 });
    expect(decide({ ...SUBJECT, check: "face_match", ...caller(65) }, given).outcome).toBe("declined");
  });

  test("says why, whose threshold applied, and what to do", () => {
    const byDefault = match(60, 30);
    expect(byDefault.summary).toBe(
      "Face match by Didit: needs review by a person (score 60 of 100, moderate similarity; declines at or " +
        "below 30, the provider's default). A match of 70 or below is approved only at a threshold that the " +
        "caller or the operator set. Compare the two photos by eye.",
    );
    expect(byDefault.next_steps[0]).toBe(
      "Have a person compare the selfie with the reference photo (Didit request r-1) before anybody relies on this.",
    );
    expect(match(40, 30).summary).toMatch(/low similarity;.*A score below 50 suggests two different people\. Compare/);
    const own = match(60, 50, caller(50));
    expect(own.summary).toMatch(
      /approved \(score 60 of 100, moderate similarity; declines at or below 50, the caller's/,
    );
    expect(own.summary).toMatch(/Compare the two photos by eye\.$/);
    expect(own.next_steps).toEqual([expect.stringMatching(/^Have a person compare /)]);
    expect(match(60, 50, operator(50)).summary).toContain("below 50, the operator's threshold)");
    const both = match(75, 60, { thresholds: { caller: 60, operator: 80 } });
    expect(both.summary).toContain("It does not clear the operator's threshold of 80.");
    expect(match(60, 50, { provider: "on-device", ...caller(50) }).summary).toContain(
      "On the device, a match of 70 or below is never approved.",
    );
    expect(match(60, 50, { provider: "on-device" }).summary).not.toContain("approved only at a threshold");
    expect(match(70.01, 30).summary).toContain("score 70.01 of 100"); // not "70", which is for review
    expect(match(95, 30)).toMatchObject({ next_steps: [], summary: expect.not.stringContaining("eye") });
  });

  test("no liveness is judged by it, but by the operator's threshold", () => {
    expect(decide(SUBJECT, report({ score: 60 })).outcome).toBe("approved");
    const low = decide({ ...SUBJECT, thresholds: { caller: 50, operator: 80 } }, report({ score: 60, threshold: 50 }));
    expect(low).toMatchObject({ outcome: "review", threshold: 50, summary: expect.stringContaining("operator's") });
  });
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

describe("a search", () => {
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
    expect(decideSearch(SEARCH, search([]), undefined).summary).toBe("Face search by Didit: no matching face found.");
  });

  test("the provider's own decline stands without a match, and is not told as nobody found", () => {
    const warnings = [{ tag: "FACE_IN_BLOCKLIST", effect: "declined" as const }];
    for (const given of [{ verdict: "declined" as const }, { warnings }]) {
      const { outcome, summary } = decideSearch(SEARCH, search([], given), undefined);
      expect(outcome).toBe("declined");
      expect(summary).toBe("Face search by Didit: a match was reported but not shown: declined.");
    }
  });

  test("with nothing to compare with, nothing is approved", () => {
    const given = { isEmpty: true } as const;
    const { outcome, summary, next_steps } = decideSearch(SEARCH, search([], given), undefined);
    expect(outcome).toBe("review");
    expect(summary).toBe(
      "Face search by Didit: nothing was compared, as the gallery is empty: a person must review it.",
    );
    expect(next_steps[0]).toMatch(/^Nothing was compared.*enroll_face/);
  });

  const said = (matches: readonly Match[], vendorData?: string, given: Partial<SearchReport> = {}) =>
    decideSearch(SEARCH, search(matches, given), vendorData).summary;

  test("a face that was cleared by hand is told as that", () => {
    expect(said([match({ allowlisted: true })])).toMatch(/: 1 face found that was cleared by hand\. Nearest/);
    const { matches } = decideSearch(SEARCH, search([match({ allowlisted: true }), match({})]), undefined);
    expect(matches.map(({ allowlisted }) => allowlisted)).toEqual([true, false]);
  });

  test("a blocklisted face is a match, possible or strong, with its similarity", () => {
    const blocked = (similarity: number) => match({ similarity, blocklisted: true });
    expect(said([blocked(74)])).toMatch(/: possible match with a blocklisted face \(74\): declined\./);
    expect(said([blocked(89.96)])).toMatch(/: possible match with a blocklisted face \(89\.96\): declined\./);
    expect(said([blocked(90)])).toMatch(/: strong match with a blocklisted face \(90\): declined\./);
    expect(said([blocked(95), blocked(71), match({})])).toMatch(
      /: strong match with 2 blocklisted faces \(95\); 1 possible duplicate found: declined\./,
    );
  });

  test("the decline of a blocklisted face has its warning, also where the provider gave none", () => {
    const tagsOf = (similarity: number, tags: readonly string[] = []) =>
      decideSearch(
        SEARCH,
        search([match({ similarity, blocklisted: true })], {
          warnings: tags.map((tag) => ({ tag, effect: "declined" })),
        }),
        undefined,
      ).warnings.map(({ tag }) => tag);
    expect(tagsOf(74)).toEqual(["POSSIBLE_FACE_IN_BLOCKLIST"]);
    expect(tagsOf(90)).toEqual(["FACE_IN_BLOCKLIST"]);
    expect(tagsOf(90, ["POSSIBLE_FACE_IN_BLOCKLIST"])).toEqual(["POSSIBLE_FACE_IN_BLOCKLIST"]);
    expect(tagsOf(60)).toEqual([]);
  });

  test("the outcome is told where only the person's own record was found", () => {
    const warnings = [{ tag: "LOW_FACE_QUALITY", effect: "review" as const }];
    expect(said([match({ vendorData: "u1" })], "u1", { warnings })).toMatch(
      /1 earlier record of the same person found: a person must review it\./,
    );
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

describe("to the letter", () => {
  const facts = (name: string) => ({ name, mime: "image/jpeg", bytes: 9, width: 4, height: 3 });
  const box = { left: 1, top: 2, right: 3, bottom: 4 };
  const face = (image: "user" | "reference") => ({ image, box, quality: 80, luminance: null });
  const linkface = { check: "liveness_selfie", provider: "linkface", images: [] } as const;
  const device = { ...SUBJECT, provider: "on-device" } as const;
  const summaryOf = (subject: Parameters<typeof decide>[0], given: Partial<Report>) =>
    decide(subject, report(given)).summary;

  test("images, faces, reference and note of a report stand in the decision", () => {
    const images = [facts("user_image")];
    const faces = [face("user")];
    const decision = decide({ ...SUBJECT, images }, report({ faces, note: "A note.", raw: { a: 1 } }));
    expect(decision).toMatchObject({ images, detected_faces: faces, reference: "r-1", raw: { a: 1 } });
    expect(decision.summary).toMatch(/\)\. A note\.$/);
    expect(decide(SUBJECT, report({}))).toMatchObject({ images: [], detected_faces: null });
    expect(summaryOf(SUBJECT, {})).toBe(
      "Liveness by Didit: approved (score 90 of 100; declines at or below 30, the provider's default).",
    );
    expect(summaryOf(SUBJECT, { score: null, threshold: null })).toBe(
      "Liveness by Didit: needs review by a person (no score).",
    );
  });

  test("a score is shown to one decimal, and exactly beside a limit that it would seem to reach", () => {
    const shown = (score: number, threshold: number | null = 30) =>
      /score (\S+) of 100/.exec(summaryOf({ ...SUBJECT, thresholds: { operator: 50 } }, { score, threshold }))?.[1];
    expect([80.26, 30.04, 49.96, 69.98].map((score) => shown(score))).toEqual(["80.3", "30.04", "49.96", "69.98"]);
    expect([30.04, 0.04].map((score) => shown(score, null))).toEqual(["30", "0"]); // no limit is no limit of 0
  });

  test("what was made of a file is said, and weighs in liveness where it was encoded anew", () => {
    const made = { ...facts("user_image"), prepared: "converted from HEIC to JPEG" };
    const said = "The user image was converted from HEIC to JPEG.";
    expect(decide({ ...SUBJECT, images: [made, facts("other")] }, report({})).summary).toMatch(
      new RegExp(`\\)\\. ${said}$`),
    );
    const steps = sumUp({ ...SUBJECT, check: "verify_person", images: [made] }, [decide(SUBJECT, report({}))], 1);
    expect(steps.summary).toMatch(new RegExp(`\\)\\. ${said}$`));
    const given = report({ warnings: [{ tag: "LOW_FACE_QUALITY", effect: "review" }] });
    const prepared = { how: "", sha256: "", isReencoded: true };
    expect(onReencoded(given, { prepared })).toEqual({
      ...given,
      warnings: [...given.warnings, { tag: "REENCODED_IMAGE", effect: "approved" }],
    });
    expect(onReencoded(given, { prepared: { ...prepared, isReencoded: false } })).toBe(given);
    expect(onReencoded(given, {})).toBe(given);
  });

  test("a warning that lowers nothing does not stand in for the reason of a review", () => {
    const warnings = [{ tag: "REENCODED_IMAGE", effect: "approved" as const }];
    expect(decide(SUBJECT, report({ verdict: "review", warnings })).next_steps).toEqual([
      expect.stringMatching(/^Have a person look at the selfie/),
      "Do not report it as approved.",
      WARNINGS.REENCODED_IMAGE.advice,
    ]);
  });

  test("without a threshold a score needs none", () => {
    expect(decide(SUBJECT, report({ threshold: null, score: 0 })).outcome).toBe("approved");
    expect(summaryOf({ ...SUBJECT, thresholds: { operator: 50 } }, { score: null })).not.toContain("does not clear");
    expect(decide(SUBJECT, report({ threshold: null })).outcome).toBe("approved");
    expect(summaryOf(SUBJECT, { threshold: null })).toBe("Liveness by Didit: approved (score 90 of 100).");
  });

  test.each([
    [70, true, "approved"],
    [69.9, true, "review"],
    [70, false, "review"],
    [70.1, false, "approved"],
  ] as const)(
    "a score of %d at a threshold of 70 that is passed at itself (%s) is %s",
    (score, passesAtThreshold, outcome) => {
      const decision = decide(linkface, report({ score, threshold: 70, passesAtThreshold }));
      expect(decision.outcome).toBe(outcome);
      expect(decision.summary).toContain(`declines ${passesAtThreshold ? "" : "at or "}below 70,`);
    },
  );

  test.each([
    [device, { verdict: "review", score: 31 }, true],
    [device, { verdict: "review", score: 30 }, false],
    [device, { verdict: "review", score: null }, false],
    [device, { verdict: "review", score: 1, threshold: null }, true],
    [device, { verdict: "review", score: 0, threshold: null }, false],
    [device, { verdict: "declined", score: 31 }, false],
    [device, { verdict: "approved", score: 31 }, false],
    [SUBJECT, { verdict: "review", score: 31 }, false],
    [{ ...device, check: "face_search" }, { verdict: "review", score: 31 }, false],
  ] as const)("%j with %j is told as a screening: %s", (subject, given, isScreening) => {
    expect(summaryOf(subject, given).includes("No sign of an attack was found.")).toBe(isScreening);
  });

  test("a match by eye: no more is said than holds", () => {
    const matching = { ...SUBJECT, check: "face_match", thresholds: { caller: 20 } } as const;
    const of = (score: number | null, verdict: Outcome = "approved") =>
      decide(matching, report({ score, threshold: 20, verdict }));
    expect(of(50).summary).not.toContain("below 50 suggests");
    expect(of(49.9).summary).toContain("below 50 suggests");
    expect(of(null).summary).not.toMatch(/below 50 suggests|similarity|by eye/);
    expect(of(60, "declined").summary).not.toContain("by eye");
    expect(of(90).summary).toMatch(/similarity; declines at or below 20, the caller's threshold\)\.$/);
    expect(
      decide({ ...matching, thresholds: { operator: 20 } }, report({ score: 60, threshold: 20 })).summary,
    ).not.toContain("approved only");
    // Reasons are told of what is for review, and of nothing else.
    expect(of(60, "declined").summary).toBe(
      "Face match by Didit: declined (score 60 of 100, moderate similarity; declines at or below 20, the caller's threshold).",
    );
    const low = { ...SUBJECT, thresholds: { operator: 95 } } as const;
    expect(summaryOf(low, { verdict: "declined" })).not.toContain("operator's threshold of");
    expect(decide(SUBJECT, report({ verdict: "review" })).summary).toBe(
      "Liveness by Didit: needs review by a person (score 90 of 100; declines at or below 30, the provider's default).",
    );
  });

  test("which images a warning is about", () => {
    const [one, two, none] = [["user"], ["user", "reference"], undefined].map((images) => {
      const given = {
        tag: "LOW_FACE_LUMINANCE",
        effect: "review" as const,
        ...(images === undefined ? {} : { images }),
      };
      return decide(SUBJECT, report({ warnings: [given] })).warnings[0]?.meaning;
    });
    expect(one).toBe(`In user: ${none}`);
    expect(two).toBe(`In user and reference: ${none}`);
  });

  test("what is to be done next, without a warning that says it", () => {
    const next = (subject: Parameters<typeof decide>[0], given: Partial<Report>) =>
      decide(subject, report(given)).next_steps;
    expect(next(SUBJECT, {})).toEqual([]);
    expect(next(SUBJECT, { verdict: "review" })).toMatchInlineSnapshot(`
      [
        "Have a person look at the selfie (Didit request r-1) before anybody relies on this.",
        "Do not report it as approved.",
      ]
    `);
    expect(next(SUBJECT, { verdict: "review", reference: null })).toMatchInlineSnapshot(`
      [
        "Have a person look at the selfie before anybody relies on this.",
        "Do not report it as approved.",
      ]
    `);
    expect(next(device, { verdict: "review" })).toMatchInlineSnapshot(`
      [
        "Have a person look at the selfie before anybody relies on this.",
        "Do not report it as approved.",
      ]
    `);
    expect(next(SUBJECT, { verdict: "declined" })).toMatchInlineSnapshot(`
      [
        "Do not report it as approved. A person decides what follows.",
      ]
    `);
    const images = [facts("user_image"), facts("reference_image")];
    const match = { ...SUBJECT, check: "face_match", images } as const;
    expect(next(match, { verdict: "review" })).toMatchInlineSnapshot(`
      [
        "Have a person compare user_image with reference_image (Didit request r-1) before anybody relies on this.",
        "Do not report it as approved.",
      ]
    `);
    expect(next({ ...match, images: [] }, { verdict: "review" })).toMatchInlineSnapshot(`
      [
        "Have a person compare the selfie with the reference photo (Didit request r-1) before anybody relies on this.",
        "Do not report it as approved.",
      ]
    `);
    expect(next(linkface, { verdict: "review" })).toMatchInlineSnapshot(`
      [
        "Have a person compare the selfie with the liveness data (Linkface request r-1) before anybody relies on this.",
        "Do not report it as approved.",
      ]
    `);
    const twice = [
      { tag: "LOW_FACE_LUMINANCE", effect: "review" as const, images: ["user"] },
      { tag: "LOW_FACE_LUMINANCE", effect: "review" as const, images: ["reference"] },
    ];
    expect(next(SUBJECT, { warnings: twice })).toEqual([WARNINGS.LOW_FACE_LUMINANCE.advice]);
  });

  describe("a search", () => {
    const SEARCH = { ...SUBJECT, check: "face_search", images: [facts("image")] } as const;
    const search = (matches: readonly Match[], given: Partial<SearchReport> = {}, vendorData?: string) =>
      decideSearch(
        SEARCH,
        { ...report({ score: null, threshold: null }), matches, totalMatches: matches.length, ...given },
        vendorData,
      );

    test("all that a match says", () => {
      const full = match({
        label: "Ann",
        vendorData: "u2",
        status: "Approved",
        sessionId: "s-1",
        date: "2026-01-02",
        allowlisted: true,
      });
      const faces = [face("user")];
      expect(search([full, match({ id: null, similarity: 69.9 })], { threshold: 70, faces })).toMatchInlineSnapshot(`
        {
          "check": "face_search",
          "detected_faces": [
            {
              "box": {
                "bottom": 4,
                "left": 1,
                "right": 3,
                "top": 2,
              },
              "image": "user",
              "luminance": null,
              "quality": 80,
            },
          ],
          "images": [
            {
              "bytes": 9,
              "height": 3,
              "mime": "image/jpeg",
              "name": "image",
              "width": 4,
            },
          ],
          "matches": [
            {
              "allowlisted": true,
              "band": "strong",
              "blocklisted": false,
              "date": "2026-01-02",
              "id": "m-1",
              "label": "Ann",
              "session_id": "s-1",
              "similarity": 95,
              "status": "Approved",
              "vendor_data": "u2",
            },
            {
              "allowlisted": false,
              "band": "weak",
              "blocklisted": false,
              "date": null,
              "id": null,
              "label": null,
              "session_id": null,
              "similarity": 69.9,
              "status": null,
              "vendor_data": null,
            },
          ],
          "next_steps": [],
          "outcome": "approved",
          "provider": "didit",
          "raw": {},
          "reference": "r-1",
          "score": 95,
          "summary": "Face search by Didit: 1 face found that was cleared by hand. Nearest: "Ann" with a similarity of 95 of 100.",
          "threshold": 70,
          "total_matches": 2,
          "warnings": [],
        }
      `);
    });

    test("whom to compare with: the blocked first, then the duplicates, and not all of many", () => {
      const found = [
        match({ id: "a", sessionId: "s-a", vendorData: "u`1" }),
        match({ id: null, blocklisted: true, similarity: 72 }),
        match({ id: "b", vendorData: "u2" }),
      ];
      expect(search(found).next_steps).toMatchInlineSnapshot(`
        [
          "Review: have a person compare the two faces before anybody acts on this.",
          "Compare the photo with face without an id, session "s-a" (vendor_data "u1"), face "b" (vendor_data "u2").",
        ]
      `);
      expect(
        search(Array.from({ length: 9 }, (_, n) => match({ id: `m-${n}` }))).next_steps.at(-1),
      ).toMatchInlineSnapshot(`"Compare the photo with face "m-0", face "m-1", face "m-2"."`);
      expect(search([]).next_steps).toEqual([]);
      expect(search([match({ allowlisted: true })]).next_steps).toEqual([]);
    });

    const duplicate = [{ tag: "DUPLICATED_FACE", effect: "review" as const }];
    test.each<
      [
        what: string,
        matches: readonly Match[],
        given: Partial<SearchReport>,
        vendorData: string | undefined,
        told: number,
      ]
    >([
      ["the person's own record alone", [match({ vendorData: "u1" })], {}, "u1", 0],
      ["the person's own and another's", [match({ vendorData: "u1" }), match({ vendorData: "u2" })], {}, "u1", 1],
      ["the person's own, and one that is not shown", [match({ vendorData: "u1" })], { totalMatches: 2 }, "u1", 1],
      ["nobody", [], {}, "u1", 1],
      ["nobody, and no id", [match({ vendorData: null, allowlisted: true })], {}, undefined, 1],
      ["the person's own record, blocklisted", [match({ vendorData: "u1", blocklisted: true })], {}, "u1", 1],
    ])("a warning of a duplicate stands, or is the person's own: %s", (_what, matches, given, vendorData, told) => {
      const { warnings } = search(matches, { ...given, warnings: duplicate }, vendorData);
      expect(warnings.filter(({ tag }) => tag === "DUPLICATED_FACE")).toHaveLength(told);
    });

    test("another warning than of a duplicate is never dropped", () => {
      const dark = [{ tag: "LOW_FACE_LUMINANCE", effect: "review" as const }];
      expect(search([match({ vendorData: "u1" })], { warnings: dark }, "u1").outcome).toBe("review");
    });

    test("of two that are blocked, one strongly, the warning is that of the strong one", () => {
      const tags = search([match({ blocklisted: true }), match({ blocklisted: true, similarity: 71 })]).warnings;
      expect(tags.map(({ tag }) => tag)).toEqual(["FACE_IN_BLOCKLIST"]);
    });

    test("what is found is told in words", () => {
      const said = (...args: Parameters<typeof search>) => search(...args).summary;
      const cleared = match({ allowlisted: true });
      expect(said([cleared, cleared])).toContain("2 faces found that were cleared by hand");
      expect(said([match({ vendorData: "u1" })], {}, "u1")).toBe(
        'Face search by Didit: 1 earlier record of the same person found. Nearest: "u1" with a similarity of 95 of 100.',
      );
      expect(said([match({ similarity: 40 })])).toBe(
        "Face search by Didit: no duplicate found, 1 weak resemblance. Nearest: a face without a label with a similarity of 40 of 100.",
      );
      expect(said([match({ similarity: 40 })], { totalMatches: 3, note: "A note." })).toMatch(
        /3 weak resemblances\..* A note\.$/,
      );
      expect(said([], { totalMatches: 1 })).toContain("reported but not shown");
      expect(said([], { warnings: duplicate })).toContain(
        "a match was reported but not shown: a person must review it",
      );
      expect(said([match({ similarity: 40 })], { verdict: "declined" })).toContain("no duplicate found");
      expect(said([match({ similarity: 71, blocklisted: true }), match({ blocklisted: true })])).toContain(
        "strong match with 2 blocklisted faces (95)",
      );
    });
  });

  test("a group of checks: the worst rules, each warning and step is told once", () => {
    const dark = { tag: "LOW_FACE_LUMINANCE", effect: "review" as const };
    const images = [facts("selfie"), facts("reference_image")];
    const liveness = decide(SUBJECT, report({ warnings: [dark], raw: 1, faces: [face("user")] }));
    const match = decide(
      { ...SUBJECT, check: "face_match" },
      report({ warnings: [dark], raw: 2, faces: [{ ...face("user"), quality: 1 }, face("reference")] }),
    );
    const steps = sumUp({ ...SUBJECT, check: "verify_person", images }, [liveness, match], 3);
    expect(steps).toMatchObject({
      outcome: "review",
      images,
      warnings: [{ tag: "LOW_FACE_LUMINANCE" }],
      detected_faces: [face("user"), face("reference")],
      raw: { liveness: 1, face_match: 2 },
      next_steps: [WARNINGS.LOW_FACE_LUMINANCE.advice],
    });
    expect(steps.warnings).toHaveLength(1);
    expect(steps.summary).toBe(
      `Verification of the person by Didit: needs review by a person. ${liveness.summary} ${match.summary} 1 further step not run.`,
    );
    const all = sumUp({ ...SUBJECT, check: "verify_person" }, [decide(SUBJECT, report({}))], 1);
    expect(all).toMatchObject({ outcome: "approved", detected_faces: [], next_steps: [], warnings: [] });
    expect(all.summary).not.toContain("further");
  });

  test("once a step meets the blocklist, no other asks for a retake, and each still says what to do", () => {
    const step = (tags: readonly string[], check: "liveness" | "face_search") =>
      decide({ ...SUBJECT, check }, report({ warnings: tags.map((tag) => ({ tag, effect: "review" as const })) }));
    const [poor, mixed, listed] = [
      step(["LOW_FACE_LUMINANCE"], "liveness"),
      step(["LOW_FACE_LUMINANCE", "HIGH_HACK_SCORE"], "liveness"),
      step(["HIGH_HACK_SCORE", "FACE_IN_BLOCKLIST"], "face_search"),
    ];
    expect(fraudFirst([poor, mixed])).toEqual([poor, mixed]);
    const [first, second, third] = fraudFirst([poor, mixed, listed]);
    expect(first?.warnings[0]?.advice).toMatch(/^Do not ask for another photo/);
    expect(first?.next_steps).toMatchInlineSnapshot(`
      [
        "Have a person look at the selfie (Didit request r-1) before anybody relies on this.",
        "Do not report it as approved.",
      ]
    `);
    expect(second?.next_steps).toEqual([WARNINGS.HIGH_HACK_SCORE.advice]);
    expect(third).toEqual(listed);
    const warnings = [
      { tag: "POSSIBLE_FACE_IN_BLOCKLIST", effect: "declined" as const },
      { tag: "LOW_FACE_LUMINANCE", effect: "review" as const },
    ];
    const found = {
      ...report({ score: null, threshold: null, warnings }),
      matches: [match({ blocklisted: true })],
      totalMatches: 1,
    };
    const search = decideSearch({ ...SUBJECT, check: "face_search" }, found, undefined);
    expect(search.next_steps).toEqual([
      WARNINGS.POSSIBLE_FACE_IN_BLOCKLIST.advice,
      'Compare the photo with face "m-1".',
    ]);
    expect(fraudFirst([search])).toEqual([search]);
  });
});
