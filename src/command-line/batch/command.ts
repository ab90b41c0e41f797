import { extname } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { App } from "../../app.ts";
import type { Config } from "../../config.ts";
import { CheckError } from "../../errors.ts";
import type { Folders } from "../../file.ts";
import type { Billed } from "../../providers/provider.ts";
import type { Tool } from "../../toolkit/define.ts";
import { crossed, filesOf, folderOfList, type Item, isFolder, isPattern, pairsIn } from "./items.ts";
import { VERDICTS, type Verdict } from "./output.ts";
import type { BatchFlags } from "./run.ts";

// A check of many images. Whatever names one image, as an assistant does, is no batch.

interface Flags extends BatchFlags {
  readonly pairs?: string;
}

interface Kind {
  readonly check: Billed;
  /** How a required argument is given. */
  readonly argument: (name: string) => string;
  readonly help: string;
}

const IMAGES = {
  argument: (name: string) => `<${name}...>`,
  help: "Several images, or a folder with all below it, make a batch.",
};

const KINDS: Readonly<Record<string, Kind>> = {
  check_liveness: { ...IMAGES, check: "checkLiveness" },
  search_face: { ...IMAGES, check: "searchFace" },
  match_faces: {
    check: "matchFaces",
    argument: (name) => `[${name}]`, // --pairs takes their place
    help: "Two folders make a batch, KNOWN UNKNOWN: every unknown photo is compared with every known one, the trusted ones.",
  },
};

export const batchOf = (tool: Tool): Kind | undefined =>
  Object.hasOwn(KINDS, tool.name) ? KINDS[tool.name] : undefined;

const FORMATS = [".csv", ".jsonl", ".html"];
/** Tens of thousands of pairs. */
const MAX_LIST_BYTES = 20 * 2 ** 20;

export function declareBatch(command: Command, { check, help }: Kind): void {
  const options = [
    ...(check === "matchFaces"
      ? [new Option("--pairs <file>", "a CSV file with columns user_image and reference_image")]
      : []),
    new Option("--out <file>", "write results to a .csv, .jsonl or .html file; skip what it has").argParser(toOut),
    new Option("--fail-on <verdict>", "exit with 0 unless one image came to this or worse (review)").choices(
      VERDICTS.slice(1),
    ),
    new Option("--no-photos", "leave the photographs out of an .html file"),
    new Option("--yes", "make the calls that are billed, after their number and cost were shown"),
  ];
  for (const option of options) command.addOption(option.helpGroup("Batches:"));
  command.addHelpText("after", `\n${help}`);
}

function toOut(path: string): string {
  if (FORMATS.includes(extname(path))) return path;
  throw new InvalidArgumentError("Its name must end in .csv, .jsonl or .html.");
}

export interface Wanted {
  readonly check: Billed;
  readonly foldersOf: (config: Config) => Folders;
  items(app: App): Promise<readonly Item[]>;
}

/** undefined: a check of one image, or of two. @throws CheckError `invalid_input` */
export function batchIn(command: Command, { check }: Kind): Wanted | undefined {
  const { pairs, out, failOn } = command.opts<Flags>();
  const isAsked = (out ?? failOn) !== undefined;
  const anywhere = () => "anywhere" as const;
  if (check !== "matchFaces") {
    const [paths = []] = command.processedArgs as readonly (readonly string[] | undefined)[];
    const isOne = paths.length === 1 && !paths.some((path) => isFolder(path) || isPattern(path));
    if (isOne && !isAsked) return undefined;
    const items = async () => (await filesOf(paths)).map((file) => ({ image_path: file }));
    return { check, foldersOf: anywhere, items };
  }
  const given = (command.processedArgs as readonly (string | undefined)[]).filter((path) => path !== undefined);
  if (pairs !== undefined) {
    if (given.length > 0) throw new CheckError("invalid_input", "--pairs names the images, so no other may be given.");
    const folder = folderOfList(pairs);
    return {
      check,
      // Whoever wrote the list did not type this command: the images lie beside it, or where an assistant may read.
      foldersOf: ({ imageFolders }) => [folder, ...imageFolders],
      async items(app) {
        const bytes = await app.loadFile(pairs, { maxBytes: MAX_LIST_BYTES, noun: "a list of pairs" });
        return pairsIn(new TextDecoder().decode(bytes), folder);
      },
    };
  }
  const [one, other] = given;
  if (one === undefined || other === undefined) {
    const missing = one === undefined ? "user-image-path" : "reference-image-path";
    command.error(`error: missing required argument '${missing}'`, { code: "commander.missingArgument", exitCode: 2 });
  }
  const folders = given.filter(isFolder).length;
  if (folders === 1) {
    throw new CheckError("invalid_input", "One of these is a folder and the other is not.", {
      next: "Give two images; or two folders, that of the known people first; or --pairs with a CSV file.",
    });
  }
  if (folders === 0 && !isAsked) return undefined;
  const items = () =>
    folders === 2 ? crossed(one, other) : Promise.resolve([{ user_image_path: one, reference_image_path: other }]);
  return { check, foldersOf: anywhere, items };
}

/** The worst of all. `failOn`: what is better counts as well. */
export function worstOf(verdicts: readonly Verdict[], failOn: Verdict = "review"): Verdict {
  const worst = Math.max(0, ...new Set(verdicts.map((verdict) => VERDICTS.indexOf(verdict))));
  return worst < VERDICTS.indexOf(failOn) ? "approved" : (VERDICTS[worst] ?? "failed");
}
