import { expect, onTestFinished, test } from "vitest";
import { openCache } from "../../src/evaluation/cache.ts";
import { evaluate } from "../../src/evaluation/evaluate.ts";
import type { Image } from "../../src/images/image.ts";
import type { Provider } from "../../src/providers/provider.ts";
import { temporaryFolder } from "../support/clients.ts";

/** A provider that tells images apart by their bytes, their path: each is read as its number. */
function readingProvider(similarity: (user: number, reference: number) => number, pauseMs = 0) {
  const seen = { reads: 0, atOnce: 0, most: 0 };
  const provider: Provider = {
    name: "on-device",
    images: { maxBytes: 1, mimes: [] },
    templates: {
      model: "test",
      async read({ bytes }, { signal }) {
        seen.reads += 1;
        seen.atOnce += 1;
        seen.most = Math.max(seen.most, seen.atOnce);
        await new Promise((done) => setTimeout(done, pauseMs));
        seen.atOnce -= 1;
        signal.throwIfAborted();
        const number = Number(/\d+$/.exec(Buffer.from(bytes).toString())?.[0]);
        return { user: Float32Array.of(number, 0), reference: Float32Array.of(number, 1) };
      },
      // Read from what the cache keeps as well: the reference is the second half of it.
      similarity: ({ user: [one = -1, first] }, { reference: [other = -1, second] }) =>
        first === 0 && second === 1 ? similarity(one, other) : Number.NaN,
    },
    describe: async () => ({}),
    test: async () => "",
    close: async () => {},
  };
  return { provider, seen };
}

async function settingOf(
  provider: Provider,
  counts: readonly number[],
  dataFolder = `${temporaryFolder()}/data`,
  model = "m",
) {
  const cache = await openCache(dataFolder, model);
  onTestFinished(() => cache.close());
  let number = 0;
  const persons = counts.map((count, person) => ({
    name: `${person}`,
    files: Array.from({ length: count }, () => `/f/${person}/${number++}`),
  }));
  const stop = new AbortController();
  return {
    stop,
    dataFolder,
    folder: "/f",
    found: { persons, live: [], attacks: [] },
    provider,
    cache,
    loadImage: async (path: string) => ({ bytes: new Uint8Array(Buffer.from(path)) }) as Image,
    thresholds: { match: 30, approval: 70, liveness: 30 },
    sample: 0,
    save: false,
    approve: () => {
      throw new Error("nothing is billed");
    },
    onProgress: (_stage: "images" | "pairs", _done: number, _total: number) => {},
    signal: stop.signal,
  };
}

/** Images 0 and 1 are of one person, 2 and 3 of another, 4 of a third. */
const SCORES = [
  [0, 90, 10, 10, 30],
  [0, 0, 20, 20, 30],
  [0, 0, 0, 40, 50],
  [0, 0, 0, 0, 60],
];
const handMade = (user: number, reference: number) => SCORES[user]?.[reference] ?? Number.NaN;

test("all pairs, each once and the earlier image as the user's; figures worked out by hand", async () => {
  const { provider } = readingProvider(handMade);
  const { match, liveness } = await evaluate(await settingOf(provider, [2, 2, 1]));
  expect(liveness).toBeNull();
  expect(match).toMatchObject({
    persons: 3,
    images: 5,
    comparison: { genuine: 2, impostor: 8, auc: { value: 14 / 16 }, eer: { value: 0.25, threshold: 40 } },
    inForce: { falseAccepts: { value: 0.25 }, falseRejects: { value: 0 } },
    approval: { falseAccepts: { value: 0 }, falseRejects: { value: 0.5 } },
    falseMatches: [{ score: 60 }, { score: 20 }], // each image once
  });
});

test("each image is read once, a bounded number at a time, and not again under the same model", async () => {
  const { provider, seen } = readingProvider(() => 50, 2);
  const counts = Array.from({ length: 50 }, () => 4);
  const setting = await settingOf(provider, counts);
  await evaluate(setting);
  expect(seen).toMatchObject({ reads: 200, atOnce: 0 });
  expect(seen.most).toBeGreaterThan(1);
  expect(seen.most).toBeLessThanOrEqual(32);
  await evaluate(await settingOf(provider, counts, setting.dataFolder));
  expect(seen.reads).toBe(200);
  await evaluate(await settingOf(provider, counts, setting.dataFolder, "another model"));
  expect(seen.reads).toBe(400);
});

test("a run that is broken off goes on where it was", async () => {
  const { provider, seen } = readingProvider(() => 50, 1);
  const counts = Array.from({ length: 50 }, () => 4);
  const setting = await settingOf(provider, counts);
  const broken = evaluate({
    ...setting,
    onProgress: (_stage, done) => {
      if (done === 100) setting.stop.abort();
    },
  });
  await expect(broken).rejects.toMatchObject({ code: "cancelled" });
  const before = seen.reads;
  expect(before).toBeLessThan(140);
  await evaluate(await settingOf(provider, counts, setting.dataFolder));
  expect(seen.reads - before).toBeLessThanOrEqual(100);
});

test("memory is bounded: 500,000 pairs take no more than their counts", { timeout: 120_000 }, async () => {
  const { provider } = readingProvider((one, other) => (one * 31 + other * 17) % 101);
  const before = process.memoryUsage().rss;
  let most = 0;
  const setting = await settingOf(
    provider,
    Array.from({ length: 100 }, () => 10),
  );
  const { match } = await evaluate({
    ...setting,
    onProgress: () => {
      most = Math.max(most, process.memoryUsage.rss());
    },
  });
  expect(match?.comparison).toMatchObject({ genuine: 4500, impostor: 495_000 });
  expect((most - before) / 2 ** 20).toBeLessThan(150);
});
