import { readFile } from "node:fs/promises";
import sharp, { type Sharp } from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decide } from "../../src/decision/decision.ts";
import { decideSearch } from "../../src/decision/search.ts";
import { groupPhoto, makePhotos, type Photos } from "../support/photos.ts";
import { callOptions, imageOf, openOnDevice, tagsOf, useOnDevice } from "./setting.ts";

// What is in the image: which face, whether it is covered, whether the photo is good enough, and who else is there.

const provider = openOnDevice();
let photos: Photos;

beforeAll(async () => {
  photos = await makePhotos();
});
afterAll(() => provider.close());

const subject = { provider: "on-device", images: [] } as const;
const anna = { label: "Anna", vendorData: null, blocklisted: false };

type Edit = (image: Sharp) => Sharp;
type Box = [left: number, top: number, right: number, bottom: number];

const edited = (path: string, edit: Edit) => edit(sharp(path)).png().toBuffer();

async function match(user: string | Uint8Array, reference: string | Uint8Array, options: object = {}) {
  const report = await provider.matchFaces(await imageOf(user), await imageOf(reference), {
    ...callOptions,
    ...options,
  });
  return { ...report, decision: decide({ ...subject, check: "face_match" }, report), tags: tagsOf(report) };
}

async function boxOf(photo: string | Uint8Array): Promise<Box> {
  const { raw } = await provider.checkLiveness(await imageOf(photo), callOptions);
  return Object(raw).liveness.user_image.entities[0].bbox;
}

