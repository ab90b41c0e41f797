import fc from "fast-check";
import { expect, test } from "vitest";
import type { LivenessNetwork } from "../../src/providers/on-device/models.ts";
import { inverse, similarity } from "../../src/providers/on-device/pipeline/align.ts";
import { facesIn, frameOf, hasSeveralFaces, overlap, suppress } from "../../src/providers/on-device/pipeline/detect.ts";
import { cosine, lengthOf, toEmbedding } from "../../src/providers/on-device/pipeline/embed.ts";
import { liveLogitOf, livenessCrop, liveProbability } from "../../src/providers/on-device/pipeline/liveness.ts";
import { lightOf, sharpnessOf } from "../../src/providers/on-device/pipeline/quality.ts";
import {
  ANGLES,
  type Box,
  mirror,
  type Raster,
  toPlanes,
  turn,
  turnBack,
} from "../../src/providers/on-device/pipeline/raster.ts";
import { apply, resizeBilinear, resizeByArea, warp } from "../../src/providers/on-device/pipeline/resample.ts";
import { BUILT } from "./setting.ts";

const { detector } = BUILT.pack;
const [liveness] = BUILT.pack.liveness.networks as [LivenessNetwork];

const side = fc.integer({ min: 1, max: 12 });
const raster: fc.Arbitrary<Raster> = fc
  .tuple(side, side)
  .chain(([width, height]) =>
    fc
      .uint8Array({ minLength: width * height * 3, maxLength: width * height * 3 })
      .map((data) => ({ data, width, height })),
  );
const box: fc.Arbitrary<Box> = fc
  .tuple(fc.nat(100), fc.nat(100), fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 100 }))
  .map(([left, top, width, height]) => ({ left, top, right: left + width, bottom: top + height }));
const number = fc.double({ min: -100, max: 100, noNaN: true });
const point = fc.record({ x: number, y: number });

function filled(width: number, height: number, colour: readonly number[]): Raster {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i += 1) data[i] = colour[i % 3] ?? 0;
  return { data, width, height };
}

const wholeOf = ({ width, height }: Raster): Box => ({ left: 0, top: 0, right: width, bottom: height });

/** One pixel after the other, weighted by the area that it shares with the target. */
function slowResize({ data, width, height }: Raster, region: Box, size: number, border: "black" | "edge"): number[] {
  const stepX = (region.right - region.left) / size;
  const stepY = (region.bottom - region.top) / size;
  const share = (pixel: number, from: number, step: number) =>
    Math.max(0, Math.min(pixel + 1, from + step) - Math.max(pixel, from)) / step;
  const clamp = (at: number, limit: number) => Math.min(Math.max(at, 0), limit - 1);
  const result: number[] = [];
  for (let v = 0; v < size; v += 1) {
    for (let u = 0; u < size; u += 1) {
      const [x, y] = [region.left + u * stepX, region.top + v * stepY];
      for (let channel = 0; channel < 3; channel += 1) {
        let sum = 0;
        for (let row = Math.floor(y); row < y + stepY; row += 1) {
          for (let column = Math.floor(x); column < x + stepX; column += 1) {
            const isInside = row >= 0 && column >= 0 && row < height && column < width;
            if (!isInside && border === "black") continue;
            const value = data[(clamp(row, height) * width + clamp(column, width)) * 3 + channel] ?? 0;
            sum += value * share(row, y, stepY) * share(column, x, stepX);
          }
        }
        result.push(sum);
      }
    }
  }
  return result;
}

test("resizing by area is the mean of what each pixel covers, also beyond the edges", () => {
  const region = fc
    .tuple(fc.double({ min: -8, max: 8, noNaN: true }), fc.double({ min: 0.5, max: 20, noNaN: true }))
    .map(([start, length]) => ({ start, length }));
  fc.assert(
    fc.property(
      raster,
      region,
      region,
      fc.integer({ min: 1, max: 6 }),
      fc.constantFrom("black" as const, "edge" as const),
      (picture, across, down, size, border) => {
        const area = {
          left: across.start,
          top: down.start,
          right: across.start + across.length,
          bottom: down.start + down.length,
        };
        const found = resizeByArea(picture, area, { width: size, height: size, border });
        const expected = slowResize(picture, area, size, border);
        for (const [i, value] of found.entries()) expect(value).toBeCloseTo(expected[i] ?? Number.NaN, 1);
      },
    ),
  );
});

test("resizing to the same size changes nothing", () => {
  fc.assert(
    fc.property(raster, (picture) => {
      const size = { width: picture.width, height: picture.height, border: "edge" as const };
      expect([...resizeByArea(picture, wholeOf(picture), size)]).toEqual([...picture.data]);
    }),
  );
  const square = filled(16, 16, [1, 2, 3]).data.map((_, i) => (i * 31) % 256);
  const picture = { data: square, width: 16, height: 16 };
  expect(resizeBilinear(picture, wholeOf(picture), 16).data).toEqual(square);
  expect(warp(picture, { a: 1, b: 0, dx: 0, dy: 0 }, 16).data).toEqual(square);
});

