import { BANDS, PICTURE, showBeside } from "../appearance.ts";
import type { Decision } from "../decision/decision.ts";
import type { SearchDecision } from "../decision/search.ts";
import { OUTCOMES } from "../warnings.ts";
import type { Words } from "./words.ts";

// The decision card: shows one result in a frame of the host (MCP Apps). What it shows of the result is set as text and
// never as markup, and it sends the host nothing but its height.

/** In the reader's language: the server writes them into the page. */
const WORDS: Words = JSON.parse(document.getElementById("words")?.textContent ?? "");

type Outcome = (typeof OUTCOMES)[number];
type Step = Partial<Decision> & Pick<Decision, "check" | "summary"> & { readonly outcome: Outcome | null };
type Shown = Decision & Partial<Pick<SearchDecision, "matches">> & { readonly steps?: readonly Step[] };
type Match = SearchDecision["matches"][number];
type Face = NonNullable<Decision["detected_faces"]>[number];

interface Block {
  readonly type: string;
  readonly text?: string;
  readonly data?: string;
  readonly mimeType?: string;
}
interface ToolResult {
  readonly content?: readonly Block[];
  readonly structuredContent?: unknown;
  readonly isError?: boolean;
}

const SIGNS = { approved: "✓", review: "!", declined: "✕", undecided: "–" } as const;
type Tone = keyof typeof SIGNS;

/** Longer JSON would make the frame slow. */
const MAX_RAW_CHARS = 200_000;

const root = document.documentElement;
const main = document.querySelector("main") ?? document.body;
/** Screen readers announce what changes in it. */
const header = document.createElement("div");
header.setAttribute("role", "status");

// What is shown

function showWaiting(): void {
  header.replaceChildren(make("p", "soft", WORDS.waiting));
  main.replaceChildren(header);
}

/** No decision, or none that the card understands: what there is in words. */
function showTexts(word: string, texts: readonly string[]): void {
  headline("undecided", word);
  main.replaceChildren(header, ...texts.flatMap((text) => text.split("\n")).map((line) => make("p", "", line)));
}

function showResult({ content = [], structuredContent, isError }: ToolResult): void {
  const texts = content.flatMap(({ type, text }) => (type === "text" && text !== undefined ? [text] : []));
  if (isError === true) {
    showTexts(WORDS.undecided, texts);
    return;
  }
  const [text = "", json = ""] = texts;
  try {
    // Not every host passes the structured result on; the second text is the same.
    const result: unknown = structuredContent ?? JSON.parse(json);
    if (!isDecision(result)) throw new Error("not a decision");
    showDecision(result, content);
  } catch {
    showTexts(WORDS.unreadable, [text]);
  }
}

function isDecision(value: unknown): value is Shown {
  return typeof value === "object" && value !== null && OUTCOMES.some((it) => it === Reflect.get(value, "outcome"));
}

function showDecision(result: Shown, content: readonly Block[]): void {
  const { check, provider, outcome, summary, warnings, next_steps, reference, matches = [], steps = [] } = result;
  headline(outcome, wordOf(result), `${WORDS.checks[check]} · ${WORDS.providers[provider]}`);
  const advised = warnings.map(({ advice }) => advice);
  const left = next_steps.filter((step) => !advised.includes(step));
  const body = [
    make(
      "p",
      "",
      steps.reduce((text, step) => text.replace(step.summary, ""), summary),
    ),
    ...scale(result),
    ...section(WORDS.steps, list(steps.map(stepOf))),
    ...section(WORDS.pictures, ...picturesOf(result, content)),
    ...section(WORDS.matches, list(matches.map(matchOf))),
    ...section(WORDS.warnings, list(warnings.map(warningOf))),
    ...section(
      WORDS.nextSteps,
      list(
        left.map((step) => make("li", "", make("span", "", step))),
        "ol",
        "next",
      ),
    ),
    ...(reference === null ? [] : [make("p", "soft reference", `${WORDS.reference} `, make("bdi", "", reference))]),
    ...rawOf(result),
  ];
  main.className = outcome;
  main.replaceChildren(header, ...body);
}

function headline(tone: Tone, word: string, what?: string): void {
  const sign = make("span", "sign", SIGNS[tone]);
  sign.ariaHidden = "true";
  header.className = `head ${tone}`;
  header.replaceChildren(
    make("h1", "", sign, make("span", "", word)),
    ...(what === undefined ? [] : [make("p", "soft what", what)]),
  );
}

/** Of 0..100: labels that are closer would touch on a narrow card. */
const ROOM_FOR_LABEL = 8;

