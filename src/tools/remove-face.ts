import * as z from "zod";
import { CheckError } from "../errors.ts";
import { needGallery } from "../toolkit/capability.ts";
import { defineTool } from "../toolkit/define.ts";
import { gallery, line } from "../toolkit/schemas.ts";

export const removeFace = defineTool({
  name: "remove_face",
  title: "Remove a face",
  description: "Erases a face from the gallery; with Didit, takes it off the face blocklist. list_faces has the ids.",
  input: { face_id: line(100).describe("id that enroll_face returned"), gallery },
  output: z.object({
    provider: z.string(),
    face_id: z.string(),
    removed: z.boolean(),
    erased: z.boolean().describe("its bytes are gone from the files too"),
    summary: z.string(),
  }),
  hints: { readOnlyHint: false, destructiveHint: true, idempotentHint: true, openWorldHint: true },
  async run({ face_id, gallery }, context) {
    const provider = await needGallery(context, "removeFace", gallery);
    const {
      removed,
      erased,
      remains = "its template is still in the files of the database",
    } = await provider.removeFace(face_id, { ...context, gallery });
    if (!removed) throw new CheckError("not_found", "No enrolled face has that id.");
    const summary = erased
      ? "The face was removed and its template erased."
      : `The face was removed and will not be found again; ${remains}.`;
    return { provider: provider.name, face_id, removed, erased, summary };
  },
});
