import * as z from "zod";
import type { Tool } from "../toolkit/define.ts";
import { TOOLS } from "../tools/index.ts";
import { CARD_META } from "./card.ts";
import { PROMPTS } from "./prompts.ts";

type Json = Record<string, unknown>;

function inputOf({ input }: Tool): Json {
  return withoutDialect(
    z.toJSONSchema(input, { io: "input", override: ({ jsonSchema }) => dropUnreadable(jsonSchema) }),
  );
}

const UNSEEN_IN_RESULTS = [
  "additionalProperties",
  "propertyNames",
  "required",
  "minimum",
  "maximum",
  "const",
  "description",
] as const;
/** In every check, and never what a program branches on. */
const PLAIN_FIELDS = ["check", "provider", "threshold", "reference", "images", "detected_faces", "raw"];

/**
 * A model reads the whole list at every turn, so what the result itself shows (the contents of nested objects, bounds)
 * is left out.
 */
function outputOf({ output }: Tool): Json {
  return withoutDialect(
    z.toJSONSchema(output, {
      io: "output",
      override: ({ jsonSchema, path }) => {
        for (const key of UNSEEN_IN_RESULTS) delete jsonSchema[key];
        if (path.length > 0) delete jsonSchema.properties;
        // Of an array of objects nothing would be left to say.
        const { items } = jsonSchema;
        if (typeof items === "object" && !Array.isArray(items) && items.type === "object") delete jsonSchema.items;
        if (path.at(-1) !== "outcome") delete jsonSchema.enum;
        for (const field of PLAIN_FIELDS) delete jsonSchema.properties?.[field];
        const types = jsonSchema.anyOf?.map((option) => (typeof option === "object" ? option.type : undefined));
        if (types?.every((type) => typeof type === "string")) {
          delete jsonSchema.anyOf;
          Object.assign(jsonSchema, { type: types });
        }
      },
    }),
  );
}

/** The protocol sets the dialect. */
function withoutDialect({ $schema, ...json }: z.core.JSONSchema.BaseSchema): Json {
  return json;
}

/** Removes what a model does not need: lengths and patterns of strings, bounds of the number format. */
function dropUnreadable(jsonSchema: z.core.JSONSchema.BaseSchema): void {
  for (const key of ["minLength", "maxLength", "pattern", "format"] as const) delete jsonSchema[key];
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
}

/**
 * The tools and prompts as clients see them. The build replaces this module by its value, so that no schemas are built
 * at start-up.
 */
export const LISTING = {
  tools: TOOLS.map((tool) => ({
    name: tool.name,
    title: tool.title,
    description: tool.description,
    input: inputOf(tool),
    output: outputOf(tool),
    hints: tool.hints,
    /** Where its results are shown: of the tools that decide. */
    meta: "outcome" in tool.output.shape ? CARD_META : undefined,
  })),
  prompts: PROMPTS.map(({ name, title, description, args }) => ({
    name,
    title,
    description,
    input: withoutDialect(
      z.toJSONSchema(args, { io: "input", override: ({ jsonSchema }) => dropUnreadable(jsonSchema) }),
    ),
  })),
};
