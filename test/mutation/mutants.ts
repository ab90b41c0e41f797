import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, inject, type TestContext } from "vitest";

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
const MAX_HITS = 100;

const { tests, ids, coverage } = inject("mutation");

/** The same for each mutant: without the suite that is named after it. */
const nameOf = ({ task }: TestContext) => [...namesOf(task.suite), task.name].join(" > ");
const namesOf = (suite: TestContext["task"]["suite"]): string[] =>
  suite?.suite === undefined ? [] : [...namesOf(suite.suite), suite.name];

/** Evaluated anew for each mutant; what they import is not. */
async function importTests(id: string): Promise<void> {
  for (const test of tests) await import(/* @vite-ignore */ resolve(import.meta.dirname, `../${test}.test.ts?${id}`));
}

if (ids.length === 0) {
  describe("as it is", async () => {
    beforeEach((context) => {
      board.currentTestId = nameOf(context);
    });
    afterEach(() => {
      board.currentTestId = undefined;
    });
    afterAll(() => writeFileSync(coverage, JSON.stringify(board.mutantCoverage)));
    await importTests("none");
  });
}

const { perTest }: Pick<Coverage, "perTest"> =
  ids.length === 0 ? { perTest: {} } : JSON.parse(readFileSync(coverage, "utf8"));
for (const id of ids) {
  describe(id, async () => {
    let isKilled = false;
    beforeAll(() => {
      const hits = Object.values(perTest).reduce((sum, counts) => sum + (counts[id] ?? 0), 0);
      Object.assign(board, { activeMutant: id, hitCount: 0, hitLimit: MAX_HITS * hits });
    });
    afterAll(() => void Object.assign(board, { activeMutant: undefined, hitCount: undefined }));
    beforeEach((context) => {
      if (isKilled || perTest[nameOf(context)]?.[id] === undefined) context.skip();
      context.onTestFailed(() => {
        isKilled = true;
      });
    });
    await importTests(id);
  });
}
