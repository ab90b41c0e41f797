/** The outcomes of a check, mildest first. */
export const OUTCOMES = ["approved", "review", "declined"] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** One finding of a provider. */
export interface Warning {
  readonly tag: string;
  /** The provider's severity. The table below can raise it, never lower it. */
  readonly effect: Outcome;
  /** The images it concerns, by their names in the result. */
  readonly images?: readonly string[];
}

interface TagInfo {
  /** The mildest outcome that this tag allows. */
  readonly effect: Outcome;
  /** What to do: `retake` the photo, `review` by a person, treat as `fraud`. */
  readonly action: "retake" | "review" | "fraud";
  readonly meaning: string;
  /** The same in words for the agent. */
  readonly advice: string;
  /** Fraud takes precedence over retake: next to this tag, no other asks for another photo. */
  readonly endsRetakes?: true;
}

/** Every tag that our checks can return. To support a new one, add a row: nothing else changes. */
export const WARNINGS = {
  NO_FACE_DETECTED: {
    effect: "declined",
    action: "retake",
    meaning: "No face was found in the image.",
    advice: "Retake: the photo must show the whole face. This is not a sign of fraud.",
  },
  LOW_LIVENESS_SCORE: {
    effect: "declined",
    action: "retake",
    meaning: "The liveness score is at or below the threshold: not a live person, or a poor photo of one.",
    advice:
      "Retake once in good, even light. If the score stays low, have a person review it as a possible presentation attack.",
  },
  LIVENESS_FACE_ATTACK: {
    effect: "declined",
    action: "fraud",
    meaning: "The image looks like a presentation attack: a print, a screen, a mask or a generated face.",
    advice: "Treat as possible fraud. Do not coach another attempt; have a person review the image.",
    endsRetakes: true,
  },
  HIGH_HACK_SCORE: {
    effect: "review",
    action: "review",
    meaning: "The liveness data may come from an attack: its hack score is raised but not conclusive.",
    advice: "Review: have a person check the selfie and the liveness data.",
  },
  NO_HACK_SCORE: {
    effect: "review",
    action: "review",
    meaning: "The provider gave no hack score, so nothing shows that the liveness data comes from a live person.",
    advice: "Review: have a person check the selfie and the liveness data.",
  },
  FACE_IN_BLOCKLIST: {
    effect: "declined",
    action: "fraud",
    meaning: "The face is on the blocklist.",
    advice: "Treat as fraud: reject, and open the matched blocklist entry or session.",
    endsRetakes: true,
  },
  POSSIBLE_FACE_IN_BLOCKLIST: {
    effect: "declined",
    action: "review",
    meaning: "The face resembles one on the blocklist.",
    advice: "Review: have a person compare the two faces before anybody acts on this.",
    endsRetakes: true,
  },
  DUPLICATED_FACE: {
    effect: "review",
    action: "review",
    meaning: "The same face is known from another approved session or record.",
    advice: "Review: look at the account that the face belongs to; whether a second account is allowed is your policy.",
  },
  POSSIBLE_DUPLICATED_FACE: {
    effect: "review",
    action: "review",
    meaning: "A similar face is known from another approved session or record.",
    advice: "Review: have a person compare the two faces.",
  },
  MULTIPLE_FACES_DETECTED: {
    effect: "review",
    action: "retake",
    meaning: "The image shows more than one face; the largest was used.",
    advice: "Retake with one person in view, unless the largest face is certainly the right person.",
  },
  LOW_FACE_MATCH_SIMILARITY: {
    effect: "declined",
    action: "retake",
    meaning: "The two faces are not similar enough.",
    advice: "Retake once with a better photo. If the score stays low, have a person review it as a different person.",
  },
  NO_REFERENCE_IMAGE: {
    effect: "declined",
    action: "retake",
    meaning: "One of the two images has no face to compare.",
    advice: "Retake: use two photos that each show one clear face. Nothing was compared.",
  },
  LOW_FACE_QUALITY: {
    effect: "review",
    action: "retake",
    meaning: "The face is too unclear for a reliable result.",
    advice: "Retake: sharper, closer, facing the camera. If the photo lies on its side, retry with rotate: true.",
  },
  LOW_FACE_LUMINANCE: {
    effect: "review",
    action: "retake",
    meaning: "The face is too dark.",
    advice: "Retake in better light.",
  },
  HIGH_FACE_LUMINANCE: {
    effect: "review",
    action: "retake",
    meaning: "The face is overexposed.",
    advice: "Retake in softer light, without flash.",
  },
  FACE_TOO_SMALL: {
    effect: "review",
    action: "retake",
    meaning: "The face is too small in the image for a reliable result.",
    advice: "Retake from closer, or use the original photo instead of a thumbnail.",
  },
  BLURRED_FACE: {
    effect: "review",
    action: "retake",
    meaning: "The face is blurred.",
    advice: "Retake with the camera held still and the face in focus.",
  },
  FACE_COVERED: {
    effect: "review",
    action: "retake",
    meaning: "The face seems to be covered by a mask, and strangers in masks resemble each other.",
    advice: "Retake with the whole face uncovered.",
  },
  FACE_TILTED: {
    effect: "review",
    action: "retake",
    meaning: "The head is tilted too far for a reliable result.",
    advice: "Retry with rotate: true, or retake with the head upright.",
  },
  OTHER_FACES_MATCHED: {
    effect: "review",
    action: "review",
    meaning: "The matching faces are not the main faces of their images.",
    advice: "Review: have a person check that these are the right people, or crop each image to one face.",
  },
  GREY_IMAGE: {
    effect: "review",
    action: "retake",
    meaning: "The image has no colour, so its liveness score means little.",
    advice: "Retake in colour.",
  },
  // Lowers nothing: whoever wants to hide something this way can do it before the file comes here.
  REENCODED_IMAGE: {
    effect: "approved",
    action: "retake",
    meaning: "The image was re-encoded before the check, which can hide signs of spoofing.",
    advice: "Where the decision matters, retake the photo as a JPEG and check that.",
  },
  FACE_FILLS_FRAME: {
    effect: "review",
    action: "retake",
    meaning: "The face fills the frame, so its liveness score means little.",
    advice: "Retake from further away, with head and shoulders in view.",
  },
} as const satisfies Record<string, TagInfo>;

export type KnownTag = keyof typeof WARNINGS;

const UNKNOWN: TagInfo = {
  effect: "review",
  action: "review",
  meaning: "This version does not know this warning.",
  advice: "Have a person review the images.",
};

export function about(tag: string): TagInfo {
  return Object.hasOwn(WARNINGS, tag) ? WARNINGS[tag as KnownTag] : UNKNOWN;
}

/** The gravest of the given outcomes. */
export function worst(outcomes: readonly Outcome[]): Outcome {
  return outcomes.reduce((a, b) => (OUTCOMES.indexOf(b) > OUTCOMES.indexOf(a) ? b : a), "approved");
}
