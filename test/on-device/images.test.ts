import { readFile } from "node:fs/promises";
import sharp, { type Sharp } from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decode } from "../../src/providers/on-device/pipeline/decode.ts";
import { gradient, makePhotos, type Photos } from "../support/photos.ts";
import { callOptions, imageOf, openOnDevice, tagsOf } from "./setting.ts";

const provider = openOnDevice();
let photos: Photos;

beforeAll(async () => {
  photos = await makePhotos();
});
afterAll(() => provider.close());

type Edit = (image: Sharp) => Sharp;

const edited = async (edit: Edit, path = photos.womanA) => imageOf(await edit(sharp(path)).toBuffer());
const liveness = async (edit: Edit, path?: string) => provider.checkLiveness(await edited(edit, path), callOptions);
/** Similarity, 0..100, of the edited copy to the photo itself. */
async function likeness(edit: Edit): Promise<number | null> {
  return (await provider.matchFaces(await edited(edit), await imageOf(photos.womanA), callOptions)).score;
}

describe("a good photo", () => {
  test.each(["womanA", "womanB", "otherWoman", "thirdWoman"] as const)("%s: nothing to remark", async (name) => {
    const { warnings, verdict } = await provider.checkLiveness(await imageOf(photos[name]), callOptions);
    expect({ warnings, verdict }).toEqual({ warnings: [], verdict: "review" });
  });
});

describe("a poor photo is remarked on", () => {
  test.each<[string, string, Edit]>([
    ["blurred", "BLURRED_FACE", (it) => it.blur(6).jpeg()],
    ["dark", "LOW_FACE_LUMINANCE", (it) => it.linear(0.2, 0).jpeg()],
    ["overexposed", "HIGH_FACE_LUMINANCE", (it) => it.linear(1.5, 70).jpeg()],
    ["grey", "GREY_IMAGE", (it) => it.greyscale().jpeg()],
    ["small", "FACE_TOO_SMALL", (it) => it.resize(90, 90).jpeg({ quality: 95 })],
    ["cut close", "FACE_FILLS_FRAME", (it) => it.extract({ left: 140, top: 120, width: 260, height: 260 }).jpeg()],
  ])("%s", async (_what, tag, edit) => {
    expect(tagsOf(await liveness(edit))).toContain(tag);
  });

  test("that an image is grey, or full of the face, matters to liveness alone", async () => {
    const grey = await edited((it) => it.greyscale().extract({ left: 140, top: 120, width: 260, height: 260 }).jpeg());
    expect(tagsOf(await provider.matchFaces(grey, await imageOf(photos.womanA), callOptions))).toEqual([]);
  });

  test("in a match once, whichever of the two images it is", async () => {
    const [a, b] = [await edited((it) => it.blur(5).jpeg()), await edited((it) => it.blur(5).jpeg())];
    const report = await provider.matchFaces(a, b, callOptions);
    expect(tagsOf(report)).toEqual(["BLURRED_FACE"]);
    expect(report.raw).toMatchObject({
      face_match: {
        warnings: [
          { risk: "BLURRED_FACE", additional_data: { image: "user_image" } },
          { risk: "BLURRED_FACE", additional_data: { image: "ref_image" } },
        ],
      },
    });
  });
});

describe("every accepted kind of image", () => {
  test.each<[string, Edit]>([
    ["PNG", (it) => it.png()],
    ["PNG with 16 bits", (it) => it.toColourspace("rgb16").png()],
    ["PNG with transparency", (it) => it.ensureAlpha(1).png()],
    ["WebP", (it) => it.webp({ quality: 95 })],
    ["CMYK JPEG", (it) => it.toColourspace("cmyk").jpeg({ quality: 95 })],
    ["grey PNG", (it) => it.greyscale().png()],
    ["grey JPEG", (it) => it.greyscale().jpeg({ quality: 95 })],
    ["progressive JPEG", (it) => it.jpeg({ quality: 95, progressive: true })],
  ])("%s shows the same person", async (_kind, edit) => {
    expect(await likeness(edit)).toBeGreaterThan(90);
  });

  test("TIFF holds the same pixels", async () => {
    const [tiff, png] = [
      await sharp(photos.womanA).tiff({ compression: "lzw" }).toBuffer(),
      await readFile(photos.womanA),
    ];
    expect(await decode(tiff)).toEqual(await decode(png));
  });

  test("a drawing is refused, whatever it was taken for", async () => {
    const svg = Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
    );
    await expect(decode(svg)).rejects.toMatchObject({ code: "image_rejected" });
  });

  test("what is transparent is white, not whatever colour lies below", async () => {
    const hidden = await edited((it) => it.ensureAlpha(0).png());
    expect(tagsOf(await provider.checkLiveness(hidden, callOptions))).toEqual(["NO_FACE_DETECTED"]);
  });
});

