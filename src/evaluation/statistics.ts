// What can be said of scores of two kinds, of which the first should be high (pairs of one person, live people) and the
// second low (pairs of two people, attacks). A score passes where it is above the threshold, as everywhere here.

/** Scores are 0..100 with two decimals, as providers round them: one count for each loses nothing, however many there are. */
export const STEPS = 10_001;
export const stepOf = (score: number) => Math.min(STEPS - 1, Math.max(0, Math.round(score * 100)));

/** How many scores there are of each step. */
export type Counts = Float64Array;

/** Of a rate 0..1, or of an area: 95 %. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

export interface Estimate {
  readonly value: number;
  readonly interval: Interval;
}

/** The rates of one threshold, each 0..1. */
export interface OperatingPoint {
  /** 0..100: what is at or below it does not pass. */
  readonly threshold: number;
  /** Of the second kind: the share that passes (false match rate; APCER). */
  readonly falseAccepts: Estimate;
  /** Of the first kind: the share that does not pass (false non-match rate; BPCER). */
  readonly falseRejects: Estimate;
}

/** TAR at a FAR; null where there are too few pairs to tell. */
export interface TrueAccepts {
  /** 0..1. */
  readonly far: number;
  readonly tar: Estimate | null;
  /** 0..100, the lowest that keeps to the FAR; null as well. */
  readonly threshold: number | null;
}

export interface Separation {
  /** How many scores of each kind. */
  readonly genuine: number;
  readonly impostor: number;
  /** That one of the first kind is above one of the second; equal ones count half. */
  readonly auc: Estimate;
  readonly eer: Estimate & { readonly threshold: number };
  readonly trueAccepts: readonly TrueAccepts[];
}

export const FARS = [0.01, 0.001, 0.0001] as const;

/** Without one error among so many over the rate, it is not yet below the rate: the rule of three. */
export const neededFor = (rate: number) => Math.ceil(3 / rate - 1e-6);

/** By a cut 0..10,001: how many are at or above it. The threshold of a cut is the step below it. */
function passingOf(counts: Counts): Float64Array {
  const passing = new Float64Array(STEPS + 1);
  for (let step = STEPS - 1; step >= 0; step -= 1) passing[step] = at(passing, step + 1) + at(counts, step);
  return passing;
}

const at = (counts: Float64Array, index: number) => counts[index] ?? 0;
const totalOf = (counts: Counts) => counts.reduce((sum, count) => sum + count, 0);
/** The cut that accepts all has no threshold of its own: 0 is the least that can be set. */
const thresholdOf = (cut: number) => Math.max(0, cut - 1) / 100;
const cutOf = (threshold: number) => Math.floor(threshold * 100 + 1e-6) + 1;

export interface Curve {
  /** Of each cut, from that which lets all pass to that which lets none. */
  readonly far: Float64Array;
  readonly tar: Float64Array;
}

export function curveOf(genuine: Counts, impostor: Counts): Curve {
  const share = (counts: Counts) => {
    const passing = passingOf(counts);
    const all = at(passing, 0);
    return passing.map((count) => count / all);
  };
  return { far: share(impostor), tar: share(genuine) };
}

export function aucOf(genuine: Counts, impostor: Counts): number {
  let below = 0;
  let wins = 0;
  for (let step = 0; step < STEPS; step += 1) {
    wins += at(genuine, step) * (below + at(impostor, step) / 2);
    below += at(impostor, step);
  }
  return wins / (totalOf(genuine) * below);
}

/** Of a share that is one less another. */
const ROUNDING = 1e-12;

/** Where both errors are equally frequent, on the straight line between the two cuts on either side of it. */
export function eerOf({ far, tar }: Curve): { readonly rate: number; readonly threshold: number } {
  const gap = (cut: number) => at(far, cut) - (1 - at(tar, cut));
  let cut = 1;
  while (cut < STEPS && gap(cut) > ROUNDING) cut += 1;
  const share = gap(cut - 1) / (gap(cut - 1) - gap(cut));
  return { rate: at(far, cut - 1) + share * (at(far, cut) - at(far, cut - 1)), threshold: thresholdOf(cut) };
}

/** The lowest threshold at which at most this share of the second kind passes. */
export function thresholdForFar({ far }: Curve, rate: number): number {
  let cut = 1;
  while (cut < STEPS && at(far, cut) > rate) cut += 1;
  return thresholdOf(cut);
}

/** The highest threshold at which at most this share of the first kind does not pass; null: there is none. */
export function thresholdForRejects({ tar }: Curve, rate: number): number | null {
  let cut = STEPS;
  while (cut > 0 && 1 - at(tar, cut) > rate + ROUNDING) cut -= 1;
  return cut === 0 ? null : thresholdOf(cut);
}

/** Two-sided, 95 %. */
const Z = 1.959964;

/** Of `count` in `total` independent trials (Wilson 1927): sound for rates near 0 and 1, where others are not. */
export function wilson(count: number, total: number): Interval {
  if (total === 0) return { low: 0, high: 1 };
  const rate = count / total;
  const centre = rate + Z ** 2 / (2 * total);
  const half = Z * Math.sqrt((rate * (1 - rate)) / total + Z ** 2 / (4 * total ** 2));
  const scale = 1 + Z ** 2 / total;
  // Rounding must not put a rate of 0 or 1 outside its own interval.
  return {
    low: count === 0 ? 0 : (centre - half) / scale,
    high: count === total ? 1 : (centre + half) / scale,
  };
}

export const proportion = (count: number, total: number): Estimate => ({
  value: total === 0 ? 0 : count / total,
  interval: wilson(count, total),
});

/** How often everybody is drawn again for the intervals. */
export const RESAMPLINGS = 200;

