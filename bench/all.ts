/**
 * All benchmarks, each in a process of its own (memory and caches of one are no matter of the next), and what they found
 * as docs/benchmarks.md.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir, totalmem } from "node:os";
import { join, resolve } from "node:path";
import { barChart } from "./chart.ts";
import { FINDINGS_FILE, type Finding } from "./figures.ts";

const DOCS = resolve(import.meta.dirname, "../docs");

const BENCHES = [
  ["startup"],
  ["didit"],
  ["peer"],
  ["on-device"],
  ["verify-person"],
  ["faces"],
  ["enroll-many"],
  ["gallery", "10000"],
  ["gallery", "100000"],
  ["gallery", "1000000"],
];

const folder = mkdtempSync(join(tmpdir(), "bench-"));
const file = join(folder, "findings.jsonl");
writeFileSync(file, "");
const [busyBefore = 0] = loadavg();
const failed: string[] = [];
for (const [name, ...args] of BENCHES) {
  const program = resolve(import.meta.dirname, `${name}.ts`);
  const { status } = spawnSync(process.execPath, ["--import", "tsx", program, ...args], {
    stdio: "inherit",
    env: { ...process.env, [FINDINGS_FILE]: file },
  });
  if (status !== 0) failed.push([name, ...args].join(" "));
}
const [busyAfter = 0] = loadavg();
const lines = readFileSync(file, "utf8").split("\n").filter(Boolean);
write(lines.map((line): Finding => JSON.parse(line)));
rmSync(folder, { recursive: true });
if (failed.length > 0) {
  console.log(`\nNot measured, or missed its own limit: ${failed.join(", ")}`);
  process.exitCode = 1;
}

function write(findings: readonly Finding[]): void {
  const [cpu] = cpus();
  const machine = `${cpu?.model.trim()}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform} ${process.arch}, Node ${process.version}`;
  const tables = findings.flatMap((it) => ("title" in it ? [it] : []));
  const bars = findings.flatMap((it) => ("chart" in it ? [it] : []));
  const charts = [...new Set(bars.map(({ chart }) => chart))];
  const text = [
    "# Benchmarks",
    "Written by `npm run bench` from one run. Nothing leaves the machine: the API is a stand-in on the loopback address. " +
      "Times vary from machine to machine and from run to run; the ratios within one run are what counts.",
    `Machine: ${machine}. Load average ${busyBefore.toFixed(1)} before and ${busyAfter.toFixed(1)} after the run (above the number of cores, other programs took part of the time).`,
    ...(failed.length === 0 ? [] : [`Not measured, or missed its own limit: ${failed.join(", ")}.`]),
    ...charts.map((title) => `![${title}](charts/${fileOf(title)})`),
    ...tables.map(
      ({ title, columns, rows, note }) =>
        `## ${title}\n\n${markdown([columns, columns.map(() => "---"), ...rows])}${note === "" ? "" : `\n\n${note}`}`,
    ),
  ];
  mkdirSync(join(DOCS, "charts"), { recursive: true });
  for (const title of charts) {
    const own = bars.filter(({ chart }) => chart === title);
    writeFileSync(join(DOCS, "charts", fileOf(title)), barChart(title, own));
  }
  writeFileSync(join(DOCS, "benchmarks.md"), `${text.join("\n\n")}\n`);
}

function fileOf(title: string): string {
  return `${title
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/-$/, "")}.svg`;
}

function markdown(rows: readonly (readonly string[])[]): string {
  return rows.map((row) => `| ${row.join(" | ")} |`).join("\n");
}
