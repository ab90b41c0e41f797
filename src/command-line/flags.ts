import { delimiter } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import * as z from "zod";
import { type Language, languageOf, SECRET_SETTINGS, SETTINGS, type Setting } from "../config.ts";
import type { Tool } from "../toolkit/define.ts";
import { forPerson } from "./for-person.ts";

/** One argument of a tool on the command line. */
export interface Input {
  readonly name: string;
  readonly flag: string;
  readonly type: "string" | "number" | "integer" | "boolean";
  readonly choices: readonly string[] | undefined;
  readonly description: string;
  readonly isRequired: boolean;
  /** Its value when omitted. */
  readonly default: unknown;
}

/** Positional although optional; its flag works as well. */
const OPTIONAL_IN_ORDER = ["reference_image_path"];

const isInOrder = ({ name, isRequired }: Input) => isRequired || OPTIONAL_IN_ORDER.includes(name);

/** Short flag names, in addition to the arguments' own. */
const SHORT_NAMES: Readonly<Record<string, string>> = { decline_threshold: "threshold" };

const inputSchema = z.object({
  required: z.array(z.string()).default([]),
  properties: z.record(
    z.string(),
    z.object({
      type: z.enum(["string", "number", "integer", "boolean"]),
      enum: z.array(z.string()).optional(),
      description: z.string().default(""),
      default: z.unknown().optional(),
    }),
  ),
});

export function inputsOf({ input, secrets }: Tool): Input[] {
  const { required, properties } = inputSchema.parse(z.toJSONSchema(input, { io: "input" }));
  const shown = Object.entries(properties).filter(([name]) => !secrets.includes(name));
  return shown.map(([name, { enum: choices, description, ...rest }]) => ({
    ...rest,
    name,
    flag: SHORT_NAMES[name] ?? kebab(name),
    choices,
    description: forPerson(description),
    default: rest.default,
    isRequired: required.includes(name),
  }));
}

/** Required arguments are positional, the rest are flags. `form`: how a required one is given on this command. */
export function declare(command: Command, input: Input, form: (name: string) => string = (name) => `<${name}>`): void {
  const { name, flag, type, choices, description, isRequired } = input;
  if (isInOrder(input)) {
    const argument = isRequired ? form(flag) : `[${flag}]`;
    if (type === "string") command.argument(argument, description);
    else command.argument(argument, description, toNumber);
    if (isRequired) return;
  }
  if (name === "preview") {
    command.option(
      "--preview <file>",
      "write the photos with the result drawn on them to this file (.jpg or .png)",
      toPicture,
    );
    return;
  }
  if (type === "boolean") {
    if (input.default === true) {
      command.option(`--no-${flag}`, `do not ${description}`);
      return;
    }
    command.option(`--${flag}`, description);
    // Three states: yes, no, and the operator's setting.
    if (flag === "save") command.option(`--no-${flag}`, "let the provider keep nothing");
    return;
  }
  // Commander suggests the last of two flags and names the value after it.
  const flags = flag === kebab(name) ? `--${flag}` : `--${kebab(name)}, --${flag}`;
  const option = new Option(`${flags} <${type === "string" ? "text" : "number"}>`, description);
  if (choices !== undefined) option.choices(choices);
  if (type !== "string") option.argParser(toNumber);
  if (isInOrder(input)) option.hideHelp();
  command.addOption(option);
}

function toPicture(path: string): string {
  if (!/\.(jpe?g|png)$/i.test(path)) throw new InvalidArgumentError("It must end in .jpg or .png.");
  return path;
}

export function toNumber(text: string): number {
  const number = Number(text);
  if (text.trim() === "" || Number.isNaN(number)) throw new InvalidArgumentError("It must be a number.");
  return number;
}

/** What the user gave, by argument. */
export function givenOf(command: Command, inputs: readonly Input[]): [name: string, value: unknown][] {
  const options = command.opts<Record<string, unknown>>();
  const positional: readonly unknown[] = command.processedArgs;
  const inOrder = inputs.filter(isInOrder);
  return inputs
    .map((input): [string, unknown] => {
      const inPlace = positional[inOrder.indexOf(input)];
      const [only] = Array.isArray(inPlace) ? inPlace : [inPlace]; // several make a batch, which asks elsewhere
      return [input.name, only ?? options[camel(input.flag)]];
    })
    .filter(([, value]) => value !== undefined);
}

/** The settings that may be flags: --provider for BIOMETRICS_PROVIDER, and so on. */
const FLAGS: readonly (readonly [Setting, string])[] = (Object.keys(SETTINGS) as Setting[])
  .filter((name) => !SECRET_SETTINGS.includes(name) && name !== "NO_PROXY")
  .map((name) => [name, kebab(name.toLowerCase().replace(/^biometrics_/, ""))]);

/** What --lang says, which is needed before commander reads the flags: --help is in that language too. */
export function languageIn(args: readonly string[]): Language | undefined {
  const at = args.findLastIndex((arg) => /^--lang(=|$)/.test(arg));
  const [, value = args[at + 1]] = args[at]?.split("=") ?? [];
  return at === -1 ? undefined : languageOf({ BIOMETRICS_LANG: value });
}

/** Their flags take no value. */
const SWITCHES: readonly Setting[] = ["BIOMETRICS_STRIP_METADATA"];

/** A path on the command line may be anywhere, so for a check the allowed folders would be a flag without effect. */
export const isReadingAnywhere = (name: Setting) => name !== "BIOMETRICS_IMAGE_DIRS";

const SETTINGS_GROUP = "Settings (also environment variables):";

export function withSettings(command: Command, applies: (name: Setting) => boolean = () => true): Command {
  for (const [name, flag] of FLAGS.filter(([setting]) => applies(setting))) {
    if (command.options.some(({ long }) => long === `--${flag}`)) continue; // the tool has an argument of that name
    const isList = name === "BIOMETRICS_IMAGE_DIRS";
    const value = isList ? " [folder...]" : SWITCHES.includes(name) ? "" : " <value>";
    const option = new Option(`--${flag}${value}`, SETTINGS[name]);
    command.addOption(option.helpGroup(SETTINGS_GROUP));
  }
  const names = (Object.keys(SETTINGS) as Setting[]).filter(applies).join(", ");
  return command.addHelpText("after", `\nEnvironment: ${names}. Secrets are read from there only.`);
}

/** The values of the flags, under the names of their settings. */
export function settingsOf(command: Command): Record<string, string> {
  const options = command.opts<Record<string, string | readonly string[] | true | undefined>>();
  const own = command.options.filter(({ helpGroupHeading }) => helpGroupHeading === SETTINGS_GROUP);
  const flags: Record<string, string> = {};
  for (const [name, flag] of FLAGS.filter(([, it]) => own.some(({ long }) => long === `--${it}`))) {
    const value = options[camel(flag)];
    if (value === true && SWITCHES.includes(name)) flags[name] = "true";
    // A desktop host whose user chose no folder passes the flag without a value, which counts as no flag.
    if (value !== undefined && value !== true) flags[name] = typeof value === "string" ? value : value.join(delimiter);
  }
  return flags;
}

export function kebab(name: string): string {
  return name.replaceAll("_", "-");
}

/** Commander's name for the value of a flag. */
function camel(flag: string): string {
  return flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
