import { type Case, type Sighting, worst } from "./cases.ts";
import type { Pair } from "./pairs.ts";
import {
  type Comparison,
  compare,
  type OperatingPoint,
  resample,
  settable,
  Tally,
  thresholdForFar,
} from "./statistics.ts";

export interface MatchEvaluation {
  readonly persons: number;
  readonly images: number;
  readonly comparison: Comparison;
  /** The threshold in force, and what it takes to be approved. */
  readonly inForce: OperatingPoint;
  readonly approval: OperatingPoint;
  /** null: too few pairs of two persons. */
  readonly suggested: (OperatingPoint & { readonly far: number }) | null;
  /** Pairs of two persons that are the most alike, and pairs of one that are the least. */
  readonly falseMatches: readonly Case[];
  readonly falseNonMatches: readonly Case[];
}

/** A FAR at which the threshold is suggested, where there are enough pairs to tell; else the next. */
const WANTED_FARS = [0.001, 0.01] as const;
/** A photograph that was read. */
export interface Photo {
  readonly file: string;
  readonly hash: string;
  readonly person: number;
}

export const filesOf = (places: readonly number[], photos: readonly Photo[]) =>
  places.map((place) => photos[place]?.file ?? "");

export type TallyPair = (kind: "genuine" | "impostor", pair: Pair, score: number) => void;

export async function compareAll(
  photos: readonly Photo[],
  scoreThem: (tally: TallyPair) => Promise<void>,
  { shown: shownAs }: { readonly shown: (file: string) => string },
  thresholds: { readonly match: number; readonly approval: number },
): Promise<MatchEvaluation | null> {
  const persons = new Map([...new Set(photos.map(({ person }) => person))].map((person, unit) => [person, unit]));
  const units = photos.map(({ person }) => persons.get(person) ?? 0);
  const drawn = resample(persons.size);
  const tallies = { genuine: new Tally(drawn), impostor: new Tally(drawn) };
  const alike = worst((score) => score);
  const unlike = worst((score) => -score);
  await scoreThem((kind, [one, other], score) => {
    const [unit, otherUnit] = [units[one] ?? 0, units[other] ?? 0];
    tallies[kind].add(score, unit, kind === "genuine" ? undefined : otherUnit);
    (kind === "genuine" ? unlike : alike).see(score, one, other);
  });
  const comparison = compare(tallies.genuine, tallies.impostor);
  if (comparison === undefined) return null;
  const [far] = WANTED_FARS.filter((rate) => comparison.impostor >= 3 / rate);
  const shown = (cases: readonly Sighting[]) =>
    cases.map(({ score, places }) => ({ score, files: filesOf(places, photos).map(shownAs) }));
  return {
    persons: persons.size,
    images: photos.length,
    comparison,
    inForce: comparison.pointAt(thresholds.match),
    approval: comparison.pointAt(thresholds.approval),
    suggested:
      far === undefined
        ? null
        : { far, ...comparison.pointAt(settable(thresholdForFar(comparison.curve, far), Math.ceil)) },
    falseMatches: shown(alike.cases()),
    falseNonMatches: shown(unlike.cases()),
  };
}
