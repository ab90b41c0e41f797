/**
 * Collects the licences of what the package holds into NOTICE, below what is written there by hand:
 *
 *   npm run notice
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Held, held, installed } from "./shipped.ts";

const FILE = fileURLToPath(new URL("../NOTICE", import.meta.url));
const MARK = "Made by `npm run notice`: nothing below is written by hand.";

/** NOTICE as it should be, for what the build makes now. */
export async function noticeText(): Promise<string> {
  const [byHand = ""] = readFileSync(FILE, "utf8").split(MARK);
  const [packages, beside] = await Promise.all([held(), installed()]);
  const list = packages.map((it) => {
    const within = it.within.length === 0 ? "" : `\n    with code of: ${it.within.join(", ")}`;
    return `  ${nameOf(it)} (${it.license})${within}`;
  });
  const parts = [
    `${byHand}${MARK}`,
    `In the package\n${list.join("\n")}`,
    `Installed beside it by npm, those for the platform alone, each with its own licence text\n${beside.map((it) => `  ${nameOf(it)} (${it.license})`).join("\n")}`,
    ...textsOf(packages).map(([text, names]) => `${"-".repeat(72)}\n${names.join(", ")}\n\n${text}`),
  ];
  return `${parts.join("\n\n")}\n`;
}

const nameOf = ({ name, version }: Pick<Held, "name" | "version">) => `${name} ${version}`;

/** Each text once, with the packages that carry it. */
function textsOf(packages: readonly Held[]): (readonly [string, readonly string[]])[] {
  const texts = new Map<string, string[]>();
  for (const it of packages) {
    const text = it.text === undefined ? `Its package has no licence text; it says: ${it.license}.` : tidy(it.text);
    texts.set(text, [...(texts.get(text) ?? []), nameOf(it)]);
  }
  return [...texts];
}

/** Line ends and margins as they are here. */
function tidy(text: string): string {
  return text
    .replace(/\r\n?/g, "\n")
    .replace(/[ \t]+$/gm, "")
    .replace(/\n{3,}/g, "\n\n")
    .replace(/^\n+|\n+$/g, "");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(FILE, await noticeText());
