import type { Curve } from "./models.ts";

// The curves stand in the pack. That of the shipped pack from cosine to similarity was fitted on public sets (1,895
// pairs of one person, 59,180 of two): of pairs of two people 0.91 % reach 30 and 0.002 % reach 70; of pairs of one
// person 99.7 % reach 30. The share depends on cameras and people, so it holds for images like those.

/** A similarity from which on a search reports a face. Below most resemble by chance. */
export const MIN_FOUND_SIMILARITY = 50;

/** Not rounded. */
export function scoreOn(curve: Curve, at: number): number {
  let [fromAt, fromScore] = curve[0] ?? [0, 0];
  for (const [toAt, toScore] of curve) {
    if (at < toAt) {
      const share = at <= fromAt ? 0 : (at - fromAt) / (toAt - fromAt);
      return fromScore + share * (toScore - fromScore);
    }
    [fromAt, fromScore] = [toAt, toScore];
  }
  return fromScore;
}

/** The least measurement that has this score; Infinity where none has. */
export function measureAt(curve: Curve, score: number): number {
  let [fromAt, fromScore] = curve[0] ?? [0, 0];
  for (const [toAt, toScore] of curve) {
    if (score <= toScore) {
      if (score === toScore || toScore === fromScore) return toAt;
      return fromAt + ((score - fromScore) / (toScore - fromScore)) * (toAt - fromAt);
    }
    [fromAt, fromScore] = [toAt, toScore];
  }
  return Number.POSITIVE_INFINITY;
}

/** Two decimals, like Didit; and rounded before it is compared, so that what is shown is what decided. */
export const roundScore = (score: number) => Math.round(score * 100) / 100;

/** What a measurement means, as it is shown. */
export const shownScoreOn = (curve: Curve, at: number) => roundScore(scoreOn(curve, at));
