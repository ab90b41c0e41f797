import * as z from "zod";
import { GALLERY_NAME, GALLERY_NAME_RULE } from "../config.ts";
import { ownThreshold, type Thresholds } from "../decision/decision.ts";
import type { CheckOptions } from "../providers/provider.ts";
import type { ToolContext } from "./context.ts";

export const imagePath = z.string().min(1).max(4096);
export const percent = z.number().min(0).max(100);
/** One visible line of text: no control, bidirectional or zero-width characters. */
export const line = (maxChars: number) =>
  z
    .string()
    .min(1)
    .max(maxChars)
    .refine((text) => text.trim() !== "" && !/\p{C}/u.test(text), { error: "must be one line of visible text" });

/** Arguments shared by several checks. */
export const rotate = z.boolean().optional().describe("try all rotations");
export const convert = z.boolean().optional().describe("accept HEIC and large files");
export const preview = z.boolean().optional().describe("return the marked photos");
export const save = z.boolean().optional().describe("provider may keep images");
export const vendorData = line(256).optional().describe("your id for the person");
export const gallery = z
  .string()
  .regex(GALLERY_NAME, { error: `must be ${GALLERY_NAME_RULE}` })
  .optional()
  .describe("gallery name");
/** For the checks that search. */
export const searchVendorData = vendorData.describe("your id for the person; records with it are not duplicates");

interface CheckArguments {
  readonly rotate?: boolean | undefined;
  readonly save?: boolean | undefined;
  readonly vendor_data?: string | undefined;
}

/** The shared arguments as provider options. A search has no threshold. */
export function checkOptions(
  args: CheckArguments,
  { signal, onStage }: ToolContext,
  thresholds: Thresholds = {},
): CheckOptions {
  return {
    signal,
    onStage,
    declineThreshold: ownThreshold({ thresholds }),
    rotate: args.rotate,
    save: args.save,
    vendorData: args.vendor_data,
  };
}
