/** What a check can come to, mildest first. */
export const OUTCOMES = ["approved", "review", "declined"] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** One thing that a provider remarked on. */
export interface Warning {
  readonly tag: string;
  /** The severity that the provider gave it. The table below can make it graver, never milder. */
  readonly effect: Outcome;
  /** Which of several images it is about, by their names in the result. */
  readonly images?: readonly string[];
}

interface TagInfo {
  /** The least that this tag does to the outcome. */
  readonly effect: Outcome;
  /** What to do about it: `retake` another photo, `review` by a person, treat as `fraud`. */
  readonly action: "retake" | "review" | "fraud";
  readonly meaning: string;
  /** What to do, in words for the agent. */
  readonly advice: string;
  /** Fraud wins over retake: beside this tag no other may ask for another photo. */
  readonly endsRetakes?: true;
}

/** Every tag that the checks made here can bring. To support a new one, add a row: nothing else changes. */
export const WARNINGS = {
  NO_FACE_DETECTED: {
    effect: "declined",
    action: "retake",
    meaning: "No face was found in the image.",
    advice: "Retake: ask for a new photo with the whole face in view. This is not a finding of fraud.",
  },
  LOW_LIVENESS_SCORE: {
    effect: "declined",
    action: "retake",
    meaning: "The liveness score is at or below the threshold: not a live person, or a poor photo of one.",
    advice: "Retake once in good, even light. If it stays low, have a person review it as a possible spoof.",
  },
  LIVENESS_FACE_ATTACK: {
    effect: "declined",
    action: "fraud",
    meaning: "The image looks like an attack on the check: a print, a screen, a mask or a generated face.",
    advice: "Treat as possible fraud. Do not coach the person through another attempt; have a person look at the case.",
    endsRetakes: true,
  },
  HIGH_HACK_SCORE: {
    effect: "review",
    action: "review",
    meaning: "The liveness data may come from an attack: its hack score is raised, but too low to be sure.",
    advice: "Review: a person looks at the case before anybody relies on it.",
  },
  NO_HACK_SCORE: {
    effect: "review",
    action: "review",
    meaning: "The provider gave no hack score, so nothing says whether the liveness data comes from a live person.",
    advice: "Review: a person looks at the case before anybody relies on it.",
  },
  FACE_IN_BLOCKLIST: {
    effect: "declined",
    action: "fraud",
    meaning: "The face is on the blocklist.",
    advice: "Treat as fraud: reject, and open the blocklist entry or session that it was matched with.",
    endsRetakes: true,
  },
  POSSIBLE_FACE_IN_BLOCKLIST: {
    effect: "declined",
    action: "review",
    meaning: "The face resembles one on the blocklist.",
    advice: "Review: a person compares the two faces before anybody acts on it.",
    endsRetakes: true,
  },
  DUPLICATED_FACE: {
    effect: "review",
    action: "review",
    meaning: "The same face is known from another approved session or record.",
    advice: "Review: look at the account it is linked with; whether a second account is allowed is your own policy.",
  },
  POSSIBLE_DUPLICATED_FACE: {
    effect: "review",
    action: "review",
    meaning: "A similar face is known from another approved session or record.",
    advice: "Review: a person compares the two faces.",
  },
  MULTIPLE_FACES_DETECTED: {
    effect: "review",
    action: "retake",
    meaning: "There is more than one face in the image; the largest was used.",
    advice: "Retake with one person in view, unless the largest face is certainly the right person.",
  },
  LOW_FACE_MATCH_SIMILARITY: {
    effect: "declined",
    action: "retake",
    meaning: "The two faces are not alike enough.",
    advice: "Retake once with a better photo. If it stays low, review it as a different person.",
  },
  NO_REFERENCE_IMAGE: {
    effect: "declined",
    action: "retake",
    meaning: "One of the two images has no face that could be compared.",
    advice: "Retake: supply photos that both show one clear face. Nothing was compared.",
  },
  LOW_FACE_QUALITY: {
    effect: "review",
    action: "retake",
    meaning: "The face is too unclear to rely on the result.",
    advice: "Retake: sharper, closer, facing the camera. If the photo lies on its side, repeat with rotate.",
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
    meaning: "The face is so small in the image that the result is unreliable.",
    advice: "Retake from closer by, or use the original photo rather than a thumbnail.",
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
    meaning: "The face is covered, by a mask it seems: strangers who wear one resemble each other.",
    advice: "Retake with the whole face uncovered.",
  },
  FACE_TILTED: {
    effect: "review",
    action: "retake",
    meaning: "The head leans so far to one side that the result is unreliable.",
    advice: "Repeat the call with rotate: true, or retake with the head upright.",
  },
  OTHER_FACES_MATCHED: {
    effect: "review",
    action: "review",
    meaning: "The faces that match are not the main faces of their images.",
    advice: "Review: a person checks that these are the people who are meant, or crop the images to one face each.",
  },
  GREY_IMAGE: {
    effect: "review",
    action: "retake",
    meaning: "The image has no colour, and a liveness score of a grey image means little.",
    advice: "Retake in colour.",
  },
  FACE_FILLS_FRAME: {
    effect: "review",
    action: "retake",
    meaning: "The face fills the frame, so there is too little around it for the liveness score to mean much.",
    advice: "Retake from further away, with head and shoulders in view.",
  },
} as const satisfies Record<string, TagInfo>;

export type KnownTag = keyof typeof WARNINGS;

const UNKNOWN: TagInfo = {
  effect: "review",
  action: "review",
  meaning: "This version does not know this warning.",
  advice: "Have a person look.",
};

export function about(tag: string): TagInfo {
  return Object.hasOwn(WARNINGS, tag) ? WARNINGS[tag as KnownTag] : UNKNOWN;
}

/** The gravest of some outcomes. */
export function worst(outcomes: readonly Outcome[]): Outcome {
  return outcomes.reduce((a, b) => (OUTCOMES.indexOf(b) > OUTCOMES.indexOf(a) ? b : a), "approved");
}
