import { setMaxListeners } from "node:events";
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import sharp from "sharp";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { readPack } from "../../src/providers/on-device/choice.ts";
import { startEngine } from "../../src/providers/on-device/engine.ts";
import type { MeasuredFace, Reading } from "../../src/providers/on-device/pipeline/read.ts";
import { temporaryFolder } from "../support/clients.ts";
import { groupPhoto, makePhotos, type Photos } from "../support/photos.ts";
import { BUILT, callOptions, imageOf } from "./setting.ts";

let photos: Photos;

beforeAll(async () => {
  photos = await makePhotos();
});

function useEngine(options: Partial<typeof BUILT> = {}) {
  const engine = startEngine({ ...BUILT, ...options });
  onTestFinished(() => engine.close());
  return engine;
}

const upright = { rotate: false, signal: callOptions.signal };

function mainOf({ main }: Reading): MeasuredFace {
  if (main === null) throw new Error("no face was found");
  return main;
}

/**
 * The threads of a network share its sums out as they come to run, so that the last bits of a float may differ
 * from run to run, and with them a pixel of a crop by one.
 */
function expectTheSame(reading: Reading | undefined, expected: Reading): void {
  const numbers = (value: unknown): number[] => {
    if (typeof value === "number") return [value];
    return typeof value === "object" && value !== null ? Object.values(value).flatMap(numbers) : [];
  };
  const [read, wanted] = [numbers(reading), numbers(expected)];
  expect([reading?.view, read.length]).toEqual([expected.view, wanted.length]);
  expect(read.filter((value, i) => !(Math.abs(value - (wanted[i] ?? Number.NaN)) <= 1))).toEqual([]);
  expect(reading?.main?.norm ?? 0).toBeCloseTo(expected.main?.norm ?? 0, 3);
}

/** A worker like the built one, but for what `program` adds. */
async function workerWith(program: string): Promise<URL> {
  const file = join(temporaryFolder(), "worker.mjs");
  // The built one first: it must be the first to listen, or what was sent meanwhile is lost.
  await writeFile(file, `import { parentPort } from "node:worker_threads";\nimport "${BUILT.worker}";\n${program}`);
  return pathToFileURL(file);
}

describe("many at once", () => {
  test("each image gets its own answer, the same as alone", async () => {
    const sources = [
      await groupPhoto(2),
      await groupPhoto(4),
      await groupPhoto(6),
      ...(await Promise.all(
        [photos.womanA, photos.womanB, photos.otherWoman, photos.thirdWoman, photos.noFace].map((path) =>
          readFile(path),
        ),
      )),
    ];
    const engine = useEngine();
    const together = await Promise.all(sources.map(async (it) => engine.read(await imageOf(it), upright)));
    for (const [i, source] of sources.entries()) {
      expectTheSame(together[i], await engine.read(await imageOf(source), upright));
    }
    expect(new Set(together.map(({ main }) => main?.norm)).size).toBe(sources.length);
  });

  test("an image is read once, however many ask, and a face is embedded once", async () => {
    const engine = useEngine();
    const image = await imageOf(photos.womanA);
    const [a, b] = await Promise.all([engine.read(image, upright), engine.read(image, upright)]);
    expect(b).toBe(a);
    expect(await engine.read(image, upright)).toBe(a);
    const face = mainOf(a);
    const [c, d] = await Promise.all([engine.embed(face, callOptions.signal), engine.embed(face, callOptions.signal)]);
    expect(d).toBe(c);
    expect(await engine.read(image, { ...upright, rotate: true })).not.toBe(a);
  });

  test("beyond 64 that wait, the next is told to come again", async () => {
    const engine = useEngine();
    const stop = new AbortController();
    setMaxListeners(80, stop.signal);
    const images = await Promise.all(Array.from({ length: 80 }, () => imageOf(photos.noFace)));
    const asked = images.map((image) => engine.read(image, { rotate: false, signal: stop.signal }));
    const settled = Promise.allSettled(asked);
    await expect(Promise.race(asked)).rejects.toMatchObject({ code: "rate_limited", retryable: true });
    stop.abort();
    const codes = (await settled).map((it) => (it.status === "rejected" ? it.reason.code : "read"));
    expect(codes.filter((code) => code === "rate_limited").length).toBe(80 - 64 - 2);
    expect(await engine.read(await imageOf(photos.noFace), upright)).toMatchObject({ faces: [] });
  });

  test("the thread that speaks the protocol stays free", async () => {
    const engine = useEngine();
    await engine.probe(callOptions.signal);
    const image = await imageOf(await groupPhoto(1));
    const started = performance.now();
    let last = started;
    let longest = 0;
    const beat = () => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    };
    const timer = setInterval(beat, 5);
    onTestFinished(() => clearInterval(timer));
    await engine.read(image, { ...upright, rotate: true });
    beat();
    // As a share of the work, since a busy machine stretches both: in this thread it would be nearly all of it.
    expect(longest).toBeLessThan((performance.now() - started) / 3);
  });
});

