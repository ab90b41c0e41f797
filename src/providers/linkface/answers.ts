import * as z from "zod";
import type { KnownTag, Outcome, Warning } from "../../warnings.ts";
import type { Report } from "../provider.ts";

/** The service takes both for one person from this score on: its own rule, and one false accept in 10,000. */
export const SAME_PERSON_FROM = 70;

/**
 * No threshold of `hack_score` is published for this endpoint. This one is taken from its siblings
 * `/hackness/selfie_hack_detect` and `/hackness/liveness_hack_detect`, which call an attack what is above it.
 */
const ATTACK_ABOVE = 0.98;
/**
 * Ours, not the service's: since nobody says that 0.98 holds here as well, a person looks at whatever the service
 * holds to be as likely an attack as not.
 */
const DOUBTFUL_FROM = 0.5;

/** As the service publishes it, best first: [score from, one false accept in so many]. */
const FALSE_ACCEPTS: readonly (readonly [number, string])[] = [
  [90, "1,000,000"],
  [80, "100,000"],
  [70, "10,000"],
  [60, "1,000"],
  [50, "100"],
  [40, "10"],
];

/** A number in the service's table, a quoted one in its sample. */
const fraction = z
  .union([
    z.number(),
    z
      .string()
      .regex(/^\d(\.\d{1,30})?(e-\d{1,3})?$/i)
      .transform(Number),
  ])
  .pipe(z.number().min(0).max(1));

/** What decides must be there and make sense; all else may be missing, or be new. */
export const LivenessSelfieAnswer = z.object({
  status: z.literal("OK"),
  verify_score: fraction,
  hack_score: fraction.nullish(),
  request_id: z
    .string()
    .regex(/^[\w.:-]{1,100}$/)
    .nullable()
    .catch(null),
});

export function toReport(
  { verify_score, hack_score = null, request_id }: z.output<typeof LivenessSelfieAnswer>,
  { threshold, raw }: { threshold: number; raw: unknown },
): Report {
  const score = toPercent(verify_score);
  const isOther = score < threshold;
  return {
    verdict: isOther ? "declined" : "approved",
    score,
    threshold,
    passesAtThreshold: true,
    warnings: [...warningsOf(hack_score), ...(isOther ? [warn("LOW_FACE_MATCH_SIMILARITY", "declined")] : [])],
    note: `${describeHack(hack_score)} If the selfie shows several faces, the largest is compared. ${describeFalseAccepts(score)}`,
    reference: request_id,
    raw,
  };
}

function warningsOf(hackScore: number | null): Warning[] {
  if (hackScore === null) return [warn("NO_HACK_SCORE", "review")];
  if (hackScore > ATTACK_ABOVE) return [warn("LIVENESS_FACE_ATTACK", "declined")];
  return hackScore >= DOUBTFUL_FROM ? [warn("HIGH_HACK_SCORE", "review")] : [];
}

const warn = (tag: KnownTag, effect: Outcome): Warning => ({ tag, effect });

function describeHack(hackScore: number | null): string {
  if (hackScore === null) return "There is no hack score.";
  return `The hack score is ${hackScore} of 1 (${DOUBTFUL_FROM} and above results in review, above ${ATTACK_ABOVE} is an attack).`;
}

function describeFalseAccepts(score: number): string {
  const [from, oneIn] = FALSE_ACCEPTS.find(([from]) => score >= from) ?? [];
  if (from === undefined) return "Linkface publishes no false-accept rate for scores below 40.";
  return `For scores of ${from} and above, Linkface publishes one false accept in ${oneIn}.`;
}

/** As it is written, two places to the left: 100 * 0.57 is a little less than 57, which is then below a threshold of 57. */
function toPercent(score: number): number {
  const [digits, exponent = "0"] = String(score).split("e");
  return Number(`${digits}e${Number(exponent) + 2}`);
}
