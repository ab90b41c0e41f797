import * as z from "zod";
import type { Account } from "../account.ts";
import { parseArguments } from "../arguments.ts";
import { type ImageFacts, ownThreshold, type Thresholds } from "../decision.ts";
import { CheckError } from "../errors.ts";
import type { FileLimits, Image, ImageLimits } from "../image.ts";
import type { LivenessSelfie } from "../liveness-selfie.ts";
import {
  type Capability,
  type CheckOptions,
  can,
  type Provider,
  type ProviderName,
  type ProviderWith,
} from "../provider.ts";

/** What a running program holds, as far as tools need it. */
export interface Deps {
  readonly version: string;
  /** The provider of the present setup: asked for at every call, since a key may arrive while the program runs. */
  provider(): Promise<Provider>;
  /** Why it is that one, in words. */
  choice(): Promise<Choice>;
  /** The operator's own, 0..100; undefined: the provider's default. */
  readonly thresholds: { readonly liveness: number | undefined; readonly match: number | undefined };
  loadImage(path: string, limits: ImageLimits): Promise<Image>;
  /** The same for a file that is no image. */
  loadFile(path: string, limits: FileLimits): Promise<Uint8Array<ArrayBuffer>>;
  /** @throws CheckError `unauthorized` where there are no credentials for it. */
  linkface(): Promise<LivenessSelfie>;
  /** The account at Didit, also where there is none yet. */
  account(): Promise<Account>;
  /** The folders that may be read, and whether each is there. */
  folders(): Promise<readonly { readonly path: string; readonly readable: boolean }[]>;
}

export interface Choice {
  readonly name: ProviderName;
  readonly reason: string;
  /** "ends in 3456", or null where there is no key. */
  readonly apiKey: string | null;
}

export interface ToolContext extends Deps {
  readonly signal: AbortSignal;
  /** Told what is being done now, for a progress bar. */
  readonly onStage: (message: string) => void;
  /** Told, for the log, of a failure that the answer survives. */
  readonly onFailure?: (what: string, detail: unknown) => void;
}

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
      return spec.output.parse(await run(parseArguments(spec.name, input, args), context));
    },
  };
}

/** What a provider cannot do, and the way out. */
const CAPABILITY = {
  checkLiveness: "check liveness",
  matchFaces: "match faces",
  searchFace: "search faces",
  enrollFace: "enroll a face in a gallery of its own",
  listFaces: "list the faces that it knows",
  removeFace: "remove a face",
} satisfies Record<Capability, string>;

/** The provider, if it can do it. @throws CheckError `unsupported` */
export async function need<C extends Capability>(context: Deps, capability: C): Promise<ProviderWith<C>> {
  const provider = await context.provider();
  if (can(provider, capability)) return provider;
  throw new CheckError("unsupported", `The provider in use, ${provider.name}, cannot ${CAPABILITY[capability]} here.`, {
    next: "Tell the user. With BIOMETRICS_PROVIDER=on-device the gallery on this machine does it.",
  });
}

/** Reads the images of a call, all of them before anything is sent. Their names in the result are those given here. */
export async function readImages<K extends string>(
  context: ToolContext,
  limits: ImageLimits,
  paths: Readonly<Record<K, string>>,
): Promise<{ images: Readonly<Record<K, Image>>; facts: ImageFacts[] }> {
  context.onStage("reading");
  const loaded = await Promise.all(
    Object.entries<string>(paths).map(async ([name, path]) => [name, await context.loadImage(path, limits)] as const),
  );
  context.signal.throwIfAborted();
  return {
    images: Object.fromEntries(loaded) as Record<K, Image>,
    facts: loaded.map(([name, { bytes, mime, width, height }]) => ({ name, mime, bytes: bytes.length, width, height })),
  };
}

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
