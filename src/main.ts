import { Console } from "node:console";
import { setTimeout as pause } from "node:timers/promises";
import { languageOf, readConfig, SECRET_SETTINGS, terminalLanguage } from "./config.ts";
import { stopIfCancelled } from "./errors.ts";
import { createLog } from "./log.ts";
import { readSettings } from "./storage/settings.ts";

// Whatever a dependency prints with console must not end up between protocol frames.
globalThis.console = new Console(process.stderr, process.stderr);

const asked = {
  BIOMETRICS_PASSWORD: process.env["BIOMETRICS_PASSWORD"],
  BIOMETRICS_PASSPHRASE: process.env["BIOMETRICS_PASSPHRASE"],
};
const secrets = [...Object.values(asked), ...SECRET_SETTINGS.map((name) => process.env[name]?.trim())].filter(
  (secret): secret is string => secret !== undefined && secret.length >= 8,
);
/** The shells' exit code for "ended by Ctrl-C". */
const EXIT_INTERRUPTED = 130;
const interrupted = new AbortController();
/** Takes precedence over the exit code of the command. */
let exitCode: number | undefined;
// Not `once`: a library that restores the cursor ends the process where it finds no other listener.
process.on("SIGINT", () => {
  if (exitCode === EXIT_INTERRUPTED) {
    process.removeAllListeners("SIGINT");
    process.kill(process.pid, "SIGINT");
  }
  exitCode = EXIT_INTERRUPTED;
  interrupted.abort();
});
for (const signal of ["SIGTERM", "SIGHUP"] as const) process.once(signal, () => interrupted.abort());

let unwritable: NodeJS.ErrnoException | undefined;
process.stdout.on("error", (error) => {
  unwritable ??= error;
});
process.stderr.on("error", () => {});

const terminal = {
  language: terminalLanguage(process.env),
  clientLanguage: languageOf(process.env) ?? "en",
  log: createLog((text) => process.stderr.write(text), secrets),
  print: (text: string) =>
    process.stdout.write(`${text}\n`, (error) => {
      if (error) exitCode ??= 1; // a result that nobody received is not an approval
    }),
  output: process.stdout,
  errors: process.stderr,
  input: process.stdin,
  signal: interrupted.signal,
  readSecret: async (message: string, variable: keyof typeof asked) => {
    if (asked[variable] !== undefined || !process.stdin.isTTY) return asked[variable];
    const { default: ask } = await import("@inquirer/password");
    // Standard output is for the result.
    const options = { output: process.stderr, signal: interrupted.signal };
    const typed = await ask({ message }, options).catch((thrown: unknown) => {
      // During the prompt Ctrl-C is a key, not a signal.
      if (thrown instanceof Error && thrown.name === "ExitPromptError") process.emit("SIGINT");
      stopIfCancelled(interrupted.signal);
      throw thrown;
    });
    return typed === "" ? undefined : typed;
  },
  configure: (flags: Readonly<Record<string, string>>) => {
    const environment = { ...process.env, ...flags };
    const config = readConfig(environment);
    const saved = readSettings(config.dataFolder);
    return Object.keys(saved).length === 0 ? config : readConfig(environment, saved);
  },
};

const args = process.argv.slice(2);
const isAboutItself = ["-h", "--help", "-V", "--version"].includes(args[0] ?? "");
if (args.length === 0) {
  // How hosts start a server: it answers sooner without the command line.
  const { serve } = await import("./mcp/stdio.ts");
  await serve(() => terminal.configure({}), terminal);
} else {
  const { run } = await import("./command-line/commands.ts");
  process.exitCode = await run(args[0]?.startsWith("-") && !isAboutItself ? ["serve", ...args] : args, terminal);
}
// Open work (a model being loaded, for example) must not keep the process alive; written output must be flushed.
process.stdout.write("", async (error: NodeJS.ErrnoException | null | undefined) => {
  const { code = "EPIPE" } = unwritable ?? error ?? {};
  // A reader that has gone is not a server error.
  if (code !== "EPIPE" && code !== "ERR_STREAM_DESTROYED") {
    terminal.log(`Cannot write to standard output (${code}).`);
    exitCode ??= 1;
  }
  if (exitCode !== undefined) process.exitCode = exitCode;
  // Node waits for its threads at exit: one that hangs in a file system or a name server would keep it forever.
  for (let waits = 0; isBelowStuck() && waits < 10; waits++) await pause(50);
  if (isBelowStuck()) process.kill(process.pid, "SIGKILL");
  process.exit();
});

function isBelowStuck(): boolean {
  return process.getActiveResourcesInfo().some((name) => /^(FSReq|GetAddrInfoReq|GetNameInfoReq)/.test(name));
}
