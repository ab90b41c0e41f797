import * as z from "zod";
import { CHECKS, Decision, decide, decideSearch, sumUp } from "../decision.ts";
import { OUTCOMES } from "../warnings.ts";
import { checkOptions, defineTool, imagePath, need, readImages, rotate, save, vendorData } from "./define.ts";

/** A check's own result, whole but for what stands at the top: the images, and the provider's JSON. */
const step = z.looseObject({ check: z.enum(CHECKS), outcome: z.enum(OUTCOMES), summary: z.string() });

export const verifyPerson = defineTool({
  name: "verify_person",
  title: "Verify a person",
  description:
    "Onboards one person: liveness of the selfie, a search for duplicates and blocklisted faces, a match with " +
    "the reference photo. The worst outcome of the steps; stops at the first decline.",
  input: {
    selfie_path: imagePath.describe("local path of the selfie"),
    reference_image_path: imagePath.optional().describe("local path of a trusted photo; without it nothing is matched"),
    search: z.boolean().default(true).describe("search for duplicates"),
    rotate,
    save,
    vendor_data: vendorData.describe("your own id of the person: its records are no duplicates"),
  },
  output: Decision.extend({ steps: z.array(step) }),
  checks: 3,
  hints: {
    readOnlyHint: false, // hosted checks are billed, and may be kept by the provider
    destructiveHint: false,
    idempotentHint: false,
    openWorldHint: true,
  },
  async run({ selfie_path, reference_image_path, search, ...args }, context) {
    const [liveness, searching, matching] = await Promise.all([
      need(context, "checkLiveness"),
      need(context, "searchFace"),
      need(context, "matchFaces"),
    ]);
    const { name, images: limits } = liveness;
    // One read of each file: every step sees the same bytes, and a provider can reuse what it has worked out of them.
    const selfie = await readImages(context, limits, { selfie: selfie_path });
    const reference =
      reference_image_path === undefined
        ? undefined
        : await readImages(context, limits, { reference_image: reference_image_path });
    // While the networks are busy with the selfie, the reference photo can be decoded.
    if (reference !== undefined) {
      const { reference_image } = reference.images;
      liveness.prepare?.(selfie.images.selfie, { rotate: args.rotate, signal: context.signal });
      liveness.prepare?.(reference_image, { rotate: args.rotate, signal: context.signal });
    }
    const images = [...selfie.facts, ...(reference?.facts ?? [])];
    const optionsOf = (check: string) => ({
      ...checkOptions(args, context),
      onStage: (stage: string) => context.onStage(`${check}: ${stage}`),
    });

    const steps: (() => Promise<Decision>)[] = [
      async () => {
        // A selfie that is kept enters the index, where the search right after would find it as a duplicate of itself.
        const options = { ...optionsOf("liveness"), ...(search ? { save: false } : {}) };
        const report = await liveness.checkLiveness(selfie.images.selfie, options);
        return decide({ check: "liveness", provider: name, images: [] }, report);
      },
    ];
    if (search) {
      steps.push(async () => {
        const report = await searching.searchFace(selfie.images.selfie, optionsOf("search"));
        return decideSearch({ check: "face_search", provider: name, images: [] }, report, args.vendor_data);
      });
    }
    if (reference !== undefined) {
      steps.push(async () => {
        const { reference_image } = reference.images;
        const report = await matching.matchFaces(selfie.images.selfie, reference_image, optionsOf("match"));
        return decide({ check: "face_match", provider: name, images: [] }, report);
      });
    }

    const done: Decision[] = [];
    for (const run of steps) {
      context.signal.throwIfAborted();
      done.push(await run());
      if (done.at(-1)?.outcome === "declined") break;
    }
    return {
      ...sumUp({ check: "verify_person", provider: name, images }, done, steps.length),
      steps: done.map(({ raw, images, ...own }) => own),
    };
  },
});
