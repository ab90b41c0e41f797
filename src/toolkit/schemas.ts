import * as z from "zod";
import { ownThreshold, type Thresholds } from "../decision/decision.ts";
import type { CheckOptions } from "../providers/provider.ts";
import type { ToolContext } from "./context.ts";

export const imagePath = z.string().min(1).max(4096);
export const percent = z.number().min(0).max(100);
/** One line of text that others will read: no control, bidirectional or zero-width characters. */
export const line = (maxChars: number) =>
  z
    .string()
    .min(1)
    .max(maxChars)
    .refine((text) => text.trim() !== "" && !/\p{C}/u.test(text), { error: "must be one line of visible text" });

/** Arguments that several checks share. */
export const rotate = z.boolean().optional().describe("try all four rotations");
export const save = z.boolean().optional().describe("may the provider keep images");
export const vendorData = line(256).optional().describe("your own id of the person");

interface CheckArguments {
  readonly rotate?: boolean | undefined;
  readonly save?: boolean | undefined;
  readonly vendor_data?: string | undefined;
}

/** The shared arguments as a provider takes them. A search has no threshold. */
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
