import * as z from "zod";
import { Decision, decide, type ImageFacts } from "../decision/decision.ts";
import { CheckError } from "../errors.ts";
import type { LivenessData, LivenessSelfie, Selfie } from "../providers/liveness-selfie.ts";
import type { ToolContext } from "../toolkit/context.ts";
import { defineTool } from "../toolkit/define.ts";
import { readImages } from "../toolkit/images.ts";
import { convert, imagePath, percent } from "../toolkit/schemas.ts";

/** Longer URLs are not generally supported. */
const MAX_URL_CHARS = 2048;

const path = imagePath.transform((path) => ({ path }));

/** Passed to Linkface, which downloads it; we fetch nothing. */
const url = z
  .string()
  .max(MAX_URL_CHARS)
  .transform((text, context) => {
    // Refuses control characters, which the parser would drop silently.
    const url = /^https?:\/\/\P{C}+$/iu.test(text) && URL.canParse(text) ? new URL(text) : undefined;
    if (url !== undefined && url.username === "" && url.password === "") return { url };
    context.addIssue("must be an http or https URL without a user name or password");
    return z.NEVER;
  });

const id = z
  .string()
  .regex(/^[\x21-\x7e]{1,256}$/, { error: "must be a Linkface id: up to 256 characters without spaces" })
  .transform((id) => ({ id }));

export const verifyLivenessSelfie = defineTool({
  name: "verify_liveness_selfie",
  title: "Verify liveness data",
  description:
    "Asks Linkface whether liveness data from its mobile SDK comes from a live person, the one in the selfie. " +
    "Pass each in one of three ways.",
  input: {
    selfie_path: path.optional().describe("path: JPEG, PNG, BMP, GIF or TIFF, sides of 9 to 4000 pixels"),
    selfie_url: url.optional().describe("URL that Linkface can open"),
    selfie_image_id: id.optional().describe("raw.image_id of an earlier result"),
    liveness_data_path: path.optional().describe("path of the SDK's file, up to 5 MB; not an image"),
    liveness_data_url: url.optional().describe("URL that Linkface can open"),
    liveness_data_id: id.optional().describe("raw.liveness_data_id of an earlier result"),
    convert,
    auto_rotate: z.boolean().optional().describe("turn the selfie upright first"),
    decline_threshold: percent.optional().describe("declines below it; default 70"),
  },
  output: Decision.extend({ threshold: Decision.shape.threshold.describe("below it declines") }),
  hints: {
    readOnlyHint: false, // billed, and the provider keeps what it returns an id for
    destructiveHint: false,
    idempotentHint: false,
    openWorldHint: true,
  },
  async run({ auto_rotate, convert, decline_threshold, ...ways }, context) {
    const { selfie_path, selfie_url, selfie_image_id, liveness_data_path, liveness_data_url, liveness_data_id } = ways;
    const selfieWay = exactlyOne("selfie", { selfie_path, selfie_url, selfie_image_id });
    const dataWay = exactlyOne("liveness data", { liveness_data_path, liveness_data_url, liveness_data_id });
    const linkface = await context.linkface();
    const { selfie, facts } = await readSelfie(selfieWay, linkface, context, convert);
    const livenessData = await readLivenessData(dataWay, linkface, context);
    const report = await linkface.verifyLivenessSelfie(selfie, livenessData, {
      signal: context.signal,
      onStage: context.onStage,
      autoRotate: auto_rotate,
      declineThreshold: decline_threshold,
    });
    const thresholds = { caller: decline_threshold };
    return decide({ check: "liveness_selfie", provider: linkface.name, images: facts, thresholds }, report);
  },
});

/** The one argument that was given, of the alternatives for `noun`. */
function exactlyOne<T>(noun: string, ways: Readonly<Record<string, T | undefined>>): T {
  const given = Object.entries(ways).filter(([, way]) => way !== undefined);
  const [[, only] = [], ...more] = given;
  if (only !== undefined && more.length === 0) return only;
  const names = given.map(([name]) => name).join(" and ");
  throw new CheckError(
    "invalid_input",
    `Pass the ${noun} in exactly one way, as ${Object.keys(ways).join(" or ")}: ${names === "" ? "none was" : `${names} were`} given.`,
  );
}

type Way = { readonly path: string } | { readonly url: URL } | { readonly id: string };

async function readSelfie(
  way: Way,
  { images: limits }: LivenessSelfie,
  context: ToolContext,
  convert: boolean | undefined,
): Promise<{ selfie: Selfie; facts: ImageFacts[] }> {
  if (!("path" in way)) return { selfie: way, facts: [] };
  const { images, facts } = await readImages(context, limits, { selfie: way.path }, { convert });
  return { selfie: { image: images.selfie }, facts };
}

async function readLivenessData(way: Way, linkface: LivenessSelfie, context: ToolContext): Promise<LivenessData> {
  if (!("path" in way)) return way;
  const bytes = await context.loadFile(way.path, { maxBytes: linkface.maxLivenessDataBytes, noun: "liveness data" });
  context.signal.throwIfAborted();
  return { bytes };
}
