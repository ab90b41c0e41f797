import type { Command } from "commander";
import type { Say } from "../language/say.ts";

/*
 * Our own code: what exists for commander (@bomb.sh/tab 0.0.22) never lets the shell complete file names, which most of
 * our arguments are. The scripts are self-contained: no key press starts this program.
 */

const PROGRAM = "biometrics-mcp";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

interface Flag {
  readonly flag: string;
  readonly takesValue: boolean;
  readonly choices: readonly string[];
  readonly description: string;
}

interface Completable {
  readonly name: string;
  readonly summary: string;
  readonly flags: readonly Flag[];
  /** The values of its argument, unless that is a file; or the commands of a group. */
  readonly choices: readonly string[];
}

/** The completion script for the commands and flags of `program`. */
export function completionOf(program: Command, shell: Shell, say: Say): string {
  const commands = program.commands.map((command) => completable(command, say));
  return { bash: bashOf, zsh: zshOf, fish: fishOf }[shell](commands);
}

function completable(command: Command, say: Say): Completable {
  const flags = command
    .createHelp()
    .visibleOptions(command)
    .flatMap((option) =>
      [option.short, option.long]
        .filter((flag) => flag?.startsWith("--"))
        .map((flag) => ({
          flag: flag ?? "",
          takesValue: option.required || option.optional,
          choices: option.argChoices ?? [],
          description: say(option.description),
        })),
    );
  const choices = command.registeredArguments[0]?.argChoices ?? command.commands.map((it) => it.name());
  return { name: command.name(), summary: say(command.summary() || command.description()), flags, choices };
}

const list = (words: readonly string[]) => `'${words.join(" ")}'`;

/** `-o default` completes file names where no command or flag fits. */
function bashOf(commands: readonly Completable[]): string {
  const values = commands.flatMap(({ name, flags }) =>
    flags.filter(({ choices }) => choices.length > 0).map(({ flag, choices }) => [`${name} ${flag}`, choices] as const),
  );
  const own = commands.flatMap(({ name, choices }) =>
    choices.length === 0 ? [] : [[`${name} ${name}`, choices] as const],
  );
  return `# Load it with: source <(${PROGRAM} completion bash)
_biometrics_mcp() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words=''
  COMPREPLY=()
  if [[ $COMP_CWORD -eq 1 ]]; then
    words=${list(commands.map(({ name }) => name))}
  elif [[ $current == -* ]]; then
    case "\${COMP_WORDS[1]}" in
${commands.map(({ name, flags }) => `      ${name}) words=${list(flags.map(({ flag }) => flag))} ;;`).join("\n")}
    esac
  else
    case "\${COMP_WORDS[1]} \${COMP_WORDS[COMP_CWORD-1]}" in
${[...values, ...own].map(([at, choices]) => `      '${at}') words=${list(choices)} ;;`).join("\n")}
    esac
  fi
  if [[ -n $words ]]; then COMPREPLY=($(compgen -W "$words" -- "$current")); fi
}
complete -o default -F _biometrics_mcp ${PROGRAM}
`;
}

/** zsh reads bash's completions. */
function zshOf(commands: readonly Completable[]): string {
  const script = bashOf(commands).replace(/^.*\n/, "");
  return `# Load it with: source <(${PROGRAM} completion zsh)
autoload -U +X compinit bashcompinit
(( \${+functions[compdef]} )) || compinit
bashcompinit
${script}`;
}

function fishOf(commands: readonly Completable[]): string {
  const quote = (text: string) => `'${text.replace(/[\\']/g, "\\$&")}'`;
  const lines = commands.flatMap(({ name, summary, flags, choices }) => {
    const within = `complete -c ${PROGRAM} -n '__fish_seen_subcommand_from ${name}'`;
    return [
      `complete -c ${PROGRAM} -n __fish_use_subcommand -f -a ${name} -d ${quote(summary)}`,
      ...(choices.length === 0 ? [] : [`${within} -f -a ${list(choices)}`]),
      ...flags.map(({ flag, takesValue, choices: values, description }) => {
        const value = values.length > 0 ? ` -x -a ${list(values)}` : takesValue ? " -r" : "";
        return `${within} -l ${flag.slice(2)}${value} -d ${quote(description)}`;
      }),
    ];
  });
  return [`# Load it with: ${PROGRAM} completion fish | source`, ...lines, ""].join("\n");
}
