import { execFile } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as z from "zod";
import { draw } from "../../src/decision/picture.ts";
import { toImage } from "../../src/images/image.ts";
import { cleanEnvironment, closing, ERAS, MAIN, temporaryFolder } from "../support/clients.ts";
import { API_KEY, type StandIn, standIn } from "../support/stand-in.ts";

const photos = temporaryFolder("photos-");
const at = (name: string) => join(photos, name);
/** Twice as wide as high, and grey, so that every colour was drawn. */
const grey = () => sharp({ create: { width: 640, height: 320, channels: 3, background: "#909090" } });
/** Of such a photo, its left half without a margin. */
const FACE = { left: 40, top: 40, right: 280, bottom: 280 };
const COLOURS = { approved: [0x1a, 0x7f, 0x37], review: [0x9a, 0x67, 0], declined: [0xcf, 0x22, 0x2e] } as const;

let didit: StandIn;
beforeAll(async () => {
  didit = await standIn();
  writeFileSync(
    at("grey.jpg"),
    await grey()
      .withExif({ IFD0: { Artist: "SECRET" } })
      .jpeg()
      .toBuffer(),
  );
  writeFileSync(at("turned.jpg"), await grey().withMetadata({ orientation: 6 }).jpeg().toBuffer());
  const jpeg = readFileSync(at("grey.jpg"));
  writeFileSync(at("cut-off.jpg"), jpeg.subarray(0, jpeg.length * 0.7));
});
afterAll(() => didit.close());

const envOf = () => ({ DIDIT_API_KEY: API_KEY, DIDIT_API_BASE_URL: didit.url, BIOMETRICS_IMAGE_DIRS: photos });

const entities = [{ bbox: [FACE.left, FACE.top, FACE.right, FACE.bottom], confidence: 0.9 }];
const user_image = { entities, best_angle: 0 };
const answer = (status: string, score: number) => ({
  status: 200,
  body: { request_id: "r-1", liveness: { status, score, warnings: [], user_image } },
});

/** Where pixels of this colour are, in the part of the picture that shows photos of this height. */
async function edgesOf(picture: Uint8Array, colour: readonly [number, number, number], height: number) {
  const { data, info } = await sharp(picture).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const found = { left: info.width, top: info.height, right: 0, bottom: 0 };
  for (let y = 16; y < 16 + height; y += 1) {
    for (let x = 0; x < info.width; x += 1) {
      const pixel = (y * info.width + x) * info.channels;
      if (colour.some((value, i) => Math.abs((data[pixel + i] ?? 0) - value) > 40)) continue;
      found.left = Math.min(found.left, x - 16);
      found.top = Math.min(found.top, y - 16);
      found.right = Math.max(found.right, x - 16);
      found.bottom = Math.max(found.bottom, y - 16);
    }
  }
  return found.right === 0 ? null : found;
}

const isAround = (box: typeof FACE) =>
  Object.fromEntries(Object.entries(box).map(([side, value]) => [side, expect.closeTo(value, -0.8)]));

const block = z.object({ type: z.literal("image"), mimeType: z.literal("image/jpeg"), data: z.base64() });

describe.each(ERAS)("over stdio, $era", ({ connect }) => {
  test.each([
    ["Approved", 90, "approved"],
    ["In Review", 60, "review"],
    ["Declined", 5, "declined"],
  ] as const)(
    "%s: the face is boxed in the colour of the outcome, and only where that was asked for",
    async (status, score, outcome) => {
      const server = closing(await connect({ env: envOf() }));
      didit.next(answer(status, score), answer(status, score));
      const plain = await server.call("check_liveness", { image_path: at("grey.jpg") });
      expect(plain.content).toHaveLength(2);
      const { content, structuredContent } = await server.call("check_liveness", {
        image_path: at("grey.jpg"),
        preview: true,
      });
      expect(structuredContent).toMatchObject({ outcome, score });
      expect(content).toHaveLength(3);
      const picture = Buffer.from(block.parse(content[2]).data, "base64");
      expect((await sharp(picture).metadata()).exif).toBeUndefined();
      expect(await edgesOf(picture, COLOURS[outcome], 320)).toEqual(isAround(FACE));
    },
  );
});

const newest = ERAS[1] ?? expect.fail();

test("a picture that cannot be drawn does not cost the decision", async () => {
  const server = closing(await newest.connect({ env: envOf() }));
  const { content, structuredContent } = await server.call("check_liveness", {
    image_path: at("cut-off.jpg"),
    preview: true,
  });
  expect(structuredContent).toMatchObject({ outcome: "approved" });
  expect(content[2]).toEqual({ type: "text", text: "The picture could not be drawn." });
});

