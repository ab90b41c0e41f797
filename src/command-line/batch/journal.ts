import { appendFileSync, closeSync, openSync, readFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import * as z from "zod";
import { CheckError, errnoOf } from "../../errors.ts";
import { OUTCOMES } from "../../warnings.ts";
import type { Item } from "./items.ts";

const record = z.object({
  /** The paths, by argument. */
  files: z.record(z.string(), z.string()),
  /** Of their contents. */
  sha256: z.record(z.string(), z.string()),
  /** Names all else that the result depends on. */
  settings: z.string(),
  result: z
    .looseObject({
      outcome: z.enum(OUTCOMES),
      provider: z.string(),
      score: z.number().nullable(),
      threshold: z.number().nullable(),
      summary: z.string(),
      warnings: z.array(
        z.object({ tag: z.string(), effect: z.enum(OUTCOMES), meaning: z.string(), advice: z.string() }),
      ),
      next_steps: z.array(z.string()),
      reference: z.string().nullable(),
      matches: z
        .array(
          z.object({
            id: z.string().nullable(),
            label: z.string().nullable(),
            similarity: z.number(),
            blocklisted: z.boolean(),
          }),
        )
        .optional(),
    })
    .optional(),
  error: z.object({ code: z.string(), message: z.string(), next: z.string() }).optional(),
});
/** One call of a batch: a result or, where nothing was decided, an error. */
export type Done = z.infer<typeof record>;

/** What is done of a batch, a line of JSON for each call, from the moment that its answer is there. */
export interface Journal {
  /** The last for these files with these settings. */
  find(item: Item, settings: string): Done | undefined;
  /** Makes the file, before anything is sent. */
  begin(): void;
  keep(done: Done): void;
}

const keyOf = (files: Item, settings: string) => JSON.stringify([settings, ...Object.entries(files).sort()]);

/** Without a file it lasts as long as the command. @throws CheckError `invalid_input` where another file is in its place */
export async function openJournal(file: string | undefined): Promise<Journal> {
  const known = new Map<string, Done>();
  let lineEnd = "";
  if (file !== undefined) {
    const text = await readIfThere(file);
    for (const [at, line] of text.split("\n").entries()) {
      const done = parse(line);
      // The last line may be incomplete, where the program was killed.
      if (done === undefined && at === 0 && text !== "") throw foreign(file);
      if (done !== undefined) known.set(keyOf(done.files, done.settings), done);
    }
    if (text !== "" && !text.endsWith("\n")) lineEnd = "\n";
  }
  return {
    find: (item, settings) => known.get(keyOf(item, settings)),
    begin() {
      if (file !== undefined) guarded(() => closeSync(openSync(file, "a", 0o600)));
    },
    keep(done) {
      known.set(keyOf(done.files, done.settings), done);
      if (file === undefined) return;
      guarded(() => appendFileSync(file, `${lineEnd}${JSON.stringify(done)}\n`));
      lineEnd = "";
    },
  };
}

function parse(line: string): Done | undefined {
  try {
    return record.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

async function readIfThere(file: string): Promise<string> {
  const found = await stat(file).catch((thrown: unknown) => {
    if (errnoOf(thrown) === "ENOENT") return undefined;
    throw unwritable(thrown);
  });
  if (found === undefined) return "";
  if (!found.isFile()) throw foreign(file);
  return guarded(() => readFileSync(file, "utf8"));
}

/** Another file of the user's is never overwritten. */
export const foreign = (cause: unknown) =>
  new CheckError("invalid_input", "There is another file where the results would go.", {
    cause,
    next: "Name another one with --out.",
  });

export function guarded<T>(work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    throw unwritable(thrown);
  }
}

export const unwritable = (cause: unknown) =>
  new CheckError("invalid_input", "The results cannot be written there.", {
    cause,
    next: "Name another place with --out.",
  });
