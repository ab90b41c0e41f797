import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { extname, resolve } from "node:path";
import type { App } from "../../app.ts";
import type { Language } from "../../config.ts";
import { count } from "../../decision/decision.ts";
import { CheckError } from "../../errors.ts";
import type { Say } from "../../language/say.ts";
import { attempts, each, pace } from "../../many.ts";
import type { Billed } from "../../providers/provider.ts";
import { writeWhole } from "../../storage/folder.ts";
import { acquireLock } from "../../storage/lock.ts";
import type { Tool } from "../../toolkit/define.ts";
import { plain } from "../../untrusted.ts";
import { approve } from "../estimate.ts";
import { openProgress } from "../progress.ts";
import { type Screen, styled, VERDICT_COLOUR } from "../screen.ts";
import { fileHashes, keeper, limitsOf } from "./images.ts";
import type { Item } from "./items.ts";
import { type Done, foreign, type Journal, openJournal, unwritable } from "./journal.ts";
import { csvOf, pageOf, VERDICTS, type Verdict, verdictOf } from "./output.ts";

export interface BatchFlags {
  readonly out?: string;
  readonly failOn?: Verdict;
  readonly photos: boolean;
  readonly yes?: true;
  readonly json?: true;
}

export interface Batch {
  readonly tool: Tool;
  readonly check: Billed;
  /** The arguments of every call. */
  readonly args: Readonly<Record<string, unknown>>;
  readonly items: readonly Item[];
  readonly app: App;
  readonly flags: BatchFlags;
}

interface Place {
  readonly log: (line: string, detail?: unknown) => void;
  readonly print: (text: string) => void;
  readonly output: Screen;
  readonly errors: Screen;
  readonly language: Language;
  readonly say: Say;
  readonly signal: AbortSignal;
}

/** A provider takes about two seconds for a call, and its limit is per minute. */
const BILLED_AT_ONCE = 10;
/** Of images that are only read. */
const FILES_AT_ONCE = 8;
const THUMBNAIL_SIDE = 200;

/** A run that was killed leaves its lock, which the next one takes over after the shorter of these. */
const LOCKED = { deadAfterMs: 4000, longestWaitMs: 6000, refreshMs: 500 };

/** Makes all calls that are not done yet, and writes what they came to. @returns how each of the items ended */
export async function runBatch(batch: Batch, place: Place): Promise<readonly Verdict[]> {
  const { out } = batch.flags;
  if (out === undefined) return runAlone(batch, place);
  const lock = await acquireLock(`${resolve(out)}.lock`, "the results", LOCKED).catch((thrown: unknown) => {
    throw thrown instanceof CheckError && thrown.code === "unavailable" ? inUse(thrown) : unwritable(thrown);
  });
  try {
    return await runAlone(batch, place);
  } finally {
    await lock.release();
  }
}