/** The score in words, and on its bands. What the bands show is in the words too. */
function scale({ check, score = null, threshold = null }: Partial<Decision>): HTMLElement[] {
  if (score === null) return [];
  const of = check === "face_search" ? WORDS.nearest : WORDS.score;
  const words = make("p", "score", make("span", "", make("b", "", showBeside(score, [threshold])), ` ${of}`));
  if (threshold !== null) words.append(make("span", "soft", `${WORDS.threshold} ${threshold}`));
  const bands: readonly number[] = check === "face_match" || check === "face_search" ? BANDS[check] : [];
  const edges = [...new Set([0, ...bands, ...(threshold === null ? [] : [threshold]), 100])].sort((a, b) => a - b);
  const drawn = make("div", "scale");
  drawn.ariaHidden = "true";
  // A search counts faces from its threshold on, and declines nothing below it.
  const limit = check === "face_search" ? null : threshold;
  const isClear = (edge: number) => limit === null || edge === limit || Math.abs(edge - limit) > ROOM_FOR_LABEL;
  drawn.append(
    ...edges.slice(1).map((to, at) => {
      const isBelow = limit !== null && to <= limit;
      return at100(make("i", isBelow ? "below" : ""), { from: edges[at] ?? 0, to });
    }),
    ...(limit === null ? [] : [at100(make("s"), { at: limit })]),
    ...edges
      .slice(1, -1)
      .filter(isClear)
      .map((at) => at100(make("small", at === limit ? "limit" : "", String(at)), { at })),
    at100(make("em"), { at: score }),
  );
  return [words, drawn];
}

/** Of 0..100, as the style sheet uses them. */
function at100(element: HTMLElement, places: Readonly<Record<string, number>>): HTMLElement {
  for (const [name, value] of Object.entries(places)) element.style.setProperty(`--${name}`, `${value}%`);
  return element;
}

function stepOf(step: Step): HTMLElement {
  const tone = step.outcome ?? "undecided";
  const row = make("div", "row", make("h3", "", WORDS.checks[step.check]), make("span", "word", wordOf(step)));
  return make("li", tone, row, make("p", "", step.summary), ...scale(step));
}

/** Of a search, "approved" alone could be read as "found". */
const wordOf = ({ check, outcome }: Pick<Step, "check" | "outcome">) =>
  check === "face_search" && outcome === "approved"
    ? `${outcome} (${WORDS.nothingFound})`
    : (outcome ?? WORDS.undecided);

function matchOf({ similarity, band, label, vendor_data, session_id, id, blocklisted, allowlisted }: Match) {
  const marks = [
    WORDS.bands[band],
    ...(blocklisted ? [WORDS.blocklisted] : []),
    ...(allowlisted ? [WORDS.cleared] : []),
  ].join(", ");
  const name = make("bdi", "", label ?? WORDS.noLabel);
  const known = [vendor_data, session_id ?? id].flatMap((it) => (it === null ? [] : [make("bdi", "", it)]));
  return make(
    "li",
    blocklisted ? "declined" : "",
    make("div", "row", name, make("span", blocklisted ? "word" : "", `${showBeside(similarity, [70, 90])}: ${marks}`)),
    make("p", "soft", ...known.flatMap((it, at) => (at === 0 ? [it] : [" · ", it]))),
  );
}

function warningOf({ tag, effect, meaning, advice }: Decision["warnings"][number]): HTMLElement {
  const row = make("div", "row", make("code", "", tag), make("span", "word", effect));
  return make("li", effect, row, make("p", "", meaning), make("p", "advice", advice));
}

/**
 * The picture of the result where the call asked for one, without the words below it, which the card has. Else the boxes
 * alone, and only those of the device: others may be of a photo that is displayed otherwise.
 */
function picturesOf(result: Shown, content: readonly Block[]): HTMLElement[] {
  const { provider, score, images, detected_faces } = result;
  const faces = detected_faces ?? [];
  const picture = content.find(({ type }) => type === "image");
  if (picture !== undefined) return [photo(picture, score), ...factsOf(faces)];
  if (provider !== "on-device") return factsOf(faces);
  const drawn = images.flatMap((image, at) => {
    const which = at === 0 ? "user" : "reference";
    const own = faces.filter(({ image, box }) => image === which && box !== null);
    return own.length === 0 ? [] : [schematic(image, own)];
  });
  return [...(drawn.length === 0 ? [] : [make("div", "pictures", ...drawn)]), ...factsOf(faces)];
}

function photo({ data = "", mimeType = "" }: Block, score: number | null): HTMLElement {
  const it = document.createElement("img");
  it.className = "photo";
  it.alt = WORDS.photo;
  const { margin, words, scale } = PICTURE;
  const foot = margin + words + (score === null ? 0 : scale);
  it.style.setProperty("object-view-box", `inset(${margin}px ${margin}px ${foot}px)`); // where unknown, all of it is seen
  // Before the colon nothing but an image's type, so that it cannot be another kind of address.
  if (/^image\/(jpeg|png)$/.test(mimeType)) it.src = `data:${mimeType};base64,${data}`;
  return it;
}