/** A surgical mask, drawn over the lower half of the face. */
async function masked(path: string): Promise<Buffer> {
  const [l, t, r, b] = await boxOf(path);
  const [w, h, x] = [r - l, b - t, (l + r) / 2];
  const { width, height } = await sharp(path).metadata();
  const mask = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><path fill="#a9cfe0" d="M ${l + 0.08 * w} ${t + 0.52 * h} Q ${x} ${t + 0.42 * h} ${r - 0.08 * w} ${t + 0.52 * h} L ${r - 0.12 * w} ${t + 0.85 * h} Q ${x} ${b + 0.1 * h} ${l + 0.12 * w} ${t + 0.85 * h} Z"/></svg>`;
  return edited(path, (it) => it.composite([{ input: Buffer.from(mask) }]));
}

/** Photos beside each other, each as high as is said. */
async function besides(...parts: readonly (readonly [path: string, height: number])[]): Promise<Buffer> {
  let left = 0;
  const placed = [];
  for (const [path, height] of parts) {
    const { data, info } = await sharp(path).resize({ height }).toBuffer({ resolveWithObject: true });
    placed.push({ input: data, left, top: 0 });
    left += info.width;
  }
  const size = { width: left, height: Math.max(...parts.map(([, height]) => height)) };
  return sharp({ create: { ...size, channels: 3, background: "#778" } })
    .composite(placed)
    .png()
    .toBuffer();
}

describe("the right face", () => {
  test("a larger box that is no face does not hide the one behind it", async () => {
    // In photo 2 the largest box, of a head in profile, has a norm of 1.97.
    const report = await provider.checkLiveness(await imageOf(await groupPhoto(2)), callOptions);
    expect(report.score).not.toBeNull();
    expect(report.raw).toMatchObject({
      liveness: { user_image: { entities: [{ bbox: [1204, 132, 1372, 327] }, {}] } },
      on_device: { user_image: { found_in: "whole", faces: 2 } },
    });
  });

  test("a face of 4 % of the height of a scanned page is found in a part of it", async () => {
    const [, top, , bottom] = await boxOf(photos.womanB);
    const { height = 0 } = await sharp(photos.womanB).metadata();
    const small = await sharp(photos.womanB)
      .resize({ height: Math.round((height * 0.04 * 2200) / (bottom - top)) })
      .toBuffer();
    const lines = Array.from({ length: 50 }, (_, n) => `<rect x="120" y="${120 + 40 * n}" width="1300" height="14"/>`);
    const text = `<svg xmlns="http://www.w3.org/2000/svg" width="1556" height="2200" fill="#333">${lines.join("")}</svg>`;
    const page = await sharp({ create: { width: 1556, height: 2200, channels: 3, background: "#fbfbf6" } })
      .composite([
        { input: Buffer.from(text), left: 0, top: 0 },
        { input: small, left: 180, top: 300 },
      ])
      .jpeg()
      .toBuffer();
    const { decision, raw } = await match(photos.womanA, page);
    expect(decision).toMatchObject({ outcome: "approved", summary: expect.stringContaining("in an enlarged part") });
    expect(raw).toMatchObject({ on_device: { ref_image: { found_in: "parts" }, user_image: { found_in: "whole" } } });
    const [left, above] = Object(raw).face_match.ref_image.entities[0].bbox;
    expect(left).toBeGreaterThan(180);
    expect(above).toBeGreaterThan(300);
  });

  test("a photo on its side is turned, without being asked to, and that is said", async () => {
    const { decision, raw } = await match(photos.sideways, photos.womanB);
    expect(decision).toMatchObject({ outcome: "approved" });
    expect(decision.summary).toContain("The face in user_image was found after a clockwise rotation by 270 degrees.");
    expect(raw).toMatchObject({ face_match: { user_image: { best_angle: 270 } } });
  });

  test("where there is none, the answer says where it was looked for", async () => {
    const report = await provider.checkLiveness(await imageOf(photos.noFace), callOptions);
    expect(decide({ ...subject, check: "liveness" }, report).summary).toContain("nor in any rotation");
  });
});

describe("a covered face", () => {
  test("is never approved: not even the same photo with itself", async () => {
    const mask = await masked(photos.womanB);
    const { decision, tags } = await match(mask, mask);
    expect(decision.score).toBe(100);
    expect(decision.outcome).toBe("review");
    expect(tags).toEqual(["FACE_COVERED"]);
  });

  test("is no other person either", async () => {
    const { decision, tags } = await match(await masked(photos.otherWoman), photos.womanA, { declineThreshold: 60 });
    expect(decision.outcome).toBe("review");
    expect(tags).toContain("FACE_COVERED");
    expect(tags).not.toContain("LOW_FACE_MATCH_SIMILARITY");
  });

  test("is searched for with a warning, and not enrolled", async () => {
    const mask = await masked(photos.womanB);
    const report = await provider.searchFace(await imageOf(mask), callOptions);
    expect(decideSearch({ ...subject, check: "face_search" }, report, undefined).outcome).toBe("review");
    expect(tagsOf(report)).toEqual(["FACE_COVERED"]);
    const enrolled = provider.enrollFace(await imageOf(mask), anna, callOptions);
    await expect(enrolled).rejects.toMatchObject({
      code: "image_rejected",
      message: expect.stringContaining("face covered"),
      next: expect.stringContaining("uncovered"),
    });
  });
});

describe("a poor photo is not another person", () => {
  const poor: [string, string, Edit][] = [
    ["blurred by 8 pixels", "BLURRED_FACE", (it) => it.blur(8)],
    ["overexposed", "HIGH_FACE_LUMINANCE", (it) => it.linear(1.5, 70)],
    ["39 pixels high", "FACE_TOO_SMALL", (it) => it.resize(104)],
  ];
  test.each(poor)("%s: at or below the threshold it is for review, and names its image", async (_what, tag, edit) => {
    const photo = await edited(photos.womanA, edit);
    for (const [user, reference, name] of [
      [photo, photos.otherWoman, "user_image"],
      [photos.otherWoman, photo, "reference_image"],
    ] as const) {
      const { decision, verdict } = await match(user, reference);
      expect(decision.score).toBeLessThan(30);
      expect({ verdict, outcome: decision.outcome }).toEqual({ verdict: "review", outcome: "review" });
      const warning = decision.warnings.find((it) => it.tag === tag);
      expect(warning?.meaning).toMatch(new RegExp(`^In ${name}: `));
      expect(decision.warnings.map((it) => it.tag)).not.toContain("LOW_FACE_MATCH_SIMILARITY");
      expect(decision.summary).toContain("too poor to conclude");
      expect(decision.next_steps.join(" ")).toMatch(/Retake/);
    }
  });

  test("a good one of another person still is", async () => {
    const { decision } = await match(photos.womanB, photos.otherWoman);
    expect(decision.outcome).toBe("declined");
  });

  test("a photo that is good enough above the threshold is not remarked on for what would excuse a low score", async () => {
    const small = await edited(photos.womanA, (it) => it.resize(130)); // a face of 48 pixels
    expect((await match(small, photos.womanB)).decision).toMatchObject({ outcome: "approved", warnings: [] });
    expect((await match(small, photos.otherWoman)).tags).toEqual(["FACE_TOO_SMALL"]);
  });

  test.each(poor)("%s: is not enrolled, since nobody would find it", async (_what, tag, edit) => {
    const refused = provider.enrollFace(await imageOf(await edited(photos.womanA, edit)), anna, callOptions);
    const words = tag.toLowerCase().replaceAll("_", " ");
    await expect(refused).rejects.toMatchObject({
      code: "image_rejected",
      message: expect.stringContaining(words),
    });
    expect((await provider.listFaces({ limit: 1 }, callOptions)).total).toBe(0);
  });

  test.each<[string, string, Edit]>([
    ["grey", "GREY_IMAGE", (it) => it.greyscale()],
    ["dark", "LOW_FACE_LUMINANCE", (it) => it.linear(0.2, 0)],
    ["full of the face", "FACE_FILLS_FRAME", (it) => it.extract({ left: 140, top: 120, width: 260, height: 260 })],
  ])("%s: its low liveness score is for review, and nothing is said to be fine", async (_what, tag, edit) => {
    const image = await imageOf(await edited(photos.womanA, edit));
    const report = await provider.checkLiveness(image, { ...callOptions, declineThreshold: 100 });
    const { outcome, summary } = decide({ ...subject, check: "liveness" }, report);
    expect({ verdict: report.verdict, outcome }).toEqual({ verdict: "review", outcome: "review" });
    expect(tagsOf(report)).toContain(tag);
    expect(tagsOf(report)).not.toContain("LOW_LIVENESS_SCORE");
    expect(summary).not.toContain("No sign of an attack");
    expect(summary).toContain("it means little");
  });

  test("a head that leans too far names rotate", async () => {
    const leaning = await edited(photos.womanA, (it) => it.rotate(20, { background: "#888" }));
    const warning = (await match(leaning, photos.womanB)).decision.warnings.find(({ tag }) => tag === "FACE_TILTED");
    expect(warning).toMatchObject({ effect: "review", advice: expect.stringContaining("rotate: true") });
  });

  test("without a face, the image that has none is named", async () => {
    const selfie = (await match(photos.noFace, photos.womanA)).decision.warnings;
    expect(selfie).toMatchObject([{ tag: "NO_FACE_DETECTED", meaning: expect.stringMatching(/^In user_image: /) }]);
    const reference = (await match(photos.womanA, photos.noFace)).decision.warnings;
    expect(reference).toMatchObject([
      { tag: "NO_REFERENCE_IMAGE", meaning: expect.stringMatching(/^In reference_image: /) },
    ]);
  });
});

describe("several people", () => {
  test("a match finds the pair that is alike, says which, and leaves it to a person", async () => {
    const pair = await besides([photos.otherWoman, 900], [photos.womanB, 500]);
    const { decision, raw } = await match(photos.womanA, pair);
    expect(decision).toMatchObject({ outcome: "review", warnings: [{ tag: "OTHER_FACES_MATCHED" }] });
    expect(decision.score).toBeGreaterThan(85);
    const entities = Object(raw).face_match.ref_image.entities;
    const detail = Object(raw).face_match.warnings[0].additional_data;
    expect(detail.ref_bbox).toEqual(entities[1].bbox);
    expect(detail.user_bbox).toEqual(Object(raw).face_match.user_image.entities[0].bbox);
    expect(decision.summary).toContain(`[${detail.ref_bbox}] in reference_image`);
    expect(Object(raw).on_device.ref_image.face.bbox).toEqual(detail.ref_bbox);
  });

  test("compare_all false keeps to the main faces", async () => {
    const pair = await besides([photos.otherWoman, 900], [photos.womanB, 500]);
    const { decision, tags } = await match(photos.womanA, pair, { compareAll: false });
    expect(decision.outcome).toBe("declined");
    expect(tags).toEqual(["LOW_FACE_MATCH_SIMILARITY", "MULTIPLE_FACES_DETECTED"]);
  });

  test("where the main faces match, a smaller one beside them changes nothing", async () => {
    const withSmall = await besides([photos.womanB, 900], [photos.otherWoman, 400]);
    expect((await match(photos.womanA, withSmall)).decision).toMatchObject({ outcome: "approved", warnings: [] });
  });

  test("where nobody is alike, it is declined", async () => {
    const strangers = await besides([photos.otherWoman, 700], [photos.thirdWoman, 700]);
    const { decision } = await match(photos.womanA, strangers);
    expect(decision).toMatchObject({ outcome: "declined", warnings: [{ tag: "LOW_FACE_MATCH_SIMILARITY" }] });
    expect(decision.summary).toContain("Every face was compared (1 in user_image, 2 in reference_image).");
  });

  test("a search finds one of a group only when it is to search for all", async () => {
    const own = useOnDevice();
    const { id } = await own.enrollFace(await imageOf(await readFile(photos.womanA)), anna, callOptions);
    const group = await imageOf(await besides([photos.otherWoman, 900], [photos.womanB, 500]));
    const one = await own.searchFace(group, callOptions);
    expect(one.matches).toEqual([]);
    expect(tagsOf(one)).toEqual(["MULTIPLE_FACES_DETECTED"]);
    const all = await own.searchFace(group, { ...callOptions, allFaces: true });
    const decision = decideSearch({ ...subject, check: "face_search" }, all, undefined);
    expect(decision).toMatchObject({ outcome: "review", matches: [{ id, band: "strong" }], total_matches: 1 });
    expect(decision.warnings.map(({ tag }) => tag)).toEqual(["DUPLICATED_FACE"]);
    expect(decision.summary).toContain("Faces searched for: 2 of 2.");
    expect(all.raw).toMatchObject({ on_device: { searched: [{ found: [] }, { found: [id] }] } });
  });

  test("those beyond ten are not passed over in silence", async () => {
    const row = await besides(...Array.from({ length: 4 }, () => [photos.otherWoman, 400] as const));
    const rows = [0, 400, 800].map((top) => ({ input: row, left: 0, top }));
    const crowd = await sharp(row).extend({ bottom: 800 }).composite(rows).png().toBuffer();
    const report = await provider.searchFace(await imageOf(crowd), { ...callOptions, allFaces: true });
    expect(Object(report.raw).on_device.searched).toHaveLength(10);
    expect(tagsOf(report)).toContain("MULTIPLE_FACES_DETECTED");
    expect(report.note).toContain("10 of 12");
  });
});