/** No other process works at the same results: it would make, and pay for, the same calls. */
async function runAlone(batch: Batch, place: Place): Promise<readonly Verdict[]> {
  const { tool, items, app, flags } = batch;
  const { print, errors, language, say, signal } = place;
  const out = flags.out === undefined ? undefined : resolve(flags.out);
  const format = out === undefined ? undefined : extname(out).slice(1);
  const provider = await app.provider();
  const isBilled = provider.prices !== undefined;
  if (isBilled && out === undefined) {
    throw new CheckError("invalid_input", "Calls that are billed need a file for their results.", {
      next: "Name one with --out: results.csv, results.jsonl or results.html.",
    });
  }
  const file = format === "jsonl" || out === undefined ? out : `${out}.jsonl`;
  if (out !== undefined && file !== out) await refuseForeign(out, file ?? "");
  const journal = await openJournal(file);
  const progress = await openProgress(errors, say);
  const results = new Map<Item, Done>();
  const noun = batch.check === "matchFaces" ? "pair" : "image";
  const onInterrupt = () => {
    progress.end();
    const stopping = "Stopping: the calls under way are finished first. Press Ctrl-C again to stop at once.";
    errors.write(`${say(stopping)}\n`);
  };
  const settings = await settingsOf(batch);
  const onLookedAt = (done: number, total: number) => progress.update("earlier results", done, total);
  await findKnown(batch, { journal, settings, results, signal, onLookedAt }).finally(() => progress.end());
  const before = results.size;
  const todo = items.filter((item) => !results.has(item));
  try {
    if (isBilled && todo.length > 0) {
      const unanswered = todo.filter((item) => journal.find(item, settings)?.error?.code === "no_answer").length;
      const again = unanswered === 0 ? "" : ` (${unanswered} got no answer before, and may be billed a second time)`;
      const calls = { [batch.check]: todo.length };
      approve(
        { what: `${count(todo.length, noun)}${again}`, calls, smaller: "or with fewer images" },
        provider,
        flags.yes === true,
        place,
      );
    }
    journal.begin();
    signal.addEventListener("abort", onInterrupt, { once: true });
    const onDone = (done: number) => progress.update(`${noun}s`, done, todo.length);
    await callAll(batch, todo, { journal, settings, results, place, onDone });
    progress.end();
    const all = inOrder();
    await write(all);
    report(all, before);
    return all.map(verdictOf);
  } catch (thrown) {
    progress.end();
    const error = CheckError.from(thrown);
    const all = inOrder();
    if (all.length === 0 || error.code === "invalid_input") throw error; // nothing was sent, or nothing can be kept
    await write(all).catch(() => {}); // the other error matters more
    throw unfinished(error, all.length);
  } finally {
    signal.removeEventListener("abort", onInterrupt);
    progress.end();
  }

  function inOrder(): Done[] {
    return items.flatMap((item) => results.get(item) ?? []);
  }

  async function write(all: readonly Done[]): Promise<void> {
    if (out === undefined || format === "jsonl") return;
    const text = format === "csv" ? await csvOf(all) : await pageOf(all, await pageSetting());
    await writeWhole(out, text).catch((thrown: unknown) => {
      throw unwritable(thrown);
    });
  }

  async function pageSetting() {
    const { thumbnail } = await import("../../providers/on-device/pipeline/decode.ts");
    const photo = async (path: string) => {
      const image = await app.loadImage(path, limitsOf(batch.args, provider)).catch(() => undefined);
      return image === undefined ? null : thumbnail(image.bytes, THUMBNAIL_SIDE).catch(() => null);
    };
    const isWanted = flags.photos && !signal.aborted;
    return {
      language,
      say,
      title: tool.title,
      version: app.version,
      provider: provider.name,
      photo: isWanted ? photo : undefined,
    };
  }

  function report(all: readonly Done[], before: number): void {
    const counts = Object.fromEntries(
      VERDICTS.map((verdict) => [verdict, all.filter((done) => verdictOf(done) === verdict).length]),
    );
    if (flags.json) {
      const results = out === undefined ? { results: all } : {};
      print(
        JSON.stringify({ [`${noun}s`]: all.length, ...counts, known_before: before, out: out ?? null, ...results }),
      );
      return;
    }
    const said = Object.entries(counts).filter(([, count]) => count > 0);
    const facts = said.map(([verdict, count]) => `${count.toLocaleString("en")} ${verdict}`);
    print(
      [
        ...(out === undefined ? all.map((done) => lineOf(done, place)) : []),
        say(
          `${count(all.length, noun)}: ${facts.join(", ")}${before === 0 ? "" : `; ${before.toLocaleString("en")} of them were done before`}.`,
        ),
        ...(out === undefined ? [] : [say(`Results: ${out}`)]),
      ].join("\n"),
    );
  }

  function unfinished({ code, message, next, cause, retryAfterSeconds }: CheckError, done: number): CheckError {
    const goOn =
      out === undefined
        ? "With --out, what is done would be kept."
        : "Run the same command again to go on: what is done is skipped.";
    const kept =
      out === undefined
        ? ""
        : ` ${done.toLocaleString("en")} of ${items.length.toLocaleString("en")} are done; they are in ${out}.`;
    if (signal.aborted) return new CheckError("cancelled", `The batch was interrupted.${kept}`, { next: goOn });
    return new CheckError(code, `${message}${kept}`, { cause, next: `${next} ${goOn}`, retryAfterSeconds });
  }
}

interface Known {
  readonly journal: Journal;
  readonly settings: string;
  readonly results: Map<Item, Done>;
}

interface Work extends Known {
  readonly place: Place;
  readonly onDone: (done: number) => void;
}

