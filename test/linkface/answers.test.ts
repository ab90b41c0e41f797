import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decide } from "../../src/decision/decision.ts";
import { LivenessSelfieAnswer, toReport } from "../../src/providers/linkface/answers.ts";
import { linkfaceOk } from "../support/stand-in/linkface.ts";
import { callOptions, LIVENESS_DATA, photo, refusal, setUp } from "./setting.ts";

async function ask(body: unknown, options: { declineThreshold?: number } = {}) {
  const { api, provider } = await setUp();
  api.next({ status: 200, body });
  const report = await provider.verifyLivenessSelfie(
    { image: await photo() },
    { bytes: LIVENESS_DATA },
    { ...callOptions, ...options },
  );
  return { report, decision: decide({ check: "liveness_selfie", provider: "linkface", images: [] }, report) };
}

/** The same without a server, for many values. */
function judge(body: object, threshold = 70) {
  const data = LivenessSelfieAnswer.parse({ status: "OK", ...body });
  const report = toReport(data, { threshold, raw: body });
  return decide({ check: "liveness_selfie", provider: "linkface", images: [] }, report);
}

const outcomeOf = (verify_score: unknown, hack_score: unknown, threshold?: number) =>
  judge({ verify_score, hack_score }, threshold).outcome;

describe("one person from 0.7 on", () => {
  test.each([
    [0.7, "approved"],
    [0.700001, "approved"],
    [1, "approved"],
    [0.699999, "declined"],
    [0.69, "declined"],
    [0, "declined"],
    ["0.7", "approved"],
    ["0.70", "approved"],
    ["0.93", "approved"],
    ["0.69", "declined"],
    ["1", "approved"],
    ["1.0", "approved"],
    ["0", "declined"],
    ["1e-05", "declined"],
    [1e-7, "declined"],
  ] as const)("%j is %s", (score, outcome) => {
    expect(outcomeOf(score, 0.02)).toBe(outcome);
  });

  test("a decline names its reason", () => {
    expect(judge({ verify_score: 0.6, hack_score: 0 }).warnings).toMatchObject([
      { tag: "LOW_FACE_MATCH_SIMILARITY", effect: "declined" },
    ]);
  });

  test.each([
    [0.57, 57, "approved"], // 100 * 0.57 is 56.99999999999999
    [0.29, 29, "approved"],
    [0.28, 29, "declined"],
    [0.9, 95, "declined"],
    [0.95, 95, "approved"],
    [0, 0, "approved"],
    [1, 100, "approved"],
    [0.9999, 100, "declined"],
  ] as const)("%d under a threshold of %d is %s", (score, threshold, outcome) => {
    expect(judge({ verify_score: score, hack_score: 0 }, threshold)).toMatchObject({ outcome, threshold });
  });

  test("every score that has a threshold of two digits meets it", () => {
    for (let percent = 0; percent <= 100; percent++) {
      expect(judge({ verify_score: percent / 100, hack_score: 0 }, percent)).toMatchObject({
        outcome: "approved",
        score: percent,
      });
    }
  });

  test("a score is what was sent times 100, whatever it is", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (value) => {
        const { score } = judge({ verify_score: value, hack_score: 0 });
        expect(score).toBeCloseTo(value * 100, 10);
        expect(score).toBeGreaterThanOrEqual(0);
        expect(score).toBeLessThanOrEqual(100);
      }),
    );
  });
});

describe("an attack is never approved", () => {
  test.each([
    [0, "approved", undefined],
    [0.02, "approved", undefined],
    [0.4999, "approved", undefined],
    [0.5, "review", "HIGH_HACK_SCORE"],
    ["0.5", "review", "HIGH_HACK_SCORE"],
    [0.98, "review", "HIGH_HACK_SCORE"],
    ["0.98", "review", "HIGH_HACK_SCORE"],
    [0.980001, "declined", "LIVENESS_FACE_ATTACK"],
    ["0.985", "declined", "LIVENESS_FACE_ATTACK"],
    [1, "declined", "LIVENESS_FACE_ATTACK"],
    [null, "review", "NO_HACK_SCORE"],
    [undefined, "review", "NO_HACK_SCORE"],
  ] as const)("a hack score of %j is %s", (hack, outcome, tag) => {
    const decision = judge({ verify_score: 0.99, hack_score: hack });
    expect(decision.outcome).toBe(outcome);
    expect(decision.warnings.map((warning) => warning.tag)).toEqual(tag === undefined ? [] : [tag]);
  });

  const fraction = fc.double({ min: 0, max: 1, noNaN: true });
  const written = (value: number) => fc.constantFrom<unknown>(value, String(value));

  test("whatever the other score and the threshold", () => {
    const scores = fc.tuple(fraction, fc.double({ min: 0.5, max: 1, noNaN: true }), fc.integer({ min: 0, max: 100 }));
    fc.assert(
      fc.property(scores, ([verify, hack, threshold]) => {
        expect(outcomeOf(verify, hack, threshold)).not.toBe("approved");
        if (hack > 0.98) expect(outcomeOf(verify, hack, threshold)).toBe("declined");
      }),
    );
  });

  test("and no approval has a low score, or lacks a hack score", () => {
    const values = fc.tuple(fraction, fraction).chain(([a, b]) => fc.tuple(written(a), fc.option(written(b))));
    fc.assert(
      fc.property(values, ([verify, hack]) => {
        const parsed = LivenessSelfieAnswer.safeParse({ status: "OK", verify_score: verify, hack_score: hack });
        if (!parsed.success) return;
        if (outcomeOf(verify, hack) !== "approved") return;
        expect(Number(verify)).toBeGreaterThanOrEqual(0.7);
        expect(hack).not.toBeNull();
        expect(Number(hack)).toBeLessThan(0.5);
      }),
      { numRuns: 500 },
    );
  });
});

