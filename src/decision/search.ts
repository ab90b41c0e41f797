import * as z from "zod";
import { show, showBeside } from "../appearance.ts";
import { type Match, type ProviderName, type SearchReport, SIMILARITY } from "../providers/provider.ts";
import { clean, quoted } from "../untrusted.ts";
import { type Outcome, type Warning, worst } from "../warnings.ts";
import {
  CHECK_TITLE,
  count,
  Decision,
  explain,
  facesOf,
  nextSteps,
  PROVIDER_TITLE,
  preparedImages,
  type Subject,
} from "./decision.ts";

export const BANDS = ["strong", "possible", "weak"] as const;

export const SearchDecision = Decision.extend({
  matches: z.array(
    z.object({
      id: z.string().nullable(),
      similarity: z.number().min(0).max(100),
      band: z.enum(BANDS),
      label: z.string().nullable(),
      vendor_data: z.string().nullable(),
      blocklisted: z.boolean(),
      allowlisted: z.boolean(),
      status: z.string().nullable(),
      session_id: z.string().nullable(),
      date: z.string().nullable(),
    }),
  ),
  total_matches: z.int(),
});
export type SearchDecision = z.infer<typeof SearchDecision>;

const BLOCKLIST_TAG = { strong: "FACE_IN_BLOCKLIST", possible: "POSSIBLE_FACE_IN_BLOCKLIST" } as const;
const BLOCKLIST_TAGS: readonly string[] = Object.values(BLOCKLIST_TAG);
/** A provider that cannot tell whose record it found also warns of the person's own. */
const DUPLICATE_TAGS: readonly string[] = ["DUPLICATED_FACE", "POSSIBLE_DUPLICATED_FACE"];

/** The rules of a search, where "approved" means that no duplicate and no blocklisted face was found. */
export function decideSearch(subject: Subject, report: SearchReport, vendorData: string | undefined): SearchDecision {
  const isSamePerson = (match: SearchReport["matches"][number]) =>
    vendorData !== undefined && match.vendorData === vendorData;
  const alike = report.matches.filter(({ similarity }) => similarity >= SIMILARITY.possible);
  const blocked = alike.filter(({ blocklisted }) => blocklisted);
  const duplicates = alike.filter((match) => !match.blocklisted && !match.allowlisted && !isSamePerson(match));
  const own = alike.filter((match) => !match.blocklisted && isSamePerson(match));
  const isOwnAlone = own.length > 0 && duplicates.length === 0 && report.totalMatches <= report.matches.length;
  const cleared = alike.filter((match) => !match.blocklisted && match.allowlisted && !isSamePerson(match));
  const given = report.warnings.filter(({ tag }) => !(isOwnAlone && DUPLICATE_TAGS.includes(tag)));
  const warnings = explain([...given, ...missingWarnings(blocked, given)]);
  const isInDoubt = duplicates.length > 0 || report.isEmpty === true;
  const found: Outcome = blocked.length > 0 ? "declined" : isInDoubt ? "review" : "approved";
  const outcome = worst([report.verdict, found, ...warnings.map(({ effect }) => effect)]);
  return {
    check: subject.check,
    provider: subject.provider,
    outcome,
    score: report.matches[0]?.similarity ?? null,
    threshold: report.threshold,
    summary: [
      summariseSearch(subject.provider, outcome, report, {
        blocked,
        duplicates: duplicates.length,
        own: own.length,
        cleared: cleared.length,
      }),
      ...preparedImages(subject),
    ].join(" "),
    warnings,
    next_steps: [
      ...(report.isEmpty === true ? [NOTHING_COMPARED] : []),
      ...nextSteps(outcome, warnings, subject, report),
      ...facesToCompare([...blocked, ...duplicates]),
    ],
    reference: report.reference,
    images: [...subject.images],
    detected_faces: facesOf(report),
    raw: report.raw,
    matches: report.matches.map((match) => ({
      id: match.id,
      similarity: match.similarity,
      band: bandOf(match),
      label: match.label === null ? null : clean(match.label, 100),
      vendor_data: match.vendorData === null ? null : clean(match.vendorData, 256),
      blocklisted: match.blocklisted,
      allowlisted: match.allowlisted,
      status: match.status,
      session_id: match.sessionId ?? null,
      date: match.date ?? null,
    })),
    total_matches: report.totalMatches,
  };
}

