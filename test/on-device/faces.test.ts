import { expect, test } from "vitest";
import { decode } from "../../src/providers/on-device/pipeline/decode.ts";
import { cosine, toEmbedding } from "../../src/providers/on-device/pipeline/embed.ts";
import { ANGLES, type Box, mirror, turn } from "../../src/providers/on-device/pipeline/raster.ts";
import { detect, embed, embedFace, read } from "../../src/providers/on-device/pipeline/read.ts";
import { openRuntime } from "../../src/providers/on-device/runtime.ts";
import { groupPhoto } from "../support/photos.ts";
import { BUILT } from "./setting.ts";

// The figures that the thresholds rest on. If one of these moves, embeddings of before cannot be compared with those of
// now, and SHIPPED_EMBEDDINGS has to change with it.

const runtime = openRuntime(BUILT);

interface Found {
  readonly photo: number;
  readonly box: Box;
  readonly plain: Float32Array;
  /** Together with its mirror image. */
  readonly both: Float32Array;
}

async function facesOf(photo: number): Promise<Found[]> {
  const { raster } = await decode(await groupPhoto(photo));
  const found: Found[] = [];
  for (const face of await detect(raster, runtime)) {
    const { aligned, embedding: plain } = await embedFace(raster, face, runtime);
    const mirrored = await embed(mirror(aligned), runtime);
    found.push({ photo, box: face.box, plain: toEmbedding(plain), both: toEmbedding(plain, mirrored) });
  }
  return found;
}

const faces = (await Promise.all([1, 2, 3, 4, 5, 6].map(facesOf))).flat();

/** The one that is known to be the same woman in photo 1 and in photo 3. */
function isHer({ photo, box: { left, top } }: Found): boolean {
  const [x, y] = photo === 1 ? [1213, 185] : [894, 172];
  return (photo === 1 || photo === 3) && Math.abs(left - x) < 8 && Math.abs(top - y) < 8;
}

test("there are 22 faces in the six photos", () => {
  expect(faces.map(({ photo }) => photo)).toEqual([1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 6, 6, 6, 6]);
});

test.each([
  ["plain", 0.46],
  ["both", 0.47],
] as const)("by %s, one pair of the 231 is the same woman, and no other is alike", (kind, limit) => {
  const pairs = faces.flatMap((a, i) => faces.slice(i + 1).map((b) => ({ a, b, alike: cosine(a[kind], b[kind]) })));
  expect(pairs).toHaveLength(231);
  const hers = pairs.filter(({ a, b }) => isHer(a) && isHer(b));
  expect(hers.map(({ alike }) => alike)).toEqual([expect.closeTo(0.71, 1.5)]);
  const others = pairs.filter(({ a, b }) => !(isHer(a) && isHer(b)));
  expect(Math.max(...others.map(({ alike }) => alike))).toBeLessThan(limit);
});

test("a turned photo is read as the upright one is", async () => {
  // Not photo 1: in it a head leans by half of a right angle, so that two turns are as good as each other.
  for (const photo of [3, 4, 5, 6]) {
    const { raster } = await decode(await groupPhoto(photo));
    const size = { width: raster.width, height: raster.height };
    const upright = await read({ raster, ...size }, runtime, false);
    for (const angle of ANGLES.slice(1)) {
      const turned = turn(raster, angle);
      const found = await read({ raster: turned, width: turned.width, height: turned.height }, runtime, true);
      // Turned by 90, it takes another 270 to stand upright.
      expect(found.angle).toBe(360 - angle);
      expect(found.main?.norm).toBeCloseTo(upright.main?.norm ?? 0, 2);
      expect(found.faces).toHaveLength(upright.faces.length);
    }
  }
});
