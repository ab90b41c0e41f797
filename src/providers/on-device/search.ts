import { type Outcome, worst } from "../../warnings.ts";
import { type Match, type SearchType, SIMILARITY } from "../provider.ts";
import { toStored } from "./gallery/embedding.ts";
import type { Gallery, Neighbour } from "./gallery/gallery.ts";
import type { Curve } from "./models.ts";
import type { Remark } from "./remarks.ts";
import { MIN_FOUND_SIMILARITY, measureAt, shownScoreOn } from "./scores.ts";

/** As many as Didit shows. */
const MAX_MATCHES = 5;

/** Beyond those that are shown: a person with many records of their own must not hide another's. */
const MAX_JUDGED = 100;

export interface Resembling extends Neighbour {
  /** What the cosine means, 0..100. */
  readonly similarity: number;
}

export interface Found {
  readonly judged: readonly Resembling[];
  /** The part of them that is shown. */
  readonly neighbours: readonly Resembling[];
  /** Counts also those beyond `judged`. */
  readonly total: number;
  /** The ids of those that each of the searched faces found. */
  readonly byFace: readonly (readonly string[])[];
}

/** The nearest faces of the gallery to any of the given ones, blocklisted ones first if `searchType` says so. */
export async function findNeighbours(
  gallery: Gallery,
  embeddings: readonly Float32Array[],
  curve: Curve,
  searchType: SearchType = "most_similar",
): Promise<Found> {
  const blocklistedFirst = searchType === "blocklisted_or_approved";
  const query = { minCosine: measureAt(curve, MIN_FOUND_SIMILARITY), limit: MAX_JUDGED, blocklistedFirst };
  const results = await Promise.all(embeddings.map((embedding) => gallery.search(toStored(embedding), query)));
  const judged = nearestFirst(results.flatMap(({ neighbours }) => neighbours))
    .filter(({ id }, at, all) => all.findIndex((other) => other.id === id) === at)
    .map((it) => ({ ...it, similarity: shownScoreOn(curve, it.cosine) }));
  const beyond = results.reduce((sum, { total, neighbours }) => sum + total - neighbours.length, 0);
  const found = {
    judged,
    total: judged.length + beyond,
    byFace: results.map(({ neighbours }) => neighbours.map(({ id }) => id)),
  };
  // Whoever is declined for a blocklisted face has to see it, however many others are nearer.
  const isFirst = (it: Resembling) => it.blocklisted && (blocklistedFirst || bandOf(it) !== "weak");
  const shown = [...judged.filter(isFirst), ...judged.filter((it) => !isFirst(it))].slice(0, MAX_MATCHES);
  return { ...found, neighbours: blocklistedFirst ? shown : nearestFirst(shown) };
}

const nearestFirst = <N extends Neighbour>(neighbours: readonly N[]) =>
  neighbours.toSorted((a, b) => b.cosine - a.cosine);

type Band = "strong" | "possible" | "weak";

function bandOf({ similarity }: Resembling): Band {
  return similarity >= SIMILARITY.strong ? "strong" : similarity >= SIMILARITY.possible ? "possible" : "weak";
}

const ON_BLOCKLIST = { strong: "FACE_IN_BLOCKLIST", possible: "POSSIBLE_FACE_IN_BLOCKLIST" } as const;
const DUPLICATE = { strong: "DUPLICATED_FACE", possible: "POSSIBLE_DUPLICATED_FACE" } as const;

/** What the found faces mean for the person who was searched for. */
export function judgeNeighbours(
  neighbours: readonly Resembling[],
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

export function toMatch({ id, similarity, label, vendorData, blocklisted, enrolledAt }: Resembling): Match {
  return {
    id,
    similarity,
    label,
    vendorData,
    blocklisted,
    allowlisted: false,
    status: null,
    date: enrolledAt,
  };
}
