import { styleText } from "node:util";
import wrap from "wrap-ansi";
import { showBeside } from "../appearance.ts";
import { CHECK_TITLE } from "../decision/decision.ts";
import { partsOf } from "../decision/render.ts";
import type { Say } from "../language/say.ts";
import type { Outcome } from "../warnings.ts";
import { fold } from "./fold.ts";
import { forPerson } from "./for-person.ts";

/** Standard output or standard error. */
export type Screen = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

/** One at a time: Node 20.18 colours with a list of them even where no colour is wanted. */
type Format = "green" | "yellow" | "red" | "bold" | "dim";

/** Never without the word. */
const COLOUR = { approved: "green", review: "yellow", declined: "red" } satisfies Record<Outcome, Format>;
export const VERDICT_COLOUR = { ...COLOUR, failed: "dim" } as const;

const MAX_COLUMNS = 100;
const BAR_CELLS = { least: 10, most: 40 } as const;
/** What stands beside a bar: its name, and "92.4 of 100, threshold 30". */
const BESIDE_BAR = 42;

/** Coloured where the stream and the environment (NO_COLOR, FORCE_COLOR) allow it: Node's own rules. */
export const styled = (format: Format | undefined, text: string, stream: Screen) =>
  format === undefined ? text : styleText(format, text, { stream });

/** Does a person look at it? A pipe is read by a program, unless FORCE_COLOR says otherwise. */
export const isScreen = (stream: Screen) => stream.isTTY === true || styled("bold", "-", stream) !== "-";

/** A result on a terminal: colours, bars for scores, advice below its warning, and how long each stage took. */
export function onScreen(
  result: Readonly<Record<string, unknown>>,
  timings: ReadonlyMap<string, number>,
  { output: stream, say: inLanguage }: { readonly output: Screen; readonly say: Say },
): string {
  const parts = partsOf(result, inLanguage);
  const { heading, outcome, summary, score, threshold, steps, warnings, details, nextSteps } = parts;
  const columns = Math.min(stream.columns || 80, MAX_COLUMNS);
  const lines: string[] = [];
  const say = (text: string, indent = "", format?: Format) =>
    lines.push(
      ...fold(forPerson(text), Math.max(columns - indent.length, 10))
        .split("\n")
        .map((line) => indent + styled(format, line, stream)),
    );
  const bar = ({ score, threshold = null }: Scored, format: Format | undefined, name = "") => {
    if (typeof score !== "number") return;
    const facts = [
      `${showBeside(score, [threshold])} of 100`,
      ...(threshold === null ? [] : [`threshold ${threshold}`]),
    ];
    const beside = [inLanguage(facts.join(", ")), ...(name === "" ? [] : [name])];
    const cells = Math.min(Math.max(columns - BESIDE_BAR, BAR_CELLS.least), BAR_CELLS.most);
    const drawn = styled(format, barOf(score, threshold, cells), stream);
    lines.push(...wrap(`${drawn} ${beside.join(", ")}`, columns).split("\n"));
  };

  if (heading !== undefined && outcome !== undefined) say(heading, "", COLOUR[outcome]);
  bar({ score, threshold }, outcome && COLOUR[outcome]);
  for (const step of steps) {
    const name = `${inLanguage(CHECK_TITLE[step.check]).toLowerCase()}: ${step.outcome ?? inLanguage("failed")}`;
    bar(step, step.outcome === null ? undefined : COLOUR[step.outcome], name);
  }
  say(summary);
  for (const [title, facts] of details) list(title, facts);
  if (warnings.length > 0) say(inLanguage("Warnings:"), "", "bold");
  for (const { tag, effect, meaning, advice } of warnings) {
    say(`${tag} (${effect})`, "  ", COLOUR[effect]);
    say(meaning, "    ");
    say(advice, "    ", "bold");
  }
  const advised = warnings.map(({ advice }) => advice);
  list(
    "Next",
    nextSteps.filter((step) => !advised.includes(step)),
  );
  say(inLanguage(took(timings)), "", "dim");
  return lines.join("\n");

  function list(title: string, items: readonly string[]): void {
    if (items.length === 0) return;
    say(inLanguage(`${title}:`), "", "bold");
    for (const item of items) say(item, "  ");
  }
}

interface Scored {
  readonly score?: number | null | undefined;
  readonly threshold?: number | null | undefined;
}

/** 0..100 on a line, with a mark where the threshold is. */
function barOf(score: number, threshold: number | null, cells: number): string {
  const full = Math.round((score / 100) * cells);
  const mark = threshold === null ? -1 : Math.min(Math.round((threshold / 100) * cells), cells - 1);
  return Array.from({ length: cells }, (_, at) => (at === mark ? "┃" : at < full ? "█" : "░")).join("");
}

/** "Took 0.42 s: reading 0.01 s, detecting 0.41 s." */
function took(timings: ReadonlyMap<string, number>): string {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
  const total = [...timings.values()].reduce((sum, ms) => sum + ms, 0);
  const parts = [...timings].map(([stage, ms]) => `${stage} ${seconds(ms)}`);
  return `Took ${seconds(total)}${parts.length > 1 ? `: ${parts.join(", ")}` : ""}.`;
}

/** Measures stages, each of which lasts until the next begins. */
export function stopwatch() {
  const timings = new Map<string, number>();
  let [stage, since] = ["starting", performance.now()];
  const begin = (next: string) => {
    const now = performance.now();
    timings.set(stage, (timings.get(stage) ?? 0) + now - since);
    [stage, since] = [next, now];
  };
  return {
    begin,
    end(): ReadonlyMap<string, number> {
      begin("");
      return timings;
    },
  };
}
