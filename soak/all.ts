/**
 * Every part in turn, and its figures into SECURITY.md: `npm run soak`. If need be with --seed N, with --only NAME for one
 * part, or with --share S for a share of the cases, from 0 to 1.
 */
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type Scale, Tally } from "./part.ts";
import { PARTS } from "./parts.ts";

const SECURITY = resolve(import.meta.dirname, "../SECURITY.md");
const [BEGIN, END] = ["<!-- soak -->", "<!-- /soak -->"];

const { values } = parseArgs({
  options: { seed: { type: "string" }, only: { type: "string" }, share: { type: "string" } },
});
const share = Number(values.share ?? 1);
const scale: Scale = {
  seed: Number(values.seed ?? Math.floor(Math.random() * 2 ** 31)),
  images: 100_000 * share,
  objects: 100_000 * share,
  raceMs: 10_000,
  loadMs: 60_000,
  copies: 8,
  rounds: Math.ceil(50 * share),
  steps: Math.ceil(60 * share), // fewer than that are made
};
console.log(`seed ${scale.seed}`);

const folder = mkdtempSync(join(realpathSync(tmpdir()), "biometrics-soak-"));
process.env["TMPDIR"] = folder; // every temporary folder lies in one, which goes at the end
process.once("exit", () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));

let hasFaults = false;
for (const part of PARTS.filter(({ name }) => name === (values.only ?? name))) {
  const began = performance.now();
  const tally = await part.run(scale).catch((thrown: unknown) => {
    const failed = new Tally();
    failed.faults.push(`it could not be ended: ${thrown}`);
    return failed;
  });
  const seconds = Math.round((performance.now() - began) / 1000);
  const found = tally.skipped ?? said(tally);
  console.log(`\n${part.name} (${seconds} s): ${found}`);
  for (const fault of tally.faults.slice(0, 20)) console.log(`  FAULT ${fault}`);
  if (tally.faults.length > 0) hasFaults = true;
  const breaches = tally.skipped === undefined ? String(tally.faults.length) : "not run";
  keep(part.name, `| ${part.name} | ${part.invariant} | ${found} | ${breaches} | ${scale.seed}, ${seconds} s |`);
}
process.exitCode = hasFaults ? 1 : 0;

/** The row of a part in the place of the one that is there. */
function keep(name: string, row: string): void {
  const page = readFileSync(SECURITY, "utf8");
  const [before, after] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (before < 0 || after < before) throw new Error(`SECURITY.md has no place for the figures: ${BEGIN} and ${END}`);
  const there = page.slice(before, after).split("\n");
  const rows = PARTS.flatMap((part) =>
    part.name === name ? row : there.filter((line) => line.startsWith(`| ${part.name} |`)),
  );
  const made = [
    `Node ${process.versions.node}, ${process.platform} ${process.arch}, ${cpus().length} cores.`,
    "",
    "| part | what must hold | what was counted | breaches | seed, time |",
    "|---|---|---|---|---|",
    ...rows,
  ].join("\n");
  writeFileSync(SECURITY, `${page.slice(0, before + BEGIN.length)}\n${made}\n${page.slice(after)}`);
}

function said({ counts }: Tally): string {
  return Object.entries(counts)
    .map(([what, count]) => `${what}: ${count.toLocaleString("en")}`)
    .join("; ");
}
