import { CheckError } from "../../../errors.ts";

/** Cosines between the embeddings of two models mean nothing, and look as if they did. */
export function otherModel(cause: string): CheckError {
  return new CheckError("setup", "The face gallery was made with another face model; its faces cannot be compared.", {
    next: "Go back to the model pack, or the version of biometrics-mcp, that enrolled the faces, or start an empty gallery (another BIOMETRICS_GALLERY, BIOMETRICS_DATA_DIR or BIOMETRICS_GALLERY_URL) and enroll them again from photos.",
    cause,
  });
}

export function newerVersion(cause: string): CheckError {
  return new CheckError("setup", "The face gallery was written by a newer version of biometrics-mcp.", {
    next: "Update biometrics-mcp, or choose another gallery (BIOMETRICS_DATA_DIR or BIOMETRICS_GALLERY_URL).",
    cause,
  });
}

export function damaged(cause: string): CheckError {
  return new CheckError("setup", "The face gallery is damaged, or is not a gallery.", { cause, next: RESTORE });
}

export const RESTORE = "Run `biometrics-mcp gallery check`, which shows what is damaged, and restore a backup.";

/** A name that was misspelt would find nobody. */
export function unknownGallery(name: string, known: readonly string[]): CheckError {
  return new CheckError("not_found", `There is no gallery ${name}.`, {
    next: `${known.length === 0 ? "There are no galleries yet" : `Use one of these: ${known.join(", ")}`}; enroll_face makes a new one.`,
  });
}
