import { type Command, CommanderError } from "commander";
import { type App, openApp } from "../app.ts";
import type { Config, Language } from "../config.ts";
import { CheckError } from "../errors.ts";
import type { Folders } from "../file.ts";
import { type Say, translated } from "../language/say.ts";
import type { Log } from "../log.ts";
import type { Outcome } from "../warnings.ts";
import type { Diagnosis } from "./doctor.ts";
import { settingsOf } from "./flags.ts";
import { forPerson } from "./for-person.ts";
import { type Screen, styled } from "./screen.ts";
import type { StandardInput } from "./standard-input.ts";

/** Scripts rely on these. Success without a decision is 0 as well. */
export const EXIT = { approved: 0, error: 1, usage: 2, review: 3, declined: 4 } satisfies Record<
  Outcome | "error" | "usage",
  number
>;

/** What a command uses of its process; `main.ts` passes the real one. */
export interface Terminal {
  readonly log: Log;
  readonly print: (text: string) => void;
  /** Of the clients of `serve`. */
  readonly clientLanguage: Language;
  readonly language: Language;
  /** For whoever reads it; a script gets the same. */
  readonly say: Say;
  /** Standard output, to which `print` writes. */
  readonly output: Screen;
  /** Standard error, for progress. */
  readonly errors: Screen;
  /** The source of the image named `-`. */
  readonly input: StandardInput;
  readonly signal: AbortSignal;
  /** From the environment, or typed without echo; undefined if neither is available. */
  readonly readSecret: (
    prompt: string,
    variable: "BIOMETRICS_PASSWORD" | "BIOMETRICS_PASSPHRASE",
  ) => Promise<string | undefined>;
  /** The configuration from the environment, overridden by flags. */
  readonly configure: (flags: Readonly<Record<string, string>>) => Config;
}

export const isJson = (command: Command) => command.opts<{ json?: boolean }>().json === true;

/** For scripts. */
export function printFailure(
  { print, say }: Terminal,
  { code, message, next, retryable, retryAfterSeconds }: CheckError,
): void {
  const error = { code, message, next, retryable, retry_after_seconds: retryAfterSeconds };
  print(JSON.stringify(translated({ error }, say)));
}

/** Prints what a command found. @returns its exit code */
export function report(command: Command, { print, say }: Terminal, { findings, text, ok }: Diagnosis): number {
  print(isJson(command) ? JSON.stringify(translated(findings, say)) : forPerson(say(text)));
  return ok ? EXIT.approved : EXIT.error;
}

/** Opens what a command needs and closes it again. Errors are printed to stderr and, with --json, to stdout too. */
export async function withApp(
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
    if (thrown instanceof CommanderError) throw thrown;
    const error = CheckError.from(thrown);
    const text = forPerson(terminal.say(error.toText()));
    terminal.log(text.replace(/^[^ ]+/, (word) => styled("red", word, terminal.errors)));
    if (error.cause !== undefined) terminal.log("Detail", error.cause);
    if (isJson(command)) printFailure(terminal, error);
    return error.code === "invalid_input" || (error.code === "setup" && app === undefined) ? EXIT.usage : EXIT.error;
  } finally {
    await app?.close();
  }
}
