import { delimiter } from "node:path";
import { addAbortSignal, type Readable } from "node:stream";
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from "commander";
import * as z from "zod";
import { type App, openApp, VERSION } from "../app.ts";
import { type Config, SECRET_SETTINGS, SETTINGS, type Setting } from "../config.ts";
import { render } from "../decision/render.ts";
import { CheckError } from "../errors.ts";
import type { Folders } from "../file.ts";
import { type Image, type ImageLimits, toImage } from "../image.ts";
import type { Log } from "../log.ts";
import { serve } from "../mcp/stdio.ts";
import type { Tool } from "../toolkit/define.ts";
import { TOOLS } from "../tools/index.ts";
import type { Outcome } from "../warnings.ts";
import { completionOf, SHELLS, type Shell } from "./completion.ts";
import { checkGallery, diagnose } from "./doctor.ts";
import { commandOf, forPerson } from "./for-person.ts";

/** Scripts rely on these. Success without a decision is 0 as well. */
const EXIT = { approved: 0, error: 1, usage: 2, review: 3, declined: 4 } satisfies Record<
  Outcome | "error" | "usage",
  number
>;

const EXIT_HELP =
  "Exit code: 0 approved (or done), 1 failed and nothing was decided, 2 wrong usage, 3 a person must review, 4 declined.";

/** What a command uses of its process; `main.ts` passes the real one. */
export interface Terminal {
  readonly log: Log;
  readonly print: (text: string) => void;
  /** The source of the image named `-`. */
  readonly input: Readable & { readonly isTTY?: boolean };
  readonly signal: AbortSignal;
  /** From BIOMETRICS_PASSWORD, or typed without echo; undefined if neither is available. */
  readonly readPassword: (prompt: string) => Promise<string | undefined>;
  /** The configuration from the environment, overridden by flags. */
  readonly configure: (flags: Readonly<Record<string, string>>) => Config;
}

/** Runs one command line and returns its exit code. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  let exitCode: number = EXIT.approved;
  const program = new Command("biometrics-mcp")
    .description("Liveness, face match and face search on local images. Without a command: an MCP server.")
    .version(VERSION)
    .exitOverride()
    .showHelpAfterError("(--help lists the commands and flags)")
    .addHelpText("after", `\n${EXIT_HELP}`);

  for (const tool of TOOLS) {
    if (tool.name === "get_setup") continue; // doctor shows the same and more
    const command = program.command(commandOf(tool.name)).description(forPerson(tool.description));
    command.summary(tool.title);
    if (command.name() !== kebab(tool.name)) command.alias(kebab(tool.name));
    const inputs = inputsOf(tool);
    for (const input of inputs) declare(command, input);
    command.option("--json", "print only the structured result");
    withSettings(command, isReadingAnywhere).action(async () => {
      exitCode = await callTool(tool, inputs, command, terminal);
    });
  }
  const doctor = program
    .command("doctor")
    .alias("get-setup")
    .description("Show the setup and test it. No check is run or billed.");
  withSettings(doctor.option("--json", "print only the structured result")).action(async () => {
    exitCode = await withApp(doctor, terminal, async (app, config) =>
      report(doctor, await diagnose(app, config, terminal.signal)),
    );
  });
  const gallery = program
    .command("gallery")
    .description("Maintain the face gallery on this machine.")
    .command("check")
    .description("Check the gallery for damage without changing it.");
  withSettings(gallery.option("--json", "print only the structured result")).action(async () => {
    exitCode = await withApp(gallery, terminal, async (_app, config) => report(gallery, await checkGallery(config)));
  });
  const server = program
    .command("serve")
    .description("Serve MCP over stdio (the default without a command) or, with --http, over Streamable HTTP.")
    .option("--http", "serve clients over HTTP; the URL is printed to stderr")
    .option("--port <number>", `with --http: the port; 0 picks a free one (${HTTP_PORT})`, toPort)
    .option("--host <host>", "with --http: the address to listen on (127.0.0.1: this machine only)")
    .option("--name <host...>", "with --http: other names that clients may use for this machine");
  withSettings(server).action(async () => {
    const { http, host, port, name }: HttpFlags = server.opts();
    if (http === true) exitCode = await serveHttp(server, terminal, { host, port, name });
    else if ((host ?? port ?? name) === undefined) await serve(() => configOf(server, terminal), terminal);
    else server.error("error: --port, --host and --name require --http", { exitCode: EXIT.usage });
  });
  program
    .command("completion")
    .description("Print the completion script for a shell: source <(biometrics-mcp completion bash)")
    .addArgument(new Argument("<shell>").choices(SHELLS))
    .action((shell: Shell) => terminal.print(completionOf(program, shell)));

  function report(command: Command, { findings, text, ok }: Awaited<ReturnType<typeof diagnose>>): number {
    terminal.print(isJson(command) ? JSON.stringify(findings) : forPerson(text));
    return ok ? EXIT.approved : EXIT.error;
  }

  try {
    await program.parseAsync([...args], { from: "user" });
    return exitCode;
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown;
    if (thrown.exitCode === 0) return EXIT.approved;
    // Commander has printed the error to stderr. Flags end at "--".
    const isForProgram = args.slice(0, args.includes("--") ? args.indexOf("--") : undefined).includes("--json");
    if (isForProgram) {
      const [known] = program.commands.filter((command) =>
        [command.name(), ...command.aliases()].includes(args[0] ?? ""),
      );
      const next = `Run biometrics-mcp ${known === undefined ? "" : `${known.name()} `}--help.`;
      const message = thrown.message.replace(/^error: /, "");
      printFailure(terminal, new CheckError("invalid_input", message, { next }));
    }
    return EXIT.usage;
  }
}

/** For scripts. */
function printFailure({ print }: Terminal, { code, message, next, retryable, retryAfterSeconds }: CheckError): void {
  print(JSON.stringify({ error: { code, message, next, retryable, retry_after_seconds: retryAfterSeconds } }));
}

