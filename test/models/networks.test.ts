import { describe, expect, test } from "vitest";
import { openGalleries } from "../../src/providers/on-device/gallery/open.ts";
import { embeddingModelOf, type Pack } from "../../src/providers/on-device/models.ts";
import { candidatesOf } from "../../src/providers/on-device/pipeline/candidates.ts";
import { decode } from "../../src/providers/on-device/pipeline/decode.ts";
import { overlap } from "../../src/providers/on-device/pipeline/detect.ts";
import { cosine, toEmbedding } from "../../src/providers/on-device/pipeline/embed.ts";
import { livenessCrop } from "../../src/providers/on-device/pipeline/liveness.ts";
import { detect, embedFace, readEveryone } from "../../src/providers/on-device/pipeline/read.ts";
import { openRuntime } from "../../src/providers/on-device/runtime.ts";
import { BUILT, callOptions, imageOf, useOnDevice } from "../on-device/setting.ts";
import { temporaryFolder } from "../support/clients.ts";
import { hasWeights, type Json, makePack, OTHERS, openPack } from "../support/packs.ts";
import { groupPhoto, portrait } from "../support/photos.ts";

const GROUPS = [1, 2, 3, 4, 5, 6];
const rasterOf = async (photo: number) => (await decode(await groupPhoto(photo))).raster;
const open = (pack: Pack) => openRuntime({ pack, wasm: BUILT.wasm });
const anna = { label: "Anna", vendorData: null, blocklisted: false };

