import { scaleLinear, scaleLog } from "d3-scale";
import { area, curveStepAfter, line } from "d3-shape";
import { percent } from "./figures.ts";
import type { Counts, Curve } from "./statistics.ts";

// Charts as static SVG, coloured by the page's style sheet: classes alone, so that light and dark are one picture.

const WIDTH = 480;
/** Two charts and what lies between them. */
const WIDE = 990;
const HEIGHT = 300;
const MARGIN = { top: 14, right: 26, bottom: 44, left: 58 };
const RIGHT = WIDTH - MARGIN.right;
const BOTTOM = HEIGHT - MARGIN.bottom;

interface Axis {
  readonly label: string;
  readonly ticks: readonly number[];
  readonly format: (value: number) => string;
  readonly scale: (value: number) => number;
}

/** A threshold, marked where it lies. */
export interface Mark {
  readonly at: number;
  readonly name: string;
}

export interface Names {
  readonly genuine: string;
  readonly impostor: string;
  /** The shares of an error, as the field calls them. */
  readonly falseAccepts: string;
  readonly falseRejects: string;
}

/** Points of 0..100 to a bar. */
const BAR = 2;

/** Both kinds by their scores; the height is logarithmic, since errors are in the tails. */
export function histogram(
  counts: { readonly genuine: Counts; readonly impostor: Counts },
  names: Names,
  marks: readonly Mark[],
): string {
  const [genuine, impostor] = [barsOf(counts.genuine), barsOf(counts.impostor)];
  const least = Math.min(...[...genuine, ...impostor].filter((share) => share > 0));
  const floor = 10 ** Math.floor(Math.log10(least));
  const x = scaleLinear([0, 100], [MARGIN.left, WIDE - MARGIN.right]);
  const y = scaleLog([floor / 2, 1], [BOTTOM, MARGIN.top]).clamp(true);
  const steps = (shares: readonly number[]) =>
    [...shares, shares.at(-1) ?? 0].map((share, i) => [i * BAR, share] as const);
  const filled = area<readonly [number, number]>()
    .x(([at]) => x(at))
    .y0(BOTTOM)
    .y1(([, share]) => y(share))
    .curve(curveStepAfter)
    .digits(1);
  const drawn = (kind: string, shares: readonly number[]) =>
    `<path class="${kind} fill" d="${filled(steps(shares))}"/>`;
  const lines = marks.map(({ at, name }, i) => {
    const place = x(at).toFixed(1);
    const side = at > 70 ? { anchor: "end", shift: -5 } : { anchor: "start", shift: 5 };
    const label = `<text class="mark-label" x="${x(at) + side.shift}" y="${MARGIN.top + 10 + 14 * i}" text-anchor="${side.anchor}">${name} ${at}</text>`;
    return `<line class="mark" x1="${place}" x2="${place}" y1="${MARGIN.top}" y2="${BOTTOM}"/>${label}`;
  });
  return chart(
    `Histogram: ${names.genuine} and ${names.impostor} by score`,
    { label: "score", ticks: x.ticks(10), format: String, scale: x },
    { label: "share of each kind", ticks: decades(floor, 1), format: percent, scale: y },
    [drawn("impostor", impostor), drawn("genuine", genuine), ...lines].join(""),
    WIDE,
  );
}

function barsOf(counts: Counts): number[] {
  const bars = new Array<number>(100 / BAR).fill(0);
  for (const [step, count] of counts.entries()) {
    const bar = Math.min(bars.length - 1, Math.floor(step / 100 / BAR));
    bars[bar] = (bars[bar] ?? 0) + count;
  }
  const total = bars.reduce((sum, bar) => sum + bar, 0);
  return bars.map((bar) => bar / total);
}

/** A threshold on the curve, by its two rates. */
export interface Dot {
  readonly far: number;
  readonly tar: number;
  readonly name: string;
}

/** TAR over FAR, from the least that so many scores can tell. */
export function roc(curve: Curve, impostors: number, names: Names, dots: readonly Dot[]): string {
  const least = leastOf(impostors);
  const x = scaleLog([least, 1], [MARGIN.left, RIGHT]).clamp(true);
  const y = scaleLinear([0, 1], [BOTTOM, MARGIN.top]);
  const points = Array.from(curve.far, (far, cut) => ({ x: x(Math.max(far, least)), y: y(curve.tar[cut] ?? 0) }));
  return chart(
    `ROC: 1 less the ${names.falseRejects} over the ${names.falseAccepts}`,
    { label: names.falseAccepts, ticks: decades(least, 1), format: percent, scale: x },
    { label: `1 − ${names.falseRejects}`, ticks: y.ticks(5), format: percent, scale: y },
    pathOf(points) + dots.map((dot) => dotAt(x(Math.max(dot.far, least)), y(dot.tar), 17, dot)).join(""),
  );
}

const DET_TICKS = [0.0001, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8] as const;