async function callTool(tool: Tool, inputs: readonly Input[], command: Command, terminal: Terminal): Promise<number> {
  const options = command.opts<Record<string, unknown>>();
  const positional: readonly unknown[] = command.processedArgs;
  const inOrder = inputs.filter(isInOrder);
  const given = inputs
    .map((input) => [input.name, positional[inOrder.indexOf(input)] ?? options[camel(input.flag)]])
    .filter(([, value]) => value !== undefined);
  return withApp(command, terminal, async (app) => {
    const loadImage = fromInputToo(app, terminal);
    const context = { ...app, loadImage, signal: terminal.signal, onStage: () => {}, onFailure: terminal.log };
    for (const name of tool.secrets) {
      const secret = await terminal.readPassword(`${name} (empty: a strong one is generated)`);
      if (secret !== undefined) given.push([name, secret]);
    }
    const result = await tool.call(Object.fromEntries(given), context);
    terminal.print(isJson(command) ? JSON.stringify(result) : forPerson(render(result)));
    return EXIT[outcomeOf(result) ?? "approved"];
  });
}

/** Loads the images of one command; one of them, named `-`, may come from standard input. */
function fromInputToo({ loadImage }: App, { input, signal }: Terminal): App["loadImage"] {
  let isRead = false;
  return async (path, limits) => {
    if (path !== "-") return loadImage(path, limits);
    if (isRead) throw new CheckError("invalid_input", "Only one image can be read from standard input.");
    isRead = true;
    return readImage(input, limits, signal);
  };
}

/** Checked like a file. Reading stops at the first byte beyond the limit. */
async function readImage(input: Terminal["input"], limits: ImageLimits, signal: AbortSignal): Promise<Image> {
  const options = {
    next: "Pipe an image into the command or pass its path: biometrics-mcp check-liveness - < selfie.jpg",
  };
  const rejected = (why: string) => new CheckError("image_rejected", why, options);
  if (input.isTTY === true) throw rejected("Standard input is a terminal, not an image.");
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of addAbortSignal(signal, input) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > limits.maxBytes) {
      throw rejected(`The image on standard input is too large; the limit is ${limits.maxBytes / 2 ** 20} MB.`);
    }
    chunks.push(chunk);
  }
  if (bytes === 0) throw rejected("Standard input is empty.");
  return toImage(new Uint8Array(Buffer.concat(chunks)), limits);
}

function outcomeOf(result: Readonly<Record<string, unknown>>): Outcome | undefined {
  const outcome = result["outcome"];
  return outcome === "approved" || outcome === "review" || outcome === "declined" ? outcome : undefined;
}

