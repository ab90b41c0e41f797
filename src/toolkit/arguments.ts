import * as z from "zod";
import { CheckError } from "../errors.ts";
import { quoted } from "../untrusted.ts";

/** The most errors, and unknown names, that are listed one by one. */
const MAX_LISTED = 5;

const MAX_NAME_CHARS = 40;

/**
 * The parsed arguments of the tool or prompt `name`. `null` for a known one counts as omitted: models in strict mode
 * send it for every argument that they leave out.
 *
 * @throws CheckError `invalid_input`, which lists what is wrong.
 */
export function parseArguments<S extends z.ZodObject>(name: string, schema: S, given: unknown): z.output<S> {
  const known = Object.keys(schema.shape);
  const parsed = schema.safeParse(withoutNulls(given ?? {}, known), { error: (issue) => messageOf(issue, schema) });
  if (parsed.success) return parsed.data;
  const { issues } = parsed.error;
  const first = issues
    .slice(0, MAX_LISTED)
    .map((issue) =>
      issue.code === "unrecognized_keys"
        ? `unknown argument ${listed(issue.keys)} (known: ${known.join(", ") || "none"})`
        : `${issue.path.join(".") || "the arguments"} ${issue.message}`,
    );
  const errors = [...first, ...more(issues.length)].join("; ");
  throw new CheckError("invalid_input", `The arguments of ${name} are invalid: ${errors}.`);
}

function withoutNulls(given: unknown, known: readonly string[]): unknown {
  if (typeof given !== "object" || given === null || Array.isArray(given)) return given;
  return Object.fromEntries(Object.entries(given).filter(([name, value]) => value !== null || !known.includes(name)));
}

const more = (total: number) => (total > MAX_LISTED ? [`and ${(total - MAX_LISTED).toLocaleString("en")} more`] : []);

function listed(names: readonly string[]): string {
  return [...names.slice(0, MAX_LISTED).map((name) => quoted(name, MAX_NAME_CHARS)), ...more(names.length)].join(", ");
}

const TYPE_WORDS: Readonly<Record<string, string>> = {
  string: "a string",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "an object",
};

/** Continues a sentence that begins with the argument's name. A schema's own message takes precedence. */
function messageOf(issue: z.core.$ZodRawIssue, schema: z.ZodObject): string | undefined {
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined ? "is required" : `must be ${TYPE_WORDS[issue.expected] ?? issue.expected}`;
    case "invalid_value":
      return issue.input === undefined ? "is required" : `must be ${issue.values.join(" or ")}`;
    case "too_small":
    case "too_big":
      return issue.origin === "string" ? lengthOf(issue) : rangeOf(schema, String(issue.path?.[0]));
    case "not_multiple_of":
      return `must be a multiple of ${issue.divisor}`;
    default:
      return undefined;
  }
}

function lengthOf(issue: z.core.$ZodRawIssue<z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig>): string {
  if (issue.code === "too_big") return `must be at most ${issue.maximum} characters long`;
  return issue.minimum === 1 ? "must not be empty" : `must be at least ${issue.minimum} characters long`;
}

const bounds = z.object({ minimum: z.number(), maximum: z.number() });

/** Both limits, even if only one was exceeded. */
function rangeOf(schema: z.ZodObject, name: string): string | undefined {
  const range = bounds.safeParse(z.toJSONSchema(schema, { io: "input" }).properties?.[name]);
  return range.success ? `must be between ${range.data.minimum} and ${range.data.maximum}` : undefined;
}
