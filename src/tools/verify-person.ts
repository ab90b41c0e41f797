import * as z from "zod";
import { CHECKS, Decision, decide, fraudFirst, onReencoded, sumUp, type Thresholds } from "../decision/decision.ts";
import { decideSearch } from "../decision/search.ts";
import { CheckError, type FailureCode } from "../errors.ts";
import { DEFAULT_THRESHOLDS, SIMILARITY } from "../providers/provider.ts";
import { need, needGallery } from "../toolkit/capability.ts";
import { defineTool } from "../toolkit/define.ts";
import { readImages } from "../toolkit/images.ts";
import { showPreview } from "../toolkit/preview.ts";
import {
  checkOptions,
  convert,
  gallery,
  imagePath,
  percent,
  preview,
  rotate,
  save,
  searchVendorData,
} from "../toolkit/schemas.ts";
import { OUTCOMES } from "../warnings.ts";

/**
 * A check's own result without the images and the provider's JSON, which are at the top level. A failed check has no
 * outcome, since nothing was decided, but an `error`.
 */
const step = z.looseObject({ check: z.enum(CHECKS), outcome: z.enum(OUTCOMES).nullable(), summary: z.string() });

interface Step {
  readonly check: Decision["check"];
  /** Its name in a sentence, and how to run it alone. */
  readonly noun: string;
  readonly alone: string;
  readonly run: () => Promise<Decision>;
}

/** Failures of one step that do not affect the next ones: a check that is missing or not allowed. */
const OF_ONE_STEP: readonly FailureCode[] = ["unsupported", "unauthorized", "setup"];

