// What all that shows a result has in common: pages, pictures, the decision card.

/** [on a light ground, on a dark one]. An outcome's is dark or light enough to be read, and never without its word. */
export const COLOURS = {
  approved: ["#1a7f37", "#57c26f"],
  review: ["#9a6700", "#e0b03f"],
  declined: ["#cf222e", "#ff7b72"],
  bg: ["#fcfcfb", "#121417"],
  card: ["#ffffff", "#1a1d22"],
  ink: ["#16181d", "#eceef2"],
  soft: ["#5c626d", "#a0a7b3"],
  line: ["#e3e4e8", "#2c313a"],
  track: ["#d0d7de", "#3b424d"],
  grid: ["#eceef1", "#262a32"],
  genuine: ["#1f6fd6", "#6aa9ff"],
  impostor: ["#d9541e", "#ff8a5c"],
  mark: ["#3b3f47", "#c9ced8"],
  note: ["#fff6df", "#33290f"],
  "note-ink": ["#6b4a00", "#f3d48a"],
} as const satisfies Record<string, readonly [string, string]>;

/** The same as variables of a page, which follow the scheme that it is shown in. */
export const COLOUR_VARIABLES = `:root{color-scheme:light dark;${Object.entries(COLOURS)
  .map(([name, [light, dark]]) => `--${name}:light-dark(${light},${dark})`)
  .join(";")}}`;

/** Where the words for a score change, 0..100. */
export const BANDS = { face_match: [30, 50, 70, 90], face_search: [70, 90] } as const;

/** Of the picture of a result, in pixels: what is around the photos, and what stands below them, of which `scale` only with a score. */
export const PICTURE = { margin: 16, words: 80, scale: 52 } as const;

export const show = (n: number) => String(Math.round(n * 10) / 10);
/** Not rounded if that would put it on a limit that it misses. */
export const showBeside = (score: number, limits: readonly (number | null | undefined)[]) =>
  limits.some((limit) => typeof limit === "number" && show(score) === show(limit)) ? String(score) : show(score);