/** An interruption only keeps further calls from beginning: those under way are paid for. */
async function callAll(batch: Batch, todo: readonly Item[], work: Work): Promise<void> {
  const { tool, args, app } = batch;
  const { journal, settings, results, place, onDone } = work;
  const provider = await app.provider();
  const { callsPerMinute, prices } = provider;
  const load = keeper(app, todo, limitsOf(batch.args, provider));
  const attempt = attempts(place.signal);
  const turn = callsPerMinute === undefined ? async () => {} : pace(callsPerMinute, place.signal);
  const { signal } = new AbortController();
  let done = 0;
  if (todo.length > 0) onDone(0);
  // Enough that no worker of the device waits: one image is read from the disk while others are looked at.
  const atOnce = prices === undefined ? Math.min(32, 2 * availableParallelism() + 2) : BILLED_AT_ONCE;
  await each(todo, atOnce, async (files) => {
    const sha256: Record<string, string> = {};
    const context = {
      ...app,
      signal,
      onStage: () => {},
      onFailure: place.log,
      async loadImage(path: string) {
        const { image, hash } = await load(path);
        // Of one file that is named twice both are it.
        for (const [name, one] of Object.entries(files)) if (one === path) sha256[name] = hash;
        return image;
      },
    };
    const keep = (made: Pick<Done, "result" | "error">) => {
      const kept = { files, sha256, settings, ...made };
      journal.keep(kept);
      results.set(files, kept);
    };
    const tried = await attempt(async () => {
      await turn();
      return tool.call({ ...args, ...files }, context);
    }).catch((thrown: unknown) => {
      // It may have been billed: the next estimate must say so.
      if (thrown instanceof CheckError && thrown.code === "no_answer") keep({ error: shownFailure(thrown) });
      throw thrown;
    });
    if ("value" in tried) keep({ result: tried.value as NonNullable<Done["result"]> });
    else keep({ error: shownFailure(tried.failure) });
    done += 1;
    onDone(done);
  });
}

const shownFailure = ({ code, message, next }: CheckError) => ({ code, message, next });

/** Names what a result depends on besides its images. A gallery may change: that is not seen. */
async function settingsOf({ tool, args, app }: Batch): Promise<string> {
  const { name, templates } = await app.provider();
  const all = [tool.name, args, name, templates?.model ?? null, app.version, app.thresholds];
  return createHash("sha256").update(JSON.stringify(all)).digest("hex").slice(0, 16);
}

/** What is done, of images that have not changed since. */
async function findKnown(batch: Batch, known: Known & Looking): Promise<void> {
  const { items, app } = batch;
  const { journal, settings, results, signal, onLookedAt } = known;
  const found = items.flatMap((item) => {
    const done = journal.find(item, settings);
    return done?.result === undefined ? [] : [{ item, done }];
  });
  const limits = limitsOf(batch.args, await app.provider());
  const hashAt = fileHashes(app, limits);
  let lookedAt = 0;
  await each(found, FILES_AT_ONCE, async ({ item, done }) => {
    signal.throwIfAborted();
    const now = await Promise.all(
      Object.entries(item).map(async ([name, path]) => [name, await hashAt(path)] as const),
    );
    if (now.every(([name, hash]) => hash !== undefined && hash === done.sha256[name])) results.set(item, done);
    lookedAt += 1;
    onLookedAt(lookedAt, found.length);
  });
}

interface Looking {
  readonly signal: AbortSignal;
  readonly onLookedAt: (done: number, total: number) => void;
}

const inUse = (cause: CheckError) =>
  new CheckError("unavailable", "Another run of this program is writing these results.", {
    cause,
    next: "Wait until it has ended, or name another file with --out.",
  });

/** A file is ours where its journal lies beside it. */
async function refuseForeign(out: string, journal: string): Promise<void> {
  const isThere = (path: string) =>
    stat(path).then(
      () => true,
      () => false,
    );
  if ((await isThere(out)) && !(await isThere(journal))) throw foreign(out);
}

/** "selfies/ann.jpg: approved (score 92.4)" */
function lineOf(done: Done, { output, say }: Pick<Place, "output" | "say">): string {
  const { files, result, error } = done;
  const verdict = verdictOf(done);
  const word = styled(VERDICT_COLOUR[verdict], say(verdict), output);
  const paths = Object.values(files).map((path) => plain(path, 200));
  const score = result?.score == null ? "" : ` ${say(`(score ${result.score.toFixed(1)})`)}`;
  const why = error === undefined ? score : ` [${error.code}] ${say(error.message)}`;
  return `${paths.join(" and ")}: ${word}${why}`;
}