export const verifyPerson = defineTool({
  name: "verify_person",
  title: "Verify a person",
  description:
    "Onboards a person: selfie liveness, search for duplicates and blocklisted faces, match with a reference photo. " +
    "The worst step decides; stops at the first decline.",
  input: {
    selfie_path: imagePath.describe("the selfie"),
    reference_image_path: imagePath.optional().describe("a trusted photo; omit to skip the match"),
    search: z.boolean().default(true).describe("search for duplicates"),
    liveness_threshold: percent.optional().describe(`default ${DEFAULT_THRESHOLDS.liveness}`),
    match_threshold: percent
      .optional()
      .describe(`default ${DEFAULT_THRESHOLDS.match}, review up to ${SIMILARITY.possible}`),
    rotate,
    convert,
    preview,
    save,
    gallery,
    vendor_data: searchVendorData,
  },
  output: Decision.extend({ steps: z.array(step) }),
  checks: 3,
  hints: {
    readOnlyHint: false, // hosted checks are billed, and may be kept by the provider
    destructiveHint: false,
    idempotentHint: false,
    openWorldHint: true,
  },
  async run({ selfie_path, reference_image_path, search, ...args }, context) {
    const [liveness, searching, matching] = await Promise.all([
      need(context, "checkLiveness"),
      needGallery(context, "searchFace", args.gallery),
      need(context, "matchFaces"),
    ]);
    const { name, images: limits } = liveness;
    // Each file is read once: every step sees the same bytes, and a provider can reuse its results.
    const selfie = await readImages(context, limits, { selfie: selfie_path }, args);
    const reference =
      reference_image_path === undefined
        ? undefined
        : await readImages(context, limits, { reference_image: reference_image_path }, args);
    // The reference photo can be decoded while the networks are busy with the selfie.
    if (reference !== undefined) {
      const { reference_image } = reference.images;
      liveness.preload?.(selfie.images.selfie, { rotate: args.rotate, signal: context.signal });
      liveness.preload?.(reference_image, { rotate: args.rotate, signal: context.signal });
    }
    const images = [...selfie.facts, ...(reference?.facts ?? [])];
    const thresholds = {
      liveness: { caller: args.liveness_threshold, operator: context.thresholds.liveness },
      match: { caller: args.match_threshold, operator: context.thresholds.match },
    };
    const optionsOf = (check: string, own?: Thresholds) => ({
      ...checkOptions(args, context, own),
      onStage: (stage: string) => context.onStage(`${check}: ${stage}`),
    });

    const steps: Step[] = [
      {
        check: "liveness",
        noun: "liveness check",
        alone: "check_liveness on the selfie",
        async run() {
          // A saved selfie enters the index, where the search would find it as a duplicate of itself.
          // The device saves nothing and refuses the option.
          const options = {
            ...optionsOf("liveness", thresholds.liveness),
            ...(search && name !== "on-device" ? { save: false } : {}),
          };
          const report = await liveness.checkLiveness(selfie.images.selfie, options);
          return decide(
            { check: "liveness", provider: name, images: [], thresholds: thresholds.liveness },
            onReencoded(report, selfie.images.selfie),
          );
        },
      },
    ];
    if (search) {
      steps.push({
        check: "face_search",
        noun: "search",
        alone: "search_face on the selfie",
        async run() {
          const report = await searching.searchFace(selfie.images.selfie, {
            ...optionsOf("search"),
            gallery: args.gallery,
          });
          return decideSearch({ check: "face_search", provider: name, images: [] }, report, args.vendor_data);
        },
      });
    }
    if (reference !== undefined) {
      steps.push({
        check: "face_match",
        noun: "match",
        alone: "match_faces on the selfie and the reference photo",
        async run() {
          const { reference_image } = reference.images;
          const report = await matching.matchFaces(
            selfie.images.selfie,
            reference_image,
            optionsOf("match", thresholds.match),
          );
          return decide({ check: "face_match", provider: name, images: [], thresholds: thresholds.match }, report);
        },
      });
    }

    const done: Decision[] = [];
    const failures = new Map<Decision["check"], CheckError>();
    for (const { check, noun, alone, run } of steps) {
      context.signal.throwIfAborted();
      try {
        const decision = await run();
        done.push(decision);
        if (decision.outcome === "declined") break;
      } catch (thrown) {
        // Without a completed step there is nothing to report; a cancelled call gets no result.
        if (done.length === 0 || context.signal.aborted) throw thrown;
        const error = CheckError.from(thrown);
        context.onFailure?.(`verify_person, ${check} failed, ${error.code}`, error.cause ?? error.message);
        failures.set(check, error);
        done.push(unfinished({ check, provider: name }, noun, alone, error));
        if (OF_ONE_STEP.includes(error.code)) continue;
        break;
      }
    }
    const sum = sumUp({ check: "verify_person", provider: name, images }, done, steps.length);
    const shown = [selfie.images.selfie, ...(reference === undefined ? [] : [reference.images.reference_image])];
    await showPreview(args, context, shown, sum);
    const missing = failures.size === 0 ? [] : steps.slice(done.length);
    return {
      ...sum,
      next_steps: [...sum.next_steps, ...missing.map(byItself)],
      steps: fraudFirst(done).map(({ raw, images, ...own }) => {
        const error = failures.get(own.check);
        if (error === undefined) return own;
        const { code, message, next, retryable } = error;
        const { check, summary } = own;
        return { check, outcome: null, summary, error: { code, message, next, retryable } };
      }),
    };
  },
});

/** A failed step in the summary: it results in `review`, so the whole is never approved. */
function unfinished(
  { check, provider }: Pick<Decision, "check" | "provider">,
  noun: string,
  alone: string,
  { code, message, next }: CheckError,
): Decision {
  return {
    check,
    provider,
    outcome: "review",
    score: null,
    threshold: null,
    summary: `The ${noun} failed [${code}] and decided nothing: ${message}`,
    warnings: [],
    next_steps: [`${next} ${byItself({ noun, alone })}`],
    reference: null,
    images: [],
    detected_faces: null,
    raw: null,
  };
}

const byItself = ({ noun, alone }: Pick<Step, "noun" | "alone">) =>
  `To run the ${noun} alone, call ${alone} with the same other arguments.`;
