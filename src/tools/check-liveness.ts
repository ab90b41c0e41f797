import { Decision, decide, onReencoded } from "../decision/decision.ts";
import { DEFAULT_THRESHOLDS } from "../providers/provider.ts";
import { need } from "../toolkit/capability.ts";
import { defineTool } from "../toolkit/define.ts";
import { readImages } from "../toolkit/images.ts";
import { showPreview } from "../toolkit/preview.ts";
import { checkOptions, convert, imagePath, percent, preview, rotate, save, vendorData } from "../toolkit/schemas.ts";

export const checkLiveness = defineTool({
  name: "check_liveness",
  title: "Check liveness",
  description:
    "Does a selfie show a live person or a presentation attack (print, screen, mask)? Identifies nobody. " +
    "'review' means a person must look; never report it as approved.",
  input: {
    image_path: imagePath.describe("the selfie: JPEG, PNG, WebP or TIFF, up to 5 MB"),
    decline_threshold: percent.optional().describe(`declines at or below it; default ${DEFAULT_THRESHOLDS.liveness}`),
    rotate,
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
  async run({ image_path, ...args }, context) {
    const thresholds = { caller: args.decline_threshold, operator: context.thresholds.liveness };
    const provider = await need(context, "checkLiveness");
    const { images, facts } = await readImages(context, provider.images, { image: image_path }, args);
    const report = await provider.checkLiveness(images.image, checkOptions(args, context, thresholds));
    const decision = decide(
      { check: "liveness", provider: provider.name, images: facts, thresholds },
      onReencoded(report, images.image),
    );
    await showPreview(args, context, [images.image], decision);
    return decision;
  },
});
