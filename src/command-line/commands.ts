import { Argument, Command, CommanderError, InvalidArgumentError } from "commander";
import { type App, VERSION } from "../app.ts";
import type { Config } from "../config.ts";
import { CheckError } from "../errors.ts";
import { sayIn } from "../language/say.ts";
import { serve } from "../mcp/stdio.ts";
import { TOOLS } from "../tools/index.ts";
import { batchOf, declareBatch } from "./batch/command.ts";
import { callTool } from "./call.ts";
import { completionOf, SHELLS, type Shell } from "./completion.ts";
import { checkAuditLog, type Diagnosis, diagnose } from "./doctor.ts";
import { declareMany, isForMany } from "./enroll-many.ts";
import { declareEvaluate, type EvaluateFlags, folderOf, purge, runEvaluation } from "./evaluate.ts";
import {
  declare,
  inputsOf,
  isReadingAnywhere,
  kebab,
  languageIn,
  settingsOf,
  toNumber,
  withSettings,
} from "./flags.ts";
import { commandOf, forPerson } from "./for-person.ts";
import { GALLERY_COMMANDS } from "./gallery.ts";
import { translateHelp } from "./help.ts";
import { EXIT, printFailure, report, type Terminal, withApp } from "./terminal.ts";

const EXIT_HELP =
  "Exit code: 0 approved (or done), 1 failed and nothing was decided, 2 wrong usage, 3 a person must review, 4 declined.";

type ModelCommand = (
  commands: typeof import("./models.ts"),
  name: string,
  config: Config,
  signal: AbortSignal,
) => Promise<Diagnosis>;

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
export async function run(args: readonly string[], place: Omit<Terminal, "say">): Promise<number> {
  const language = languageIn(args) ?? place.language;
  const terminal = { ...place, language, say: await sayIn(language) };
  let exitCode: number = EXIT.approved;
  const program = new Command("biometrics-mcp")
    .description("Liveness, face match and face search on local images. Without a command: an MCP server.")
    .version(VERSION)
    .exitOverride()
    .showHelpAfterError("(--help lists the commands and flags)")
    .addHelpText("afterAll", `\n${EXIT_HELP}`);
  if (language !== "en") translateHelp(program, terminal);

  for (const tool of TOOLS) {
    if (tool.name === "get_setup") continue; // doctor shows the same and more
    const command = program.command(commandOf(tool.name)).description(forPerson(tool.description));
    command.summary(tool.title);
    if (command.name() !== kebab(tool.name)) command.alias(kebab(tool.name));
    const inputs = inputsOf(tool);
    const kind = batchOf(tool);
    for (const input of inputs) declare(command, input, isForMany(tool) ? (name) => `[${name}]` : kind?.argument);
    if (isForMany(tool)) declareMany(command);
    command.option("--json", "print only the structured result");
    if (kind !== undefined) declareBatch(command, kind);
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
      report(doctor, terminal, await diagnose(app, config, terminal.signal)),
    );
  });
  const gallery = program.command("gallery").description("Maintain the face galleries on this machine.");
  for (const { usage, description, options = [], work } of GALLERY_COMMANDS) {
    const command = gallery.command(usage).description(description);
    for (const [flags, meaning] of options) command.option(flags, meaning);
    withSettings(command.option("--json", "print only the structured result")).action(async () => {
      const [file = ""]: readonly string[] = command.processedArgs;
      exitCode = await withApp(command, terminal, async (_app, config) =>
        report(command, terminal, await work({ config, file, flags: command.opts(), terminal })),
      );
    });
  }
  const models = program.command("models").description("Choose the networks of the checks on this machine.");
  for (const [usage, description, work] of MODEL_COMMANDS) {
    const command = models.command(usage).description(description);
    withSettings(command.option("--json", "print only the structured result")).action(async () => {
      const [name = ""]: readonly string[] = command.processedArgs;
      exitCode = await withApp(command, terminal, async (_app, config) =>
        report(command, terminal, await work(await import("./models.ts"), name, config, terminal.signal)),
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
      return report(audit, terminal, await checkAuditLog(file, audit.opts<{ head?: string }>().head));
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
    .action((shell: Shell) => terminal.print(completionOf(program, shell, terminal.say)));

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