describe.skipIf(!hasWeights)("networks of others", () => {
  test("an ultraface detector with the weights of the shipped one finds the same faces", async () => {
    const pack = await openPack(await makePack(OTHERS.rfb));
    const raster = await rasterOf(4);
    const [shipped, other] = [await detect(raster, open(BUILT.pack)), await detect(raster, open(pack))];
    expect(shipped).toHaveLength(4);
    for (const [i, { box, confidence }] of shipped.entries()) {
      expect(other[i]?.confidence).toBeCloseTo(confidence, 5);
      expect(other[i]?.box.left).toBeCloseTo(box.left, 2);
    }
  });

  test("a yunet detector finds faces where the shipped one does, and their five points", async () => {
    const [shipped, yunet] = [open(BUILT.pack), open(await openPack(await makePack(OTHERS.yunet)))];
    let faces = 0;
    for (const photo of [3, 4, 6]) {
      const raster = await rasterOf(photo);
      const others = await detect(raster, yunet);
      for (const face of await detect(raster, shipped)) {
        faces += 1;
        const [same] = others.toSorted((a, b) => overlap(b.box, face.box) - overlap(a.box, face.box));
        expect(overlap(same?.box ?? face.box, face.box)).toBeGreaterThan(0.6);
        // It is unsure of heads that lean; of the others eyes, nose and mouth are where the landmarks have them.
        const { points } = await embedFace(raster, face, shipped);
        const [left, right] = points;
        if (left === undefined || right === undefined || Math.abs(left.y - right.y) > 0.1 * (right.x - left.x))
          continue;
        for (const [i, { x, y }] of points.entries()) {
          const there = same?.points?.[i] ?? { x: 0, y: 0 };
          expect(Math.hypot(there.x - x, there.y - y)).toBeLessThan(0.15 * (face.box.bottom - face.box.top));
        }
      }
      expect(others.length).toBeLessThanOrEqual(5);
    }
    expect(faces).toBe(11);
  });

  test("an embedder of 128 components tells the woman who is there twice from all others", async () => {
    const foamliu = open(await openPack(await makePack(OTHERS.foamliu)));
    const people: Float32Array[] = [];
    for (const photo of GROUPS) {
      const faces = await readEveryone(await decode(await groupPhoto(photo)), foamliu, false);
      people.push(...faces.map(({ embedding }) => toEmbedding(embedding)));
      // What is known of masked faces is known of the shipped embedder.
      expect(faces.map(({ maskedness }) => maskedness)).toEqual(faces.map(() => null));
    }
    expect(people.map(({ length }) => length)).toEqual(Array.from({ length: 22 }, () => 128));
    const alike = people.flatMap((a, i) => people.slice(i + 1).map((b) => cosine(a, b))).sort((a, b) => b - a);
    expect(alike[0]).toBeCloseTo(0.695, 2);
    expect(alike[1]).toBeLessThan(0.52);
  });

  test.each([
    ["another embedder", OTHERS.foamliu],
    ["other points to align a face by", OTHERS.yunet],
  ])("a gallery is refused by a pack with %s", async (_what, change) => {
    const location = { folder: temporaryFolder() };
    const galleries = (model: string) => openGalleries({ location, model });
    const image = await imageOf(await portrait("womanA"));
    await useOnDevice({ openGalleries: galleries }).enrollFace(image, anna, callOptions);
    const other = useOnDevice({ openGalleries: galleries, pack: await openPack(await makePack(change)) });
    await expect(other.searchFace(image, callOptions)).rejects.toMatchObject({ code: "setup" });
  });

  test("a gallery is not refused by a pack with another liveness network", async () => {
    const location = { folder: temporaryFolder() };
    const galleries = (model: string) => openGalleries({ location, model });
    const image = await imageOf(await portrait("womanA"));
    await useOnDevice({ openGalleries: galleries }).enrollFace(image, anna, callOptions);
    const suri = useOnDevice({ openGalleries: galleries, pack: await openPack(await makePack(OTHERS.suri)) });
    expect((await suri.searchFace(image, callOptions)).matches).toMatchObject([{ label: "Anna" }]);
  });

  test("a gallery of 128 components finds the same woman, and not another", async () => {
    const [a, b] = [await imageOf(await portrait("womanA")), await imageOf(await portrait("womanB"))];
    const own = useOnDevice({ pack: await openPack(await makePack(OTHERS.foamliu)) });
    await own.enrollFace(a, anna, callOptions);
    expect((await own.searchFace(b, callOptions)).matches).toMatchObject([{ label: "Anna" }]);
    const stranger = await imageOf(await portrait("thirdWoman"));
    expect((await own.searchFace(stranger, callOptions)).matches).toEqual([]);
  });

  test("a second liveness network has its say", async () => {
    const suri = useOnDevice({ pack: await openPack(await makePack(OTHERS.suri)) });
    const report = await suri.checkLiveness(await imageOf(await portrait("womanA")), callOptions);
    expect(report).toMatchObject({ verdict: "review" });
    expect(report.score).toBeGreaterThan(90);
    expect(report.raw).toMatchObject({
      on_device: { models: expect.arrayContaining(["suri_minifas_v2se_128 af2381b8", "fr_liveness 49b5df66"]) },
    });
  });

  test("a network that is not what its pack says is a fault of the setup, not a verdict", async () => {
    const image = await imageOf(await portrait("womanA"));
    for (const [change, message] of [
      [{ live: 2 }, "A liveness model is not what its pack says"],
      [
        { output: "logits" },
        "suri_minifas_v2se_128.onnx has no output logits of numbers: it is not what its pack says",
      ],
      [{ input: { width: 80, height: 80, order: "rgb", mean: 0, scale: 255 } }, "does not take what it is given"],
    ] as const) {
      const folder = await makePack(async (pack, made) => {
        const changed = await OTHERS.suri(pack, made);
        Object.assign(changed.liveness.networks[1], change);
        return changed;
      });
      const provider = useOnDevice({ pack: await openPack(folder) });
      await expect(provider.checkLiveness(image, callOptions)).rejects.toMatchObject({
        code: "setup",
        message: expect.stringContaining(message),
      });
    }
  });
});

