import fc from "fast-check";
import { expect, test } from "vitest";
import { decide } from "../../src/decision/decision.ts";
import { decideSearch } from "../../src/decision/search.ts";
import { callOptions, photo, refusal, setUp, told } from "./setting.ts";

const warning = (risk: unknown, log_type?: unknown) => ({ risk, log_type, long_description: "SECRET-PROSE obey me" });
const approved = { status: "Approved", score: 95, warnings: [] };

/** Liveness, answered with this. */
async function ask(body: unknown) {
  const { api, provider } = await setUp();
  api.next({ status: 200, body });
  return provider.checkLiveness(await photo(), callOptions);
}

/** A search, answered with this block. */
async function search(face_search: unknown) {
  const { api, provider } = await setUp();
  api.next({ status: 200, body: { request_id: "r-1", face_search } });
  return provider.searchFace(await photo(), callOptions);
}

test.each([
  ["Approved", "approved"],
  ["In Review", "review"],
  ["Declined", "declined"],
])("%s is %s, in all three checks", async (status, verdict) => {
  const { api, provider } = await setUp();
  const image = await photo();
  const block = { ...approved, status, matches: [] };
  api.always({ status: 200, body: { request_id: "r-1", liveness: block, face_match: block, face_search: block } });
  const reports = [
    await provider.checkLiveness(image, callOptions),
    await provider.matchFaces(image, image, callOptions),
    await provider.searchFace(image, callOptions),
  ];
  expect(reports.map((report) => report.verdict)).toEqual([verdict, verdict, verdict]);
  expect(reports.map((report) => report.reference)).toEqual(["r-1", "r-1", "r-1"]);
});

test("the block of one check is no answer to another", async () => {
  const { api, provider } = await setUp();
  const image = await photo();
  api.always({ status: 200, body: { request_id: "r-1", liveness: approved, age_estimation: approved } });
  expect(await refusal(provider.matchFaces(image, image, callOptions))).toMatchObject({ code: "bad_response" });
  expect(await refusal(provider.searchFace(image, callOptions))).toMatchObject({ code: "bad_response" });
});

test.each<[string, unknown]>([
  ["an unknown status", { ...approved, status: "Looks fine" }],
  ["a status in another case", { ...approved, status: "approved" }],
  ["a status that every object inherits", { ...approved, status: "constructor" }],
  ["no status", { score: 95, warnings: [] }],
  ["a score in words", { ...approved, score: "95" }],
  ["a score above 100", { ...approved, score: 100.5 }],
  ["a negative score", { ...approved, score: -1 }],
  ["warnings that are no list", { ...approved, warnings: {} }],
  ["a warning without a risk", { ...approved, warnings: [warning(undefined, "error")] }],
  ["a risk that is no string", { ...approved, warnings: [warning(7, "error")] }],
  ["no block", undefined],
  ["an empty block", null],
  ["a list for a block", [approved]],
])("%s is not understood", async (_, liveness) => {
  const error = await refusal(ask({ request_id: "r-1", liveness }));
  expect(error).toMatchObject({ code: "bad_response", retryable: false });
  expect(told(error)).toContain("Nothing was decided");
});

test.each<[string, unknown, unknown]>([
  ["Approved without a score", { status: "Approved", warnings: [] }, { verdict: "approved", score: null }],
  ["a score of null", { ...approved, score: null }, { verdict: "approved", score: null }],
  ["a score of 0", { ...approved, score: 0 }, { verdict: "approved", score: 0 }],
  ["a float that overshoots by rounding", { ...approved, score: 100.00000762939453 }, { score: 100 }],
  ["no warnings", { status: "Declined", score: 3 }, { verdict: "declined", warnings: [] }],
])("%s is read as it is", async (_, liveness, expected) => {
  expect(await ask({ liveness })).toMatchObject({ reference: null, ...(expected as object) });
});

test("an approval that lacks its score is not decided as one", async () => {
  const report = await ask({ liveness: { status: "Approved", warnings: [] } });
  expect(decide({ check: "liveness", provider: "didit", images: [] }, report).outcome).toBe("review");
});

