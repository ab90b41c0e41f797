import type { Outcome, Warning } from "../../warnings.ts";
import { type KnownTag, worst } from "../../warnings.ts";
import { isMasked } from "./pipeline/covered.ts";
import { type Face, hasSeveralFaces } from "./pipeline/detect.ts";
import type { MeasuredFace } from "./pipeline/read.ts";

/** Didit's severities, and what each does to the outcome. */
const EFFECT = { information: "approved", warning: "review", error: "declined" } as const satisfies Record<
  string,
  Outcome
>;

/** The images of a match: as Didit's raw answer calls them, and as the arguments of the tool do. */
const NAMES = { user_image: "user_image", ref_image: "reference_image" } as const;
export type ImageName = keyof typeof NAMES;

/** A warning as it stands in the raw answer. */
export interface Remark {
  readonly tag: KnownTag;
  readonly severity: keyof typeof EFFECT;
  /** Which of two images it is about. */
  readonly image?: ImageName;
  /** What else Didit's `additional_data` holds. */
  readonly detail?: Readonly<Record<string, unknown>>;
}

/** Pixels. A smaller face is a guess of the network; recognition gets worse below. */
export const MIN_FACE_HEIGHT = 40;
/**
 * Where a face becomes too poor to be sure of. `warned`: a warning, and nothing is enrolled. `doubted`: a low similarity
 * does not yet mean another person; of the pairs of one person that were declined, 67 % have a norm below 3.0 (a
 * quality of 37.5) on one side, of the pairs of two people 27 %.
 */
const LIMITS = {
  warned: {
    minHeight: MIN_FACE_HEIGHT,
    /** 0..100. Didit's own limit for `face_quality`; an embedding of the shipped pack has a length of 2.64 there. */
    minQuality: 15,
    /** 0..100. Didit's own limit for `face_luminance`. */
    minLuminance: 20,
    /** 0..100. The 22 faces of the sample photos have 22 to 59; overexposed copies 79. */
    maxLuminance: 75,
    /**
     * Variance of the Laplacian. The 22 faces have 86 to 907, and 23 to 142 when they are but 60 pixels high; with a
     * Gaussian blur of 2 % of their height, from which on recognition suffers, 4 to 16.
     */
    minSharpness: 15,
  },
  // Two photos of one woman (cosine 0.71) come to 0.60 to 0.68 at 40 pixels and at least 0.66 at 50.
  doubted: { minHeight: 50, minQuality: 37.5, minLuminance: 20, maxLuminance: 70, minSharpness: 20 },
} as const;
type Limits = (typeof LIMITS)[keyof typeof LIMITS];

/** Degrees. A head that leans by 45 is still recognised; from 60 on the landmarks, and with them all else, go wrong. */
const MAX_TILT = 55;
/** 0..100. Grey pictures have 0; the palest of the 22 faces, in tinted light, has 7.5. */
const MIN_COLOUR = 2;
/**
 * As a share of the 2.7 boxes that the shipped liveness network wants to see around a face. Cut to 2.0, the probability moved by more than
 * 0.3 for none of the 22 faces; to 1.8 for 2, to 1.6 for 7, to 1.4 for 8.
 */
const MIN_SURROUNDINGS = 1.8 / 2.7;

type Condition = readonly [
  tag: KnownTag,
  applies: (face: MeasuredFace, limits: Limits, faces: readonly Face[]) => boolean,
];

/** What makes any statement about a face unsure. */
const OF_EVERY_FACE: readonly Condition[] = [
  ["FACE_TOO_SMALL", ({ height }, { minHeight }) => height < minHeight],
  ["LOW_FACE_QUALITY", ({ quality }, { minQuality }) => quality < minQuality],
  ["LOW_FACE_LUMINANCE", ({ luminance }, { minLuminance }) => luminance < minLuminance],
  ["HIGH_FACE_LUMINANCE", ({ luminance }, { maxLuminance }) => luminance > maxLuminance],
  ["BLURRED_FACE", ({ sharpness }, { minSharpness }) => sharpness < minSharpness],
  ["FACE_TILTED", ({ tilt }) => tilt > MAX_TILT],
];

const CONDITIONS = {
  liveness: [
    ...OF_EVERY_FACE,
    ["GREY_IMAGE", ({ colour }) => colour < MIN_COLOUR],
    ["FACE_FILLS_FRAME", (face) => face.surroundingsScale / face.surroundingsWanted < MIN_SURROUNDINGS],
    // A second face of any size: a person who holds up a photo is one.
    ["MULTIPLE_FACES_DETECTED", (_face, _limits, faces) => faces.length > 1],
  ],
  comparison: [
    ...OF_EVERY_FACE,
    ["FACE_COVERED", ({ maskedness }) => isMasked(maskedness)],
    ["MULTIPLE_FACES_DETECTED", (_face, _limits, faces) => hasSeveralFaces(faces)],
  ],
} as const satisfies Record<string, readonly Condition[]>;

/** These say themselves that a liveness score means little, so a low one is no finding. */
const SPOIL_LIVENESS: readonly string[] = [
  "GREY_IMAGE",
  "FACE_FILLS_FRAME",
  "LOW_FACE_LUMINANCE",
  "HIGH_FACE_LUMINANCE",
] satisfies KnownTag[];

export const spoilsLiveness = ({ tag }: Remark) => SPOIL_LIVENESS.includes(tag);
/** Of a comparison, all but the number of faces speak of the photo. */
export const isOfPhoto = ({ tag }: Remark) => tag !== "MULTIPLE_FACES_DETECTED";

/** `faces`: all of the image, the judged one first. `image`: which of two it is about. */
export function remarksOn(
  face: MeasuredFace | null,
  faces: readonly Face[],
  check: keyof typeof CONDITIONS,
  { limits = "warned", image }: { limits?: keyof typeof LIMITS; image?: ImageName } = {},
): Remark[] {
  if (face === null) return [];
  const conditions: readonly Condition[] = CONDITIONS[check];
  return conditions
    .filter(([, applies]) => applies(face, LIMITS[limits], faces))
    .map(([tag]) => ({ tag, severity: "warning", ...(image !== undefined && { image }) }));
}

/** Each tag once, with the images that it was remarked on. */
export function toWarnings(remarks: readonly Remark[]): Warning[] {
  return [...new Set(remarks.map(({ tag }) => tag))].map((tag) => {
    const same = remarks.filter((remark) => remark.tag === tag);
    const images = same.flatMap(({ image }) => (image === undefined ? [] : [NAMES[image]]));
    return {
      tag,
      effect: worst(same.map(({ severity }) => EFFECT[severity])),
      ...(images.length > 0 && { images }),
    };
  });
}