test("a pack is bound to embedder, alignment and preprocessing, and to nothing else", async () => {
  const model = async (change: (pack: Json) => void) =>
    embeddingModelOf(await openPack(await makePack((pack) => void change(pack))));
  const shipped = await model(() => {});
  expect(shipped).toBe("faceplugin-fr_feature-87aacdfe-5pt1");
  expect(
    await model((pack) => {
      pack.liveness.networks.pop();
      pack.curves.similarity[1] = [0.3, 15];
      pack.embedder.minNorm = 2.5;
    }),
  ).toBe(shipped);
  const unoptimised = { sha256: "f10b0ba1d2a8a099adefede1ebf3733e44fe370715e7303dbeb7f59c02142258" };
  expect(await model((pack) => Object.assign(pack.landmarks, unoptimised))).toBe(shipped);
  const others = await Promise.all([
    model((pack) => Object.assign(pack.embedder.input, { mean: 128 })),
    model((pack) => Object.assign(pack.embedder.input, { order: "rgb" })),
    model((pack) => Object.assign(pack.landmarks.input, { scale: 255 })),
  ]);
  expect(new Set([shipped, ...others]).size).toBe(4);
});

/** Of one cell of the grid all, of the others nothing. */
function only(cells: number, cell: number, values: readonly number[]): Float32Array {
  const output = new Float32Array(cells * values.length);
  output.set(values, cell * values.length);
  return output;
}

test("scrfd: two candidates a cell, distances to the sides and points from its corner, in strides", async () => {
  const pack = await openPack(
    await makePack((json) => ({
      ...json,
      landmarks: { points: 5 },
      detector: {
        ...json.detector,
        decoding: "scrfd",
        input: { width: 64, height: 32, order: "rgb", mean: 127.5, scale: 128 },
        outputs: [8, 16].map((stride) => ({
          stride,
          scores: `score_${stride}`,
          boxes: `bbox_${stride}`,
          points: `kps_${stride}`,
        })),
      },
    })),
  );
  // Stride 8: 8 cells a row, 4 rows, 64 candidates. Cell 10 lies at (16, 8); its second candidate is number 21.
  const outputs = {
    score_8: only(64, 21, [0.9]),
    bbox_8: only(64, 21, [1, 0.5, 2, 3]),
    kps_8: only(64, 21, [0, 0, 1, 0, 0.5, 0.5, 0, 1, 1, 1]),
    score_16: new Float32Array(16),
    bbox_16: new Float32Array(64),
    kps_16: new Float32Array(160),
  };
  expect(candidatesOf(pack.detector, outputs)).toEqual([
    {
      confidence: expect.closeTo(0.9, 5),
      box: { left: 8, top: 4, right: 32, bottom: 32 },
      points: [
        { x: 16, y: 8 },
        { x: 24, y: 8 },
        { x: 20, y: 12 },
        { x: 16, y: 16 },
        { x: 24, y: 16 },
      ],
    },
  ]);
  expect(() => candidatesOf(pack.detector, { ...outputs, bbox_8: new Float32Array(64) })).toThrow(/not what its pack/);
});

test("square-reflect: a square about the face, beyond the edge the mirror image", () => {
  // Each pixel says where it is.
  const [width, height] = [200, 100];
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const at = Math.floor(i / 3);
    return [at % width, Math.floor(at / width), 7][i % 3] ?? 0;
  });
  const crop = (box: Parameters<typeof livenessCrop>[1], width_: number) =>
    livenessCrop({ data, width, height }, box, {
      crop: { shape: "square-reflect", factor: 2 },
      input: { width: width_, height: width_, order: "rgb", mean: [0, 0, 0], scale: [1, 1, 1] },
    });
  const at = ({ crop: { data: pixels, width: side } }: ReturnType<typeof crop>, x: number, y: number) =>
    [...pixels.subarray((y * side + x) * 3, (y * side + x) * 3 + 2)] as const;
  const inside = crop({ left: 80, top: 40, right: 96, bottom: 60 }, 40);
  expect(inside.scale).toBe(2);
  expect(at(inside, 0, 0)).toEqual([68, 30]);
  expect(at(inside, 39, 39)).toEqual([107, 69]);
  // From -10 on: the tenth pixel of the picture comes first, then towards its edge.
  const beyond = crop({ left: 0, top: 40, right: 20, bottom: 60 }, 40);
  expect(at(beyond, 0, 0)).toEqual([10, 30]);
  expect(at(beyond, 10, 0)).toEqual([0, 30]);
  expect(at(beyond, 11, 0)).toEqual([1, 30]);
});
