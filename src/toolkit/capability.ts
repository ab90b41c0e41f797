import { CheckError } from "../errors.ts";
import { type Capability, can, type ProviderWith } from "../providers/provider.ts";
import type { Deps } from "./context.ts";

/** What a provider cannot do, and the way out. */
const CAPABILITY = {
  checkLiveness: "check liveness",
  matchFaces: "match faces",
  searchFace: "search faces",
  enrollFace: "enroll a face in a gallery of its own",
  listFaces: "list the faces that it knows",
  removeFace: "remove a face",
} satisfies Record<Capability, string>;

/** The provider, if it can do it. @throws CheckError `unsupported` */
export async function need<C extends Capability>(context: Deps, capability: C): Promise<ProviderWith<C>> {
  const provider = await context.provider();
  if (can(provider, capability)) return provider;
  throw new CheckError("unsupported", `The provider in use, ${provider.name}, cannot ${CAPABILITY[capability]} here.`, {
    next: "Tell the user. With BIOMETRICS_PROVIDER=on-device the gallery on this machine does it.",
  });
}
