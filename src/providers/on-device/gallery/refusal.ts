import { CheckError } from "../../../errors.ts";

/** Cosines between the embeddings of two models mean nothing, and look as if they did. */
export function otherModel(cause: string): CheckError {
  return new CheckError("setup", "The face gallery was made with another face model; its faces cannot be compared.", {
    next: "Ask the user to go back to the version of this server that enrolled the faces, or to start an empty gallery (another BIOMETRICS_DATA_DIR or BIOMETRICS_GALLERY_URL) and enrol them anew from photos.",
    cause,
  });
}

export function newerVersion(cause: string): CheckError {
  return new CheckError("setup", "The face gallery was written by a newer version of this program.", {
    next: "Ask the user to update this server, or to choose another gallery (BIOMETRICS_DATA_DIR or BIOMETRICS_GALLERY_URL).",
    cause,
  });
}

export function damaged(cause: string): CheckError {
  return new CheckError("setup", "The face gallery is damaged, or is not a gallery.", { cause, next: RESTORE });
}

export const RESTORE =
  "Ask the user to run `biometrics-mcp gallery check`, which says what is damaged, and to put a backup of the gallery back.";