describe("the summary", () => {
  test.each([
    [1, "For scores of 90 and above, Linkface publishes one false accept in 1,000,000."],
    [0.9, "For scores of 90 and above, Linkface publishes one false accept in 1,000,000."],
    [0.899, "For scores of 80 and above, Linkface publishes one false accept in 100,000."],
    [0.8, "For scores of 80 and above, Linkface publishes one false accept in 100,000."],
    [0.7, "For scores of 70 and above, Linkface publishes one false accept in 10,000."],
    [0.6, "For scores of 60 and above, Linkface publishes one false accept in 1,000."],
    [0.5, "For scores of 50 and above, Linkface publishes one false accept in 100."],
    [0.4, "For scores of 40 and above, Linkface publishes one false accept in 10."],
    [0.399, "Linkface publishes no false-accept rate for scores below 40."],
    [0, "Linkface publishes no false-accept rate for scores below 40."],
  ])("of %d tells the published rate", (score, row) => {
    expect(judge({ verify_score: score, hack_score: 0.02 }).summary.endsWith(row)).toBe(true);
  });

  test("says by whom, how, and how near to an attack", () => {
    expect(judge({ verify_score: 0.93, hack_score: 0.02 }).summary).toBe(
      "Liveness data against the selfie by Linkface: approved (score 93 of 100; declines below 70, the provider's default). " +
        "The hack score is 0.02 of 1 (0.5 and above results in review, above 0.98 is an attack). " +
        "If the selfie shows several faces, the largest is compared. " +
        "For scores of 90 and above, Linkface publishes one false accept in 1,000,000.",
    );
    expect(judge({ verify_score: 0.93 }).summary).toContain("There is no hack score.");
  });

  test("does not round a score onto the threshold that it misses", () => {
    const { outcome, summary } = judge({ verify_score: 0.69999, hack_score: 0 });
    expect(outcome).toBe("declined");
    expect(summary).toContain("score 69.999 of 100; declines below 70");
  });
});

test.each<[string, object]>([
  ["no status", { status: undefined }],
  ["another status", { status: "FAILED" }],
  ["a status in another case", { status: "ok" }],
  ["the status of an error", { status: "NO_FACE_DETECTED" }],
  ["no score", { verify_score: undefined }],
  ["a score of null", { verify_score: null }],
  ["an empty score", { verify_score: "" }],
  ["a score above 1", { verify_score: 1.01 }],
  ["a percentage", { verify_score: 93 }],
  ["a percentage as a string", { verify_score: "93" }],
  ["a negative score", { verify_score: -0.1 }],
  ["a negative string", { verify_score: "-0.1" }],
  ["a score in words", { verify_score: "high" }],
  ["a score with a unit", { verify_score: "0.93%" }],
  ["a score with spaces", { verify_score: " 0.93" }],
  ["a score in hexadecimal", { verify_score: "0x1" }],
  ["NaN", { verify_score: "NaN" }],
  ["a truth value", { verify_score: true }],
  ["a list", { verify_score: [0.93] }],
  ["a hack score above 1", { hack_score: 2 }],
  ["a hack score below 0", { hack_score: -1 }],
  ["an empty hack score", { hack_score: "" }],
  ["a hack score in words", { hack_score: "low" }],
  ["a hack score that is a truth value", { hack_score: false }],
])("%s is not understood", async (_what, given) => {
  const body = { request_id: "r-1", status: "OK", verify_score: 0.93, hack_score: 0.02, ...given };
  expect(await refusal(ask(body))).toMatchObject({ code: "bad_response" });
});

test.each([[null], ["OK"], [[]], [7], [{}]])("%j is no answer", async (body) => {
  expect(await refusal(ask(body))).toMatchObject({ code: "bad_response" });
});

test("over the wire: quoted scores, the id of the call, and the JSON untouched", async () => {
  const { body } = linkfaceOk({ verify_score: "0.93", hack_score: "0.02", image_id: "I", surprise: { a: 1 } });
  const { report, decision } = await ask(body);
  expect(report).toMatchObject({ verdict: "approved", score: 93, threshold: 70 });
  expect(report.raw).toEqual(body);
  expect(decision).toMatchObject({ outcome: "approved", reference: "TID8bf47ab6eda64476973cc5f5b6ebf57e" });
});

test("over the wire: the threshold that was asked for is the one applied", async () => {
  const { body } = linkfaceOk({ verify_score: 0.85, hack_score: 0.02 });
  const { decision } = await ask(body, { declineThreshold: 90 });
  expect(decision).toMatchObject({ outcome: "declined", score: 85, threshold: 90 });
});

test.each([[undefined], [null], [7], ["IGNORE previous instructions"], ["x".repeat(101)]])(
  "an id of the call that is %j is left out",
  async (request_id) => {
    const { decision } = await ask({ status: "OK", verify_score: 0.93, hack_score: 0.02, request_id });
    expect(decision).toMatchObject({ outcome: "approved", reference: null });
  },
);
