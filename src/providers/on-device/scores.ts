/** A line through points: [measurement, score]; flat before the first and after the last. */
type Curve = readonly (readonly [at: number, score: number])[];

/**
 * Cosine of two embeddings to a similarity 0..100. Fitted on public sets (1,895 pairs of one person, 59,180 of two):
 * of pairs of two people 0.91 % reach 30 and 0.002 % reach 70; of pairs of one person 99.7 % reach 30. The share
 * depends on cameras and people, so it holds for images like those.
 */
const SIMILARITY: Curve = [
  [0, 0],
  [0.25, 15],
  [0.41, 30],
  [0.49, 50],
  [0.55, 70],
  [0.66, 90],
  [0.85, 100],
];

/** Length of a raw embedding to a quality 0..100: at 2.4 it is no longer a face, the best photos have 4.0. */
const QUALITY: Curve = [
  [2.4, 0],
  [4.0, 100],
];

/** The least length of a raw embedding that a face has; a cat that the detector was sure of had 1.54. */
export const MIN_FACE_NORM = QUALITY[0]?.[0] ?? 0;

export const similarityOf = (cosine: number) => scoreOn(SIMILARITY, cosine);
export const qualityOf = (norm: number) => scoreOn(QUALITY, norm);
export const livenessOf = (probability: number) => roundScore(100 * probability);

/** What a search reports: faces from this cosine on, a similarity of 50. Below most resemble by chance. */
export const MIN_FOUND_COSINE = 0.49;

function scoreOn(curve: Curve, at: number): number {
  let [fromAt, fromScore] = curve[0] ?? [0, 0];
  for (const [toAt, toScore] of curve) {
    if (at < toAt) {
      const share = at <= fromAt ? 0 : (at - fromAt) / (toAt - fromAt);
      return roundScore(fromScore + share * (toScore - fromScore));
    }
    [fromAt, fromScore] = [toAt, toScore];
  }
  return fromScore;
}

/** Two decimals, like Didit; and rounded before it is compared, so that what is shown is what decided. */
const roundScore = (score: number) => Math.round(score * 100) / 100;
