import { type Command, Help } from "commander";
import stringWidth from "string-width";
import type { Say } from "../language/say.ts";
import { fold } from "./fold.ts";

/** Makes help and usage errors of a command, and of the commands that it will get, those of another language. */
export function translateHelp(program: Command, { say, print, log }: Place): void {
  const plain = new Help();
  /** What commander adds to a description, such as a default, is in brackets behind it. */
  const whole = (described: string, description: string) =>
    described.startsWith(description)
      ? `${say(description)}${say(described.slice(description.length).trimStart())}`
      : say(described);
  const written = (text: string) => say(text.replace(/\n$/, ""));
  program
    .configureHelp({
      styleTitle: say,
      commandDescription: (command) => say(plain.commandDescription(command)),
      subcommandDescription: (command) => say(plain.subcommandDescription(command)),
      argumentDescription: (argument) => whole(plain.argumentDescription(argument), argument.description),
      optionDescription: (option) => whole(plain.optionDescription(option), option.description),
      displayWidth: stringWidth,
      boxWrap: fold,
    })
    .configureOutput({ writeOut: (text) => print(written(text)), writeErr: (text) => log(written(text)) });
}

interface Place {
  readonly say: Say;
  readonly print: (text: string) => void;
  readonly log: (line: string) => void;
}