/**
 * Draws as many units (persons, images) as there are, with replacement, again and again: how often each was drawn, by
 * unit and resampling. The same at every run.
 */
export function resample(units: number, seed = 1): Uint8Array {
  const drawn = new Uint8Array(units * RESAMPLINGS);
  const random = randomFrom(seed);
  for (let n = 0; n < RESAMPLINGS; n += 1) {
    for (let i = 0; i < units; i += 1) {
      const place = Math.floor(random() * units) * RESAMPLINGS + n;
      drawn[place] = (drawn[place] ?? 0) + 1;
    }
  }
  return drawn;
}

/** Numbers 0..1 that are the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Scores of one kind, and how often each of them is in each resampling: 16 MB, however many there are. */
export class Tally {
  readonly counts: Counts = new Float64Array(STEPS);
  readonly #drawn: Uint8Array;
  /** By step and resampling. */
  readonly #resampled = new Float64Array(STEPS * RESAMPLINGS);

  /** `drawn`: what `resample` made of the units that scores belong to. */
  constructor(drawn: Uint8Array) {
    this.#drawn = drawn;
  }

  /** A score of one unit, or of two together, which then is there as often as both were drawn. */
  add(score: number, unit: number, other?: number): void {
    const step = stepOf(score);
    this.counts[step] = at(this.counts, step) + 1;
    const [drawn, resampled] = [this.#drawn, this.#resampled];
    const [from, ofUnit, ofOther] = [step * RESAMPLINGS, unit * RESAMPLINGS, (other ?? 0) * RESAMPLINGS];
    for (let n = 0; n < RESAMPLINGS; n += 1) {
      const times = other === undefined ? 1 : (drawn[ofOther + n] ?? 0);
      resampled[from + n] = (resampled[from + n] ?? 0) + (drawn[ofUnit + n] ?? 0) * times;
    }
  }

  resampling(n: number): Counts {
    const counts = new Float64Array(STEPS);
    for (let step = 0; step < STEPS; step += 1) {
      // A look at what lies far away is slow, and most steps of a small set are empty.
      if (this.counts[step] !== 0) counts[step] = at(this.#resampled, step * RESAMPLINGS + n);
    }
    return counts;
  }
}

/** Two kinds, compared; each interval is that of the middle 95 % of the resamplings. */
export interface Comparison extends Separation {
  readonly curve: Curve;
  readonly counts: { readonly genuine: Counts; readonly impostor: Counts };
  pointAt(threshold: number): OperatingPoint;
}

/** undefined where one kind has no score. */
export function compare(genuine: Tally, impostor: Tally): Comparison | undefined {
  const counts = { genuine: genuine.counts, impostor: impostor.counts };
  const [genuines, impostors] = [totalOf(counts.genuine), totalOf(counts.impostor)];
  if (genuines === 0 || impostors === 0) return undefined;
  const curve = curveOf(counts.genuine, counts.impostor);
  const resamplings = Array.from({ length: RESAMPLINGS }, (_, n) => {
    const drawn = { genuine: genuine.resampling(n), impostor: impostor.resampling(n) };
    return { ...drawn, curve: curveOf(drawn.genuine, drawn.impostor) };
  }).filter(({ curve: { far, tar } }) => at(far, 0) === 1 && at(tar, 0) === 1); // none of one kind was drawn

  const intervalOf = (measure: (drawn: (typeof resamplings)[number]) => number) => middleOf(resamplings.map(measure));
  /** The resamplings of few errors are all too alike, and pairs of one person not independent: the wider of both. */
  const rate = (count: number, total: number, measure: (drawn: Curve) => number): Estimate => ({
    value: count / total,
    interval: hull(
      wilson(count, total),
      intervalOf((drawn) => measure(drawn.curve)),
    ),
  });
  const eer = eerOf(curve);
  return {
    genuine: genuines,
    impostor: impostors,
    curve,
    counts,
    auc: {
      value: aucOf(counts.genuine, counts.impostor),
      interval: intervalOf((drawn) => aucOf(drawn.genuine, drawn.impostor)),
    },
    eer: { value: eer.rate, threshold: eer.threshold, interval: intervalOf((drawn) => eerOf(drawn.curve).rate) },
    trueAccepts: FARS.map((far) => {
      if (impostors < neededFor(far)) return { far, tar: null, threshold: null };
      const threshold = thresholdForFar(curve, far);
      const tarOf = (its: Curve) => at(its.tar, cutOf(thresholdForFar(its, far)));
      return { far, threshold, tar: rate(Math.round(tarOf(curve) * genuines), genuines, tarOf) };
    }),
    pointAt(threshold) {
      const cut = cutOf(threshold);
      const accepted = Math.round(at(curve.far, cut) * impostors);
      const rejected = Math.round((1 - at(curve.tar, cut)) * genuines);
      return {
        threshold,
        falseAccepts: rate(accepted, impostors, ({ far }) => at(far, cut)),
        falseRejects: rate(rejected, genuines, ({ tar }) => 1 - at(tar, cut)),
      };
    },
  };
}

function middleOf(values: readonly number[]): Interval {
  const sorted = Float64Array.from(values).sort();
  const quantile = (share: number) => {
    const place = share * (sorted.length - 1);
    const [low, high] = [at(sorted, Math.floor(place)), at(sorted, Math.ceil(place))];
    return low + (high - low) * (place - Math.floor(place));
  };
  return { low: quantile(0.025), high: quantile(0.975) };
}

const hull = (one: Interval, other: Interval): Interval => ({
  low: Math.min(one.low, other.low),
  high: Math.max(one.high, other.high),
});

/** A share is not taken for a threshold: between 0 and 1 none can be set. */
export const settable = (threshold: number, round: (it: number) => number) =>
  threshold < 1 ? round(threshold) : threshold;
