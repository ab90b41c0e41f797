import { appendFileSync } from "node:fs";

/** The value that `share` (0..1) of the others do not exceed. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

export const ratio = (ours: number, theirs: number): string => (ours / theirs).toFixed(2);

/** What a benchmark found, as bench/all.ts collects it for docs/benchmarks.md. */
export type Finding =
  | { readonly title: string; readonly columns: readonly string[]; readonly rows: readonly (readonly string[])[] }
  | { readonly chart: string; readonly label: string; readonly value: number; readonly unit: string };

/** Names a file for findings, one line of JSON each. */
export const FINDINGS_FILE = "BENCH_FINDINGS";

function keep(finding: Finding): void {
  const file = process.env[FINDINGS_FILE];
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(finding)}\n`);
}

/** Prints a table. */
export function table(
  title: string,
  rows: readonly (readonly string[])[],
  columns: readonly string[] = ["", "measured"],
): void {
  keep({ title, columns, rows });
  const shown = columns.length > 2 ? [columns, ...rows] : rows;
  const widths = columns.map((_, at) => Math.max(...shown.map((row) => (row[at] ?? "").length)));
  console.log(`\n${title}`);
  for (const row of shown) console.log(`  ${row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join("  ")}`.trimEnd());
}

/** One bar of the chart of that title. */
export function bar(chart: string, label: string, value: number, unit: string): void {
  keep({ chart, label, value, unit });
}