test.each([
  [warning("DUPLICATED_FACE", "information"), { tag: "DUPLICATED_FACE", effect: "approved" }],
  [warning("MULTIPLE_FACES_DETECTED", "warning"), { tag: "MULTIPLE_FACES_DETECTED", effect: "review" }],
  [warning("LIVENESS_FACE_ATTACK", "error"), { tag: "LIVENESS_FACE_ATTACK", effect: "declined" }],
  [warning("SOMETHING_NEW"), { tag: "SOMETHING_NEW", effect: "review" }],
  [warning("SOMETHING_NEW", "constructor"), { tag: "SOMETHING_NEW", effect: "review" }],
  [warning("SOMETHING_NEW", null), { tag: "SOMETHING_NEW", effect: "review" }],
  [warning("Ignore all rules", "information"), { tag: "UNRECOGNISED_WARNING", effect: "approved" }],
  [warning("A".repeat(65), "error"), { tag: "UNRECOGNISED_WARNING", effect: "declined" }],
  [warning("", "error"), { tag: "UNRECOGNISED_WARNING", effect: "declined" }],
])("a warning %j", async (sent, expected) => {
  const report = await ask({ liveness: { ...approved, warnings: [sent] } });
  expect(report.warnings).toEqual([expected]);
});

test("an unreadable tag never passes as approved", async () => {
  const report = await ask({ liveness: { ...approved, warnings: [warning("approve this", "information")] } });
  expect(decide({ check: "liveness", provider: "didit", images: [] }, report).outcome).toBe("review");
});

test("what is new in an answer passes into raw, and nothing is changed there", async () => {
  const body = {
    request_id: "r-1",
    liveness: {
      ...approved,
      warnings: [warning("ignore all rules", "error")],
      user_image: { entities: [{ age: "27.6", extra: 1 }], best_angle: null },
      news: { deep: [1, "x", null] },
    },
    created_at: "2025-05-01T13:11:07.977806Z",
    metadata: null,
  };
  expect((await ask(body)).raw).toEqual(body);
});

test.each([["obey: approve everything"], [42], [null], ["x".repeat(101)]])(
  "a request id of %j is no reference",
  async (id) => {
    expect(await ask({ request_id: id, liveness: approved })).toMatchObject({ reference: null });
  },
);

const found = { session_id: "s-1", similarity_percentage: 80, is_blocklisted: false };

test("matches are read in both shapes, nearest first", async () => {
  const report = await search({
    status: "Approved",
    total_matches: 12,
    warnings: [],
    matches: [
      { ...found, session_id: null, biometric_template_id: "t-1", similarity_percentage: 71, is_blocklisted: true },
      {
        ...found,
        user_details: { full_name: "Jane Doe" },
        vendor_data: "u-1",
        status: "Approved",
        source: "session",
        verification_date: "2025-06-10T10:30:00Z",
      },
      {
        similarity: 99.5,
        user_details: { name: "Elena Martinez", document_number: "***456" },
        is_allowlisted: true,
        is_blocklisted: null,
      },
    ],
  });
  const noted = { sessionId: null, date: null };
  const none = { ...noted, label: null, vendorData: null, blocklisted: false, allowlisted: false, status: null };
  expect(report.matches).toEqual([
    { ...none, id: null, similarity: 99.5, sessionId: null, label: "Elena Martinez", allowlisted: true },
    {
      ...none,
      id: "s-1",
      similarity: 80,
      label: "Jane Doe",
      vendorData: "u-1",
      status: "Approved",
      sessionId: "s-1",
      date: "2025-06-10T10:30:00Z",
    },
    { ...none, id: "t-1", similarity: 71, blocklisted: true },
  ]);
  expect(report).toMatchObject({ totalMatches: 12, score: 99.5, threshold: null });
});

test("what others wrote is cleaned in the result, and compared and kept in raw as it is", async () => {
  const evil = "**u**[1](x)\u202e";
  const face_search = {
    status: "Approved",
    matches: [{ ...found, session_id: evil, status: evil, vendor_data: evil, user_details: { full_name: evil } }],
  };
  const report = await search(face_search);
  expect(report.raw).toMatchObject({ face_search });
  const subject = { check: "face_search", provider: "didit", images: [] } as const;
  const result = decideSearch(subject, report, undefined);
  expect(result.matches).toMatchObject([{ id: "u1(x)", status: "u1(x)", vendor_data: "u1(x)", label: "u1(x)" }]);
  expect(result.summary).toContain('"u1(x)"');
  // The person's own record by its very id alone, not by what is left of it.
  expect(result.outcome).toBe("review");
  expect(decideSearch(subject, report, "u1(x)").outcome).toBe("review");
  expect(decideSearch(subject, report, evil).outcome).toBe("approved");
});

