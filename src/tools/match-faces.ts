import * as z from "zod";
import { Decision, decide } from "../decision/decision.ts";
import { DEFAULT_THRESHOLDS, SIMILARITY } from "../providers/provider.ts";
import { need } from "../toolkit/capability.ts";
import { defineTool } from "../toolkit/define.ts";
import { readImages } from "../toolkit/images.ts";
import { showPreview } from "../toolkit/preview.ts";
import { checkOptions, convert, imagePath, percent, preview, rotate, save, vendorData } from "../toolkit/schemas.ts";

export const matchFaces = defineTool({
  name: "match_faces",
  title: "Match two faces",
  description: "Do two photos show the same person (1:1)? Says nothing about liveness.",
  input: {
    user_image_path: imagePath.describe("the photo to check"),
    reference_image_path: imagePath.describe("the trusted photo"),
    decline_threshold: percent
      .optional()
      .describe(`declines at or below it; default ${DEFAULT_THRESHOLDS.match}, review up to ${SIMILARITY.possible}`),
    rotate,
    compare_all: z.boolean().optional().describe("on-device: compare all faces (default)"),
    convert,
    preview,
    save,
    vendor_data: vendorData,
  },
  output: Decision,
  hints: {
    readOnlyHint: false, // a hosted check is billed, and may be kept by the provider
    destructiveHint: false,
    idempotentHint: false,
    openWorldHint: true,
  },
  async run({ user_image_path, reference_image_path, ...args }, context) {
    const thresholds = { caller: args.decline_threshold, operator: context.thresholds.match };
    const provider = await need(context, "matchFaces");
    const { images, facts } = await readImages(
      context,
      provider.images,
      {
        user_image: user_image_path,
        reference_image: reference_image_path,
      },
      args,
    );
    const report = await provider.matchFaces(images.user_image, images.reference_image, {
      ...checkOptions(args, context, thresholds),
      compareAll: args.compare_all,
    });
    const decision = decide({ check: "face_match", provider: provider.name, images: facts, thresholds }, report);
    await showPreview(args, context, [images.user_image, images.reference_image], decision);
    return decision;
  },
});