/** Both errors on normal deviates, where two normal distributions give a straight line. */
export function det(
  curve: Curve,
  counts: { genuine: number; impostor: number },
  names: Names,
  dots: readonly Dot[],
): string {
  const least = Math.min(leastOf(counts.impostor), leastOf(counts.genuine), 0.01);
  const [from, to] = [
    deviate(least),
    deviate(Math.max(0.6, ...dots.flatMap((dot) => [dot.far, 1 - dot.tar]).filter((rate) => rate < 0.95))),
  ];
  const within = (rate: number) => Math.min(to, Math.max(from, deviate(rate)));
  const wide = scaleLinear([from, to], [MARGIN.left, RIGHT]);
  const high = scaleLinear([from, to], [BOTTOM, MARGIN.top]);
  const [x, y] = [(rate: number) => wide(within(rate)), (rate: number) => high(within(rate))];
  const points = Array.from(curve.far, (far, cut) => ({ x: x(far), y: y(1 - (curve.tar[cut] ?? 0)) }));
  const ticks = DET_TICKS.filter((tick) => tick >= least && deviate(tick) <= to);
  const diagonal = `<line class="guide" x1="${x(0)}" y1="${y(0)}" x2="${x(1)}" y2="${y(1)}"/>`;
  return chart(
    `DET: ${names.falseRejects} over ${names.falseAccepts}, on normal deviates`,
    { label: names.falseAccepts, ticks, format: percent, scale: x },
    { label: names.falseRejects, ticks, format: percent, scale: y },
    diagonal + pathOf(points) + dots.map((dot) => dotAt(x(dot.far), y(1 - dot.tar), -7, dot)).join(""),
  );
}

/** One in so many is the least that they can show. */
const leastOf = (count: number) => 10 ** Math.max(-5, Math.floor(Math.log10(1 / count)));

function decades(from: number, to: number): number[] {
  const first = Math.ceil(Math.log10(from) - 1e-9);
  const last = Math.floor(Math.log10(to) + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number((10 ** (first + i)).toPrecision(1)));
}

/** The normal deviate of a probability (Abramowitz and Stegun 26.2.23, within 0.0005: less than a tenth of a pixel). */
export function deviate(probability: number): number {
  const p = Math.min(1 - 1e-9, Math.max(1e-9, probability));
  if (p > 0.5) return -deviate(1 - p);
  const t = Math.sqrt(-2 * Math.log(p));
  const over = 2.515517 + t * (0.802853 + t * 0.010328);
  return over / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t;
}

/** Ten thousand cuts share a few hundred pixels: each place once. */
function pathOf(points: readonly { readonly x: number; readonly y: number }[]): string {
  const places = points.map(({ x, y }) => [Number(x.toFixed(1)), Number(y.toFixed(1))] as const);
  const apart = places.filter(([x, y], i) => i === 0 || x !== places[i - 1]?.[0] || y !== places[i - 1]?.[1]);
  return `<path class="curve" d="${line().digits(1)(apart.map(([x, y]) => [x, y]))}"/>`;
}

/** `below`: pixels from the dot to its name, on the side where the curve does not go on. */
function dotAt(x: number, y: number, below: number, { name, far, tar }: Dot): string {
  const title = `<title>${name}: ${percent(far)} and ${percent(1 - tar)}</title>`;
  const [dx, anchor] = x > RIGHT - 90 ? [-8, "end"] : [8, "start"];
  const place = Math.min(BOTTOM - 6, Math.max(MARGIN.top + 12, y + below));
  const label = `<text class="mark-label" x="${(x + dx).toFixed(1)}" y="${place.toFixed(1)}" text-anchor="${anchor}">${name}</text>`;
  return `<circle class="dot" cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="4.5">${title}</circle>${label}`;
}

function chart(title: string, x: Axis, y: Axis, content: string, width = WIDTH): string {
  const right = width - MARGIN.right;
  const down = x.ticks.map((tick) => {
    const place = x.scale(tick).toFixed(1);
    return `<line class="grid" x1="${place}" x2="${place}" y1="${MARGIN.top}" y2="${BOTTOM}"/><text x="${place}" y="${BOTTOM + 17}" text-anchor="middle">${x.format(tick)}</text>`;
  });
  const across = y.ticks.map((tick) => {
    const place = y.scale(tick).toFixed(1);
    return `<line class="grid" x1="${MARGIN.left}" x2="${right}" y1="${place}" y2="${place}"/><text x="${MARGIN.left - 7}" y="${place}" dy="0.32em" text-anchor="end">${y.format(tick)}</text>`;
  });
  const middle = (MARGIN.left + right) / 2;
  const half = (MARGIN.top + BOTTOM) / 2;
  const labels =
    `<text class="axis" x="${middle}" y="${HEIGHT - 8}" text-anchor="middle">${x.label}</text>` +
    `<text class="axis" x="${-half}" y="13" transform="rotate(-90)" text-anchor="middle">${y.label}</text>`;
  return `<svg viewBox="0 0 ${width} ${HEIGHT}" role="img" aria-label="${title}">${down.join("")}${across.join("")}${content}${labels}</svg>`;
}