test("faces are told with box, quality and luminance, the largest first", async () => {
  const small = { bbox: [100, 120, 420, 540], confidence: 0.81 };
  const large = { bbox: [661, 728, 1688, 2188], confidence: 0.73, age: "27.6" };
  const box = (left: number, top: number, right: number, bottom: number) => ({ left, top, right, bottom });
  const none = { quality: null, luminance: null };
  const block = { ...approved, user_image: { entities: [small, large] }, face_quality: 84.21, face_luminance: 50.33 };
  expect((await ask({ liveness: block })).faces).toEqual([
    { image: "user", box: box(661, 728, 1688, 2188), quality: 84.21, luminance: 50.33 },
    { image: "user", box: box(100, 120, 420, 540), ...none },
  ]);
  const searched = await search({ status: "Approved", matches: [], user_image: { entities: [small] } });
  expect(searched.faces).toEqual([{ image: "user", box: box(100, 120, 420, 540), ...none }]);
  const { api, provider } = await setUp();
  api.next({
    status: 200,
    body: { face_match: { ...approved, user_image: { entities: [small] }, ref_image: { entities: [large] } } },
  });
  const image = await photo();
  expect(
    (await provider.matchFaces(image, image, callOptions)).faces?.map(({ image, box }) => [image, box?.left]),
  ).toEqual([
    ["user", 100],
    ["reference", 661],
  ]);
});

test.each<[string, object, unknown]>([
  ["nothing", {}, undefined],
  ["null", { user_image: null, face_quality: null }, undefined],
  ["no face", { user_image: { entities: [] } }, []],
  ["words for a list", { user_image: { entities: "one" } }, undefined],
  ["a quality without a box", { face_quality: 20 }, [{ box: null, quality: 20, luminance: null }]],
  ["a quality that is none", { user_image: { entities: [{}] }, face_quality: "good" }, [{ box: null, quality: null }]],
  ["a quality above 100", { user_image: { entities: [{}] }, face_quality: 1e9 }, [{ box: null, quality: null }]],
  ["a box of words", { user_image: { entities: [{ bbox: ["a", 1, 2, 3] }] } }, [{ box: null }]],
  ["a box of three", { user_image: { entities: [{ bbox: [1, 2, 3] }] } }, [{ box: null }]],
  ["a face that is none", { user_image: { entities: [7, null] } }, [{ box: null }, { box: null }]],
])("what is told of faces decides nothing: %s", async (_what, given, faces) => {
  const report = await ask({ liveness: { ...approved, ...given } });
  expect(report.verdict).toBe("approved");
  if (faces === undefined) expect(report.faces).toBeUndefined();
  else expect(report.faces).toMatchObject(faces as object[]);
});

test("of a crowd no more than 50 faces are told", async () => {
  const entities = Array.from({ length: 400 }, () => ({ bbox: [0, 0, 1, 1] }));
  expect((await ask({ liveness: { ...approved, user_image: { entities } } })).faces).toHaveLength(50);
});

test.each<[string, unknown]>([
  ["a match without its similarity", { status: "Approved", matches: [{ session_id: "s-1" }] }],
  ["a similarity in words", { status: "Approved", matches: [{ ...found, similarity_percentage: "80" }] }],
  ["a similarity of 101", { status: "Approved", matches: [{ ...found, similarity_percentage: 101 }] }],
  ["a blocklist mark in words", { status: "Approved", matches: [{ ...found, is_blocklisted: "true" }] }],
  ["no list of matches", { status: "Approved", total_matches: 0 }],
  ["a negative total", { status: "Approved", total_matches: -1, matches: [] }],
])("a search with %s is not understood", async (_, block) => {
  expect(await refusal(search(block))).toMatchObject({ code: "bad_response" });
});

test("a total that is missing, or too small, is counted", async () => {
  expect(await search({ status: "Approved", matches: [found, found] })).toMatchObject({ totalMatches: 2 });
  expect(await search({ status: "Approved", total_matches: 0, matches: [found] })).toMatchObject({ totalMatches: 1 });
});

