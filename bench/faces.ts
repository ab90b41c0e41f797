/**
 * Are these two photographs of the same person: by this project's engine, by @vladmandic/human and by
 * @vladmandic/face-api, from the same JPEG files, each on WebAssembly with one thread. BENCH_FACES names a folder of
 * labelled photographs, one subfolder a person, for the accuracy; photographs of persons are not in the repository.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import sharp from "sharp";
import { type Image, toImage } from "../src/images/image.ts";
import { readPack } from "../src/providers/on-device/choice.ts";
import { startEngine } from "../src/providers/on-device/engine.ts";
import { cosine, toEmbedding } from "../src/providers/on-device/pipeline/embed.ts";
import { makePhotos } from "../test/support/photos.ts";
import { bar, median, quantile, ratio, table } from "./figures.ts";
import { installPeers, PACKAGES } from "./peers.ts";

const ROUNDS = 20;
const WARM_UP = 3;
const DIST = new URL("../dist/", import.meta.url);
const FOLDER = process.env["BENCH_FACES"];
const FAR = [0.01, 0.001];

/** How one library tells people apart. */
interface Library<F> {
  readonly name: string;
  /** From the bytes of a file; undefined: no face was found. */
  face(jpeg: Buffer): Promise<F | undefined>;
  /** The higher, the more alike. */
  alike(user: F, reference: F): Promise<number>;
  close(): Promise<void>;
}

async function ours(): Promise<Library<{ user: Float32Array; reference: () => Promise<Float32Array> }>> {
  const engine = startEngine({
    worker: new URL("worker.js", DIST),
    pack: await readPack(new URL("models/", DIST)),
  });
  const { signal } = new AbortController();
  const imageOf = (jpeg: Buffer): Promise<Image> =>
    toImage(new Uint8Array(jpeg), { maxBytes: 20e6, mimes: ["image/jpeg", "image/png"] });
  return {
    name: "biometrics-mcp",
    async face(jpeg) {
      const { main } = await engine.read(await imageOf(jpeg), { rotate: false, signal });
      // As in a match: the reference is taken together with its mirror image.
      return main === null
        ? undefined
        : { user: toEmbedding(main.embedding), reference: () => engine.embed(main, signal) };
    },
    alike: async ({ user }, { reference }) => cosine(user, await reference()),
    close: () => engine.close(),
  };
}

/** The parts of the peers that are used. */
interface Tensor {
  dispose(): void;
}
interface Tf {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  tensor(values: Uint8Array, shape: readonly number[], type: string): Tensor;
}
interface Net {
  loadFromDisk(folder: string): Promise<void>;
}
interface FaceApi {
  readonly nets: Readonly<Record<"ssdMobilenetv1" | "faceLandmark68Net" | "faceRecognitionNet", Net>>;
  detectSingleFace(input: Tensor): {
    withFaceLandmarks(): { withFaceDescriptor(): Promise<{ descriptor: Float32Array } | undefined> };
  };
  euclideanDistance(a: Float32Array, b: Float32Array): number;
}
interface Human {
  load(): Promise<void>;
  detect(input: Tensor): Promise<{ error: string | null; face: readonly { embedding?: number[]; box: number[] }[] }>;
  readonly match: { similarity(a: number[], b: number[]): number };
}

const require = createRequire(join(PACKAGES, "package.json"));
const WASM = `${join(PACKAGES, "@tensorflow/tfjs-backend-wasm/dist")}/`;

async function startTf(): Promise<Tf> {
  const tf: Tf = require("@tensorflow/tfjs");
  const wasm: {
    setWasmPaths(folder: string): void;
    setThreadsCount(count: number): void;
  } = require("@tensorflow/tfjs-backend-wasm");
  wasm.setWasmPaths(WASM);
  wasm.setThreadsCount(1);
  await tf.setBackend("wasm");
  await tf.ready();
  return tf;
}

async function pixelsOf(jpeg: Buffer) {
  const picture = sharp(jpeg).rotate().resize(1600, 1600, { fit: "inside", withoutEnlargement: true }).removeAlpha();
  const { data, info } = await picture.toColourspace("srgb").raw().toBuffer({ resolveWithObject: true });
  return { data: new Uint8Array(data), shape: [info.height, info.width, 3] };
}

async function faceApi(tf: Tf): Promise<Library<Float32Array>> {
  const api: FaceApi = require(join(PACKAGES, "@vladmandic/face-api/dist/face-api.node-wasm.js"));
  const { ssdMobilenetv1, faceLandmark68Net, faceRecognitionNet } = api.nets;
  for (const net of [ssdMobilenetv1, faceLandmark68Net, faceRecognitionNet]) {
    await net.loadFromDisk(join(PACKAGES, "@vladmandic/face-api/model"));
  }
  return {
    name: "@vladmandic/face-api 1.7.15",
    async face(jpeg) {
      const { data, shape } = await pixelsOf(jpeg);
      const input = tf.tensor(data, shape, "int32");
      const found = await api.detectSingleFace(input).withFaceLandmarks().withFaceDescriptor();
      input.dispose();
      return found?.descriptor;
    },
    alike: async (a, b) => -api.euclideanDistance(a, b),
    close: async () => {},
  };
}

