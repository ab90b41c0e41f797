import { type Match, type SearchType, SIMILARITY } from "../../provider.ts";
import { type Outcome, worst } from "../../warnings.ts";
import type { Gallery, Neighbour } from "./gallery/gallery.ts";
import type { Remark } from "./remarks.ts";
import { MIN_FOUND_COSINE, similarityOf } from "./scores.ts";

/** As many as Didit shows. */
const MAX_MATCHES = 5;

/** Beyond those that are shown: a person with many records of their own must not hide another's. */
const MAX_JUDGED = 100;

export interface Found {
  readonly judged: readonly Neighbour[];
  /** The part of them that is shown. */
  readonly neighbours: readonly Neighbour[];
  /** Counts also those beyond `judged`. */
  readonly total: number;
}

/** The nearest faces of the gallery, blocklisted ones first if `searchType` says so. */
export async function findNeighbours(
  gallery: Gallery,
  embedding: Float32Array,
  searchType: SearchType = "most_similar",
): Promise<Found> {
  const blocklistedFirst = searchType === "blocklisted_or_approved";
  const query = { minCosine: MIN_FOUND_COSINE, limit: MAX_JUDGED, blocklistedFirst };
  const { neighbours: judged, total } = await gallery.search(embedding, query);
  if (blocklistedFirst) return { judged, neighbours: judged.slice(0, MAX_MATCHES), total };
  // Whoever is declined for a blocklisted face has to see it, however many others are nearer.
  const isBlocked = (it: Neighbour) => it.blocklisted && bandOf(it) !== "weak";
  const shown = [...judged.filter(isBlocked), ...judged.filter((it) => !isBlocked(it))].slice(0, MAX_MATCHES);
  return { judged, neighbours: shown.toSorted((a, b) => b.cosine - a.cosine), total };
}

type Band = "strong" | "possible" | "weak";

function bandOf({ cosine }: Neighbour): Band {
  const similarity = similarityOf(cosine);
  return similarity >= SIMILARITY.strong ? "strong" : similarity >= SIMILARITY.possible ? "possible" : "weak";
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

export function toMatch({ id, cosine, label, vendorData, blocklisted, enrolledAt }: Neighbour): Match {
  return {
    id,
    similarity: similarityOf(cosine),
    label,
    vendorData,
    blocklisted,
    allowlisted: false,
    status: null,
    date: enrolledAt,
  };
}