/** The image as an empty frame of its shape, with the boxes where the faces are. */
function schematic({ width, height }: Decision["images"][number], faces: readonly Face[]): Element {
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  for (const [at, { box }] of faces.entries()) {
    if (box === null) continue;
    const { left: x, top: y, right, bottom } = box;
    svg.append(draw("rect", { x, y, width: right - x, height: bottom - y, class: at === 0 ? "judged" : "" }));
  }
  return svg;
}

function factsOf(faces: readonly Face[]): HTMLElement[] {
  return faces.map(({ image, box, quality, luminance }) => {
    const facts = [
      ...(box === null ? [] : [`${Math.round(box.right - box.left)} × ${Math.round(box.bottom - box.top)} px`]),
      ...(quality === null ? [] : [`${WORDS.quality} ${showBeside(quality, [])}`]),
      ...(luminance === null ? [] : [`${WORDS.luminance} ${showBeside(luminance, [])}`]),
    ];
    return make("p", "soft", `${WORDS.faces[image]}: ${facts.join(", ")}`);
  });
}

/** Written once it is opened: it can be long. */
function rawOf({ raw }: Shown): HTMLElement[] {
  if (raw === undefined || raw === null) return [];
  const details = make("details", "", make("summary", "", WORDS.raw));
  details.addEventListener("toggle", () => {
    if (details.childElementCount > 1) return;
    const json = visible(JSON.stringify(raw, null, 2));
    const pre = make("pre", "", json.slice(0, MAX_RAW_CHARS));
    pre.tabIndex = 0; // it scrolls, also by the keyboard
    pre.role = "region";
    pre.ariaLabel = WORDS.raw;
    details.append(pre, ...(json.length > MAX_RAW_CHARS ? [make("p", "soft", WORDS.rawIsCut)] : []));
  });
  return [details];
}

/** Characters that cannot be seen, or turn the text around, as JSON escapes them. */
const visible = (json: string) =>
  json.replace(/[\u007f-\u009f\p{Cf}\p{Co}\u2028\u2029]/gu, (character) =>
    character
      .split("")
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
      .join(""),
  );

function section(title: string, ...parts: readonly Element[]): HTMLElement[] {
  const full = parts.filter((it) => !it.matches("ul:empty, ol:empty"));
  if (full.length === 0) return [];
  const heading = make("h2", "", title);
  const it = make("section", "", heading, ...full);
  heading.id = title.replaceAll(/\W/g, "-");
  it.setAttribute("aria-labelledby", heading.id);
  return [it];
}

const list = (items: readonly Element[], tag = "ul", className = "list") => make(tag, className, ...items);

/** An element with text and elements in it, never with markup. */
function make(tag: string, className = "", ...parts: readonly (string | Node)[]): HTMLElement {
  const it = document.createElement(tag);
  if (className !== "") it.className = className;
  it.append(...parts); // of a string, `append` makes a text
  return it;
}

function draw(tag: string, attributes: Readonly<Record<string, string | number>>): Element {
  const it = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) it.setAttribute(name, String(value));
  return it;
}

// How it speaks with the host: JSON-RPC by messages, version 2026-01-26 of MCP Apps

const INITIALIZE = 1;
const METHOD_NOT_FOUND = -32_601;

const send = (message: object) => parent.postMessage({ jsonrpc: "2.0", ...message }, "*");

interface Context {
  readonly theme?: "light" | "dark";
}
const follow = ({ theme }: Context = {}) => {
  if (theme === "light" || theme === "dark") root.style.colorScheme = theme;
};

const NOTICES: Readonly<Record<string, (params: never) => void>> = {
  "ui/notifications/tool-result": showResult,
  "ui/notifications/tool-cancelled": () => showTexts(WORDS.undecided, [WORDS.cancelled]),
  "ui/notifications/host-context-changed": follow,
};
/** Requests that want no more than an answer. */
const ANSWERED: readonly unknown[] = ["ping", "ui/resource-teardown"];

addEventListener("message", ({ source, data }: MessageEvent) => {
  if (source !== parent || data?.jsonrpc !== "2.0") return;
  const { id, method, params, result } = data;
  if (method === undefined && id === INITIALIZE && result !== undefined) {
    follow(result.hostContext);
    send({ method: "ui/notifications/initialized", params: {} });
    new ResizeObserver(() => {
      const height = Math.ceil(root.getBoundingClientRect().height);
      send({ method: "ui/notifications/size-changed", params: { height } });
    }).observe(root);
  } else if (method !== undefined && id !== undefined) {
    const error = { code: METHOD_NOT_FOUND, message: "The card does not know this method." };
    send(ANSWERED.includes(method) ? { id, result: {} } : { id, error });
  } else if (Object.hasOwn(NOTICES, method)) {
    NOTICES[method]?.(params as never);
  }
});

showWaiting();
send({
  id: INITIALIZE,
  method: "ui/initialize",
  params: {
    appInfo: { name: "decision-card", version: "1" },
    appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
    protocolVersion: "2026-01-26",
  },
});
