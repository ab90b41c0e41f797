import * as z from "zod";
import { preparedImages } from "../decision/decision.ts";
import { needGallery } from "../toolkit/capability.ts";
import { defineTool } from "../toolkit/define.ts";
import { readImages } from "../toolkit/images.ts";
import { convert, gallery, imagePath, line, vendorData } from "../toolkit/schemas.ts";
import { quoted } from "../untrusted.ts";

export const enrollFace = defineTool({
  name: "enroll_face",
  title: "Enroll a face",
  description:
    "Adds the face in a photo to this machine's gallery; with Didit, blocklisted: true adds it to the face blocklist. " +
    "Enroll only people who agreed or whom you may block.",
  input: {
    image_path: imagePath.describe("a photo with one clear face"),
    label: line(100).describe("name to show when it is found"),
    vendor_data: vendorData,
    blocklisted: z.boolean().optional().describe("decline this face from now on"),
    convert,
    gallery: gallery.describe("gallery name; made if new"),
  },
  output: z.object({
    provider: z.string(),
    face_id: z.string(),
    label: z.string(),
    vendor_data: z.string().nullable(),
    blocklisted: z.boolean(),
    enrolled_at: z.string(),
    summary: z.string(),
  }),
  hints: { readOnlyHint: false, destructiveHint: false, idempotentHint: false, openWorldHint: true },
  async run({ image_path, label, vendor_data = null, blocklisted = false, convert, gallery }, context) {
    const provider = await needGallery(context, "enrollFace", gallery);
    const { images, facts } = await readImages(context, provider.images, { image: image_path }, { convert });
    const { id, enrolledAt, note } = await provider.enrollFace(
      images.image,
      { label, vendorData: vendor_data, blocklisted },
      { signal: context.signal, onStage: context.onStage, gallery },
    );
    return {
      provider: provider.name,
      face_id: id,
      label,
      vendor_data,
      blocklisted,
      enrolled_at: enrolledAt,
      summary: [
        `Enrolled ${quoted(label)}${blocklisted ? " on the blocklist" : ""}${gallery === undefined ? "" : ` in the gallery ${gallery}`} as ${id}. remove_face erases it.`,
        ...(note === undefined ? [] : [note]),
        ...preparedImages({ images: facts }),
      ].join(" "),
    };
  },
});
