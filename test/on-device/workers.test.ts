import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { expect, onTestFinished, test, vi } from "vitest";
import { workerClient } from "../../src/providers/on-device/worker-client.ts";
import { servedClient } from "../../src/turns.ts";
import { cleanEnvironment, MAIN, temporaryFolder } from "../support/clients.ts";
import { makePhotos } from "../support/photos.ts";
import { BUILT } from "./setting.ts";

const CORES = availableParallelism();

/** One at a time takes 100 ms; who answered, and to what. */
const SLOW = `
  import { parentPort, threadId, workerData } from "node:worker_threads";
  const wait = new Int32Array(new SharedArrayBuffer(4));
  parentPort.on("message", ({ id, input }) => {
    Atomics.wait(wait, 0, 0, 100);
    parentPort.postMessage({ id, output: { input, by: threadId, threads: workerData.threads } });
  });`;

interface Said {
  readonly input: number;
  readonly by: number;
  readonly threads: number;
}

/** Calls of workers that only wait, made in one go: what each was told, and in which order they were answered. */
async function useSlowWorkers() {
  const file = join(temporaryFolder(), "slow.mjs");
  await writeFile(file, SLOW);
  const client = workerClient(pathToFileURL(file), { pack: BUILT.pack });
  onTestFinished(() => client.close());
  return async (count: number) => {
    const order: number[] = [];
    const calls = Array.from({ length: count }, async (_, i) => {
      const said = (await client.call("probe", i as unknown as null, new AbortController().signal)) as unknown as Said;
      order.push(i);
      return said;
    });
    return { told: await Promise.all(calls), order };
  };
}

test("a few calls share one worker, which has two threads where there are two cores", async () => {
  const call = await useSlowWorkers();
  const { told, order } = await call(4);
  expect(told.map(({ input }) => input)).toEqual([0, 1, 2, 3]);
  expect(order).toEqual([0, 1, 2, 3]);
  expect(new Set(told.map(({ by }) => by)).size).toBe(1);
  expect(told[0]?.threads).toBe(Math.min(2, CORES));
});

test("clients take turns, and the calls of each stay in order", async () => {
  const call = await useSlowWorkers();
  const done: string[] = [];
  const asked = ["busy", "other"].map((client, i) =>
    servedClient.run(client, () => call([6, 2][i] ?? 0)).finally(() => done.push(client)),
  );
  const orders = (await Promise.all(asked)).map(({ order }) => order);
  expect(done).toEqual(["other", "busy"]);
  expect(orders).toEqual([
    [0, 1, 2, 3, 4, 5],
    [0, 1],
  ]);
});

test.skipIf(CORES < 2)("calls that stand in line get one worker a core, and each its own answer", async () => {
  const call = await useSlowWorkers();
  const { told, order } = await call(60);
  expect(told.map(({ input }) => input)).toEqual(told.map((_, i) => i));
  const [alone] = told;
  const others = told.filter(({ by }) => by !== alone?.by);
  expect(new Set(others.map(({ by }) => by)).size).toBeGreaterThanOrEqual(2);
  expect(new Set(others.map(({ by }) => by)).size).toBeLessThanOrEqual(CORES);
  expect(others.every(({ threads }) => threads === 1)).toBe(true);
  // Who came first is answered first, give or take those who are answered at the same time.
  const late = order.map((i, place) => Math.abs(place - i));
  expect(Math.max(...late)).toBeLessThanOrEqual(2 * CORES + 4);
  // Once they took over, the one that was alone takes nothing more.
  const first = told.findIndex(({ by }) => by !== alone?.by);
  expect(told.slice(first).every(({ by }) => by !== alone?.by)).toBe(true);
});

test.skipIf(CORES < 2)(
  "when nobody calls any more, the many end, and the next call has one of two threads",
  async () => {
    const call = await useSlowWorkers();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const { told } = await call(40);
    const [again] = (await call(1)).told;
    expect(again?.threads).toBe(1);
    vi.advanceTimersByTime(60_000);
    const [next] = (await call(1)).told;
    expect(next?.threads).toBe(2);
    expect(told.map(({ by }) => by)).not.toContain(next?.by);
  },
);

test("a process with options of its own, as for its memory, has workers too", async () => {
  const { womanA, womanB, dir } = await makePhotos();
  const options = { cwd: dir, env: cleanEnvironment(temporaryFolder("home-"), { BIOMETRICS_PROVIDER: "on-device" }) };
  const args = ["--max-old-space-size=1000", MAIN, "match-faces", womanA, womanB];
  const { stdout } = await promisify(execFile)(process.execPath, args, options);
  expect(stdout).toMatch(/^approved/);
});
