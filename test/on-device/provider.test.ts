import { readFile } from "node:fs/promises";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decide } from "../../src/decision/decision.ts";
import { decideSearch } from "../../src/decision/search.ts";
import { shownScoreOn } from "../../src/providers/on-device/scores.ts";
import type { Provider } from "../../src/providers/provider.ts";
import { makePhotos, type Photos } from "../support/photos.ts";
import { BUILT, callOptions, imageOf, openOnDevice, tagsOf, useOnDevice } from "./setting.ts";

/** For whatever leaves its gallery empty. */
const provider = openOnDevice();
let photos: Photos;

beforeAll(async () => {
  photos = await makePhotos();
});
afterAll(() => provider.close());

const subject = { provider: "on-device", images: [] } as const;
const anna = { label: "Anna", vendorData: "user-1", blocklisted: false };

describe("liveness", () => {
  test("is a screen: above the threshold it is a matter for a person, at or below it declines", async () => {
    const image = await imageOf(photos.womanA);
    const live = await provider.checkLiveness(image, callOptions);
    expect(live).toMatchObject({ verdict: "review", threshold: 30, warnings: [] });
    const score = live.score ?? Number.NaN;
    expect(score).toBeGreaterThan(90);
    expect(decide({ ...subject, check: "liveness" }, live).outcome).toBe("review");
    for (const [declineThreshold, verdict] of [
      [score, "declined"],
      [100, "declined"],
      [score - 0.01, "review"],
      [0, "review"],
    ] as const) {
      const report = await provider.checkLiveness(image, { ...callOptions, declineThreshold });
      expect(report).toMatchObject({ verdict, score, threshold: declineThreshold });
      expect(tagsOf(report)).toEqual(verdict === "declined" ? ["LOW_LIVENESS_SCORE"] : []);
    }
  });

  test("remarks on a second face of any size", async () => {
    expect(tagsOf(await provider.checkLiveness(await imageOf(photos.group), callOptions))).toEqual([
      "MULTIPLE_FACES_DETECTED",
    ]);
  });

  test("answers in the shape of Didit", async () => {
    const { raw, reference } = await provider.checkLiveness(await imageOf(photos.womanA), {
      ...callOptions,
      vendorData: "user-1",
    });
    expect(JSON.parse(JSON.stringify(raw))).toEqual({
      request_id: reference,
      liveness: {
        status: "In Review",
        method: "PASSIVE",
        score: expect.any(Number),
        user_image: {
          entities: [
            {
              bbox: [
                expect.closeTo(172, -1),
                expect.closeTo(156, -1),
                expect.closeTo(363, -1),
                expect.closeTo(348, -1),
              ],
              confidence: expect.closeTo(1, 1),
              age: null,
              gender: null,
              race: null,
            },
          ],
          best_angle: 0,
        },
        warnings: [],
        face_quality: expect.closeTo(97, -1),
        face_luminance: expect.closeTo(45, -1),
      },
      vendor_data: "user-1",
      metadata: null,
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      on_device: expect.objectContaining({ threshold: 30, models: expect.arrayContaining(["fr_liveness 49b5df66"]) }),
    });
  });
});

describe("face match", () => {
  test.each([
    ["the same woman on two days", "womanA", "womanB", "approved", [90, 100]],
    ["one photo with itself", "womanB", "womanB", "approved", [100, 100]],
    ["two women", "womanA", "otherWoman", "declined", [0, 30]],
    ["two others", "womanB", "thirdWoman", "declined", [0, 30]],
  ] as const)("%s", async (_what, user, reference, outcome, [least, most]) => {
    const report = await provider.matchFaces(
      await imageOf(photos[user]),
      await imageOf(photos[reference]),
      callOptions,
    );
    expect(decide({ ...subject, check: "face_match" }, report).outcome).toBe(outcome);
    expect(report.score).toBeGreaterThanOrEqual(least);
    expect(report.score).toBeLessThanOrEqual(most);
    expect(tagsOf(report)).toEqual(outcome === "declined" ? ["LOW_FACE_MATCH_SIMILARITY"] : []);
  });

  test("a threshold above the score declines, and one that equals it too", async () => {
    const [user, reference] = [await imageOf(photos.womanA), await imageOf(photos.womanB)];
    const score = (await provider.matchFaces(user, reference, callOptions)).score ?? Number.NaN;
    for (const [declineThreshold, verdict] of [
      [score - 0.01, "approved"],
      [score, "declined"],
      [99, "declined"],
    ] as const) {
      expect(await provider.matchFaces(user, reference, { ...callOptions, declineThreshold })).toMatchObject({
        verdict,
        score,
      });
    }
  });

  test("without a face in one of them nothing was compared", async () => {
    const [face, none] = [await imageOf(photos.womanA), await imageOf(photos.noFace)];
    for (const [user, reference, ...tags] of [
      [face, none, "NO_REFERENCE_IMAGE"],
      [none, face, "NO_FACE_DETECTED"],
      [none, none, "NO_FACE_DETECTED", "NO_REFERENCE_IMAGE"],
    ] as const) {
      const report = await provider.matchFaces(user, reference, callOptions);
      expect(report).toMatchObject({ verdict: "declined", score: null });
      expect(tagsOf(report)).toEqual(tags);
    }
  });

  test("a second face counts once it could be meant", async () => {
    const options = { ...callOptions, compareAll: false };
    const group = await provider.matchFaces(await imageOf(photos.womanA), await imageOf(photos.group), options);
    expect(tagsOf(group)).toContain("MULTIPLE_FACES_DETECTED");
    const inset = await sharp(photos.otherWoman).resize(120).toBuffer();
    const withSmall = await sharp(photos.womanB)
      .composite([{ input: inset, left: 0, top: 0 }])
      .jpeg()
      .toBuffer();
    const small = await imageOf(withSmall);
    expect(tagsOf(await provider.matchFaces(await imageOf(photos.womanA), small, callOptions))).toEqual([]);
    expect(tagsOf(await provider.checkLiveness(small, callOptions))).toContain("MULTIPLE_FACES_DETECTED");
  });
});

