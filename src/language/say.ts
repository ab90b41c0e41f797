import type { Language } from "../config.ts";

/**
 * A text of ours in the reader's language. Texts are written in English, where their rule is, and are translated once, on
 * their way out: nothing else knows that there are other languages. What the table does not have stays as it is; so does
 * all that stands in quotation marks, which others wrote.
 */
export type Say = (english: string) => string;

export async function sayIn(language: Language): Promise<Say> {
  if (language === "en") return (english) => english;
  const { default: table } = await import("./zh-CN.json", { with: { type: "json" } });
  return translator(table);
}

/** Of a result, the fields that are ours; all others are data, above all the provider's. */
const OURS = ["summary", "meaning", "advice", "next_steps", "message", "next", "reason", "prepared"];
const DATA = ["raw", "details"];

/** A result whose sentences are translated. */
export function translated<T>(result: T, say: Say): T {
  const walk = (value: unknown, isOurs: boolean): unknown => {
    if (typeof value === "string") return isOurs ? say(value) : value;
    if (Array.isArray(value)) return value.map((one) => walk(one, isOurs));
    if (typeof value !== "object" || value === null) return value;
    const fields = Object.entries(value).map(([name, field]) => [
      name,
      DATA.includes(name) ? field : walk(field, OURS.includes(name)),
    ]);
    return Object.fromEntries(fields);
  };
  return walk(result, false) as T;
}

interface Pattern {
  readonly regex: RegExp;
  /** Its longest part that is no hole: what lacks it need not be tried. */
  readonly literal: string;
  readonly translation: string;
}

const HOLE = /\{(\d)\}/;
/** Between a sentence and the next. */
const BETWEEN = /(?<=[.!?:]["')\uE001]?) /;
/** What joins facts within a sentence, weakest first. */
const JOINTS: readonly (readonly [english: string, chinese: string])[] = [
  ["; ", "；"],
  [", ", "，"],
  [" and ", " 和 "],
  [" or ", " 或 "],
];
/** Before a text that is translated: indentation, and the mark of a list. */
const LINE = /^(\s*(?:- )?)(.*?)(\s*)$/;
/** Ours are shorter; and a template has no more sentences, or parts that end with a colon. */
const MAX_CHARS = 3000;
const MAX_PIECES = 12;
/** Words without which there is hardly an English sentence. */
const WORDS =
  /(?<![\w-])(?:an?|the|this|that|is|are|was|were|be|been|has|have|had|not|no|of|to|in|on|at|by|for|from|with|without|it|its|and|or)(?![\w-])|[a-z]{2,} [a-z]{2,}/i;
/** A path can have any of them, and a command. */
const DATA_WITH_WORDS = /^(?:[/~]|[A-Z]:\\|biometrics-mcp )/;
/** English that should have been translated: what was inserted was no data, so the template is the wrong one. */
const isLeft = (english: string, said: string | undefined) =>
  said === english && WORDS.test(english) && !DATA_WITH_WORDS.test(english);

/**
 * Reads an English text against the templates it can have been made from, sentence by sentence and hole by hole, and of
 * all readings takes the one that leaves the least English.
 *
 * @param table English templates, with `{0}` for what is inserted, to their translations, where `{=0}` is a name that a
 *   user gave, and stays. A hole takes in quotation marks; a noun that is counted stands in the singular.
 */
export function translator(table: Readonly<Record<string, string>>): Say {
  const patterns = Object.entries(table)
    .filter(([english]) => HOLE.test(english))
    .map(([english, translation]): Pattern => {
      const literals = english.split(/\{\d\}/);
      const regex = new RegExp(
        `^${literals.map((it) => it.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("(.+?)")}$`,
        "s",
      );
      return { regex, literal: literals.reduce((a, b) => (b.length > a.length ? b : a), ""), translation };
    })
    .sort((a, b) => b.regex.source.length - a.regex.source.length); // the most particular first
  const entryOf = (english: string) => (Object.hasOwn(table, english) ? table[english] : undefined);

  function translateLine(line: string): string {
    const known = new Map<string, string>();
    const [, indent = "", text = "", rest = ""] = LINE.exec(line) ?? [];
    if (!/[a-z]/i.test(text) || text.length > MAX_CHARS || /[\uE000\uE001]/.test(text)) return line;
    const quotations: string[] = [];
    const masked = text.replace(
      /"([^"]*)"/g,
      (_, quotation: string) => `\uE000${quotations.push(quotation) - 1}\uE001`,
    );
    const said = textOf(masked);
    if (said === masked) return line;
    const out = said.replace(/\uE000(\d+)\uE001/g, (_, at: string) => `“${quotations[Number(at)] ?? ""}”`);
    return `${indent}${out}${rest}`;

    /** One sentence or several, or part of one. */
    function textOf(english: string): string {
      const before = known.get(english);
      if (before !== undefined) return before;
      known.set(english, english); // a hole that is the whole text leads nowhere
      const joined = entryOf(english) === undefined ? facts(english) : english;
      const whole = read(english);
      const found = joined === english ? whole : leastEnglish([joined, whole]);
      known.set(english, found);
      return found;
    }

    /** The best way to cut a text into templates, from its end. */
    function read(english: string): string {
      const pieces = english.split(BETWEEN);
      const best: string[] = [""];
      for (let from = pieces.length - 1; from >= 0; from -= 1) {
        const longest = Math.min(pieces.length, from + MAX_PIECES);
        const readings = pieces.slice(from, longest).map((_, less) => {
          const to = longest - less;
          const after = best[pieces.length - to] ?? "";
          const first = sentence(pieces.slice(from, to).join(" "));
          return after === "" || /[，。；：！？）”]$/.test(first) ? `${first}${after}` : `${first} ${after}`;
        });
        best.push(leastEnglish(readings));
      }
      return best.at(-1) ?? english;
    }

    function sentence(english: string): string {
      const entry = entryOf(english);
      if (entry !== undefined) return entry;
      const readings = patterns
        .filter(({ literal }) => english.includes(literal))
        .flatMap(({ regex, translation }) => {
          const holes = regex.exec(english);
          return holes === null ? [] : filled(translation, holes.slice(1));
        });
      return leastEnglish([...readings, english]);
    }

    function filled(translation: string, holes: readonly string[]): string[] {
      const said = holes.map((hole, at) => (translation.includes(`{=${at}}`) ? hole : textOf(hole)));
      if (holes.some((hole, at) => !translation.includes(`{=${at}}`) && isLeft(hole, said[at]))) return [];
      return [translation.replace(/\{=?(\d)\}/g, (_, at: string) => said[Number(at)] ?? "")];
    }

    /** A number of things, or several facts. */
    function facts(english: string): string {
      const [, several] = /^(\d[\d,]* .*)s$/.exec(english) ?? [];
      const counted = several === undefined ? undefined : sentence(several);
      if (counted !== several) return counted ?? english;
      for (const [joint, chinese] of JOINTS) {
        const parts = english.split(joint);
        const said = parts.map(textOf);
        const isSaid = /\w/.test(joint) || said.some((it, at) => it !== parts[at]);
        if (parts.length > 1 && isSaid && !parts.some((it, at) => isLeft(it, said[at]))) return said.join(chinese);
      }
      return english;
    }
  }

  return (english) => english.split("\n").map(translateLine).join("\n");
}

/** The first of the best. */
function leastEnglish(readings: readonly string[]): string {
  const letters = (text: string) => text.replace(/[^A-Za-z]/g, "").length;
  return readings.reduce((a, b) => (letters(b) < letters(a) ? b : a));
}
