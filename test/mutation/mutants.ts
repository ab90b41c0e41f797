import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, inject, type TestContext } from "vitest";
import { getFn, setFn } from "vitest/suite";

interface Coverage {
  readonly static: Readonly<Record<string, number>>;
  readonly perTest: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** What the changed sources look at and write to: names of Stryker's. */
interface Switchboard {
  activeMutant?: string | undefined;
  currentTestId?: string | undefined;
  hitCount?: number | undefined;
  hitLimit?: number | undefined;
  mutantCoverage?: Coverage;
}
const holder = globalThis as { __stryker__?: Switchboard };
holder.__stryker__ ??= {};
const board = holder.__stryker__;

/** A loop that never ends meets its mutant far more often than the tests do without it. */
const MAX_HITS = 10;
/** So often any mutant may be met: it takes no time. */
const FEW_HITS = 1e5;
/** Nor is a test waited for that takes far longer than without it, whatever its own patience. */
const longestMs = (tookMs: number) => 3 * tookMs + 5000;

const { tests, ids, coverage, program } = inject("mutation");

/** What each test reaches, and the milliseconds that it takes, as the sources are. */
interface Seen extends Coverage {
  readonly took: Readonly<Record<string, number>>;
}

/** The same for each mutant: without the suite that is named after it. */
const nameOf = ({ task }: TestContext) => [...namesOf(task.suite), task.name].join(" > ");
const namesOf = (suite: TestContext["task"]["suite"]): string[] =>
  suite?.suite === undefined ? [] : [...namesOf(suite.suite), suite.name];

/** Evaluated anew for each mutant; what they import is not. */
const importTest = (test: string, id: string) =>
  describe(test, async () => {
    await import(/* @vite-ignore */ resolve(import.meta.dirname, `../${test}.test.ts?${id}`));
  });

/** What the program has reached since this was last asked. */
function reachedIn(folder: string): Readonly<Record<string, number>> {
  const reached = join(folder, "reached");
  const lines = readFileSync(reached, "utf8").split("\n").slice(0, -1);
  writeFileSync(reached, "");
  return Object.fromEntries(lines.map((id) => [id, 1]));
}

if (ids.length === 0) {
  describe("as it is", () => {
    const took: Record<string, number> = {};
    const inProgram: Record<string, Readonly<Record<string, number>>> = {};
    let began = 0;
    beforeEach((context) => {
      board.currentTestId = nameOf(context);
      began = performance.now();
    });
    afterEach((context) => {
      board.currentTestId = undefined;
      took[nameOf(context)] = performance.now() - began;
      if (program !== undefined) inProgram[nameOf(context)] = reachedIn(program);
    });
    afterAll(() => {
      const seen = program === undefined ? board.mutantCoverage : { static: {}, perTest: inProgram };
      writeFileSync(coverage, JSON.stringify({ ...seen, took }));
    });
    for (const test of tests) importTest(test, "none");
  });
}

const { perTest, took }: Seen =
  ids.length === 0 ? { static: {}, perTest: {}, took: {} } : JSON.parse(readFileSync(coverage, "utf8"));
for (const id of ids) {
  describe(id, () => {
    let isKilled = false;
    const reaching = Object.entries(perTest).filter(([, counts]) => id in counts);
    beforeAll(() => {
      const hits = reaching.reduce((sum, [, counts]) => sum + (counts[id] ?? 0), 0);
      if (program !== undefined) writeFileSync(join(program, "mutant"), id);
      Object.assign(board, { activeMutant: id, hitCount: 0, hitLimit: Math.max(MAX_HITS * hits, FEW_HITS) });
    });
    afterAll(() => void Object.assign(board, { activeMutant: undefined, hitCount: undefined }));
    beforeEach((context) => {
      const name = nameOf(context);
      // One failure is enough, and a test that does not reach the mutant cannot notice it.
      if (isKilled || perTest[name]?.[id] === undefined) context.skip();
      context.onTestFailed(() => {
        isKilled = true;
      });
      const run = getFn(context.task);
      const tooLong = () => Promise.reject(new Error("it takes too long"));
      setFn(context.task, () => Promise.race([run(), pause(longestMs(took[name] ?? 0)).then(tooLong)]));
    });
    for (const test of tests) if (reaching.some(([name]) => name.startsWith(`${test} > `))) importTest(test, id);
  });
}
