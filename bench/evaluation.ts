/** Comparing every image with every other, without reading any: `npx tsx bench/evaluation.ts 10000`. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCache } from "../src/evaluation/cache.ts";
import { evaluate } from "../src/evaluation/evaluate.ts";
import { randomFrom } from "../src/evaluation/statistics.ts";
import type { Image } from "../src/images/image.ts";
import type { Provider } from "../src/providers/provider.ts";
import { table } from "./figures.ts";

const images = Number(process.argv[2] ?? 2000);
const EACH = 10;
const random = randomFrom(1);
const draw = (around?: Float32Array) => {
  const vector = Float32Array.from({ length: 512 }, (_, i) => (around?.[i] ?? 0) + (random() - 0.5) / 16);
  const length = Math.hypot(...vector);
  return vector.map((component) => component / length);
};

const persons = Array.from({ length: images / EACH }, (_, person) => ({
  name: `${person}`,
  files: Array.from({ length: EACH }, (_, i) => `/${person}/${i}`),
}));
const faces = new Map(persons.map(({ name }) => [name, draw()]));
const folder = mkdtempSync(join(tmpdir(), "bench-"));
const cache = await openCache(folder, "bench");
const nobody = async () => "";
const provider: Provider = {
  name: "on-device",
  images: { maxBytes: 1, mimes: [] },
  templates: {
    model: "bench",
    async read({ bytes }) {
      const face = draw(faces.get(Buffer.from(bytes).toString().split("/")[1] ?? ""));
      return { user: face, reference: face };
    },
    similarity({ user }, { reference }) {
      let cosine = 0;
      for (let i = 0; i < user.length; i += 1) cosine += (user[i] ?? 0) * (reference[i] ?? 0);
      return Math.round(10_000 * Math.min(1, Math.max(0, cosine))) / 100;
    },
  },
  describe: async () => ({}),
  test: nobody,
  close: async () => {},
};

const started = process.cpuUsage();
let most = 0;
const { match } = await evaluate({
  folder: "/",
  found: { persons, live: [], attacks: [] },
  provider,
  cache,
  loadImage: async (path) => ({ bytes: new Uint8Array(Buffer.from(path)) }) as Image,
  thresholds: { match: 30, approval: 70, liveness: 30 },
  sample: 0,
  save: false,
  approve: () => {},
  onProgress: () => {
    most = Math.max(most, process.memoryUsage.rss());
  },
  signal: new AbortController().signal,
});
const { user, system } = process.cpuUsage(started);
cache.close();
rmSync(folder, { recursive: true });
const pairs = (match?.comparison.genuine ?? 0) + (match?.comparison.impostor ?? 0);
table(`Evaluation of ${images.toLocaleString("en")} images`, [
  ["pairs", pairs.toLocaleString("en")],
  ["time of one core", `${((user + system) / 1e6).toFixed(0)} s`],
  ["resident memory, at most", `${(most / 2 ** 20).toFixed(0)} MB`],
]);
