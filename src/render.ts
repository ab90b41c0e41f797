import * as z from "zod";
import { quoted } from "./untrusted.ts";

/** The parts that results share; which of them a result has depends on the tool. */
const shown = z.object({
  summary: z.string(),
  warnings: z
    .array(z.object({ tag: z.string(), effect: z.string(), meaning: z.string(), advice: z.string() }))
    .default([]),
  next_steps: z.array(z.string()).default([]),
  matches: z
    .array(
      z.object({
        id: z.string().nullable(),
        similarity: z.number(),
        band: z.string(),
        label: z.string().nullable(),
        vendor_data: z.string().nullable(),
        blocklisted: z.boolean(),
        allowlisted: z.boolean(),
        session_id: z.string().nullable(),
        date: z.string().nullable(),
      }),
    )
    .default([]),
  detected_faces: z
    .array(
      z.object({
        image: z.string(),
        box: z.object({ left: z.number(), top: z.number(), right: z.number(), bottom: z.number() }).nullable(),
        quality: z.number().nullable(),
        luminance: z.number().nullable(),
      }),
    )
    .nullish(),
  faces: z
    .array(z.object({ face_id: z.string(), label: z.string(), blocklisted: z.boolean(), enrolled_at: z.string() }))
    .default([]),
  raw: z.unknown().optional(),
});

/** Raw JSON above this many characters is not repeated as text: it stands in `structuredContent`. */
const MAX_RAW_CHARS = 200_000;

/** A result for a reader: the summary with warnings and next steps, then the provider's JSON where there is any. */
export function render(result: Readonly<Record<string, unknown>>): { text: string; raw: string | undefined } {
  const { summary, warnings, next_steps, matches, detected_faces, faces, raw } = shown.parse(result);
  const text = [
    summary,
    ...section("Matches", matches.map(describeMatch)),
    ...section(`Faces found (${detected_faces?.length ?? 0})`, describeFaces(detected_faces ?? [])),
    ...section(
      "Faces",
      faces.map(
        ({ face_id, label, blocklisted, enrolled_at }) =>
          `${face_id}: ${quoted(label)}${blocklisted ? ", blocklisted" : ""}, enrolled ${enrolled_at}`,
      ),
    ),
    ...section(
      "Warnings",
      warnings.map(({ tag, effect, meaning }) => `${tag} (${effect}): ${meaning}`),
    ),
    ...section("Next", next_steps),
  ].join("\n");
  if (raw === undefined) return { text, raw: undefined };
  const json = JSON.stringify(raw);
  return {
    text,
    raw: json.length <= MAX_RAW_CHARS ? json : `The provider's JSON is long (${json.length} characters): see raw.`,
  };
}

type Shown = z.infer<typeof shown>;

function describeMatch(match: Shown["matches"][number]): string {
  const { id, similarity, band, label, vendor_data, blocklisted, allowlisted, session_id, date } = match;
  const marks = [band, ...(blocklisted ? ["blocklisted"] : []), ...(allowlisted ? ["cleared by hand"] : [])];
  const facts = [
    label === null ? "no label" : quoted(label),
    session_id === null ? `id ${id === null ? "none" : quoted(id)}` : `session ${quoted(session_id)}`,
    ...(vendor_data === null ? [] : [`vendor data ${quoted(vendor_data)}`]),
    ...(date === null ? [] : [`of ${date}`]),
  ];
  return `${similarity.toFixed(1)} of 100 (${marks.join(", ")}): ${facts.join(", ")}`;
}

/** Of a crowd the largest are shown, which are those that may have been judged. */
const MAX_FACES_SHOWN = 5;

function describeFaces(faces: NonNullable<Shown["detected_faces"]>): string[] {
  const lines = faces.slice(0, MAX_FACES_SHOWN).map(({ image, box, quality, luminance }) => {
    const facts = [
      ...(box === null ? [] : [`${box.right - box.left} x ${box.bottom - box.top} pixels at ${box.left}, ${box.top}`]),
      ...(quality === null ? [] : [`quality ${quality.toFixed(1)} of 100`]),
      ...(luminance === null ? [] : [`luminance ${luminance.toFixed(1)} of 100`]),
    ];
    return `${image} image: ${facts.length === 0 ? "nothing more is known" : facts.join("; ")}`;
  });
  const rest = faces.length - lines.length;
  return rest === 0 ? lines : [...lines, `and ${rest} more`];
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`${title}:`, ...lines.map((line) => `- ${line}`)];
}
