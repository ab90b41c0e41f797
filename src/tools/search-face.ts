import * as z from "zod";
import { decideSearch, SearchDecision } from "../decision/search.ts";
import { SEARCH_TYPES } from "../providers/provider.ts";
import { needGallery } from "../toolkit/capability.ts";
import { defineTool } from "../toolkit/define.ts";
import { readImages } from "../toolkit/images.ts";
import { showPreview } from "../toolkit/preview.ts";
import {
  checkOptions,
  convert,
  gallery,
  imagePath,
  preview,
  rotate,
  save,
  searchVendorData,
} from "../toolkit/schemas.ts";

export const searchFace = defineTool({
  name: "search_face",
  title: "Search for a face",
  description:
    "Finds duplicates and blocklisted faces among those the provider knows (1:N). " +
    "'approved' means none was found; a match is a lead, not proof of identity.",
  input: {
    image_path: imagePath.describe("the photo"),
    search_type: z.enum(SEARCH_TYPES).optional().describe("the second lists blocklisted faces first"),
    rotate,
    all_faces: z.boolean().optional().describe("on-device: search up to 10 faces"),
    convert,
    preview,
    save,
    gallery,
    vendor_data: searchVendorData,
  },
  output: SearchDecision,
  hints: {
    readOnlyHint: false, // a hosted search is billed, and may enrol the face in the provider's index
    destructiveHint: false,
    idempotentHint: false,
    openWorldHint: true,
  },
  async run({ image_path, ...args }, context) {
    const provider = await needGallery(context, "searchFace", args.gallery);
    const { images, facts } = await readImages(context, provider.images, { image: image_path }, args);
    const report = await provider.searchFace(images.image, {
      ...checkOptions(args, context),
      searchType: args.search_type,
      allFaces: args.all_faces,
      gallery: args.gallery,
    });
    const subject = { check: "face_search", provider: provider.name, images: facts } as const;
    const decision = decideSearch(subject, report, args.vendor_data);
    await showPreview(args, context, [images.image], decision);
    return decision;
  },
});
