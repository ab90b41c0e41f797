import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseAst } from "vitest/node";
import { FAILURES } from "../src/errors.ts";
import { LISTING } from "../src/mcp/listing.ts";

const SRC = join(import.meta.dirname, "../src");

interface Text {
  readonly file: string;
  readonly text: string;
}

/** Every string of the program with two words or more; what a template inserts is `…`. */
const texts = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .flatMap((file): Text[] => {
    const found: string[] = [];
    collect(parseAst(readFileSync(join(SRC, file), "utf8"), { lang: "ts" }), found);
    return found.map((text) => ({ file: file.replaceAll("\\", "/"), text }));
  })
  .filter(({ text }) => / [a-z]{2,}/.test(text) && !/\b(SELECT|INSERT|PRAGMA|CREATE|DELETE FROM|UPDATE)\b/.test(text));

function collect(node: unknown, found: string[]): void {
  if (Array.isArray(node)) for (const one of node) collect(one, found);
  if (typeof node !== "object" || node === null || Array.isArray(node)) return;
  const { type, value, quasis } = node as { type?: unknown; value?: unknown; quasis?: { value: { cooked: string } }[] };
  if (type === "Literal" && typeof value === "string") found.push(value);
  if (type === "TemplateLiteral") found.push((quasis ?? []).map((quasi) => quasi.value.cooked).join("…"));
  for (const part of Object.values(node)) collect(part, found);
}

/** Only these are read by a model alone. */
const FOR_MODELS = ["mcp/prompts.ts", "mcp/server.ts"];

const SENTENCE = /^[A-Z].{24,}[.:]$/;

test("the texts are found", () => {
  expect(texts.length).toBeGreaterThan(400);
  expect(texts).toContainEqual({ file: "errors.ts", text: FAILURES.setup.next });
});

describe("no text says", () => {
  test.each([
    [/\b(?:is|are|was|were) told\b|\btold (?:on|by)\b/, "reported, printed, checked by"],
    [/\bis for `?review/, "results in review"],
    [
      /\b(?:is|are|was|were|gives?|gave|asks? for) no (?:duplicate|dependency|folder|number|sign of|face that)/,
      "is not a",
    ],
    [/\bcannot be had\b|\banew\b|\bcertificate\. |not a certificate/, "is not available, again"],
    [/\bin a way that was not understood\b|\bnot known here\b/, "for an unknown reason"],
    [/\b[Rr]epeat the call\b|\b[Cc]all again\b/, "retry"],
    [/\bthis (?:server|program)'s user\b|\brestart this server\b/, "restart the server"],
    [/\bmay not\b/, "is not allowed to, lacks the permission"],
    [/\ba person pays\b|\bpay here\b/, "to add, open"],
    [/\bbefore anybody relies on this\. Do not/, "what to look at"],
  ])("%s", (turn) => {
    expect(texts.filter(({ text }) => turn.test(text))).toEqual([]);
  });
});

test("what a terminal shows too is not addressed to an agent", () => {
  const forAgents = /\b(?:ask|tell|give) (?:the user|them|whoever)\b|\bthe user (?:of this|may|must|says|said)\b/i;
  expect(texts.filter(({ file, text }) => !FOR_MODELS.includes(file) && forAgents.test(text))).toEqual([]);
  const descriptions = LISTING.tools.map((tool) => JSON.stringify(tool));
  expect(descriptions.filter((text) => forAgents.test(text))).toEqual([]);
});

test("a model is told what it must ask for", () => {
  const instructions = texts.filter(({ file }) => file === "mcp/server.ts").map(({ text }) => text);
  expect(instructions.join(" ")).toMatch(
    /money, a second charge\) comes from the user: ask, never decide or invent it/,
  );
  expect(FAILURES.no_answer.next).toMatch(/retry only if the account owner accepts a second charge/);
});

/** The words that carry a sentence, in their order. */
function essence(text: string): string {
  return text
    .toLowerCase()
    .replace(/\b(?:the|a|an|that|which|is|are|was|were|it|its|this|of|in|on|to)\b|[^a-z0-9… ]/g, "")
    .replace(/\s+/g, " ")
    .trim();
}

test("nothing is said twice in two wordings", () => {
  const wordings = new Map<string, Set<string>>();
  for (const { text } of texts.filter((it) => SENTENCE.test(it.text)))
    wordings.set(essence(text), (wordings.get(essence(text)) ?? new Set()).add(text));
  expect([...wordings.values()].filter((said) => said.size > 1).map((said) => [...said])).toEqual([]);
});

test("a sentence stands in one file", () => {
  const files = new Map<string, Set<string>>();
  for (const { file, text } of texts.filter((it) => SENTENCE.test(it.text)))
    files.set(text, (files.get(text) ?? new Set()).add(file));
  expect([...files].filter(([, where]) => where.size > 1).map(([text, where]) => [text, ...where])).toEqual([]);
});
