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
        blocklisted: z.boolean(),
      }),
    )
    .default([]),
  faces: z
    .array(z.object({ face_id: z.string(), label: z.string(), blocklisted: z.boolean(), enrolled_at: z.string() }))
    .default([]),
  raw: z.unknown().optional(),
});

/** Raw JSON above this many characters is not repeated as text: it stands in `structuredContent`. */
const MAX_RAW_CHARS = 200_000;

/** A result for a reader: the summary with warnings and next steps, then the provider's JSON where there is any. */
export function render(result: Readonly<Record<string, unknown>>): { text: string; raw: string | undefined } {
  const { summary, warnings, next_steps, matches, faces, raw } = shown.parse(result);
  const text = [
    summary,
    ...section(
      "Matches",
      matches.map(
        ({ id, similarity, band, label, blocklisted }) =>
          `${similarity.toFixed(1)} of 100 (${band}${blocklisted ? ", blocklisted" : ""}): ${label === null ? "no label" : quoted(label)}, id ${id === null ? "none" : quoted(id)}`,
      ),
    ),
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

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`${title}:`, ...lines.map((line) => `- ${line}`)];
}
