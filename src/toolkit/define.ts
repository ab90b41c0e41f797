import * as z from "zod";
import { parseArguments } from "./arguments.ts";
import type { ToolContext } from "./context.ts";
import { recorded } from "./recorded.ts";

/** All four MCP hints, always set: clients guess the value of a missing one. */
export interface Hints {
  readonly readOnlyHint: boolean;
  readonly destructiveHint: boolean;
  readonly idempotentHint: boolean;
  readonly openWorldHint: boolean;
}

/** A page for a person to open. */
export interface Link {
  readonly url: string;
  /** Why, in one sentence. */
  readonly message: string;
}

interface ToolSpec<I extends z.ZodRawShape, O extends z.ZodObject> {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly input: I;
  /** Includes a `summary`: one or two sentences for a person. */
  readonly output: O;
  readonly hints: Hints;
  /** The most checks that a call makes. Default 1. */
  readonly checks?: number;
  /** The link in a result, which capable clients offer to open. */
  link?(result: z.output<O>): Link;
  /** Arguments that the command line prompts for without echo and never takes as flags. */
  readonly secrets?: readonly (keyof I & string)[];
  run(args: z.output<z.ZodObject<I>>, context: ToolContext): Promise<z.input<O>>;
}

/** A tool without its type parameters, as the server and the command line use it. */
export interface Tool {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly input: z.ZodObject;
  readonly output: z.ZodObject;
  readonly hints: Hints;
  readonly secrets: readonly string[];
  readonly checks: number;
  link(result: Readonly<Record<string, unknown>>): Link | undefined;
  /** @throws CheckError, `invalid_input` for invalid arguments. */
  call(args: unknown, context: ToolContext): Promise<Record<string, unknown>>;
}

export function defineTool<I extends z.ZodRawShape, O extends z.ZodObject>(spec: ToolSpec<I, O>): Tool {
  const { run, link, ...rest } = spec;
  const input = z.strictObject(spec.input); // a misspelt threshold is an error, not a default
  return {
    ...rest,
    input,
    secrets: spec.secrets ?? [],
    checks: spec.checks ?? 1,
    link: (result) => link?.(spec.output.parse(result)),
    async call(args, context) {
      const given = parseArguments(spec.name, input, args);
      const work = async (own: ToolContext) => spec.output.parse(await run(given, own));
      return "outcome" in spec.output.shape ? recorded(spec.name, given, context, work) : work(context);
    },
  };
}