describe("face search", () => {
  async function searchAfter(
    enrolments: readonly { photo: keyof Photos; label: string; vendorData: string | null; blocklisted: boolean }[],
  ) {
    const provider = useOnDevice();
    const ids: string[] = [];
    for (const { photo, ...enrolment } of enrolments) {
      ids.push((await provider.enrollFace(await imageOf(photos[photo]), enrolment, callOptions)).id);
    }
    return { provider, ids };
  }

  test("of an empty gallery finds nobody", async () => {
    const report = await provider.searchFace(await imageOf(photos.womanA), callOptions);
    expect(report).toMatchObject({
      verdict: "approved",
      score: null,
      threshold: 70,
      matches: [],
      totalMatches: 0,
      isEmpty: true,
    });
  });

  test("finds the same woman on another day, and nobody else", async () => {
    const { provider, ids } = await searchAfter([
      { photo: "otherWoman", label: "Berta", vendorData: null, blocklisted: false },
      { photo: "womanA", ...anna },
    ]);
    const report = await provider.searchFace(await imageOf(photos.womanB), callOptions);
    expect(report.verdict).toBe("review");
    expect(report.matches).toEqual([
      {
        id: ids[1],
        similarity: expect.closeTo(92, -1),
        label: "Anna",
        vendorData: "user-1",
        blocklisted: false,
        allowlisted: false,
        status: null,
        date: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      },
    ]);
    expect(report.warnings).toEqual([{ tag: "DUPLICATED_FACE", effect: "approved" }]);
    expect(report.raw).toMatchObject({
      face_search: {
        status: "In Review",
        total_matches: 1,
        matches: [{ source: "imported", biometric_template_id: ids[1], label: "Anna", is_blocklisted: false }],
        warnings: [{ risk: "DUPLICATED_FACE", log_type: "information", feature: "LIVENESS" }],
      },
    });
  });

  test("an earlier record of the same person is no duplicate", async () => {
    const { provider } = await searchAfter([{ photo: "womanA", ...anna }]);
    const report = await provider.searchFace(await imageOf(photos.womanB), { ...callOptions, vendorData: "user-1" });
    expect(report).toMatchObject({ verdict: "approved", warnings: [], totalMatches: 1 });
    expect(decideSearch({ ...subject, check: "face_search" }, report, "user-1").outcome).toBe("approved");
  });

  test("a blocklisted face declines, whoever it is said to be", async () => {
    const { provider } = await searchAfter([{ photo: "womanA", ...anna, blocklisted: true }]);
    const report = await provider.searchFace(await imageOf(photos.womanB), { ...callOptions, vendorData: "user-1" });
    expect(report).toMatchObject({ verdict: "declined", warnings: [{ tag: "FACE_IN_BLOCKLIST", effect: "declined" }] });
  });

  test("a blocklisted face is not hidden by five nearer ones of the same person", async () => {
    const { provider } = await searchAfter([
      { photo: "womanA", label: "blocked", vendorData: null, blocklisted: true },
      ...[1, 2, 3, 4, 5].map((n) => ({
        photo: "womanB" as const,
        label: `copy ${n}`,
        vendorData: null,
        blocklisted: false,
      })),
    ]);
    for (const searchType of ["most_similar", "blocklisted_or_approved"] as const) {
      const report = await provider.searchFace(await imageOf(photos.womanB), { ...callOptions, searchType });
      expect(report).toMatchObject({ verdict: "declined", totalMatches: 6 });
      expect(report.matches).toHaveLength(5);
      expect(tagsOf(report)).toContain("FACE_IN_BLOCKLIST");
      const similarities = report.matches.map(({ similarity }) => similarity);
      expect(similarities).toEqual(similarities.toSorted((a, b) => b - a));
    }
  });

  test("without a face is an error, and no 'nobody was found'", async () => {
    const search = provider.searchFace(await imageOf(photos.noFace), callOptions);
    await expect(search).rejects.toMatchObject({ name: "CheckError", code: "no_face" });
  });
});

