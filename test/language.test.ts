import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseAst } from "vitest/node";
import { forPerson } from "../src/command-line/for-person.ts";
import { sayIn } from "../src/language/say.ts";
import TABLE from "../src/language/zh-CN.json" with { type: "json" };
import { WARNINGS } from "../src/warnings.ts";
import { englishIn } from "./support/english.ts";

const SRC = join(import.meta.dirname, "../src");
const say = await sayIn("zh-CN");

/** What stays English, and why. */
const ENGLISH: readonly (readonly [why: string, file: RegExp, texts?: RegExp])[] = [
  ["a model or a program reads it", /^mcp\/(prompts|guard|sessions)\.ts$|^untrusted\.ts$/],
  ["names of classes, and what only hosts read", /^card\/card\.ts$|^mcp\/card\.ts$/],
  [
    "instructions",
    /^mcp\/server\.ts$/,
    /^(Biometric checks|Pass local paths|skill|Provider: .*Allowed|.* Until this is)/,
  ],
  ["requests", /^mcp\/http\.ts$/, /^(Paths are on|This session|The server is shutting|A request may)/],
  [
    "results are described to models",
    /^(tools|decision|toolkit)\//,
    /^(its last four|US dollars, exact|(at or )?below it declines|per image, the largest|the provider's JSON|its bytes are gone|Provider and why)/,
  ],
  ["arguments that are no flags", /^(tools|toolkit)\//, /^(return the marked photos|omit to have one generated)/],
  [
    "the log",
    /^(mcp\/(server|http|stdio)|main|toolkit\/preview|command-line\/call)\.ts$/,
    / failed, |^(Serving MCP|Clients must send|biometrics-mcp .* is running|Cannot write to|[Tt]he picture could not be (drawn|written)\.?$)/,
  ],
  ["before anything is loaded", /^start\.ts$/],
  ["the page of an evaluation", /^evaluation\/(charts|page)\.ts$/],
  ["drawn in strokes, of which there are Latin ones", /^decision\/picture\.ts$/],
  ["words of others", /^providers\/on-device\/catalogue\.ts$/],
  ["programs", /^(command-line\/(completion|for-person)|language\/say|providers\/http\/form)\.ts$/],
  ["choices in code", /./, /^given earlier$/],
  // Causes, which only the log has.
  ["causes", /^images\/(convert|metadata)\.ts$/, /^(image converter|exit code|no marker|a (segment|chunk) is)/],
  ["causes", /^storage\/(credentials|settings)\.ts$/, /^(it is|its 7)/],
  [
    "causes",
    /^providers\/(didit|http)\//,
    /^(a match without|not an address|an answer that|\(a body|over 7|a string of)/,
  ],
  [
    "causes",
    /^providers\/on-device\/(jobs|worker-client|pipeline\/\w+)\.ts$/,
    /^(a liveness network|exit code|the (network|detector))/,
  ],
  [
    "causes",
    /^providers\/on-device\/gallery\/(embedding|export-file|sqlite|transfer)\.ts$/,
    /^(the )?(embedding of|line 7|a line of|file is of|last line)|^(no first|lines after|7 in the source|7 faces of|7 checked|face 7 was)/,
  ],
  ["causes", /^providers\/on-device\/gallery\/(sqlite|postgres)\/(schema|failure)\.ts$/, /^[a-z7]/],
  ["causes", /^command-line\/models\.ts$/, /^the catalogue has/],
];

interface Node {
  readonly type?: string;
  readonly [part: string]: unknown;
}

/** Every way that a text can read, with `7` for what is inserted. */
function readings(node: Node): string[] | undefined {
  if (node.type === "Literal") return typeof node["value"] === "string" ? [node["value"]] : undefined;
  if (node.type === "ParenthesizedExpression") return readings(node["expression"] as Node);
  if (node.type === "ConditionalExpression") {
    return [node["consequent"], node["alternate"]].flatMap((one) => readings(one as Node) ?? ["7"]);
  }
  if (node.type === "BinaryExpression" && node["operator"] === "+") {
    const [left, right] = [node["left"], node["right"]].map((one) => readings(one as Node));
    return left === undefined && right === undefined
      ? undefined
      : (left ?? ["7"]).flatMap((a) => (right ?? ["7"]).map((b) => a + b));
  }
  if (node.type !== "TemplateLiteral") return undefined;
  const quasis = node["quasis"] as readonly { value: { cooked: string } }[];
  const holes = (node["expressions"] as readonly Node[]).map((hole) => readings(hole) ?? ["7"]);
  return quasis.reduce(
    (all, { value }, at) => all.flatMap((text) => (holes[at] ?? [""]).map((hole) => text + value.cooked + hole)),
    [""],
  );
}

/** All that a file says, of two words or more. */
function textsIn(node: unknown, found: string[] = []): string[] {
  if (Array.isArray(node)) for (const one of node) textsIn(one, found);
  else if (typeof node === "object" && node !== null) {
    const all = readings(node as Node);
    if (all !== undefined) found.push(...all);
    const parts = all === undefined ? Object.values(node) : holesOf(node as Node);
    for (const part of parts) textsIn(part, found);
  }
  return found;
}

/** What is inserted can call functions that say something. */
const holesOf = (node: Node): unknown[] =>
  Object.entries(node).flatMap(([name, part]) =>
    ["expressions", "left", "right", "consequent", "alternate", "test", "expression"].includes(name)
      ? [part].flat().filter((one) => readings(one as Node) === undefined || (one as Node).type !== "Literal")
      : [],
  );

const sources = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => {
    const program = parseAst(readFileSync(join(SRC, file), "utf8"), { lang: "ts" });
    return { file: file.replaceAll("\\", "/"), texts: [...new Set(textsIn(program))] };
  });

/** Code, markup and what only a database reads. */
const CODE =
  /\b(SELECT|INSERT|PRAGMA|CREATE|DELETE FROM|UPDATE|VACUUM|SET LOCAL|CASE WHEN|NOT BETWEEN)\b|^\s*<|[{}]|\b(vec|js)_\w+\(|^--?[a-z-]+ [[<]|Content-Type|error="|^Bearer /;

const texts = sources.flatMap(({ file, texts }) =>
  texts
    .filter((text) => /[a-z]{2,}[,;:]? [a-z]{2,}/i.test(text) && !CODE.test(text))
    .filter((text) => !ENGLISH.some(([, files, those = /./]) => files.test(file) && those.test(text.trim())))
    .map((text) => ({ file, text })),
);

const leftIn = (text: string) => englishIn(say(text));

/** Some texts are a part of a sentence, or of a line; a terminal leaves out what concerns assistants. */
const CONTEXTS: readonly ((text: string) => string)[] = [
  (text) => text,
  (text) => text.replace(/^7 | ?7+$/g, ""),
  forPerson,
  (text) => `Have a person ${text} before anybody relies on this.`,
  (text) => `7 ${text}`,
  (text) => `7 ${text}.`,
  (text) => `${text}.`,
  (text) => `7${text}`,
  (text) => `${text}:`,
];

const templates = Object.keys(TABLE).map((english) => english.replace(/\{\d\}/g, "7"));

/** Is it a piece of a template, up to what is inserted? */
function isPart(text: string): boolean {
  const pieces = text
    .replace(/ 7$/, "")
    .split("7")
    .filter((piece) => piece.trim() !== "");
  return templates.some((template) => {
    let at = 0;
    return pieces.every((piece) => {
      const found = template.indexOf(piece, at);
      at = found + piece.length;
      return found !== -1;
    });
  });
}

test("every text has a translation", () => {
  expect(texts.length).toBeGreaterThan(600);
  const missing = texts.filter(
    ({ text }) => !isPart(text) && CONTEXTS.every((context) => leftIn(context(text)) !== undefined),
  );
  expect(missing.map(({ file, text }) => `${file}: ${text} => ${say(text)}`)).toEqual([]);
});

const capitalised = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

const ENTRIES = Object.entries(TABLE as Readonly<Record<string, string>>);

describe("of each entry", () => {
  test("what is inserted is in the translation too", () => {
    const holes = (text: string) => [...text.matchAll(/\{=?(\d)\}/g)].map(([, hole]) => hole).sort();
    expect(ENTRIES.filter(([english, own]) => `${holes(english)}` !== `${holes(own)}`)).toEqual([]);
    const inOrder = ENTRIES.filter(([english]) =>
      [...english.matchAll(/\{(\d)\}/g)].some(([, at], i) => Number(at) !== i),
    );
    expect(inOrder).toEqual([]);
  });

  test("outcomes, codes, names, flags, commands and URLs stand as they are", () => {
    const FIXED =
      /\b(approved|declined)\b|\b[A-Za-z]+(_[A-Za-z]+)+\b|(?<!\w)--[a-z-]+|https?:\/\/[^\s);,]+|`[^`]+`|\b(Didit|Linkface|biometrics-mcp)\b/g;
    const lost = ENTRIES.flatMap(([english, own]) =>
      [...english.matchAll(FIXED)]
        .filter(([word]) => !own.replaceAll("{=", "{").includes(word.replace(/\.$/, "")))
        .map(([word]) => [word, english, own]),
    );
    expect(lost).toEqual([]);
  });

  test("the punctuation is Chinese", () => {
    expect(ENTRIES.filter(([, own]) => /\p{Script=Han}[,;:!?()]|[,;:!?()]\p{Script=Han}/u.test(own))).toEqual([]);
    expect(
      ENTRIES.filter(([english, own]) => english.endsWith(".") !== /[。？]$/.test(own) && /\p{Script=Han}/u.test(own)),
    ).toEqual([]);
  });

  test("the sources still say it", () => {
    const COMMANDER =
      /^(Usage:|Arguments:|Options:|Commands:|display help|output the version|\(choices|\(default|error: |Allowed choices|\(Did you mean)/;
    const said = sources.flatMap(({ texts }) => texts.map((text) => text.replaceAll('"', "")));
    const tags = Object.keys(WARNINGS).map((tag) => tag.toLowerCase().replaceAll("_", " "));
    const asShown = [...said, ...said.map(forPerson), ...said.map(capitalised), ...tags];
    const pieces = asShown.flatMap((text) => text.split("7")).map((piece) => piece.replace(/^\W+|\W+$/g, ""));
    const longest = [...new Set(pieces)].filter((it) => it.length > 1).sort((a, b) => b.length - a.length);
    const gone = ENTRIES.filter(([english]) => {
      const literal = english.replace(/\{\d\}/g, "\n");
      const left = longest.reduce((rest, piece) => rest.replaceAll(piece, ""), literal).replace(/\W/g, "");
      return left.length > Math.max(1, literal.length / 4) && !COMMANDER.test(english);
    });
    expect(gone.map(([english]) => english)).toEqual([]);
  });

  test("it is the one that is found", () => {
    const fill = (text: string) => text.replace(/\{=?(\d)\}/g, (_, at) => `k${at}`);
    const wrong = ENTRIES.filter(([english, own]) => say(fill(english)) !== fill(own)).map(([english]) => [
      english,
      say(fill(english)),
    ]);
    expect(wrong).toEqual([]);
  });
});

describe("README.zh-CN.md is README.md in Chinese", () => {
  const [english, chinese] = ["README.md", "README.zh-CN.md"].map((file) =>
    readFileSync(join(import.meta.dirname, "..", file), "utf8"),
  ) as [string, string];
  /** The languages' own lines: the links to each other, and the answer in its own. */
  const shared = (page: string) =>
    page
      .replace(/^\[.*\]\(README(\.zh-CN)?\.md\)$/m, "")
      .replace(/<!-- answer.*?<!-- \/answer -->/s, "")
      .replaceAll("`BIOMETRICS_LANG=zh-CN`", "");
  const both = (pick: (page: string) => unknown) => [pick(shared(chinese)), pick(shared(english))];
  const all = (pattern: RegExp) => (page: string) => [...page.matchAll(pattern)].map(([, found = ""]) => found);
  const sorted = (pattern: RegExp) => (page: string) => all(pattern)(page).sort();

  test.each([
    ["headings, in level and number", all(/^(#+) /gm)],
    ["blocks of code", all(/^```(.*?)^```/gms)],
    ["commands", all(/^ {4}(\S.*)$/gm)],
    [
      "rows of tables, in their order",
      (page: string) => all(/^\| (.*) \|$/gm)(page).map((row) => row.split(" | ").length),
    ],
    ["names in code", sorted(/(?<!`)`([^`\n]+)`(?!`)/g)],
    ["links", sorted(/\]\(([^)#][^)]*)\)/g)],
    ["numbers of points", (page: string) => all(/^(- )/gm)(page).length],
  ])("%s", (_what, pick) => {
    const [own, theirs] = both(pick);
    expect(own).toEqual(theirs);
    expect(JSON.stringify(theirs).length).toBeGreaterThan(1);
  });

  test("each leads to the other, and the answer is the same but for its summary", () => {
    expect(english.split("\n", 3)[2]).toBe("[简体中文](README.zh-CN.md)");
    expect(chinese.split("\n", 3)[2]).toBe("[English](README.md)");
    const answerOf = (page: string) => JSON.parse(/<!-- answer.*?```json\n(.*?)```/s.exec(page)?.[1] ?? "");
    const { reference: _, ...shown } = answerOf(english);
    expect(answerOf(chinese)).toMatchObject({ ...shown, summary: say(shown.summary) });
  });

  test("no paragraph is left in English", () => {
    const prose = shared(chinese).replace(/```.*?```|^ {4}.*$|\*\*.*?\*\*/gms, "");
    expect(prose.split("\n").filter((line) => englishIn(line) !== undefined)).toEqual([]);
  });
});
