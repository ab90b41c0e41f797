/**
 * Would the tests notice? `npm run mutation [PART]` changes one expression after the other, as Stryker does, and runs
 * the tests that reach it, until one fails: first in this process, then, for what is left, against the built program
 * with all the changes in it, one of which is switched on. What runs once, when a module is loaded, is not counted.
 * The figures go into CONTRIBUTING.md.
 */
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { Mutant } from "@stryker-mutator/api/core";
import { Instrumenter } from "@stryker-mutator/instrumenter";
import type { Plugin as BuildPlugin } from "esbuild";
import type { RunnerTask } from "vitest";
import type { Plugin } from "vitest/config";
import { startVitest, type TestSuite } from "vitest/node";
import { bundle } from "../../build/bundle.ts";
import { type Change, UNNOTICED } from "./unnoticed.ts";

interface MutatedPart {
  readonly mutate: readonly string[];
  readonly tests: readonly string[];
  /** Tests that start the built program. */
  readonly program?: readonly string[];
}

const PARTS: Readonly<Record<string, MutatedPart>> = {
  decision: {
    mutate: ["decision/decision", "decision/search"],
    tests: ["decision"],
  },
  files: {
    mutate: ["file", "images/image", "images/metadata"],
    tests: ["image"],
    program: ["server/files", "server/conversion"],
  },
  http: {
    mutate: ["client", "faults", "form", "json"].map((name) => `providers/http/${name}`),
    tests: [
      "didit/network",
      "didit/refusals",
      "didit/sent",
      "didit/proxy",
      "linkface/refusals",
      "account/register",
      "secret",
    ],
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
    tests: ["search", "sqlite", "trouble", "sqlite-erasure", "sqlite-processes", "damage"].map(
      (name) => `gallery/${name}`,
    ),
  },
  credentials: {
    mutate: ["credentials", "lock", "folder"].map((name) => `storage/${name}`),
    tests: ["account/credentials"],
  },
};

/** Runs beside each other: many a test waits most of its time. */
const AT_ONCE = 4;
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

/** In each of its modules: which change is on, or else a list of what is reached, which a process that is killed leaves too. */
const SWITCH = `globalThis.__stryker__ ??= (() => {
  const { readFileSync, appendFileSync } = process.getBuiltinModule("node:fs");
  const activeMutant = readFileSync(new URL("mutant", import.meta.url), "utf8");
  if (activeMutant !== "") return { activeMutant, hitCount: 0, hitLimit: 1e6 };
  const list = (counts, id) => {
    if (id in counts) return true;
    try { appendFileSync(new URL("reached", import.meta.url), id + "\\n"); } catch {}
    return (counts[id] = true);
  };
  return { activeMutant, mutantCoverage: { static: new Proxy({}, { set: list }), perTest: {} } };
})();`;

const folder = mkdtempSync(join(realpathSync(tmpdir()), "mutation-"));
process.env["TMPDIR"] = folder; // for what the tests make
const cache = join(ROOT, "node_modules/.cache"); // where the program finds its packages
mkdirSync(cache, { recursive: true });
const place = mkdtempSync(join(cache, "mutation-"));
process.once("exit", () => {
  for (const made of [folder, place]) rmSync(made, { recursive: true, force: true, maxRetries: 3 });
});
type Files = readonly { readonly name: string; readonly content: string }[];

