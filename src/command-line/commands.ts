import { delimiter } from "node:path";
import { addAbortSignal, type Readable } from "node:stream";
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from "commander";
import * as z from "zod";
import { type App, openApp, VERSION } from "../app.ts";
import { type Config, SECRET_SETTINGS, SETTINGS, type Setting } from "../config.ts";
import { render } from "../decision/render.ts";
import { CheckError } from "../errors.ts";
import { type Folders, type Image, type ImageLimits, toImage } from "../image.ts";
import type { Log } from "../log.ts";
import { serve } from "../mcp/stdio.ts";
import type { Tool } from "../toolkit/define.ts";
import { TOOLS } from "../tools/index.ts";
import type { Outcome } from "../warnings.ts";
import { completionOf, SHELLS, type Shell } from "./completion.ts";
import { checkAuditLog, checkGallery, diagnose } from "./doctor.ts";
import { commandOf, forPerson } from "./for-person.ts";

/** What a script can rely on. Done without a decision is 0 as well. */
const EXIT = { approved: 0, error: 1, usage: 2, review: 3, declined: 4 } satisfies Record<
  Outcome | "error" | "usage",
  number
>;

const EXIT_HELP =
  "Exit code: 0 approved (or done), 3 a person must review, 4 declined, 1 it failed and nothing was decided, 2 wrong usage.";

/** What a process is given: `main.ts` takes it from the real one. */
export interface Terminal {
  readonly log: Log;
  readonly print: (text: string) => void;
  /** Where an image is read that is named `-`. */
  readonly input: Readable & { readonly isTTY?: boolean };
  readonly signal: AbortSignal;
  /** From BIOMETRICS_PASSWORD, or typed without being shown; undefined where neither is to be had. */
  readonly readPassword: (prompt: string) => Promise<string | undefined>;
  /** The environment with the settings that were given as flags laid over it. */
  readonly configure: (flags: Readonly<Record<string, string>>) => Config;
}

/** Runs one command line and returns its exit code. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  let exitCode: number = EXIT.approved;
  const program = new Command("biometrics-mcp")
    .description(
      "Liveness, face match and face search on local images: as commands, or, without one, as an MCP server.",
    )
    .version(VERSION)
    .exitOverride()
    .showHelpAfterError("(--help tells what there is)")
    .addHelpText("after", `\n${EXIT_HELP}`);

  for (const tool of TOOLS) {
    if (tool.name === "get_setup") continue; // doctor says the same and more
    const command = program.command(commandOf(tool.name)).description(forPerson(tool.description));
    command.summary(tool.title);
    if (command.name() !== kebab(tool.name)) command.alias(kebab(tool.name));
    const inputs = inputsOf(tool);
    for (const input of inputs) declare(command, input);
    command.option("--json", "print the structured result alone");
    withSettings(command, isReadingAnywhere).action(async () => {
      exitCode = await callTool(tool, inputs, command, terminal);
    });
  }
  const doctor = program
    .command("doctor")
    .alias("get-setup")
    .description("Print the setup and test it. No check is made or billed.");
  withSettings(doctor.option("--json", "print the structured result alone")).action(async () => {
    exitCode = await withApp(doctor, terminal, async (app, config) =>
      tell(doctor, await diagnose(app, config, terminal.signal)),
    );
  });
  const gallery = program
    .command("gallery")
    .description("The gallery of faces on this machine.")
    .command("check")
    .description("Look for damage in the gallery, and change nothing.");
  withSettings(gallery.option("--json", "print the structured result alone")).action(async () => {
    exitCode = await withApp(gallery, terminal, async (_app, config) => tell(gallery, await checkGallery(config)));
  });
  const audit = program
    .command("audit")
    .description("The log of decisions (BIOMETRICS_AUDIT_LOG).")
    .command("verify")
    .description("Say whether lines of the log were changed, removed, added or moved, and print the hash of the last.")
    .argument("[file]", "the log (BIOMETRICS_AUDIT_LOG)")
    .option("--head <hash>", "the hash that an earlier run printed: its line must still be there", toHash)
    .option("--json", "print the structured result alone");
  withSettings(audit).action(async () => {
    exitCode = await withApp(audit, terminal, async (_app, { auditLog }) => {
      const [file = auditLog] = audit.processedArgs as readonly (string | undefined)[];
      if (file === undefined) throw new CheckError("invalid_input", "No audit log was named.", { next: NAME_LOG });
      return tell(audit, await checkAuditLog(file, audit.opts<{ head?: string }>().head));
    });
  });
  const server = program
    .command("serve")
    .description("Serve MCP over stdio: what happens without a command. With --http, over Streamable HTTP.")
    .option("--http", "serve clients that connect to an address, which is told on stderr")
    .option("--port <number>", `with --http: the port, 0 for any that is free (${HTTP_PORT})`, toPort)
    .option("--host <host>", "with --http: the address to listen at (127.0.0.1: this machine alone)")
    .option("--name <host...>", "with --http: other names of this machine that clients may use");
  withSettings(server).action(async () => {
    const { http, host, port, name }: HttpFlags = server.opts();
    if (http === true) exitCode = await serveHttp(server, terminal, { host, port, name });
    else if ((host ?? port ?? name) === undefined) await serve(() => configOf(server, terminal), terminal);
    else server.error("error: --port, --host and --name go with --http", { exitCode: EXIT.usage });
  });
  program
    .command("completion")
    .description("Print the completion of commands and flags for a shell: source <(biometrics-mcp completion bash)")
    .addArgument(new Argument("<shell>").choices(SHELLS))
    .action((shell: Shell) => terminal.print(completionOf(program, shell)));

  function tell(command: Command, { findings, text, ok }: Awaited<ReturnType<typeof diagnose>>): number {
    terminal.print(isJson(command) ? JSON.stringify(findings) : forPerson(text));
    return ok ? EXIT.approved : EXIT.error;
  }

  try {
    await program.parseAsync([...args], { from: "user" });
    return exitCode;
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown;
    if (thrown.exitCode === 0) return EXIT.approved;
    // Commander has told it on stderr. Flags end at a "--".
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

/** As scripts read it. */
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
      const secret = await terminal.readPassword(`${name} (empty: a strong one is made)`);
      if (secret !== undefined) given.push([name, secret]);
    }
    const result = await tool.call(Object.fromEntries(given), context);
    terminal.print(isJson(command) ? JSON.stringify(result) : forPerson(render(result)));
    return EXIT[outcomeOf(result) ?? "approved"];
  });
}