async function human(tf: Tf): Promise<Library<number[]>> {
  const folder = join(PACKAGES, "@vladmandic/human");
  // It loads its models by fetch alone, which takes no file: addresses.
  const { fetch } = globalThis;
  globalThis.fetch = async (input, init) =>
    String(input).startsWith("file:") ? new Response(readFileSync(new URL(String(input)))) : fetch(input, init);
  const { default: Human }: { default: new (config: object) => Human } = require(
    join(folder, "dist/human.node-wasm.js"),
  );
  const off = { enabled: false };
  const face = { detector: { rotation: true }, iris: off, emotion: off, antispoof: off, liveness: off };
  const library = new Human({
    ...{ backend: "wasm", wasmPath: WASM, modelBasePath: pathToFileURL(`${folder}/models/`).href, debug: false },
    ...{ cacheSensitivity: 0, filter: off, body: off, hand: off, object: off, gesture: off, segmentation: off, face },
  });
  await library.load();
  return {
    name: "@vladmandic/human 3.3.6",
    async face(jpeg) {
      const { data, shape } = await pixelsOf(jpeg);
      const input = tf.tensor(data, [1, ...shape], "float32");
      const { error, face: faces } = await library.detect(input);
      input.dispose();
      if (error !== null) throw new Error(error);
      const areaOf = ([, , width = 0, height = 0]: number[]) => width * height;
      return faces.toSorted((a, b) => areaOf(b.box) - areaOf(a.box))[0]?.embedding;
    },
    alike: async (a, b) => library.match.similarity(a, b),
    close: async () => {},
  };
}

/** One 1:1 comparison from two files, in milliseconds. */
async function timeMatch<F>({ face, alike, name }: Library<F>, photos: readonly [Buffer, Buffer]): Promise<number> {
  const began = performance.now();
  const [user, reference] = [await face(photos[0]), await face(photos[1])];
  if (user === undefined || reference === undefined) throw new Error(`${name} found no face`);
  await alike(user, reference);
  return performance.now() - began;
}

interface Accuracy {
  readonly faces: string;
  readonly auc: string;
  readonly tars: readonly string[];
}

async function accuracyOf<F>(library: Library<F>, people: readonly (readonly Buffer[])[]): Promise<Accuracy> {
  const faces: { person: number; face: F }[] = [];
  let photos = 0;
  for (const [person, files] of people.entries()) {
    for (const jpeg of files) {
      photos += 1;
      const face = await library.face(jpeg);
      if (face !== undefined) faces.push({ person, face });
    }
  }
  const [same, others]: [number[], number[]] = [[], []];
  for (const [at, one] of faces.entries()) {
    for (const other of faces.slice(at + 1)) {
      (one.person === other.person ? same : others).push(await library.alike(one.face, other.face));
    }
  }
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  const tars = FAR.map((far) => {
    const limit = quantile(others, 1 - far);
    return others.length * far < 1 ? "too few pairs" : percent(same.filter((it) => it > limit).length / same.length);
  });
  return { faces: `${faces.length} of ${photos}`, auc: areaUnderCurve(same, others).toFixed(4), tars };
}

/** The share of pairs of a genuine and an impostor score in which the genuine one is higher. */
function areaUnderCurve(same: readonly number[], others: readonly number[]): number {
  const ranked = [...same.map((value) => ({ value, is: 1 })), ...others.map((value) => ({ value, is: 0 }))];
  ranked.sort((a, b) => a.value - b.value);
  let below = 0;
  let wins = 0;
  for (let at = 0; at < ranked.length; ) {
    let end = at;
    while (ranked[end]?.value === ranked[at]?.value && end < ranked.length) end += 1;
    const tied = ranked.slice(at, end);
    const genuine = tied.filter(({ is }) => is === 1).length;
    wins += genuine * (below + (tied.length - genuine) / 2);
    below += tied.length - genuine;
    at = end;
  }
  return wins / (same.length * others.length);
}

function labelledPhotos(folder: string): Buffer[][] {
  const people = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return people.map(({ name }) =>
    readdirSync(join(folder, name))
      .filter((file) => /\.(jpe?g|png)$/i.test(file))
      .map((file) => readFileSync(join(folder, name, file))),
  );
}

installPeers();
const made = await makePhotos();
const pair = [readFileSync(made.womanB), readFileSync(made.womanA)] as const;
rmSync(made.dir, { recursive: true });
const tf = await startTf();
const libraries = [await ours(), await human(tf), await faceApi(tf)] as const;
const times: number[][] = libraries.map(() => []);
for (let round = 0; round < WARM_UP + ROUNDS; round += 1) {
  const row = [
    await timeMatch(libraries[0], pair),
    await timeMatch(libraries[1], pair),
    await timeMatch(libraries[2], pair),
  ];
  if (round >= WARM_UP) for (const [at, took] of row.entries()) times[at]?.push(took);
}
const medians = times.map(median);
const CHART = "One comparison of two photographs, median";
for (const [at, { name }] of libraries.entries()) bar(CHART, name, medians[at] ?? Number.NaN, "ms");
table(
  `Two portraits compared on the device, WebAssembly with one thread, median of ${ROUNDS}`,
  libraries.map(({ name }, at) => [
    name,
    `${medians[at]?.toFixed(0)} ms`,
    ratio(medians[at] ?? Number.NaN, medians[0] ?? Number.NaN),
  ]),
  ["", "time", "times ours"],
);
if (FOLDER === undefined || !existsSync(FOLDER)) {
  table("Accuracy of the same comparison", [
    ["not measured", "BENCH_FACES names no folder of labelled photographs, one subfolder a person"],
  ]);
} else {
  const people = labelledPhotos(FOLDER);
  const figures = [
    await accuracyOf(libraries[0], people),
    await accuracyOf(libraries[1], people),
    await accuracyOf(libraries[2], people),
  ];
  table(
    `Accuracy of the same comparison, ${people.length} people, all pairs`,
    figures.map(({ faces, auc, tars }, at) => [libraries[at]?.name ?? "", faces, auc, ...tars]),
    ["", "photos with a face", "AUC", ...FAR.map((far) => `TAR at FAR ${far * 100} %`)],
  );
}
for (const library of libraries) await library.close();
