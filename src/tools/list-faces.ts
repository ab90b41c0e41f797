import * as z from "zod";
import { needGallery } from "../toolkit/capability.ts";
import { defineTool } from "../toolkit/define.ts";
import { gallery } from "../toolkit/schemas.ts";
import { clean } from "../untrusted.ts";

export const listFaces = defineTool({
  name: "list_faces",
  title: "List enrolled faces",
  description: "Lists the gallery's faces, newest first; with Didit, the face blocklist.",
  input: {
    limit: z.int().min(1).max(100).default(20).describe("faces per page"),
    cursor: z.string().min(1).max(200).optional().describe("next_cursor of the previous page"),
    gallery,
  },
  output: z.object({
    provider: z.string(),
    faces: z.array(
      z.object({
        face_id: z.string(),
        label: z.string(),
        vendor_data: z.string().nullable(),
        blocklisted: z.boolean(),
        enrolled_at: z.string(),
      }),
    ),
    total: z.int(),
    next_cursor: z.string().nullable(),
    summary: z.string(),
  }),
  hints: { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: true },
  async run({ gallery, ...page }, context) {
    const provider = await needGallery(context, "listFaces", gallery);
    const { faces, total, nextCursor, place = "enrolled" } = await provider.listFaces(page, { ...context, gallery });
    return {
      provider: provider.name,
      faces: faces.map(({ id, label, vendorData, blocklisted, enrolledAt }) => ({
        face_id: id,
        label: clean(label, 100),
        vendor_data: vendorData === null ? null : clean(vendorData, 256),
        blocklisted,
        enrolled_at: enrolledAt,
      })),
      total,
      next_cursor: nextCursor,
      summary: `${total} ${total === 1 ? "face is" : "faces are"} ${place}; ${faces.length} shown${nextCursor === null ? "" : "; next_cursor leads to more"}.`,
    };
  },
});