test("four quarter turns, and two mirrorings, are none", () => {
  fc.assert(
    fc.property(raster, (picture) => {
      const turned = [1, 2, 3, 4].reduce((it) => turn(it, 90), picture);
      expect(turned).toEqual(picture);
      expect(turn(turn(picture, 270), 90)).toEqual(picture);
      expect(turn(turn(picture, 90), 90)).toEqual(turn(picture, 180));
      expect(mirror(mirror(picture))).toEqual(picture);
    }),
  );
});

test("a quarter turn is clockwise", () => {
  const picture = { data: Uint8Array.of(1, 1, 1, 2, 2, 2), width: 2, height: 1 };
  expect(turn(picture, 90)).toEqual({ data: Uint8Array.of(1, 1, 1, 2, 2, 2), width: 1, height: 2 });
  expect(turn(picture, 270)).toEqual({ data: Uint8Array.of(2, 2, 2, 1, 1, 1), width: 1, height: 2 });
});

test.each(ANGLES)("a pixel is found again after a turn of %d", (angle) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), fc.nat(), (width, height, seed) => {
      const at = seed % (width * height);
      const picture = filled(width, height, [0, 0, 0]);
      picture.data[at * 3] = 255;
      const turned = turn(picture, angle);
      const found = turned.data.indexOf(255) / 3;
      const [x, y] = [found % turned.width, Math.floor(found / turned.width)];
      const back = turnBack({ left: x, top: y, right: x + 1, bottom: y + 1 }, angle, picture);
      const [left, top] = [at % width, Math.floor(at / width)];
      expect(back).toEqual({ left, top, right: left + 1, bottom: top + 1 });
    }),
  );
});

test("the similarity of points that were moved, turned and scaled is that move", () => {
  const move = fc.record({ a: number, b: number, dx: number, dy: number }).filter(({ a, b }) => Math.hypot(a, b) > 0.1);
  const points = fc
    .array(point, { minLength: 2, maxLength: 5 })
    .filter((all) => all.some(({ x, y }) => Math.hypot(x - (all[0]?.x ?? 0), y - (all[0]?.y ?? 0)) > 1));
  fc.assert(
    fc.property(points, move, (from, expected) => {
      const found = similarity(
        from,
        from.map((it) => apply(expected, it)),
      );
      for (const key of ["a", "b", "dx", "dy"] as const) expect(found[key]).toBeCloseTo(expected[key], 4);
    }),
  );
});

test("no other similarity is closer to the target than the one found", () => {
  const five = fc.array(point, { minLength: 5, maxLength: 5 });
  fc.assert(
    fc.property(five, five, fc.record({ a: number, b: number, dx: number, dy: number }), (from, to, offset) => {
      const best = similarity(from, to);
      const miss = (move: typeof best) =>
        from.reduce((sum, it, i) => {
          const { x, y } = apply(move, it);
          return sum + (x - (to[i]?.x ?? 0)) ** 2 + (y - (to[i]?.y ?? 0)) ** 2;
        }, 0);
      const other = {
        a: best.a + offset.a / 1000,
        b: best.b + offset.b / 1000,
        dx: best.dx + offset.dx / 10,
        dy: best.dy + offset.dy / 10,
      };
      expect(miss(best)).toBeLessThanOrEqual(miss(other) + 1e-6);
    }),
  );
});

test("the inverse of a similarity undoes it", () => {
  const move = fc.record({ a: number, b: number, dx: number, dy: number }).filter(({ a, b }) => Math.hypot(a, b) > 0.1);
  fc.assert(
    fc.property(move, point, (it, at) => {
      const back = apply(inverse(it), apply(it, at));
      expect(back.x).toBeCloseTo(at.x, 4);
      expect(back.y).toBeCloseTo(at.y, 4);
    }),
  );
});

test("of overlapping candidates the surest stays, and none that stays overlaps another", () => {
  const faces = fc.array(fc.record({ box, confidence: fc.double({ min: 0, max: 1, noNaN: true }) }), { maxLength: 20 });
  fc.assert(
    fc.property(faces, (candidates) => {
      const kept = suppress(candidates, 0.3);
      for (const [i, a] of kept.entries()) {
        for (const b of kept.slice(i + 1)) expect(overlap(a.box, b.box)).toBeLessThanOrEqual(0.3);
      }
      for (const dropped of candidates.filter((candidate) => !kept.includes(candidate))) {
        expect(kept.some((it) => overlap(it.box, dropped.box) > 0.3 && it.confidence >= dropped.confidence)).toBe(true);
      }
    }),
  );
});

test("overlap is the shared part of the union", () => {
  const square = { left: 0, top: 0, right: 10, bottom: 10 };
  expect(overlap(square, square)).toBe(1);
  expect(overlap(square, { left: 5, top: 0, right: 15, bottom: 10 })).toBeCloseTo(1 / 3);
  expect(overlap(square, { left: 10, top: 0, right: 20, bottom: 10 })).toBe(0);
});

