import { DEFAULT_GALLERY } from "../config.ts";
import { CheckError } from "../errors.ts";
import { type Capability, can, type ProviderWith } from "../providers/provider.ts";
import type { Deps } from "./context.ts";

/** Ends the sentence "The provider ... cannot". */
const CAPABILITY = {
  checkLiveness: "check liveness",
  matchFaces: "match faces",
  searchFace: "search faces",
  enrollFace: "enroll faces in a gallery",
  hasFace: "enroll many faces at once",
  listFaces: "list the enrolled faces",
  removeFace: "remove faces",
} satisfies Record<Capability, string>;

/** The provider, if it can do it. @throws CheckError `unsupported` */
export async function need<C extends Capability>(context: Deps, capability: C): Promise<ProviderWith<C>> {
  const provider = await context.provider();
  if (can(provider, capability)) return provider;
  throw new CheckError("unsupported", `The provider ${provider.name} cannot ${CAPABILITY[capability]}.`, {
    next: "BIOMETRICS_PROVIDER=on-device can, with the gallery on this machine.",
  });
}

/** The same, which must have the gallery `gallery`: nothing is sent that would be searched elsewhere. */
export async function needGallery<C extends Capability>(context: Deps, capability: C, gallery: string | undefined) {
  const provider = await need(context, capability);
  if (provider.galleries || gallery === undefined || gallery === DEFAULT_GALLERY) return provider;
  throw new CheckError("unsupported", `The provider ${provider.name} has no named galleries.`, {
    next: "Retry without gallery, or set BIOMETRICS_PROVIDER=on-device, which has them, then restart the server.",
  });
}
