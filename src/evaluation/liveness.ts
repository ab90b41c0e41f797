import { type Case, SHOWN_CASES } from "./cases.ts";
import type { Group, ImageFolder } from "./folder.ts";
import {
  type Comparison,
  compare,
  type Estimate,
  proportion,
  resample,
  settable,
  Tally,
  thresholdForRejects,
} from "./statistics.ts";

export interface LivenessEvaluation {
  readonly live: number;
  readonly attacks: number;
  readonly comparison: Comparison;
  readonly inForce: LivenessPoint;
  /** null: too few live images. */
  readonly suggested: LivenessPoint | null;
  /** Attacks that look the most alive, and live people who look the least so. */
  readonly passedAttacks: readonly Case[];
  readonly refusedLive: readonly Case[];
}

/** ISO/IEC 30107-3: APCER is that of the kind of attack that passes most often; ACER is the mean of both. */
export interface LivenessPoint {
  /** 0..100. */
  readonly threshold: number;
  readonly apcer: Estimate & { readonly attack: string };
  readonly bpcer: Estimate;
  /** 0..1. */
  readonly acer: number;
  readonly byAttack: readonly (Estimate & { readonly attack: string; readonly images: number })[];
}

/** Of live people at most this share is refused at the suggested threshold. */
const WANTED_BPCER = 0.1;
/** As many as the rule of three asks for. */
const LEAST_LIVE = 30;
export function livenessOf(
  { live, attacks }: ImageFolder,
  scores: ReadonlyMap<string, number>,
  { shown }: { readonly shown: (file: string) => string },
  threshold: number,
): LivenessEvaluation | null {
  const scored = ({ name, files }: Group) => ({
    name,
    cases: files.flatMap((file) => {
      const score = scores.get(file);
      return score === undefined ? [] : [{ score, files: [shown(file)] }];
    }),
  });
  const alive = scored({ name: "live", files: live }).cases;
  const kinds = attacks.map(scored).filter(({ cases }) => cases.length > 0);
  const all = kinds.flatMap(({ cases }) => cases);
  const tallyOf = (cases: readonly Case[], seed: number) => {
    const tally = new Tally(resample(cases.length, seed));
    for (const [unit, { score }] of cases.entries()) tally.add(score, unit);
    return tally;
  };
  const comparison = compare(tallyOf(alive, 2), tallyOf(all, 3));
  if (comparison === undefined) return null;

  function pointAt(at: number): LivenessPoint {
    const passing = (cases: readonly Case[]) => cases.filter(({ score }) => score > at).length;
    const byAttack = kinds.map(({ name, cases }) => ({
      attack: name,
      images: cases.length,
      ...proportion(passing(cases), cases.length),
    }));
    const apcer = byAttack.reduce((one, other) => (other.value > one.value ? other : one));
    const bpcer = proportion(alive.length - passing(alive), alive.length);
    return { threshold: at, apcer, bpcer, acer: (apcer.value + bpcer.value) / 2, byAttack };
  }
  const highest = alive.length < LEAST_LIVE ? null : thresholdForRejects(comparison.curve, WANTED_BPCER);
  const byScore = (sign: number) => (a: Case, b: Case) => sign * (a.score - b.score);
  return {
    live: alive.length,
    attacks: all.length,
    comparison,
    inForce: pointAt(threshold),
    suggested: highest === null ? null : pointAt(settable(highest, Math.floor)),
    passedAttacks: all.toSorted(byScore(-1)).slice(0, SHOWN_CASES),
    refusedLive: alive.toSorted(byScore(1)).slice(0, SHOWN_CASES),
  };
}
