import * as z from "zod";
import { parseArguments } from "./arguments.ts";
import type { ToolContext } from "./context.ts";
import { recorded } from "./recorded.ts";

/** All four MCP hints, each said aloud: a forgotten one would fall back to the client's guess. */
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
  /** Every result has a `summary`: one or two sentences for a person. */
  readonly output: O;
  readonly hints: Hints;
  /** How many checks a call makes at most. Default 1. */
  readonly checks?: number;
  /** The link of a result, which clients that can do so offer to open. */
  link?(result: z.output<O>): Link;
  /** Arguments that the command line reads without showing them, never from its arguments. */
  readonly secrets?: readonly (keyof I & string)[];
  run(args: z.output<z.ZodObject<I>>, context: ToolContext): Promise<z.input<O>>;
}

/** A tool with its generics closed over: what the server and the command line both hold. */
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
  /** @throws CheckError, `invalid_input` for arguments that do not fit. */
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