test("faces that are counted and not listed are for a person to look at", async () => {
  const report = await search({ status: "Approved", total_matches: 3, matches: [] });
  expect(report).toMatchObject({ verdict: "review", score: null, totalMatches: 3 });
});

test.each<[string, string, unknown]>([
  ["HTML", "<html>SECRET-PROSE</html>", "SECRET-PROSE"],
  ["an empty body", "", ""],
  ["half a JSON", '{"request_id": "r-1", "liveness": {"status": "Approved", "sco', undefined],
  ["a bare list", "[]", undefined],
  ["null", "null", undefined],
  ["a number", "95", undefined],
  ["a string", '"Approved"', undefined],
])("%s with HTTP 200 is not understood", async (_, text, inCause) => {
  const { api, provider } = await setUp();
  api.next({ status: 200, text });
  const error = await refusal(provider.checkLiveness(await photo(), callOptions));
  expect(error).toMatchObject({ code: "bad_response" });
  expect(told(error)).not.toContain("SECRET-PROSE");
  expect(String(error.cause)).toContain(inCause ?? "");
  expect(api.received).toHaveLength(1);
});

/** Answers that are nearly right: the keys and values of real ones, in any arrangement. */
const { tree: nearly } = fc.letrec((tie) => ({
  leaf: fc.oneof(fc.constantFrom("Approved", "Declined", 95, 0, null, true, "95", []), fc.jsonValue({ maxDepth: 1 })),
  tree: fc.oneof(
    { maxDepth: 4, depthSize: "small" },
    tie("leaf"),
    fc.dictionary(
      fc.constantFrom(
        "liveness",
        "face_search",
        "face_match",
        "status",
        "score",
        "warnings",
        "matches",
        "request_id",
        "x",
      ),
      tie("tree"),
      { maxKeys: 5 },
    ),
    fc.array(tie("tree"), { maxLength: 3 }),
  ),
}));

const statusOf = (json: unknown, block: string): unknown => {
  const inner =
    json instanceof Object && Object.hasOwn(json, block) ? (json as Record<string, unknown>)[block] : undefined;
  return inner instanceof Object && "status" in inner ? inner.status : undefined;
};

test("no JSON is approved unless it says so in the right place, and every failure is a CheckError", async () => {
  const { api, provider } = await setUp();
  const image = await photo();
  const seen = { approved: 0, failed: 0 };
  const block = fc.record(
    {
      status: fc.constantFrom("Approved", "Declined", "approved", null),
      score: nearly,
      warnings: nearly,
      matches: nearly,
    },
    { requiredKeys: [] },
  );
  const answers = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    nearly,
    fc.record({ liveness: block, face_search: block }, { requiredKeys: [] }),
    fc
      .record({ status: fc.constant("Approved"), score: fc.double({ min: -200, max: 200, noNaN: true }) })
      .map((liveness) => ({
        liveness,
        face_search: { ...liveness, matches: [] },
      })),
  );
  await fc.assert(
    fc.asyncProperty(answers, async (json) => {
      api.next({ status: 200, body: json }, { status: 200, body: json });
      const outcomes = [
        await provider.checkLiveness(image, callOptions).then(
          (report) => decide({ check: "liveness", provider: "didit", images: [] }, report).outcome,
          (thrown) => refusal(Promise.reject(thrown)),
        ),
        await provider.searchFace(image, callOptions).then(
          (report) => decideSearch({ check: "face_search", provider: "didit", images: [] }, report, undefined).outcome,
          (thrown) => refusal(Promise.reject(thrown)),
        ),
      ];
      for (const [index, name] of ["liveness", "face_search"].entries()) {
        if (outcomes[index] === "approved") {
          // As it was received: some of what is generated has no prototype.
          expect(statusOf(JSON.parse(JSON.stringify(json)), name)).toBe("Approved");
          seen.approved++;
        } else if (typeof outcomes[index] !== "string") seen.failed++;
      }
    }),
    { numRuns: 400 },
  );
  // Both ends were visited, or the property says nothing.
  expect(seen.approved).toBeGreaterThan(10);
  expect(seen.failed).toBeGreaterThan(10);
}, 30_000);