async function mutate(name: string, { mutate, tests, program }: MutatedPart): Promise<void> {
  const paths = mutate.map((path) => resolve(ROOT, `src/${path}.ts`));
  const sources = paths.map((path) => ({ name: path, mutate: true, content: readFileSync(path, "utf8") }));
  const { files, mutants } = await new Instrumenter(logger).instrument(sources, {
    ignorers: [],
    // The words are judged by the tests of the words; one that decides is a type's, or stands in a table.
    excludedMutations: ["StringLiteral"],
    plugins: null,
  });
  const all = mutants.filter(({ status }) => status !== "Ignored").map(({ id }) => id);
  const changes = changesOf(mutants);
  const hasReason = (id: string) => UNNOTICED.some((it) => isSame(it, changes.get(id)));
  const inside = await judge(files, all, { tests });
  // What has a reason not to be noticed takes long: each test that reaches it is run.
  const rest = all.filter((id) => !inside.killed.has(id) && !hasReason(id) && !inside.atLoadAlone.has(id));
  const outside = program && (await judge(files, rest, { tests: program, program: await build(files) }));
  const reached = new Set([...inside.reached, ...(outside?.reached ?? [])]);
  const killed = new Set([...inside.killed, ...(outside?.killed ?? [])]);
  const counted = all.filter((id) => !inside.atLoadAlone.has(id));
  const left = counted.filter((id) => !killed.has(id));
  const open = mutants.filter(({ id }) => left.includes(id) && !hasReason(id));
  for (const { id, location } of open) {
    const { file, change } = changes.get(id) ?? {};
    console.log(
      `${reached.has(id) ? "survived" : "not reached"} src/${file}.ts:${location.start.line + 1}\n    ${change}`,
    );
  }
  for (const it of UNNOTICED.filter(({ file }) => mutate.includes(file))) {
    if (!left.some((id) => isSame(it, changes.get(id))))
      console.log(`noticed, or no longer there: ${it.file} ${it.change}`);
  }
  const share = killed.size / counted.length;
  const figures = [
    counted.length,
    killed.size,
    `${(100 * share).toFixed(1)} %`,
    left.length - open.length,
    open.length,
  ];
  console.log(
    `${name}: of ${figures[0]} ${figures[1]} killed (${figures[2]}), ${figures[3]} explained, ${open.length} open`,
  );
  keep(name, `| ${name} | ${mutate.map((path) => `\`${path}\``).join(", ")} | ${figures.join(" | ")} | ${today()} |`);
  if (share < LEAST || open.length > 0) process.exitCode = 1;
}

export interface Setting {
  /** Where the tests say which mutants each of them reaches. */
  readonly coverage: string;
  readonly tests: readonly string[];
  /** None: to see what is reached. */
  readonly ids: readonly string[];
  /** The folder of the built program, if the tests start it. */
  readonly program?: string;
}

/** Which of these mutants the tests reach, and which they notice. */
async function judge(files: Files, ids: readonly string[], given: Pick<Setting, "tests" | "program">) {
  const setting = { ...given, coverage: join(folder, "coverage.json") };
  const [asItIs] = await run(files, { ...setting, ids: [] });
  if (asItIs === undefined || hasFailed(asItIs)) throw new Error("a test fails without any change");
  const { static: atLoad, perTest } = JSON.parse(readFileSync(setting.coverage, "utf8"));
  const hit = new Set(Object.values(perTest).flatMap((counts) => Object.keys(counts as object)));
  const reached = ids.filter((id) => hit.has(id));
  // In one program one change is switched on at a time.
  const runs = given.program === undefined ? AT_ONCE : 1;
  const shares = Array.from({ length: runs }, (_, at) => reached.filter((_, n) => n % runs === at));
  const suites = await Promise.all(
    shares.filter((share) => share.length > 0).map((share) => run(files, { ...setting, ids: share })),
  );
  const killed = new Set(
    suites
      .flat()
      .filter(hasFailed)
      .map((suite) => suite.name),
  );
  return { atLoadAlone: new Set(Object.keys(atLoad).filter((id) => !hit.has(id))), reached, killed };
}

/** One suite for each mutant, named after it. */
async function run(files: Files, setting: Setting) {
  const { program, ids } = setting;
  const clients = resolve(ROOT, "test/support/clients.ts");
  const instrumented: Plugin = {
    name: "instrumented",
    enforce: "pre",
    load: (id) => {
      if (program === undefined) return files.find(({ name }) => name === id)?.content;
      if (id === clients) return readFileSync(id, "utf8").replace('"../../dist/main.js"', `"${program}/main.js"`);
      return undefined;
    },
  };
  let done = 0;
  const onTestSuiteResult = ({ parent }: TestSuite) => {
    if (parent.type === "module")
      process.stderr.write(`\r${++done} of ${ids.length}${done === ids.length ? "\n" : ""}`);
  };
  const vitest = await startVitest(
    "test",
    [],
    {
      watch: false,
      root: ROOT,
      config: false,
      reporters: ids.length === 0 ? ["default"] : [{ onTestSuiteResult }],
    },
    {
      plugins: [instrumented],
      test: {
        include: ["test/mutation/mutants.ts"],
        setupFiles: ["test/support/properties.ts"],
        provide: { mutation: setting },
        testTimeout: 60_000, // a change has less: mutants.ts
        hookTimeout: 20_000,
        pool: "forks",
        dangerouslyIgnoreUnhandledErrors: true,
      },
    },
  );
  const suites = vitest.state.getFiles().flatMap(({ tasks }) => tasks);
  await vitest.close();
  return suites;
}

/** The program with all the changes in it, beside what else it needs. */
async function build(files: Files): Promise<string> {
  const program = join(place, "dist");
  rmSync(program, { recursive: true, force: true });
  rmSync(join(place, "prebuilds"), { force: true });
  symlinkSync(join(ROOT, "prebuilds"), join(place, "prebuilds"));
  cpSync(join(ROOT, "dist"), program, { recursive: true, filter: (path) => !path.endsWith(".js") });
  const instrumented: BuildPlugin = {
    name: "instrumented",
    setup: (it) =>
      it.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const contents = files.find(({ name }) => name === path)?.content;
        return contents === undefined ? undefined : { contents, loader: "ts", resolveDir: dirname(path) };
      }),
  };
  writeFileSync(join(program, "mutant"), "");
  writeFileSync(join(program, "reached"), "");
  await bundle({ outdir: program, plugins: [instrumented], start: SWITCH });
  return program;
}

function hasFailed(task: RunnerTask): boolean {
  return task.result?.state === "fail" || ("tasks" in task && task.tasks.some(hasFailed));
}

/** Each by its id, as it stands in the list of those with a reason: what becomes what, and of several alike which. */
function changesOf(mutants: readonly Mutant[]): ReadonlyMap<string, Change> {
  const codes = mutants.map((mutant) => `${mutant.fileName}: ${codeOf(mutant)}`);
  return new Map(
    mutants.map((mutant, at) => {
      const alike = codes.filter((code) => code === codes[at]).length;
      const nth = codes.slice(0, at + 1).filter((code) => code === codes[at]).length;
      const file = mutant.fileName.slice(`${ROOT}/src/`.length, -".ts".length);
      return [mutant.id, { file, change: codeOf(mutant) + (alike === 1 ? "" : ` (${nth} of ${alike})`) }];
    }),
  );
}

function codeOf({ fileName, location: { start, end }, replacement }: Mutant): string {
  const lines = readFileSync(fileName, "utf8")
    .split("\n")
    .slice(start.line, end.line + 1);
  lines.push((lines.pop() ?? "").slice(0, end.column));
  const original = lines.map((line, at) => (at === 0 ? line.slice(start.column) : line)).join(" ");
  const [from, to] = [original, replacement].map((code) =>
    code.replace(/\s+/g, " ").replaceAll("${", "{").slice(0, 120),
  );
  return `${from} -> ${to}`;
}

const isSame = (one: Change, other: Change | undefined) => one.file === other?.file && one.change === other.change;

function today(): string {
  return new Date().toISOString().slice(0, 10);
}

/** The row of a part in the place of the one that is there. */
function keep(name: string, row: string): void {
  const path = resolve(ROOT, "CONTRIBUTING.md");
  const page = readFileSync(path, "utf8");
  const [begin, end] = ["<!-- mutation -->\n", "<!-- /mutation -->"];
  const [before, rest = ""] = page.split(begin);
  const [there = "", after] = rest.split(end);
  if (after === undefined) throw new Error(`CONTRIBUTING.md has no place for the figures: ${begin}${end}`);
  const rows = Object.keys(PARTS).flatMap((part) =>
    part === name ? row : there.split("\n").filter((line) => line.startsWith(`| ${part} |`)),
  );
  const head = ["| part | in src | changes | killed | share | survived, with a reason | without | measured |"];
  const made = [...head, "|---|---|---|---|---|---|---|---|", ...rows].join("\n");
  writeFileSync(path, `${before}${begin}${made}\n${end}${after}`);
}

const [only] = process.argv.slice(2);
for (const [name, part] of Object.entries(PARTS)) if (name === (only ?? name)) await mutate(name, part);
process.exit(); // a mutant may have left anything open

declare module "vitest" {
  interface ProvidedContext {
    mutation: Setting;
  }
}
