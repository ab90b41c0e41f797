import { mkdtemp, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import sharp, { type Sharp } from "sharp";

const samples = join(dirname(createRequire(import.meta.url).resolve("@vladmandic/face-api/package.json")), "demo");

/** A group photo that a dev dependency brings, as the engine sees it: at most 1600 pixels a side. 1 to 6; 22 faces in all. */
export function groupPhoto(number: number): Promise<Buffer> {
  return sharp(join(samples, `sample${number}.jpg`))
    .resize(1600, 1600, { fit: "inside" })
    .png()
    .toBuffer();
}

/** Cut so that one face is in view, with room around it. Pixels of the group photo. */
const PORTRAITS = {
  /** The same woman twice: cosine 0.71. */
  womanA: { photo: 1, left: 1040, top: 20, width: 510, height: 510 },
  womanB: { photo: 3, left: 710, top: 0, width: 520, height: 680 },
  otherWoman: { photo: 3, left: 290, top: 60, width: 530, height: 620 },
  thirdWoman: { photo: 1, left: 560, top: 140, width: 440, height: 620 },
} as const;

export interface Photos {
  readonly dir: string;
  readonly womanA: string;
  /** The person of `womanA` on another day. */
  readonly womanB: string;
  readonly otherWoman: string;
  readonly thirdWoman: string;
  /** Three people, the largest of them about as large as the others. */
  readonly group: string;
  /** `womanB` lying on her side, her head to the right, and no EXIF to say so. */
  readonly sideways: string;
  /** Nobody: a gradient. */
  readonly noFace: string;
}

/**
 * Photos of persons for tests, demo and bench: JPEG files in a new temporary folder, or in `dir`. Persons are never
 * kept in the repository.
 */
export async function makePhotos(dir?: string): Promise<Photos> {
  const folder = dir ?? (await mkdtemp(join(tmpdir(), "photos-")));
  const keep = async (name: string, jpeg: Buffer) => {
    const path = join(folder, `${name}.jpg`);
    await writeFile(path, jpeg);
    return path;
  };
  const group = await groupPhoto(1);
  const [womanA, womanB, otherWoman, thirdWoman] = await Promise.all([
    portrait("womanA"),
    portrait("womanB"),
    portrait("otherWoman"),
    portrait("thirdWoman"),
  ]);
  return {
    dir: folder,
    womanA: await keep("woman-a", womanA),
    womanB: await keep("woman-b", womanB),
    otherWoman: await keep("other-woman", otherWoman),
    thirdWoman: await keep("third-woman", thirdWoman),
    group: await keep("group", await toJpeg(sharp(group))),
    sideways: await keep("sideways", await toJpeg(sharp(womanB).rotate(90))),
    noFace: await keep("no-face", await gradient()),
  };
}

export async function portrait(name: keyof typeof PORTRAITS): Promise<Buffer> {
  const { photo, ...area } = PORTRAITS[name];
  return toJpeg(sharp(await groupPhoto(photo)).extract(area));
}

/** Nothing that resembles a face, and not a flat colour either. */
export function gradient(width = 640, height = 480): Promise<Buffer> {
  const pixels = Buffer.alloc(width * height * 3);
  for (let i = 0; i < width * height; i += 1) {
    pixels[i * 3] = ((i % width) * 255) / width;
    pixels[i * 3 + 1] = (Math.floor(i / width) * 255) / height;
    pixels[i * 3 + 2] = 128;
  }
  return toJpeg(sharp(pixels, { raw: { width, height, channels: 3 } }));
}

const toJpeg = (image: Sharp) => image.jpeg({ quality: 92 }).toBuffer();
