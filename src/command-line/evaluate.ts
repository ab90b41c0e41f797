import { realpathSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import type { App } from "../app.ts";
import type { Config } from "../config.ts";
import { CheckError, errnoOf } from "../errors.ts";
import type { Say } from "../language/say.ts";
import { DEFAULT_THRESHOLDS, type Provider, SIMILARITY } from "../providers/provider.ts";
import { saveSettings, settingsFileOf } from "../storage/settings.ts";
import { approve } from "./estimate.ts";
import { openProgress } from "./progress.ts";

export interface EvaluateFlags {
  readonly html: string;
  readonly photos: boolean;
  readonly sample: number;
  readonly yes?: true;
  readonly save?: true;
  readonly purge?: true;
  readonly json?: true;
}

interface Place {
  readonly print: (text: string) => void;
  readonly errors: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly say: Say;
  readonly signal: AbortSignal;
}

const THUMBNAIL_SIDE = 200;
const SAMPLE = 250;

export function declareEvaluate(program: Command): Command {
  return program
    .command("evaluate")
    .summary("Measure the checks on your own images")
    .description(
      "Measure face match and liveness on your own images: error rates with intervals, the worst cases, and thresholds. FOLDER has a subfolder for each person, and live/ and spoof/ for liveness.",
    )
    .argument("[folder]", "the folder of images")
    .option("--html <file>", "where the page goes", "evaluation.html")
    .option("--no-photos", "leave the photographs out of the page")
    .option(
      "--sample <number>",
      "with a provider that bills: pairs of each kind, live images and attacks",
      toCount,
      SAMPLE,
    )
    .option("--yes", "make the calls that are billed, after their number and cost were shown")
    .option("--save", "save the suggested thresholds as your settings")
    .option("--purge", "remove what earlier evaluations measured, which is biometric data")
    .option("--json", "print the figures alone");
}

function toCount(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError("It must be a whole number from 1 to 999999.");
  return Number(text);
}

export async function purge({ dataFolder }: Config, { print, say }: Place): Promise<void> {
  const { purgeCache } = await import("../evaluation/cache.ts");
  const wasThere = await purgeCache(dataFolder);
  print(say(wasThere ? "What earlier evaluations measured is removed." : "There is nothing to remove."));
}

/** @throws CheckError `invalid_input` where it is none */
export function folderOf(path: string | undefined): string {
  if (path === undefined) {
    throw new CheckError("invalid_input", "No folder was given.", { next: "Run biometrics-mcp evaluate FOLDER." });
  }
  try {
    return realpathSync(resolve(path));
  } catch (cause) {
    throw new CheckError("invalid_input", "No folder was found at that path.", { cause, next: "Check the path." });
  }
}

export async function runEvaluation(
  { app, config, folder, flags }: { app: App; config: Config; folder: string; flags: EvaluateFlags },
  { print, errors, say, signal }: Place,
): Promise<void> {
  const page = resolve(flags.html);
  await refuseForeign(page);
  const [{ scanFolder }, { evaluate }, { openCache }, { describe, suggestionsOf, toJson }] = await Promise.all([
    import("../evaluation/folder.ts"),
    import("../evaluation/evaluate.ts"),
    import("../evaluation/cache.ts"),
    import("../evaluation/figures.ts"),
  ]);
  const found = await scanFolder(folder);
  const provider = await app.provider();
  const cache = await openCache(
    config.dataFolder,
    JSON.stringify([provider.name, app.version, provider.templates?.model]),
  );
  const progress = await openProgress(errors, say);
  try {
    const evaluation = await evaluate({
      folder,
      found,
      provider,
      cache,
      loadImage: app.loadImage,
      thresholds: thresholdsOf(config, provider),
      sample: flags.sample,
      save: config.didit.saveRequests ?? false,
      approve: (plan) => {
        progress.end();
        const { matchFaces, checkLiveness } = plan;
        const what = `${matchFaces} pairs and ${checkLiveness} single images`;
        const smaller = "or with a smaller --sample";
        approve({ what, calls: plan, smaller }, provider, flags.yes === true, { errors, say });
      },
      onProgress: (stage, done, total) => progress.update(stage, done, total),
      signal,
    });
    progress.end();
    const { pageOf } = await import("../evaluation/page.ts");
    const { thumbnail } = await import("../providers/on-device/pipeline/decode.ts");
    const photo = async (file: string) => {
      signal.throwIfAborted();
      const image = await app.loadImage(join(folder, file), provider.images).catch(() => undefined);
      return image === undefined ? null : thumbnail(image.bytes, THUMBNAIL_SIDE).catch(() => null);
    };
    const html = await pageOf(evaluation, {
      version: app.version,
      folder: basename(folder),
      photo: flags.photos ? photo : undefined,
    });
    await writePage(page, html);
    const suggested = suggestionsOf(evaluation);
    const saved = flags.save === true && Object.keys(suggested).length > 0;
    if (saved) await saveSettings(config.dataFolder, suggested);
    if (flags.json) print(JSON.stringify({ ...toJson(evaluation), page, saved }));
    else
      print(
        say(
          [describe(evaluation), ...closing(suggested, saved, flags, config, provider.name), `Page: ${page}`].join(
            "\n\n",
          ),
        ),
      );
  } catch (thrown) {
    throw signal.aborted ? interrupted(thrown) : thrown;
  } finally {
    progress.end();
    cache.close();
  }
}

const interrupted = (cause: unknown) =>
  new CheckError("cancelled", "The evaluation was interrupted; what was measured is kept.", {
    cause,
    next: "Run the command again to continue where it stopped.",
  });

/** As decisions have them: the device approves nothing up to `possible`, others where the operator has no threshold. */
function thresholdsOf({ thresholds }: Config, { name }: Provider) {
  const match = thresholds.match ?? DEFAULT_THRESHOLDS.match;
  const isReviewed = name === "on-device" || thresholds.match === undefined;
  return {
    match,
    approval: isReviewed ? Math.max(match, SIMILARITY.possible) : match,
    liveness: thresholds.liveness ?? DEFAULT_THRESHOLDS.liveness,
  };
}

function closing(
  suggested: Readonly<Record<string, string>>,
  saved: boolean,
  { save }: EvaluateFlags,
  { dataFolder, thresholds, saved: fromFile }: Config,
  provider: string,
): string[] {
  const lines = Object.entries(suggested).map(([name, value]) => `${name}=${value}`);
  if (lines.length === 0) return save ? ["Nothing was saved: there are too few images for a threshold."] : [];
  if (!saved)
    return [`To use the suggested thresholds, set them, or run this again with --save:\n  ${lines.join("\n  ")}`];
  const isSet = (name: string) => !fromFile.some((one) => one === name);
  const overridden = [
    ...(thresholds.match !== undefined && isSet("BIOMETRICS_MATCH_THRESHOLD") ? ["BIOMETRICS_MATCH_THRESHOLD"] : []),
    ...(thresholds.liveness !== undefined && isSet("BIOMETRICS_LIVENESS_THRESHOLD")
      ? ["BIOMETRICS_LIVENESS_THRESHOLD"]
      : []),
  ].filter((name) => name in suggested);
  const isLooser = Number(suggested["BIOMETRICS_MATCH_THRESHOLD"] ?? 100) < SIMILARITY.possible;
  return [
    `Saved in ${settingsFileOf(dataFolder)}, for every provider:\n  ${lines.join("\n  ")}`,
    ...(isLooser && provider !== "on-device"
      ? [`With ${provider}, matches above this threshold are now approved; without it, those up to 70 go to review.`]
      : []),
    ...(overridden.length === 0 ? [] : [`The environment sets ${overridden.join(" and ")}, and wins.`]),
  ];
}

/** A page of an earlier run may be replaced, and nothing else. */
async function refuseForeign(page: string): Promise<void> {
  const { MARKER } = await import("../evaluation/page.ts");
  const found = await readFile(page, "utf8").catch((thrown: unknown) => {
    if (errnoOf(thrown) === "ENOENT") return undefined;
    throw unwritable(thrown);
  });
  if (found === undefined || found.slice(0, 500).includes(MARKER)) return;
  throw new CheckError("invalid_input", "There is another file where the page would go.", {
    next: "Name another one with --html.",
  });
}

async function writePage(page: string, html: string): Promise<void> {
  // It holds photographs: nobody else's business.
  await writeFile(page, html, { mode: 0o600 }).catch((thrown: unknown) => {
    throw unwritable(thrown);
  });
}

const unwritable = (cause: unknown) =>
  new CheckError("invalid_input", "The page cannot be written there.", {
    cause,
    next: "Name another place with --html.",
  });
