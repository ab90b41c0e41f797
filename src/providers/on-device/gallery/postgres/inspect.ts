import { attempt, countOf, type Inspection, NONE_YET } from "../inspect.ts";
import { lost, readMark, replaced } from "../mark.ts";
import { connect, inTransaction } from "../postgres.ts";
import { tellErasure } from "./erasure.ts";
import { listGalleries, readMeta, refuseDamaged, refuseOther, tablesExist } from "./schema.ts";

export async function inspectPostgres(
  location: { url: string; mark: string; name: string },
  model: string,
): Promise<Inspection> {
  const mark = await readMark(location.mark);
  const pool = await connect(location.url);
  try {
    return await inTransaction(pool, async (client) => {
      if (!(await tablesExist(client))) {
        if (mark.id !== undefined) throw lost(mark);
        return NONE_YET;
      }
      const meta = await readMeta(client);
      if (meta.get("version") === "1") return UPGRADED_BY_USE;
      if (!(await listGalleries(client)).includes(location.name)) return NONE_YET;
      const { rows } = await client.query<{ faces: number; blocked: number }>(
        "SELECT count(*)::int AS faces, (count(*) FILTER (WHERE blocklisted))::int AS blocked FROM biometrics_faces WHERE gallery = $1",
        [location.name],
      );
      const { faces, blocked } = rows[0] ?? { faces: 0, blocked: 0 };
      const findings = [
        await attempt("schema", () => {
          refuseOther(meta, model);
          return `version ${meta.get("version")}, for the face model ${model}`;
        }),
        await attempt("identity", () => {
          if (mark.id === undefined) return "not recorded yet; the next use records it";
          if (meta.get("id") !== mark.id) throw replaced(mark, "another id");
          return "the gallery that was used here before";
        }),
        await attempt("count", () => `${countOf(faces)}, ${blocked} of them on the blocklist`),
        await attempt("embeddings", async () => {
          await refuseDamaged(client, location.name);
          return "all are unit vectors";
        }),
        await attempt("removed faces", () => tellErasure(client, location.name, meta)),
      ];
      return { faces, findings };
    });
  } finally {
    await pool.end();
  }
}

const UPGRADED_BY_USE: Inspection = {
  faces: null,
  findings: [{ test: "schema", ok: true, detail: "version 1; the next use upgrades it" }],
};