/** Serves until the operator stops it. Only the operator sees configuration errors. */
function serveHttp(command: Command, terminal: Terminal, flags: HttpFlags): Promise<number> {
  const { host = "127.0.0.1", port = HTTP_PORT, name: names = [] } = flags;
  const work = async (app: App, { httpToken: token }: Config) => {
    const { serveOverHttp } = await import("../mcp/http.ts");
    await serveOverHttp(app, { host, port, names, token }, terminal);
    return EXIT.approved;
  };
  return withApp(command, terminal, work, ({ imageFolders }) => imageFolders);
}

/** Opens what a command needs and closes it again. Errors are printed to stderr and, with --json, to stdout too. */
async function withApp(
  command: Command,
  terminal: Terminal,
  work: (app: App, config: Config) => Promise<number>,
  // A path on the command line was typed by the user, so its file may be read anywhere.
  foldersOf: (config: Config) => Folders = () => "anywhere",
): Promise<number> {
  let app: App | undefined;
  try {
    const config = configOf(command, terminal);
    app = openApp(config, foldersOf(config));
    return await work(app, config);
  } catch (thrown) {
    const error = CheckError.from(thrown);
    terminal.log(forPerson(error.toText()));
    if (error.cause !== undefined) terminal.log("Detail", error.cause);
    if (isJson(command)) printFailure(terminal, error);
    return error.code === "invalid_input" || (error.code === "setup" && app === undefined) ? EXIT.usage : EXIT.error;
  } finally {
    await app?.close();
  }
}

const isJson = (command: Command) => command.opts<{ json?: boolean }>().json === true;

/** One argument of a tool on the command line. */
interface Input {
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

function inputsOf({ input, secrets }: Tool): Input[] {
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

/** Required arguments are positional, the rest are flags. */
function declare(command: Command, input: Input): void {
  const { name, flag, type, choices, description, isRequired } = input;
  if (isInOrder(input)) {
    const argument = isRequired ? `<${flag}>` : `[${flag}]`;
    if (type === "string") command.argument(argument, description);
    else command.argument(argument, description, toNumber);
    if (isRequired) return;
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

interface HttpFlags {
  readonly http?: true | undefined;
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly name?: readonly string[] | undefined;
}

/** Not used by any known service. */
const HTTP_PORT = 4477;

function toPort(text: string): number {
  const port = toNumber(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new InvalidArgumentError("A port is a number from 0 to 65535.");
  return port;
}

function toNumber(text: string): number {
  const number = Number(text);
  if (text.trim() === "" || Number.isNaN(number)) throw new InvalidArgumentError("It must be a number.");
  return number;
}

/** The settings that may be flags: --provider for BIOMETRICS_PROVIDER, and so on. */
const FLAGS: readonly (readonly [Setting, string])[] = (Object.keys(SETTINGS) as Setting[])
  .filter((name) => !SECRET_SETTINGS.includes(name) && name !== "NO_PROXY")
  .map((name) => [name, kebab(name.toLowerCase().replace(/^biometrics_/, ""))]);

/** A path on the command line may be anywhere, so for a check the allowed folders would be a flag without effect. */
const isReadingAnywhere = (name: Setting) => name !== "BIOMETRICS_IMAGE_DIRS";

function withSettings(command: Command, applies: (name: Setting) => boolean = () => true): Command {
  for (const [name, flag] of FLAGS.filter(([setting]) => applies(setting))) {
    if (command.options.some(({ long }) => long === `--${flag}`)) continue; // the tool has an argument of that name
    const isList = name === "BIOMETRICS_IMAGE_DIRS";
    const option = new Option(`--${flag} ${isList ? "[folder...]" : "<value>"}`, SETTINGS[name]);
    command.addOption(option.helpGroup("Settings (also environment variables):"));
  }
  const names = (Object.keys(SETTINGS) as Setting[]).filter(applies).join(", ");
  return command.addHelpText("after", `\nEnvironment: ${names}. Secrets are read from there only.\n${EXIT_HELP}`);
}

function configOf(command: Command, { configure }: Terminal): Config {
  const options = command.opts<Record<string, string | readonly string[] | number | true | undefined>>();
  const flags: Record<string, string> = {};
  for (const [name, flag] of FLAGS) {
    const value = options[camel(flag)];
    // A desktop host whose user chose no folder passes the flag without a value, which counts as no flag.
    if (value !== undefined && value !== true && typeof value !== "number")
      flags[name] = typeof value === "string" ? value : value.join(delimiter);
  }
  return configure(flags);
}

function kebab(name: string): string {
  return name.replaceAll("_", "-");
}

/** Commander's name for the value of a flag. */
function camel(flag: string): string {
  return flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