describe("enrolling", () => {
  test("lists, finds and erases", async () => {
    const provider = useOnDevice();
    const face = await provider.enrollFace(await imageOf(photos.womanA), anna, callOptions);
    expect(face).toMatchObject(anna);
    expect(await provider.listFaces({ limit: 10 }, callOptions)).toMatchObject({
      faces: [face],
      total: 1,
      nextCursor: null,
    });
    expect((await provider.describe())["gallery_faces"]).toBe(1);
    expect(await provider.removeFace(face.id, callOptions)).toMatchObject({ removed: true });
    expect((await provider.searchFace(await imageOf(photos.womanA), callOptions)).matches).toEqual([]);
  });

  test.each<[string, () => Promise<Uint8Array>, string, RegExp]>([
    ["no face", () => readFile(photos.noFace), "no_face", /No face/],
    ["several people", () => readFile(photos.group), "image_rejected", /more than one person/],
    [
      "a small face",
      () => sharp(photos.womanA).resize(90).jpeg({ quality: 95 }).toBuffer(),
      "image_rejected",
      /too small/,
    ],
  ])("%s: is refused, and nothing is kept", async (_what, bytes, code, message) => {
    const refused = provider.enrollFace(await imageOf(await bytes()), anna, callOptions);
    await expect(refused).rejects.toMatchObject({ name: "CheckError", code, message: expect.stringMatching(message) });
    expect((await provider.listFaces({ limit: 10 }, callOptions)).total).toBe(0);
  });
});

describe("what a call is told", () => {
  test("there is nothing to save on the device", async () => {
    const image = await imageOf(photos.womanA);
    const save = { ...callOptions, save: true };
    for (const call of [
      provider.checkLiveness(image, save),
      provider.matchFaces(image, image, save),
      provider.searchFace(image, save),
    ]) {
      await expect(call).rejects.toMatchObject({ name: "CheckError", code: "unsupported" });
    }
    expect(await provider.checkLiveness(image, { ...callOptions, save: false })).toMatchObject({ verdict: "review" });
  });

  test("the stages of the work, in their order", async () => {
    const stages: string[] = [];
    const options = { ...callOptions, onStage: (stage: string) => stages.push(stage) };
    await provider.checkLiveness(await imageOf(photos.womanA), options);
    expect(stages).toEqual(["detecting", "comparing"]);
  });

  test("it was cancelled, as a CheckError", async () => {
    const image = await imageOf(photos.womanA);
    const options = { ...callOptions, signal: AbortSignal.abort() };
    for (const call of [
      provider.checkLiveness(image, options),
      provider.matchFaces(image, image, options),
      provider.searchFace(image, options),
      provider.enrollFace(image, anna, options),
      provider.test(options),
    ]) {
      await expect(call).rejects.toMatchObject({ name: "CheckError", code: "cancelled" });
    }
  });
});

describe("a gallery that cannot be opened", () => {
  function broken(): Provider {
    return useOnDevice({ openGalleries: () => Promise.reject(new Error("no disk")) });
  }

  test("leaves the checks that need none", async () => {
    expect(await broken().checkLiveness?.(await imageOf(photos.womanA), callOptions)).toMatchObject({
      verdict: "review",
    });
  });

  test("is said by describe", async () => {
    expect(await broken().describe()).toMatchObject({ gallery_faces: expect.stringMatching(/^not available: /) });
  });
});

test("test() decodes every format and tries every model, and says what they run on", async () => {
  expect(await provider.test(callOptions)).toMatch(
    /^JPEG, PNG, WebP and TIFF can be decoded; .* run on onnxruntime-(web|node) \d+\.\d+.*\.$/,
  );
});

test.each([
  [-1, 0],
  [0, 0],
  [0.25, 15],
  [0.33, 22.5],
  [0.41, 30],
  [0.49, 50],
  [0.55, 70],
  [0.66, 90],
  [0.85, 100],
  [1, 100],
])("a cosine of %d is a similarity of %d", (cosine, similarity) => {
  expect(shownScoreOn(BUILT.pack.curves.similarity, cosine)).toBe(similarity);
});

test.each([
  [1.5, 0],
  [2.4, 0],
  [3.2, 50],
  [4, 100],
  [5, 100],
])("an embedding of length %d has a quality of %d", (norm, quality) => {
  expect(shownScoreOn(BUILT.pack.curves.quality, norm)).toBe(quality);
});