describe("boxes are drawn only where they are known to belong", () => {
  const pictureOf = async (name: string, provider: "didit" | "on-device", wasTurned = false, box = FACE) => {
    const image = await toImage(new Uint8Array(readFileSync(at(name))), { maxBytes: 1e6, mimes: ["image/jpeg"] });
    const detected_faces = [{ image: "user", box, quality: null, luminance: null } as const];
    const decision = {
      check: "liveness",
      provider,
      outcome: "declined",
      score: 5,
      threshold: 30,
      detected_faces,
    } as const;
    return draw({ ...decision, detected_faces }, [image], wasTurned);
  };
  const boxIn = async (picture: Promise<Uint8Array>) => edgesOf(await picture, COLOURS.declined, 320);

  test("in a photo that EXIF turns, by the device, which sees it as displayed", async () => {
    const { left = 0, top = 0 } = (await boxIn(pictureOf("turned.jpg", "on-device"))) ?? {};
    expect([left, top]).toEqual([160 + 40, 40].map((value) => expect.closeTo(value, -0.8)));
  });

  test.each([1, 2, 3, 4, 5, 6, 7, 8])(
    "in a photo of EXIF orientation %i, by Didit, as uploaded",
    async (orientation) => {
      const width = FACE.right - FACE.left;
      const face = { create: { width, height: width, channels: 3, background: "#0000ff" } } as const;
      const jpeg = await grey()
        .composite([{ input: face, left: FACE.left, top: FACE.top }])
        .withMetadata({ orientation })
        .jpeg({ quality: 95 })
        .toBuffer();
      writeFileSync(at("oriented.jpg"), jpeg);
      const picture = await pictureOf("oriented.jpg", "didit");
      const height = orientation < 5 ? 320 : 640;
      const seen = await edgesOf(await pictureOf("oriented.jpg", "didit", true), [0, 0, 255], height); // without a frame
      expect(await edgesOf(picture, COLOURS.declined, height)).toEqual(isAround(seen ?? expect.fail()));
    },
  );

  test.each([
    ["in a photo that the provider may have turned", "grey.jpg", true, FACE],
    ["beyond the photo", "grey.jpg", false, { ...FACE, right: 900 }],
  ] as const)("not %s", async (_where, name, wasTurned, box) => {
    expect(await boxIn(pictureOf(name, "didit", wasTurned, box))).toBeNull();
  });
});

test("two photos of noise have at most 300 KB together", async () => {
  const noise = { type: "gaussian", mean: 128, sigma: 90 } as const;
  const make = sharp({ create: { width: 900, height: 900, channels: 3, background: "#808080", noise } });
  const image = await toImage(new Uint8Array(await make.jpeg().toBuffer()), { maxBytes: 1e7, mimes: ["image/jpeg"] });
  const decision = { check: "face_match", provider: "didit", outcome: "review", score: 60, threshold: 30 } as const;
  const picture = await draw({ ...decision, detected_faces: null }, [image, image], false);
  expect(Buffer.from(picture).toString("base64").length).toBeLessThanOrEqual(300_000);
});

describe("--preview", () => {
  const biometrics = (...args: readonly string[]) =>
    new Promise<{ code: number; out: string; err: string }>((done) => {
      const options = { env: cleanEnvironment(photos, envOf()), cwd: photos };
      execFile(process.execPath, [MAIN, ...args], options, (error, out, err) => {
        done({ code: error === null ? 0 : Number(error.code ?? -1), out, err });
      });
    });

  test.each(["png", "jpg"])("writes a file that only its owner can read, as %s", async (extension) => {
    const file = at(`result.${extension}`);
    const { code, out } = await biometrics("match-faces", "grey.jpg", "turned.jpg", "--preview", file);
    expect({ code, out }).toMatchObject({ code: 0, out: expect.stringMatching(/^approved\n/) });
    const { format, width } = await sharp(readFileSync(file)).metadata();
    expect({ format, width }).toEqual({ format: extension.replace("jpg", "jpeg"), width: 2 * 420 + 3 * 16 });
    if (process.platform !== "win32") expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(file).size).toBeLessThan(300_000);
  });

  test("refuses another format before anything is sent", async () => {
    const before = didit.received.length;
    const { code, err } = await biometrics("check-liveness", "grey.jpg", "--preview", "out.gif");
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining("It must end in .jpg or .png.") });
    expect(didit.received).toHaveLength(before);
  });

  test("a file that cannot be written does not cost the decision", async () => {
    const { code, out, err } = await biometrics("check-liveness", "grey.jpg", "--preview", at("none/out.png"));
    expect({ code, out }).toMatchObject({ code: 0, out: expect.stringMatching(/^approved\n/) });
    expect(err).toContain("The picture could not be written.");
  });
});
