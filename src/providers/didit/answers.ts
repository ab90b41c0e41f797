import * as z from "zod";
import { clean } from "../../untrusted.ts";
import { type Outcome, type Warning, worst } from "../../warnings.ts";
import type { DetectedFace, Match, Report, SearchReport } from "../provider.ts";

// Two generations of the API are read, the older one with fewer fields. What decides (status, score, warnings, matches)
// must be there and make sense; all else may be missing, be null or be new.

const status = z.enum(["Approved", "In Review", "Declined"]);

const VERDICT = { Approved: "approved", "In Review": "review", Declined: "declined" } satisfies Record<
  z.infer<typeof status>,
  Outcome
>;

/** By `log_type`. A Map, so that no inherited name is found in it. */
const EFFECT: ReadonlyMap<unknown, Outcome> = new Map([
  ["information", "approved"],
  ["warning", "review"],
  ["error", "declined"],
]);

const warning = z.object({ risk: z.string(), log_type: z.unknown().optional() }).transform(
  ({ risk, log_type }): Warning => ({
    // A tag is a word of the provider that a model reads: it must look like one.
    tag: /^[A-Z0-9_]{1,64}$/.test(risk) ? risk : "UNRECOGNISED_WARNING",
    effect: EFFECT.get(log_type) ?? "review",
  }),
);

/** A percentage; unsaved scores are raw floats, which may miss the ends of the scale by a rounding error. */
const percent = z
  .number()
  .min(-0.001)
  .max(100.001)
  .transform((value) => Math.min(100, Math.max(0, value)));

const warnings = z
  .array(warning)
  .nullish()
  .transform((found) => found ?? []);

// What is told of faces decides nothing: where it is not understood, it is not known.
const level = percent.nullable().catch(null);
const box = z
  .tuple([z.number(), z.number(), z.number(), z.number()])
  .transform(([left, top, right, bottom]) => ({ left, top, right, bottom }))
  .nullable()
  .catch(null);
const face = z.object({ bbox: box }).catch({ bbox: null });
/** More are counted by nobody. */
const MAX_FACES = 50;
const image = z
  .object({
    entities: z.array(z.unknown()).transform((found) => found.slice(0, MAX_FACES).map((it) => face.parse(it))),
  })
  .nullable()
  .catch(null);

const finding = z.object({
  status,
  score: percent.nullish(),
  warnings,
  user_image: image,
  ref_image: image,
  face_quality: level,
  face_luminance: level,
});

const requestId = z
  .string()
  .regex(/^[\w.:-]{1,100}$/)
  .nullable()
  .catch(null);

const date = z
  .string()
  .regex(/^\d{4}-\d\d-\d\d(T[\d:.]{5,15}(Z|[+-]\d\d:\d\d)?)?$/)
  .nullable()
  .catch(null);
const untouched = z.string().nullable().catch(null);
const textOrNull = untouched.transform((text) => (text === null ? null : clean(text) || null));
const flag = z
  .boolean()
  .nullish()
  .transform((set) => set ?? false);

const match = z
  .object({
    session_id: textOrNull,
    biometric_template_id: textOrNull,
    similarity_percentage: percent.nullish(),
    similarity: percent.nullish(),
    // Compared with the caller's own before it is shown.
    vendor_data: untouched,
    user_details: z.object({ full_name: textOrNull, name: textOrNull }).nullable().catch(null),
    is_blocklisted: flag,
    is_allowlisted: flag,
    status: textOrNull,
    verification_date: date,
  })
  .transform((it, context): Match => {
    const similarity = it.similarity_percentage ?? it.similarity;
    if (similarity === undefined || similarity === null) {
      context.addIssue("a match without its similarity");
      return z.NEVER;
    }
    return {
      id: it.session_id ?? it.biometric_template_id,
      similarity,
      label: it.user_details?.full_name ?? it.user_details?.name ?? null,
      vendorData: it.vendor_data,
      blocklisted: it.is_blocklisted,
      allowlisted: it.is_allowlisted,
      status: it.status,
      sessionId: it.session_id,
      date: it.verification_date,
    };
  });

const search = z.object({
  status,
  total_matches: z.int().min(0).nullish(),
  matches: z.array(match),
  warnings,
  user_image: image,
});

export const LivenessAnswer = z.object({ request_id: requestId, liveness: finding });
export const MatchAnswer = z.object({ request_id: requestId, face_match: finding });
export const SearchAnswer = z.object({ request_id: requestId, face_search: search });

type Context = Pick<Report, "threshold" | "reference" | "raw">;

export function toReport(found: z.infer<typeof finding>, context: Context): Report {
  return {
    verdict: VERDICT[found.status],
    score: found.score ?? null,
    warnings: found.warnings,
    ...facesOf(found),
    ...context,
  };
}

type Told = Partial<Pick<z.infer<typeof finding>, "user_image" | "ref_image" | "face_quality" | "face_luminance">>;

/** Quality and luminance are those of the face that was judged, the largest. */
function facesOf({ user_image, ref_image, face_quality = null, face_luminance = null }: Told): Pick<Report, "faces"> {
  const isMeasured = face_quality !== null || face_luminance !== null;
  if (!user_image && !ref_image && !isMeasured) return {};
  const unseen = isMeasured && !user_image?.entities.length ? [{ bbox: null }] : [];
  const users = largestFirst([...(user_image?.entities ?? []), ...unseen]).map(
    ({ bbox }, at): DetectedFace => ({
      image: "user",
      box: bbox,
      quality: at === 0 ? face_quality : null,
      luminance: at === 0 ? face_luminance : null,
    }),
  );
  const references = largestFirst(ref_image?.entities ?? []).map(
    ({ bbox }): DetectedFace => ({ image: "reference", box: bbox, quality: null, luminance: null }),
  );
  return { faces: [...users, ...references] };
}

type Entity = z.infer<typeof face>;

function largestFirst(entities: readonly Entity[]): Entity[] {
  const areaOf = ({ bbox }: Entity) => (bbox === null ? 0 : (bbox.right - bbox.left) * (bbox.bottom - bbox.top));
  return entities.toSorted((a, b) => areaOf(b) - areaOf(a));
}

export function toSearchReport(found: z.infer<typeof search>, context: Context): SearchReport {
  // Those on the blocklist come first otherwise.
  const matches = found.matches.toSorted((a, b) => b.similarity - a.similarity);
  const totalMatches = Math.max(found.total_matches ?? 0, matches.length);
  // Faces that are counted and not shown cannot be judged.
  const isHidden = matches.length === 0 && totalMatches > 0;
  return {
    verdict: worst([VERDICT[found.status], isHidden ? "review" : "approved"]),
    score: matches[0]?.similarity ?? null,
    warnings: found.warnings,
    matches,
    totalMatches,
    ...facesOf(found),
    ...context,
  };
}
