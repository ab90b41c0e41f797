import { addAbortSignal, type Readable } from "node:stream";
import { Argument, Command, CommanderError, InvalidArgumentError } from "commander";
import { type App, openApp, VERSION } from "../app.ts";
import type { Config } from "../config.ts";
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
import { checkAuditLog, diagnose } from "./doctor.ts";
import { type Common, declareMany, enrollMany, type Many, manyIn } from "./enroll-many.ts";
import { declareEvaluate, type EvaluateFlags, folderOf, purge, runEvaluation } from "./evaluate.ts";
import {
  declare,
  givenOf,
  type Input,
  inputsOf,
  isReadingAnywhere,
  kebab,
  settingsOf,
  toNumber,
  withSettings,
} from "./flags.ts";
import { commandOf, forPerson } from "./for-person.ts";
import { GALLERY_COMMANDS } from "./gallery.ts";

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
  /** Standard error, for progress. */
  readonly errors: NodeJS.WritableStream & { readonly isTTY?: boolean };
  /** The source of the image named `-`. */
  readonly input: Readable & { readonly isTTY?: boolean };
  readonly signal: AbortSignal;
  /** From the environment, or typed without echo; undefined if neither is available. */
  readonly readSecret: (
    prompt: string,
    variable: "BIOMETRICS_PASSWORD" | "BIOMETRICS_PASSPHRASE",
  ) => Promise<string | undefined>;
  /** The configuration from the environment, overridden by flags. */
  readonly configure: (flags: Readonly<Record<string, string>>) => Config;
}

type ModelCommand = (
  commands: typeof import("./models.ts"),
  name: string,
  config: Config,
  signal: AbortSignal,
) => ReturnType<typeof diagnose>;

/** Loaded only when one of them is run. */
const MODEL_COMMANDS: readonly (readonly [usage: string, description: string, work: ModelCommand])[] = [
  [
    "list",
    "List the model packs that were added or can be, with licences, training data and figures. Fetches nothing.",
    ({ listPacks }, _name, config) => listPacks(config),
  ],
  [
    "add <pack>",
    "Add a model pack: a name from the list, a folder with a pack.json, or the URL of a pack.json.",
    ({ addPack }, pack, config, signal) => addPack(pack, config, signal),
  ],
  [
    "use <name>",
    "Use a model pack that was added, or shipped, the built-in one, from now on.",
    ({ usePack }, name, config) => usePack(name, config),
  ],
];