test("candidates become faces in pixels of the picture, largest first", () => {
  const scores = Float32Array.of(0.9, 0.1, 0.36, 0.64, 0.2, 0.8, 0.01, 0.99);
  const boxes = Float32Array.of(0, 0, 1, 1, 0, 0, 0.5, 0.5, 0, 0, 0.1, 0.1, 0.5, 0.5, 1, 1);
  const faces = facesIn({ scores, boxes }, frameOf({ width: 640, height: 240 }, 0, detector.input), detector);
  expect(faces).toHaveLength(2);
  expect(faces[0]?.box).toEqual({ left: 320, top: 240, right: 640, bottom: 480 });
  expect(faces[1]?.box.right).toBeCloseTo(64, 4);
});

test("a second face is a rival from half the height of the first on", () => {
  const face = (height: number) => ({ box: { left: 0, top: 0, right: 10, bottom: height }, confidence: 1 });
  expect(hasSeveralFaces([face(100), face(50)])).toBe(true);
  expect(hasSeveralFaces([face(100), face(49)])).toBe(false);
  expect(hasSeveralFaces([face(100)])).toBe(false);
  expect(hasSeveralFaces([])).toBe(false);
});

test("planes hold the colours in the order of the network", () => {
  const pixels = Uint8Array.of(10, 20, 30, 40, 50, 60);
  expect([...toPlanes(pixels, { order: "rgb", mean: [0, 0, 0], scale: [1, 1, 1] })]).toEqual([10, 40, 20, 50, 30, 60]);
  expect([...toPlanes(pixels, { order: "bgr", mean: [10, 10, 10], scale: [10, 10, 10] })]).toEqual([2, 5, 1, 4, 0, 3]);
  expect([...toPlanes(pixels, { order: "bgr", mean: [10, 20, 30], scale: [1, 2, 3] })]).toEqual([0, 10, 0, 15, 0, 30]);
});

test("an embedding is a unit vector, and one of itself has the cosine 1", () => {
  const output = fc.float32Array({ minLength: 512, maxLength: 512, min: -4, max: 4, noNaN: true });
  fc.assert(
    fc.property(
      output.filter((it) => lengthOf(it) > 0.01),
      (it) => {
        expect(lengthOf(toEmbedding(it))).toBeCloseTo(1, 4);
        expect(cosine(toEmbedding(it), toEmbedding(it, it))).toBeCloseTo(1, 4);
      },
    ),
  );
});

const shift = (factor: number) => ({ ...liveness, crop: { shape: "shift" as const, factor } });

test("liveness shows so many times the box, moved inside the picture, or less where it ends", () => {
  const picture = filled(1000, 1000, [9, 9, 9]);
  expect(livenessCrop(picture, { left: 400, top: 400, right: 500, bottom: 520 }, shift(2.7)).scale).toBe(2.7);
  expect(livenessCrop(picture, { left: 0, top: 0, right: 100, bottom: 120 }, shift(1.5)).scale).toBe(1.5);
  const filling = livenessCrop(picture, { left: -20, top: 100, right: 700, bottom: 1100 }, shift(2.7));
  expect(filling.scale).toBeCloseTo(0.999, 3);
  expect(filling.crop).toMatchObject({ width: 128, height: 128 });
  expect(new Set(filling.crop.data)).toEqual(new Set([9]));
});

test("the live probability is that of the mean log-odds of the crops, each within +-6", () => {
  const of = (...logits: number[]) =>
    liveLogitOf({ output: Float32Array.of(...logits) }, { output: "output", live: 0 });
  expect(liveProbability(of(0, 0, 0))).toBeCloseTo(1 / 3);
  const [sure, notAtAll] = [of(1000, 0, 0), of(-1000, 0, 0)];
  expect(liveProbability(sure)).toBeCloseTo(1 / (1 + Math.exp(-6)));
  expect(liveProbability(notAtAll, notAtAll)).toBeCloseTo(1 / (1 + Math.exp(6)));
  expect(liveProbability(sure, notAtAll)).toBeCloseTo(0.5);
  expect(liveProbability(sure, of(0, 0, -1000))).toBeCloseTo(1 / (1 + Math.exp(-3)));
});

test("light and sharpness of what is known", () => {
  const inside = { left: -5, top: 2, right: 50, bottom: 9 };
  expect(lightOf(filled(20, 20, [255, 255, 255]), inside)).toEqual({ luminance: expect.closeTo(100), colour: 0 });
  expect(lightOf(filled(20, 20, [255, 0, 0]), inside)).toEqual({
    luminance: expect.closeTo(29.9),
    colour: expect.closeTo(100),
  });
  expect(sharpnessOf(filled(20, 20, [80, 80, 80]))).toBe(0);
});