const NOTHING_COMPARED = "Nothing was compared: enroll the known faces first (enroll_face).";

function bandOf({ similarity }: Match): (typeof BANDS)[number] {
  return similarity >= SIMILARITY.strong ? "strong" : similarity >= SIMILARITY.possible ? "possible" : "weak";
}

/** The warning about a blocklisted face that a provider marks among its matches without warning of it. */
function missingWarnings(blocked: readonly Match[], given: readonly Warning[]): Warning[] {
  if (blocked.length === 0 || given.some(({ tag }) => BLOCKLIST_TAGS.includes(tag))) return [];
  const band = blocked.some((match) => bandOf(match) === "strong") ? "strong" : "possible";
  return [{ tag: BLOCKLIST_TAG[band], effect: "declined" }];
}

function summariseSearch(
  provider: ProviderName,
  outcome: Outcome,
  { totalMatches, matches, verdict, warnings, isEmpty, note }: SearchReport,
  found: { blocked: readonly Match[]; duplicates: number; own: number; cleared: number },
): string {
  const { blocked, duplicates, own, cleared } = found;
  const nearest = matches[0];
  const name = nearest?.label ?? nearest?.vendorData ?? null;
  const parts = [
    ...(blocked.length > 0 ? [describeBlocked(blocked)] : []),
    ...(duplicates > 0 ? [`${count(duplicates, "possible duplicate")} found`] : []),
    ...(own > 0 ? [`${count(own, "earlier record")} of the same person found`] : []),
    ...(cleared > 0 ? [`${count(cleared, "face")} found that ${cleared === 1 ? "was" : "were"} cleared by hand`] : []),
  ];
  const isReported =
    verdict === "declined" || warnings.some(({ tag }) => [...BLOCKLIST_TAGS, ...DUPLICATE_TAGS].includes(tag));
  const nobody: readonly (readonly [boolean, string])[] = [
    [isEmpty === true, "nothing was compared, as the gallery is empty"],
    [matches.length === 0 && (isReported || totalMatches > 0), "a match was reported but not shown"],
    [totalMatches > 0, `no duplicate found, ${count(totalMatches, "weak resemblance")}`],
  ];
  const what = parts.length > 0 ? parts.join("; ") : (nobody.find(([is]) => is)?.[1] ?? "no matching face found");
  const result = `${what}${{ approved: "", review: ": a person must review it", declined: ": declined" }[outcome]}`;
  const close =
    nearest === undefined
      ? ""
      : ` Nearest: ${name === null ? "a face without a label" : quoted(clean(name))} with a similarity of ${show(nearest.similarity)} of 100.`;
  return `${CHECK_TITLE.face_search} by ${PROVIDER_TITLE[provider]}: ${result}.${close}${note === undefined ? "" : ` ${note}`}`;
}

/** "possible match with a blocklisted face (74)": a lead, not a finding. */
function describeBlocked(blocked: readonly Match[]): string {
  const nearest = blocked.reduce((a, b) => (b.similarity > a.similarity ? b : a));
  const whom = blocked.length === 1 ? "a blocklisted face" : count(blocked.length, "blocklisted face");
  return `${bandOf(nearest)} match with ${whom} (${showBeside(nearest.similarity, Object.values(SIMILARITY))})`;
}

/** More would not be read. */
const MAX_FACES_TO_COMPARE = 3;

/** Under which session or id, and for which person of the caller's, a found face is known. */
function facesToCompare(found: readonly Match[]): string[] {
  const faces = found.slice(0, MAX_FACES_TO_COMPARE).map(({ sessionId, id, vendorData }) => {
    const known = sessionId ?? null;
    const where = known === null ? `face ${id === null ? "without an id" : quoted(id)}` : `session ${quoted(known)}`;
    return `${where}${vendorData === null ? "" : ` (vendor_data ${quoted(clean(vendorData, 256))})`}`;
  });
  return faces.length === 0 ? [] : [`Compare the photo with ${faces.join(", ")}.`];
}
