import { existsSync } from "node:fs";
import { copyFile, cp, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { readPack } from "../../src/providers/on-device/choice.ts";
import { type Pack, sha256Of } from "../../src/providers/on-device/models.ts";
import { temporaryFolder } from "./clients.ts";

const SHIPPED = resolve(import.meta.dirname, "../../dist/models");
export const WEIGHTS = resolve(import.meta.dirname, "../../../shared/models");

/** Networks of others, which are no part of the project: with them more can be tested. */
export const hasWeights = existsSync(WEIGHTS);
if (!hasWeights) process.stderr.write("Skipped: tests of other networks, as there are none in ../shared/models.\n");

// biome-ignore lint/suspicious/noExplicitAny: JSON that tests take apart and break
export type Json = any;

export const shippedJson = async (): Promise<Json> => JSON.parse(await readFile(join(SHIPPED, "pack.json"), "utf8"));

/** A folder with the shipped networks and a `pack.json` of its own, "own" by name. `change`: on what it says. */
export async function makePack(change: (pack: Json, folder: string) => unknown = () => {}): Promise<string> {
  const folder = temporaryFolder("pack-");
  await cp(SHIPPED, folder, { recursive: true });
  const pack = { ...(await shippedJson()), name: "own" };
  const said = (await change(pack, folder)) ?? pack;
  await writeFile(join(folder, "pack.json"), typeof said === "string" ? said : JSON.stringify(said));
  return folder;
}

export const openPack = async (folder: string): Promise<Pack> => readPack(pathToFileURL(`${folder}/`));

async function network(file: string, folder: string) {
  const bytes = await readFile(join(WEIGHTS, file));
  await copyFile(join(WEIGHTS, file), join(folder, file));
  return { file, bytes: bytes.length, sha256: sha256Of(bytes), licence: "as of its source", trainingData: "see there" };
}

/** How the networks of others are fed and read. */
export const OTHERS = {
  rfb: async (pack: Json, folder: string) => ({
    ...pack,
    detector: { ...pack.detector, ...(await network("version-RFB-320.onnx", folder)) },
  }),
  suri: async (pack: Json, folder: string) => ({
    ...pack,
    liveness: {
      ...pack.liveness,
      networks: [
        pack.liveness.networks[0],
        {
          ...(await network("suri_minifas_v2se_128.onnx", folder)),
          crop: { shape: "square-reflect", factor: 2.2 },
          input: { width: 128, height: 128, order: "rgb", mean: 0, scale: 255 },
          output: "output",
          live: 0,
        },
      ],
    },
  }),
  yunet: async (pack: Json, folder: string) => ({
    ...pack,
    detector: {
      ...(await network("yunet_n_320_320.onnx", folder)),
      decoding: "yunet",
      input: { width: 320, height: 320, order: "bgr", mean: 0, scale: 1 },
      outputs: [8, 16, 32].map((stride) => ({
        stride,
        scores: `cls_${stride}`,
        objectness: `obj_${stride}`,
        boxes: `bbox_${stride}`,
        points: `kps_${stride}`,
      })),
      minConfidence: 0.65,
      maxOverlap: 0.3,
    },
    landmarks: { points: 5 },
  }),
  // Its least norm and its curves are good enough for the 22 faces of the sample photos, and nothing else.
  foamliu: async (pack: Json, folder: string) => ({
    ...pack,
    embedder: {
      ...(await network("foamliu_mobilefacenet_128.onnx", folder)),
      input: {
        width: 112,
        height: 112,
        order: "rgb",
        mean: [123.675, 116.28, 103.53],
        scale: [58.395, 57.12, 57.375],
      },
      output: "output0",
      alignment: "arcface112",
      size: 128,
      minNorm: 8,
    },
    curves: {
      ...pack.curves,
      quality: [
        [8, 0],
        [20, 100],
      ],
    },
  }),
} satisfies Record<string, (pack: Json, folder: string) => Promise<Json>>;
