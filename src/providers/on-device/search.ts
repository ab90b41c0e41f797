import type { Match, SearchType } from "../../provider.ts";
import { type Outcome, worst } from "../../warnings.ts";
import type { Gallery, Neighbour } from "./gallery/gallery.ts";
import type { Remark } from "./remarks.ts";
import { MIN_FOUND_COSINE, similarityOf } from "./scores.ts";

/** From this similarity on two faces may be those of one person, and a person should look. */
export const SEARCH_THRESHOLD = 70;
/** From this on they probably are. */
const STRONG_SIMILARITY = 90;
/** As many as Didit shows. */
const MAX_MATCHES = 5;

/** The nearest faces of the gallery, blocklisted ones first if `searchType` says so; `total` counts those not shown. */
export async function findNeighbours(
  gallery: Gallery,
  embedding: Float32Array,
  searchType: SearchType = "most_similar",
): Promise<{ neighbours: readonly Neighbour[]; total: number }> {
  const ask = (blocklistedFirst: boolean) =>
    gallery.search(embedding, { minCosine: MIN_FOUND_COSINE, limit: MAX_MATCHES, blocklistedFirst });
  if (searchType === "blocklisted_or_approved") return ask(true);
  const nearest = await ask(false);
  if (nearest.total <= MAX_MATCHES) return nearest;
  // A blocklisted face must not be missed because the same person is enrolled more than five times besides.
  const blocked = (await ask(true)).neighbours.filter((it) => it.blocklisted && bandOf(it) !== "weak");
  const others = nearest.neighbours.filter(({ id }) => !blocked.some((it) => it.id === id));
  const neighbours = [...blocked, ...others].slice(0, MAX_MATCHES).toSorted((a, b) => b.cosine - a.cosine);
  return { neighbours, total: nearest.total };
}

type Band = "strong" | "possible" | "weak";

function bandOf({ cosine }: Neighbour): Band {
  const similarity = similarityOf(cosine);
  return similarity >= STRONG_SIMILARITY ? "strong" : similarity >= SEARCH_THRESHOLD ? "possible" : "weak";
}

const ON_BLOCKLIST = { strong: "FACE_IN_BLOCKLIST", possible: "POSSIBLE_FACE_IN_BLOCKLIST" } as const;
const DUPLICATE = { strong: "DUPLICATED_FACE", possible: "POSSIBLE_DUPLICATED_FACE" } as const;

/** What the found faces mean for the person who was searched for. */
export function judgeNeighbours(
  neighbours: readonly Neighbour[],
  vendorData: string | undefined,
): { verdict: Outcome; remarks: Remark[] } {
  const verdicts: Outcome[] = [];
  const remarks: Remark[] = [];
  for (const neighbour of neighbours) {
    const band = bandOf(neighbour);
    if (band === "weak") continue;
    if (neighbour.blocklisted) {
      verdicts.push("declined");
      remarks.push({ tag: ON_BLOCKLIST[band], severity: "error", detail: detailOf("blocklisted", neighbour) });
      // An earlier record of the same person is no duplicate.
    } else if (vendorData === undefined || neighbour.vendorData !== vendorData) {
      verdicts.push("review");
      remarks.push({ tag: DUPLICATE[band], severity: "information", detail: detailOf("duplicated", neighbour) });
    }
  }
  return { verdict: worst(verdicts), remarks };
}

/** Didit names a session here, which a gallery does not have. */
function detailOf(kind: "blocklisted" | "duplicated", { id }: Neighbour) {
  return {
    [`${kind}_session_id`]: null,
    [`${kind}_session_number`]: null,
    api_service: null,
    biometric_template_id: id,
  };
}

export function toMatch({ id, cosine, label, vendorData, blocklisted }: Neighbour): Match {
  return {
    id,
    similarity: similarityOf(cosine),
    label,
    vendorData,
    blocklisted,
    allowlisted: false,
    status: null,
  };
}