describe("the orientation of the camera", () => {
  // The turn that brings a photo of that EXIF orientation upright, undone beforehand.
  test.each([
    [3, 180],
    [6, 270],
    [8, 90],
  ])("EXIF %d is applied, and boxes are those of the photo as displayed", async (orientation, angle) => {
    const upright = await provider.checkLiveness(await edited((it) => it.png()), callOptions);
    const turned = await sharp(photos.womanA).rotate(angle).png().toBuffer();
    const tagged = await sharp(turned).withMetadata({ orientation }).png().toBuffer();
    const report = await provider.checkLiveness(await imageOf(tagged), callOptions);
    expect(report.score).toBe(upright.score);
    expect(faceBox(report)).toEqual(faceBox(upright));
  });

  test("without EXIF `rotate` finds it", async () => {
    const image = await imageOf(photos.sideways);
    const [turned, upright] = [
      await provider.matchFaces(image, await imageOf(photos.womanB), { ...callOptions, rotate: true }),
      await provider.checkLiveness(await imageOf(photos.womanB), callOptions),
    ];
    expect(turned.score).toBeGreaterThan(95);
    expect(turned.raw).toMatchObject({ face_match: { user_image: { best_angle: 270 }, ref_image: { best_angle: 0 } } });
    // Turned by 90 degrees, the box of a photo 680 pixels high lies with its left edge where its bottom was.
    const [left, , right] = faceBox(upright);
    const [, top, , bottom] = faceBox({ raw: { liveness: Object(turned.raw).face_match } });
    expect(Math.abs(top - left) + Math.abs(bottom - right)).toBeLessThan(8);
  });
});

test("a large photo is measured smaller, and its boxes are those of the large one", async () => {
  const [small, large] = [
    await provider.checkLiveness(await edited((it) => it.png()), callOptions),
    await provider.checkLiveness(await edited((it) => it.resize(5100, 5100).jpeg()), callOptions),
  ];
  for (const [i, edge] of faceBox(large).entries()) expect(edge / 10).toBeCloseTo(faceBox(small)[i] ?? 0, -1);
});

describe("what is no photo of a person", () => {
  test.each([
    ["a gradient", () => gradient()],
    ["a single pixel", () => gradient(1, 1)],
    ["a line", () => gradient(2000, 1)],
    ["a column", () => gradient(2, 3000)],
  ])("%s has no face, which is no finding of fraud", async (_what, make) => {
    const report = await provider.checkLiveness(await imageOf(await make()), { ...callOptions, rotate: true });
    expect(report).toMatchObject({ verdict: "declined", score: null, threshold: 30 });
    expect(tagsOf(report)).toEqual(["NO_FACE_DETECTED"]);
    expect(report.raw).toMatchObject({ liveness: { face_quality: null, user_image: { entities: [] } } });
  });
});

describe("a damaged image is refused, and nothing is decided", () => {
  test.each<[string, (whole: Buffer) => Buffer]>([
    ["a JPEG that breaks off", (whole) => whole.subarray(0, whole.length / 2)],
    ["a JPEG of its header alone", (whole) => whole.subarray(0, 700)],
  ])("%s", async (_what, damage) => {
    const whole = await sharp(photos.womanA).jpeg().toBuffer();
    const broken = provider.checkLiveness(await imageOf(damage(whole)), callOptions);
    await expect(broken).rejects.toMatchObject({ name: "CheckError", code: "image_rejected" });
  });

  test("a PNG whose pixels break off", async () => {
    const whole = await sharp(photos.womanA).png().toBuffer();
    const broken = provider.checkLiveness(await imageOf(whole.subarray(0, whole.length * 0.6)), callOptions);
    await expect(broken).rejects.toMatchObject({ name: "CheckError", code: "image_rejected" });
  });
});

function faceBox({ raw }: { raw: unknown }): [left: number, top: number, right: number, bottom: number] {
  return Object(raw).liveness.user_image.entities[0].bbox;
}
