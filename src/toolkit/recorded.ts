import { createHash } from "node:crypto";
import * as z from "zod";
import { CheckError } from "../errors.ts";
import { plain } from "../untrusted.ts";
import { OUTCOMES } from "../warnings.ts";
import type { ToolContext } from "./context.ts";

/** Texts of a provider: far longer than any of its ids and tags, and short enough for a line. */
const MAX_TEXT_CHARS = 200;
const MAX_WARNINGS = 50;

const text = z.string().transform((given) => plain(given, MAX_TEXT_CHARS));
const decided = z.object({
  outcome: z.enum(OUTCOMES).nullable(),
  score: z.number().nullish(),
  threshold: z.number().nullish(),
  warnings: z
    .array(z.object({ tag: text }))
    .default([])
    .transform((warnings) => warnings.slice(0, MAX_WARNINGS).map(({ tag }) => tag)),
  reference: text.nullish(),
});
/** Of a result, what is kept: no image, no face, no label, nothing of the provider's JSON. */
const recordable = decided.extend({
  provider: z.string(),
  steps: z.array(decided.extend({ check: z.string(), error: z.object({ code: z.string() }).optional() })).optional(),
});

/**
 * Runs a tool that decides so that its decision stands in the audit log before anybody has it. Where nothing could be
 * written there, the tool does not run, and so nothing is sent or billed.
 *
 * @throws CheckError what the tool throws, or why the log cannot be written.
 */
export async function recorded<T>(
  tool: string,
  args: Readonly<Record<string, unknown>>,
  context: ToolContext,
  run: (context: ToolContext) => Promise<T>,
): Promise<T> {
  const { audit } = context;
  if (audit === undefined) return run(context);
  await audit.test();
  const sha256: Record<string, string> = {};
  const keep = (path: string, hash: string) => {
    for (const name of argumentsFor(args, path)) sha256[name] = hash;
  };
  const hashOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
  const result = await run({
    ...context,
    async loadImage(path, limits) {
      const image = await context.loadImage(path, limits);
      // Of the file as its owner has it, also where something else was judged.
      keep(path, image.prepared?.sha256 ?? hashOf(image.bytes));
      return image;
    },
    async loadFile(path, limits) {
      const bytes = await context.loadFile(path, limits);
      keep(path, hashOf(bytes));
      return bytes;
    },
  });
  const { vendor_data = null, gallery } = args;
  const { provider, ...decision } = recordable.parse(result);
  await audit.append({ tool, provider, vendor_data, gallery, ...decision, sha256 }).catch((why: unknown) => {
    const references = [decision, ...(decision.steps ?? [])].flatMap(({ reference }) => reference ?? []);
    throw unrecorded(why, references);
  });
  return result;
}

/** The arguments that name this file: two of one call can name the same. */
function argumentsFor(args: Readonly<Record<string, unknown>>, path: string): string[] {
  const isPath = (value: unknown) =>
    value === path || (typeof value === "object" && value !== null && "path" in value && value.path === path);
  return Object.keys(args).filter((name) => isPath(args[name]));
}

/** The decision is not given: nobody could show it later. The provider has the call under its reference. */
function unrecorded(why: unknown, references: readonly string[]): CheckError {
  return new CheckError(
    "unavailable",
    `${CheckError.from(why).message} The decision is withheld, since it could not be recorded.`,
    {
      cause: { why, references },
      next: "Mend the audit log (BIOMETRICS_AUDIT_LOG) first. The provider may have billed this call; the server's log has its reference.",
      retryable: false,
    },
  );
}
