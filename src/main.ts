import { Console } from "node:console";
import { readConfig, SECRET_SETTINGS } from "./config.ts";
import { createLog } from "./log.ts";

// Whoever prints by console, a dependency say, must not print between protocol frames.
globalThis.console = new Console(process.stderr, process.stderr);

const password = process.env["BIOMETRICS_PASSWORD"];
const secrets = [password, ...SECRET_SETTINGS.map((name) => process.env[name]?.trim())].filter(
  (secret): secret is string => secret !== undefined && secret.length >= 8,
);
const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => interrupted.abort());

const terminal = {
  log: createLog((text) => process.stderr.write(text), secrets),
  print: (text: string) => process.stdout.write(`${text}\n`),
  input: process.stdin,
  signal: interrupted.signal,
  readPassword: async (message: string) => {
    if (password !== undefined || !process.stdin.isTTY) return password;
    const { default: ask } = await import("@inquirer/password");
    // Standard output is for the result.
    const typed = await ask({ message }, { output: process.stderr, signal: interrupted.signal });
    return typed === "" ? undefined : typed;
  },
  configure: (flags: Readonly<Record<string, string>>) => readConfig({ ...process.env, ...flags }),
};

const args = process.argv.slice(2);
const isAboutItself = ["-h", "--help", "-V", "--version"].includes(args[0] ?? "");
if (args.length === 0) {
  // The way that hosts start a server: it answers before a command line could be loaded.
  const { serve } = await import("./serve.ts");
  await serve(() => terminal.configure({}), terminal);
} else {
  const { run } = await import("./cli.ts");
  process.exitCode = await run(args[0]?.startsWith("-") && !isAboutItself ? ["serve", ...args] : args, terminal);
}
// What is still open (a model that is being loaded, say) must not keep the process; what was written must get out.
process.stdout.write("", () => process.exit());
