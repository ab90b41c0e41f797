import type { Outcome, Warning } from "../../warnings.ts";
import { type KnownTag, worst } from "../../warnings.ts";
import { hasRival } from "./pipeline/detect.ts";
import type { MainFace, Reading } from "./pipeline/read.ts";
import { MIN_FACE_NORM, qualityOf } from "./scores.ts";

/** Didit's severities, and what each does to the outcome. */
const EFFECT = { information: "approved", warning: "review", error: "declined" } as const satisfies Record<
  string,
  Outcome
>;

/** A warning as it stands in the raw answer. */
export interface Remark {
  readonly tag: KnownTag;
  readonly severity: keyof typeof EFFECT;
  /** What Didit's `additional_data` holds. */
  readonly detail?: Readonly<Record<string, unknown>>;
}

/** A smaller face (pixels, height) is a guess of the network; recognition gets worse below. */
export const MIN_FACE_HEIGHT = 40;
/** 0..100. Didit's own limits for `face_quality` and `face_luminance`. */
const MIN_QUALITY = 15;
const MIN_LUMINANCE = 20;
/** 0..100. The 22 faces of the sample photos have 22 to 59; overexposed copies 79. */
const MAX_LUMINANCE = 75;
/**
 * Variance of the Laplacian. The 22 faces have 86 to 907, and 23 to 142 when they are but 60 pixels high; with a
 * Gaussian blur of 2 % of their height, from which on recognition suffers, 4 to 16.
 */
const MIN_SHARPNESS = 15;
/** 0..100. Grey pictures have 0; the palest of the 22 faces, in tinted light, has 7.5. */
const MIN_COLOUR = 2;
/**
 * Of the 2.7 boxes that the liveness network wants to see around a face. Cut to 2.0, the probability moved by more than
 * 0.3 for none of the 22 faces; to 1.8 for 2, to 1.6 for 7, to 1.4 for 8.
 */
const MIN_SURROUNDINGS = 1.8;

type Condition = readonly [tag: KnownTag, applies: (face: MainFace, reading: Reading) => boolean];

/** What makes any statement about a face unsure. */
const OF_EVERY_FACE: readonly Condition[] = [
  ["FACE_TOO_SMALL", ({ height }) => height < MIN_FACE_HEIGHT],
  ["LOW_FACE_QUALITY", ({ norm }) => qualityOf(norm) < MIN_QUALITY],
  ["LOW_FACE_LUMINANCE", ({ luminance }) => luminance < MIN_LUMINANCE],
  ["HIGH_FACE_LUMINANCE", ({ luminance }) => luminance > MAX_LUMINANCE],
  ["BLURRED_FACE", ({ sharpness }) => sharpness < MIN_SHARPNESS],
];

const CONDITIONS = {
  liveness: [
    ...OF_EVERY_FACE,
    ["GREY_IMAGE", ({ colour }) => colour < MIN_COLOUR],
    ["FACE_FILLS_FRAME", ({ surroundingsScale }) => surroundingsScale < MIN_SURROUNDINGS],
    // A second face of any size: a person who holds up a photo is one.
    ["MULTIPLE_FACES_DETECTED", (_face, { faces }) => faces.length > 1],
  ],
  comparison: [...OF_EVERY_FACE, ["MULTIPLE_FACES_DETECTED", (_face, { faces }) => hasRival(faces)]],
} as const satisfies Record<string, readonly Condition[]>;

export function remarksOn(
  reading: Reading,
  check: keyof typeof CONDITIONS,
  detail: Readonly<Record<string, unknown>> = {},
): Remark[] {
  const face = faceOf(reading);
  if (face === null) return [];
  return CONDITIONS[check]
    .filter(([, applies]) => applies(face, reading))
    .map(([tag]) => ({ tag, severity: "warning", ...(Object.keys(detail).length > 0 && { detail }) }));
}

/** The face that is judged; null where none was found, or where what was found is none. */
export function faceOf({ main }: Reading): MainFace | null {
  return main !== null && main.norm >= MIN_FACE_NORM ? main : null;
}

/** Each tag once, however many images it was remarked on. */
export function toWarnings(remarks: readonly Remark[]): Warning[] {
  return [...new Set(remarks.map(({ tag }) => tag))].map((tag) => ({
    tag,
    effect: worst(remarks.filter((remark) => remark.tag === tag).map(({ severity }) => EFFECT[severity])),
  }));
}
