/**
 * Would the tests notice? `npm run mutation [PART]` changes one expression after the other, as Stryker does, and runs
 * the tests that reach it. All of it happens in one process, so what only another process runs is not counted; nor is
 * what runs once, when a module is loaded.
 */
import { mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Mutant } from "@stryker-mutator/api/core";
import { Instrumenter } from "@stryker-mutator/instrumenter";

import type { RunnerTask } from "vitest";
import type { Plugin } from "vitest/config";
import { startVitest } from "vitest/node";

interface MutatedPart {
  readonly mutate: readonly string[];
  readonly tests: readonly string[];
}

const PARTS: Readonly<Record<string, MutatedPart>> = {
  decision: {
    mutate: ["decision/decision", "decision/search"],
    tests: ["decision"],
  },
  files: { mutate: ["file", "image"], tests: ["image"] },
  http: {
    mutate: ["client", "faults", "form", "json"].map((name) => `providers/http/${name}`),
    tests: ["didit/network", "didit/refusals", "didit/sent", "secret"],
  },
  search: {
    mutate: [
      "search",
      "gallery/sqlite",
      "gallery/embedding",
      "gallery/cursor",
      "gallery/mark",
      "gallery/sqlite/distance",
      "gallery/sqlite/failure",
    ].map((name) => `providers/on-device/${name}`),
    tests: ["gallery/sqlite", "gallery/damage"],
  },
  credentials: {
    mutate: ["credentials", "lock", "folder"].map((name) => `storage/${name}`),
    tests: ["account/credentials"],
  },
};

/** The least share that must be killed. */
const LEAST = 0.85;
const ROOT = resolve(import.meta.dirname, "../..");
const quiet = () => {};
const logger = {
  isTraceEnabled: () => false,
  isDebugEnabled: () => false,
  isInfoEnabled: () => false,
  isWarnEnabled: () => false,
  isErrorEnabled: () => false,
  isFatalEnabled: () => false,
  trace: quiet,
  debug: quiet,
  info: quiet,
  warn: quiet,
  error: quiet,
  fatal: quiet,
};

const folder = mkdtempSync(join(realpathSync(tmpdir()), "mutation-"));
process.env["TMPDIR"] = folder; // for what the tests make
const [only] = process.argv.slice(2);
for (const [name, part] of Object.entries(PARTS)) if (name === (only ?? name)) await mutate(name, part);
rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
process.exit(); // a mutant may have left anything open

async function mutate(name: string, { mutate, tests }: MutatedPart): Promise<void> {
  const files = mutate.map((path) => resolve(ROOT, `src/${path}.ts`));
  const sources = files.map((path) => ({ name: path, mutate: true, content: readFileSync(path, "utf8") }));
  const made = await new Instrumenter(logger).instrument(sources, {
    ignorers: [],
    // The words are judged by the tests of the words; one that decides is a type's, or stands in a table.
    excludedMutations: ["StringLiteral"],
    plugins: null,
  });
  const setting = { coverage: join(folder, "coverage.json"), tests };
  await run(made.files, { ...setting, ids: [] });
  const { static: atLoad, perTest } = JSON.parse(readFileSync(setting.coverage, "utf8"));
  const reached = new Set(Object.values(perTest).flatMap((counts) => Object.keys(counts as object)));
  const counted = made.mutants.filter(({ id, status }) => status !== "Ignored" && (reached.has(id) || !(id in atLoad)));
  const outcomes = await run(made.files, {
    ...setting,
    ids: counted.filter(({ id }) => reached.has(id)).map(({ id }) => id),
  });
  const left = counted.filter(({ id }) => outcomes.get(id) !== "killed");
  const killed = counted.length - left.length;
  for (const mutant of left) console.log(describeMutant(mutant, outcomes.has(mutant.id) ? "survived" : "not reached"));
  const share = `${((100 * killed) / counted.length).toFixed(1)} %`;
  console.log(`${name}: ${killed} of ${counted.length} killed (${share})`);
  if (killed / counted.length < LEAST) process.exitCode = 1;
}

export interface Setting {
  /** Where the tests say which mutants each of them reaches. */
  readonly coverage: string;
  readonly tests: readonly string[];
  /** None: to see what is reached. */
  readonly ids: readonly string[];
}

/** The mutants by id: killed, or not. */
async function run(files: readonly { name: string; content: string }[], setting: Setting) {
  const instrumented: Plugin = {
    name: "instrumented",
    enforce: "pre",
    load: (id) => files.find(({ name }) => name === id)?.content,
  };
  const vitest = await startVitest(
    "test",
    [],
    {
      watch: false,
      root: ROOT,
      config: false,
      reporters: setting.ids.length === 0 ? ["default"] : [{ onInit: quiet }],
    },
    {
      plugins: [instrumented],
      test: {
        include: ["test/mutation/mutants.ts"],
        setupFiles: ["test/support/properties.ts"],
        provide: { mutation: setting },
        testTimeout: 10_000,
        hookTimeout: 20_000,
        pool: "forks",
        dangerouslyIgnoreUnhandledErrors: true,
      },
    },
  );
  const suites = vitest.state.getFiles().flatMap(({ tasks }) => tasks);
  await vitest.close();
  return new Map(suites.map((suite) => [suite.name, hasFailed(suite) ? "killed" : "survived"]));
}

function hasFailed(task: RunnerTask): boolean {
  return task.result?.state === "fail" || ("tasks" in task && task.tasks.some(hasFailed));
}

function describeMutant({ fileName, location, replacement }: Mutant, what: string): string {
  const { start } = location;
  const source = readFileSync(fileName, "utf8").split("\n")[start.line] ?? "";
  const at = `${fileName.slice(ROOT.length + 1)}:${start.line + 1}:${start.column + 1}`;
  return `${what} ${at}\n    ${source.trim()}\n    -> ${replacement.replace(/\s+/g, " ").slice(0, 160)}`;
}

declare module "vitest" {
  interface ProvidedContext {
    mutation: Setting;
  }
}
