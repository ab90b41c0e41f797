interface Table {
  readonly [name: string]: string | Table;
}

/** The card's own words. All others come with the result. */
export const WORDS = {
  waiting: "The check is running …",
  undecided: "no decision",
  cancelled: "The check was cancelled. Nothing was decided.",
  unreadable: "not shown as a card",
  nothingFound: "nothing found against this face",
  checks: {
    liveness: "Liveness",
    face_match: "Face match",
    face_search: "Face search",
    verify_person: "Verification of the person",
    liveness_selfie: "Liveness data against the selfie",
  },
  providers: { didit: "Didit", linkface: "Linkface", "on-device": "on the device" },
  score: "of 100",
  nearest: "of 100, the nearest face",
  threshold: "threshold",
  bands: { strong: "strong", possible: "possible", weak: "weak" },
  steps: "Checks",
  pictures: "Faces",
  photo: "The photos that were checked, with a box around each face that was found",
  faces: { user: "Photo", reference: "Reference photo" },
  quality: "quality",
  luminance: "luminance",
  matches: "Faces like this one",
  noLabel: "without a label",
  blocklisted: "blocklisted",
  cleared: "cleared by hand",
  warnings: "Warnings",
  nextSteps: "Next steps",
  reference: "Reference",
  raw: "The provider's JSON",
  rawIsCut: "The rest is cut off.",
} satisfies Table;

export type Words = typeof WORDS;
