import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { SETTINGS } from "../src/config.ts";
import { FAILURES } from "../src/errors.ts";
import { TOOLS } from "../src/tools/index.ts";
import { closing, ERAS } from "./support/clients.ts";

const ROOT = resolve(import.meta.dirname, "..");
const readme = readFileSync(resolve(ROOT, "README.md"), "utf8");

/** What stands in back quotes in the first column of the tables below a heading. */
function firstColumn(heading: string): string[] {
  const section = readme.split(/^#+ /m).find((part) => part.startsWith(`${heading}\n`)) ?? "";
  return [...section.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell = ""]) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name),
  );
}

test("the README lists the tools as the server does", () => {
  expect(firstColumn("Tools")).toEqual(TOOLS.map(({ name }) => name));
});

test("the README lists every setting", () => {
  expect(firstColumn("Configuration").sort()).toEqual(Object.keys(SETTINGS).sort());
});

test("the README lists every error", () => {
  expect(firstColumn("Errors")).toEqual(Object.keys(FAILURES));
});

test.each(ERAS)("the list of tools is short, and changes only on purpose, in $era", async ({ connect }) => {
  const tools = await closing(await connect()).listTools();
  expect(Buffer.byteLength(JSON.stringify({ tools }))).toBeLessThanOrEqual(13_000);
  await expect(`${JSON.stringify(tools, null, 2)}\n`).toMatchFileSnapshot("tools.snapshot.json");
});