describe("cancelling", () => {
  test("answers at once, and the worker stops before its next step", async () => {
    const log = join(temporaryFolder(), "answers.txt");
    const worker = await workerWith(`
      import { appendFileSync } from "node:fs";
      const post = parentPort.postMessage.bind(parentPort);
      parentPort.postMessage = (answer) => {
        appendFileSync(${JSON.stringify(log)}, ("output" in answer ? "done" : answer.failure.code) + "\\n");
        post(answer);
      };`);
    const engine = useEngine({ worker });
    const photo = await sharp(photos.womanB).resize(1600).png().toBuffer();
    const started = performance.now();
    await engine.read(await imageOf(photo), { ...upright, rotate: true });
    const stop = new AbortController();
    const cancelled = engine.read(await imageOf(photo), { rotate: true, signal: stop.signal });
    setTimeout(() => stop.abort(), (performance.now() - started) / 8);
    await expect(cancelled).rejects.toMatchObject({ name: "CheckError", code: "cancelled" });
    await engine.read(await imageOf(photo), upright);
    expect((await readFile(log, "utf8")).split("\n")).toEqual(["done", "cancelled", "done", ""]);
  });

  test("one of two who ask for the same image leaves the other its answer", async () => {
    const engine = useEngine();
    const image = await imageOf(photos.womanA);
    const stop = new AbortController();
    const [leaving, staying] = [
      engine.read(image, { rotate: false, signal: stop.signal }),
      engine.read(image, upright),
    ];
    stop.abort();
    await expect(leaving).rejects.toMatchObject({ code: "cancelled" });
    expect((await staying).faces).toHaveLength(1);
  });

  test("both of them leave, and a third can still ask", async () => {
    const engine = useEngine();
    const image = await imageOf(photos.womanA);
    const stop = new AbortController();
    const signal = { rotate: false, signal: stop.signal };
    const leaving = Promise.allSettled([engine.read(image, signal), engine.read(image, signal)]);
    stop.abort();
    expect((await leaving).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect((await engine.read(image, upright)).faces).toHaveLength(1);
  });

  test("before it began nothing is done", async () => {
    const image = await imageOf(photos.womanA);
    const gone = useEngine().read(image, { rotate: false, signal: AbortSignal.abort() });
    await expect(gone).rejects.toMatchObject({ name: "CheckError", code: "cancelled" });
  });
});

describe("a worker that dies", () => {
  test.each([
    ["ends", 'parentPort.on("message", ({ operation }) => { if (operation === "spoof") process.exit(7); });'],
    ["throws", 'parentPort.on("message", ({ operation }) => { if (operation === "spoof") throw new Error("bang"); });'],
  ])("%s: its job fails, and the next call has a new one", async (_how, program) => {
    const engine = useEngine({ worker: await workerWith(program) });
    const reading = await engine.read(await imageOf(photos.womanA), upright);
    const failed = engine.spoof(mainOf(reading), callOptions.signal);
    await expect(failed).rejects.toMatchObject({ name: "CheckError", code: "internal" });
    expect(await engine.read(await imageOf(photos.womanA), upright)).toEqual(reading);
  });

  test("that cannot start fails every call, and hangs none", async () => {
    const engine = useEngine({ worker: new URL("missing.js", BUILT.worker) });
    await expect(engine.probe(callOptions.signal)).rejects.toMatchObject({ name: "CheckError", code: "internal" });
    await expect(engine.probe(callOptions.signal)).rejects.toMatchObject({ name: "CheckError", code: "internal" });
  });

  test("on purpose, at the end, leaves nobody waiting", async () => {
    const engine = useEngine();
    const pending = engine.read(await imageOf(photos.womanA), upright);
    const rejection = expect(pending).rejects.toMatchObject({ name: "CheckError", code: "cancelled" });
    await engine.close();
    await rejection;
    await expect(engine.probe(callOptions.signal)).rejects.toMatchObject({ code: "cancelled" });
  });
});

describe("a model that is not the one that was measured", () => {
  test.each<[string, (file: string) => Promise<void>]>([
    ["missing", (file) => rm(file)],
    ["changed", async (file) => writeFile(file, (await readFile(file)).fill(1, 5000, 5001))],
    ["cut short", async (file) => writeFile(file, (await readFile(file)).subarray(0, 4000))],
  ])("%s: an error that says what to do, until it is mended", async (_how, damage) => {
    const folder = temporaryFolder();
    await cp(new URL(BUILT.pack.folder), folder, { recursive: true });
    await damage(join(folder, "fr_feature.onnx"));
    const engine = useEngine({ pack: await readPack(pathToFileURL(`${folder}/`)) });
    const image = await imageOf(photos.womanA);
    for (const _again of [1, 2]) {
      await expect(engine.read(image, upright)).rejects.toMatchObject({
        name: "CheckError",
        code: "setup",
        message: expect.stringContaining("fr_feature.onnx"),
        next: expect.stringContaining("Reinstall"),
      });
    }
    await cp(new URL("fr_feature.onnx", BUILT.pack.folder), join(folder, "fr_feature.onnx"));
    expect((await engine.read(image, upright)).faces).toHaveLength(1);
  });
});

test("what the worker prints on standard output goes nowhere near the protocol", async () => {
  const worker = await workerWith('process.stdout.write("from the worker\\n"); console.log("and so does this");');
  const engine = useEngine({ worker });
  const written: string[] = [];
  const write = process.stdout.write;
  process.stdout.write = (chunk: string | Uint8Array) => written.push(String(chunk)) > 0;
  try {
    await engine.read(await imageOf(photos.womanA), upright);
  } finally {
    process.stdout.write = write;
  }
  expect(written.join("")).not.toMatch(/from the worker|so does this/);
});