/** Runs one command line and returns its exit code. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  let exitCode: number = EXIT.approved;
  const program = new Command("biometrics-mcp")
    .description("Liveness, face match and face search on local images. Without a command: an MCP server.")
    .version(VERSION)
    .exitOverride()
    .showHelpAfterError("(--help lists the commands and flags)")
    .addHelpText("afterAll", `\n${EXIT_HELP}`);

  for (const tool of TOOLS) {
    if (tool.name === "get_setup") continue; // doctor shows the same and more
    const command = program.command(commandOf(tool.name)).description(forPerson(tool.description));
    command.summary(tool.title);
    if (command.name() !== kebab(tool.name)) command.alias(kebab(tool.name));
    const inputs = inputsOf(tool);
    const isMany = tool.name === "enroll_face";
    for (const input of inputs) declare(command, isMany ? { ...input, isOptional: true } : input);
    if (isMany) declareMany(command);
    command.option("--json", "print only the structured result");
    withSettings(command, isReadingAnywhere).action(async () => {
      exitCode =
        (isMany ? await enrollSeveral(command, inputs) : undefined) ??
        (await callTool(tool, inputs, command, terminal));
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
  const gallery = program.command("gallery").description("Maintain the face galleries on this machine.");
  for (const { usage, description, options = [], work } of GALLERY_COMMANDS) {
    const command = gallery.command(usage).description(description);
    for (const [flags, meaning] of options) command.option(flags, meaning);
    withSettings(command.option("--json", "print only the structured result")).action(async () => {
      const [file = ""]: readonly string[] = command.processedArgs;
      exitCode = await withApp(command, terminal, async (_app, config) =>
        report(command, await work({ config, file, flags: command.opts(), terminal })),
      );
    });
  }
  const models = program.command("models").description("Choose the networks of the checks on this machine.");
  for (const [usage, description, work] of MODEL_COMMANDS) {
    const command = models.command(usage).description(description);
    withSettings(command.option("--json", "print only the structured result")).action(async () => {
      const [name = ""]: readonly string[] = command.processedArgs;
      exitCode = await withApp(command, terminal, async (_app, config) =>
        report(command, await work(await import("./models.ts"), name, config, terminal.signal)),
      );
    });
  }
  const evaluation = declareEvaluate(program);
  withSettings(evaluation, isReadingAnywhere).action(async () => {
    const flags = evaluation.opts<EvaluateFlags>();
    let folder = "";
    const work = async (app: App, config: Config) => {
      if (flags.purge) await purge(config, terminal);
      else await runEvaluation({ app, config, folder, flags }, terminal);
      return EXIT.approved;
    };
    exitCode = await withApp(evaluation, terminal, work, () => {
      if (flags.purge) return [];
      folder = folderOf(evaluation.args[0]);
      return [folder]; // what lies outside of it is not read, by a link say
    });
  });
  const audit = program
    .command("audit")
    .description("Check the audit log of decisions.")
    .command("verify")
    .description("Report lines that were changed, removed, added or moved, and print the hash of the last line.")
    .argument("[file]", "the audit log (the file that BIOMETRICS_AUDIT_LOG names)")
    .option("--head <hash>", "a hash that an earlier run printed: its line must still be there", toHash)
    .option("--json", "print only the structured result");
  withSettings(audit).action(async () => {
    exitCode = await withApp(audit, terminal, async (_app, { auditLog }) => {
      const [file = auditLog] = audit.processedArgs as readonly (string | undefined)[];
      if (file === undefined) throw new CheckError("invalid_input", "No audit log was named.", { next: NAME_LOG });
      return report(audit, await checkAuditLog(file, audit.opts<{ head?: string }>().head));
    });
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
    else if ((host ?? port ?? name) === undefined) await serve(() => terminal.configure(settingsOf(server)), terminal);
    else server.error("error: --port, --host and --name require --http", { exitCode: EXIT.usage });
  });
  program
    .command("completion")
    .description("Print the completion script for a shell: source <(biometrics-mcp completion bash)")
    .addArgument(new Argument("<shell>").choices(SHELLS))
    .action((shell: Shell) => terminal.print(completionOf(program, shell)));

  /** undefined: it is one image. */
  async function enrollSeveral(command: Command, inputs: readonly Input[]): Promise<number | undefined> {
    const { image_path, label, ...common } = Object.fromEntries(givenOf(command, inputs)) as Common & {
      image_path?: string;
      label?: string;
    };
    const { csv } = command.opts<{ csv?: string }>();
    let many: Many | undefined;
    const work = async (app: App) => {
      if (many === undefined) throw new CheckError("invalid_input", "No image was given.");
      if (label !== undefined) throw new CheckError("invalid_input", "Many faces do not have one label.");
      return report(command, await enrollMany(app, many, common, terminal));
    };
    if (csv === undefined && manyIn(image_path, csv) === undefined) return undefined;
    return withApp(command, terminal, work, () => {
      many = manyIn(image_path, csv);
      return [many?.folder ?? ""];
    });
  }

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
  const given = givenOf(command, inputs);
  return withApp(command, terminal, async (app) => {
    const loadImage = fromInputToo(app, terminal);
    const context = { ...app, loadImage, signal: terminal.signal, onStage: () => {}, onFailure: terminal.log };
    for (const name of tool.secrets) {
      const prompt = `${name} (empty: a strong one is generated)`;
      const secret = await terminal.readSecret(prompt, "BIOMETRICS_PASSWORD");
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
    const config = terminal.configure(settingsOf(command));
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

const NAME_LOG = "Pass the path of the file, or set BIOMETRICS_AUDIT_LOG.";

function toHash(text: string): string {
  if (!/^[\da-f]{64}$/i.test(text)) throw new InvalidArgumentError("A hash is 64 hexadecimal digits.");
  return text.toLowerCase();
}