/** The images of one command, of which one may come over standard input, under the name of `-`. */
function fromInputToo({ loadImage }: App, { input, signal }: Terminal): App["loadImage"] {
  let isRead = false;
  return async (path, limits) => {
    if (path !== "-") return loadImage(path, limits);
    if (isRead) throw new CheckError("invalid_input", "Only one image can be read from standard input.");
    isRead = true;
    return readImage(input, limits, signal);
  };
}

/** The same checks as of a file. Reading ends at the byte that is one too many. */
async function readImage(input: Terminal["input"], limits: ImageLimits, signal: AbortSignal): Promise<Image> {
  const options = {
    next: "Pipe an image into the command, or give its path: biometrics-mcp check-liveness - < selfie.jpg",
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

/** Serves until the operator ends it. A fault of the configuration is told here: nobody sees it but the operator. */
function serveHttp(command: Command, terminal: Terminal, flags: HttpFlags): Promise<number> {
  const { host = "127.0.0.1", port = HTTP_PORT, name: names = [] } = flags;
  const work = async (app: App, { httpToken: token }: Config) => {
    const { serveOverHttp } = await import("../mcp/http.ts");
    await serveOverHttp(app, { host, port, names, token }, terminal);
    return EXIT.approved;
  };
  return withApp(command, terminal, work, ({ imageFolders }) => imageFolders);
}

/** Opens what a command needs and closes it again. What it throws is told on stderr, with --json on stdout too. */
async function withApp(
  command: Command,
  terminal: Terminal,
  work: (app: App, config: Config) => Promise<number>,
  // A path on the command line is the user's own word: its file may be read wherever it lies.
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

/** One argument of a tool, as the command line has it. */
interface Input {
  readonly name: string;
  readonly flag: string;
  readonly type: "string" | "number" | "integer" | "boolean";
  readonly choices: readonly string[] | undefined;
  readonly description: string;
  readonly isRequired: boolean;
  /** What it is when it is left out. */
  readonly default: unknown;
}

/** Given in its order though it may be left out; its flag works as well. */
const OPTIONAL_IN_ORDER = ["reference_image_path"];

const isInOrder = ({ name, isRequired }: Input) => isRequired || OPTIONAL_IN_ORDER.includes(name);

/** Short names of flags, beside those of the arguments. */
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

/** What a tool requires is given in its order, the rest by flags. */
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
    // Three states: yes, no, and what the operator has set.
    if (flag === "save") command.option(`--no-${flag}`, "the provider keeps nothing");
    return;
  }
  // Commander suggests, and calls the value by, the last of two.
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

/** What no known service uses. */
const HTTP_PORT = 4477;

function toPort(text: string): number {
  const port = toNumber(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new InvalidArgumentError("A port is 0 to 65535.");
  return port;
}

const NAME_LOG = "Give the path of the file, or set BIOMETRICS_AUDIT_LOG.";

function toHash(text: string): string {
  if (!/^[\da-f]{64}$/i.test(text)) throw new InvalidArgumentError("A hash is 64 hexadecimal digits.");
  return text.toLowerCase();
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

/** A path on the command line may lie anywhere: for a check, the allowed folders would be a flag that does nothing. */
const isReadingAnywhere = (name: Setting) => name !== "BIOMETRICS_IMAGE_DIRS";

function withSettings(command: Command, applies: (name: Setting) => boolean = () => true): Command {
  for (const [name, flag] of FLAGS.filter(([setting]) => applies(setting))) {
    if (command.options.some(({ long }) => long === `--${flag}`)) continue; // an argument of the tool says the same
    const isList = name === "BIOMETRICS_IMAGE_DIRS";
    const option = new Option(`--${flag} ${isList ? "[folder...]" : "<value>"}`, SETTINGS[name]);
    command.addOption(option.helpGroup("Settings, also from the environment:"));
  }
  const names = (Object.keys(SETTINGS) as Setting[]).filter(applies).join(", ");
  return command.addHelpText("after", `\nEnvironment: ${names}. Secrets are taken from there alone.\n${EXIT_HELP}`);
}

function configOf(command: Command, { configure }: Terminal): Config {
  const options = command.opts<Record<string, string | readonly string[] | number | true | undefined>>();
  const flags: Record<string, string> = {};
  for (const [name, flag] of FLAGS) {
    const value = options[camel(flag)];
    // A desktop host whose user chose no folder passes the flag alone, which is as good as none.
    if (value !== undefined && value !== true && typeof value !== "number")
      flags[name] = typeof value === "string" ? value : value.join(delimiter);
  }
  return configure(flags);
}

function kebab(name: string): string {
  return name.replaceAll("_", "-");
}

/** As commander names the value of a flag. */
function camel(flag: string): string {
  return flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
