import { createHash } from "node:crypto";
import { availableParallelism } from "node:os";
import { setImmediate as breathe } from "node:timers/promises";
import { CheckError } from "../errors.ts";
import type { Image, ImageLimits } from "../images/image.ts";
import { attempts, each } from "../many.ts";
import { can, type Provider, type Template, type Templates } from "../providers/provider.ts";
import type { Cache } from "./cache.ts";
import type { ImageFolder } from "./folder.ts";
import { type LivenessEvaluation, livenessOf } from "./liveness.ts";
import { compareAll, filesOf, type MatchEvaluation, type Photo } from "./match.ts";
import { drawPlaces, type Pair, pairsOf } from "./pairs.ts";

/** What is sent, and may cost, before anything is. */
export interface Plan {
  /** Calls whose answers are not known from earlier. */
  readonly matchFaces: number;
  readonly checkLiveness: number;
}

export interface Setting {
  /** Absolute. */
  readonly folder: string;
  /** What lies in it. */
  readonly found: ImageFolder;
  readonly provider: Provider;
  readonly cache: Cache;
  readonly loadImage: (path: string, limits: ImageLimits) => Promise<Image>;
  /** Those in force, 0..100; `approval`: a match up to it is for a person to review, if it is not declined. */
  readonly thresholds: { readonly match: number; readonly approval: number; readonly liveness: number };
  /** Of a provider that bills: at most so many pairs of each kind, live images and attacks. */
  readonly sample: number;
  /** May a provider that bills keep what it is sent? */
  readonly save: boolean;
  /** Called where calls are billed, and never otherwise; throws where they are not to be made. */
  readonly approve: (plan: Plan) => void;
  readonly onProgress: (stage: "images" | "pairs", done: number, total: number) => void;
  readonly signal: AbortSignal;
}

export interface Evaluation {
  readonly provider: string;
  readonly match: MatchEvaluation | null;
  readonly liveness: LivenessEvaluation | null;
  /** Images and pairs that no score rests on, and why. */
  readonly leftOut: readonly { readonly why: string; readonly files: readonly string[] }[];
}

/** Calls that a provider bills, at one time: its limits are per minute. */
const BILLED_AT_ONCE = 4;
/** A pair takes about a microsecond; the program must be able to be interrupted. */
const PAIRS_AT_ONCE = 20_000;

/**
 * Measures every image, compares, and counts. What was measured is kept in the cache, so that a run that was broken off
 * goes on where it was.
 *
 * @throws CheckError where there is nothing to evaluate, a failure is not about one image, or it is cancelled
 */
export async function evaluate(setting: Setting): Promise<Evaluation> {
  const { provider, found } = setting;
  const run = openRun(setting);
  const [match, liveness] =
    provider.templates === undefined
      ? await measureByCalls(run, setting, found)
      : await measureByTemplates(run, setting, found, provider.templates);
  if (match === null && liveness === null) {
    throw new CheckError("invalid_input", "There is too little to compare in that folder.", {
      next: "It takes two persons, one of them with two photographs; or images of one person at least in live/ and one attack in spoof/.",
    });
  }
  return { provider: provider.name, match, liveness, leftOut: run.leftOut() };
}

type Run = ReturnType<typeof openRun>;

function openRun({ provider, cache, loadImage, signal, folder, save }: Setting) {
  const reasons = new Map<string, Set<string>>();
  const attempt = attempts(signal);
  const options = { signal, onStage: () => {}, ...(provider.prices !== undefined && { save }) };
  const shown = (file: string) => file.slice(folder.length + 1);

  function leaveOut(why: string, ...files: readonly string[]): void {
    reasons.set(why, (reasons.get(why) ?? new Set()).add(files.map(shown).join(" and ")));
  }

  /** undefined: left out. */
  async function trying<T>(files: readonly string[], work: () => Promise<T>): Promise<T | undefined> {
    const tried = await attempt(work);
    if ("value" in tried) return tried.value;
    leaveOut(tried.failure.message, ...files);
    return undefined;
  }

  const load = (file: string) => trying([file], () => loadImage(file, provider.images));

  return {
    options,
    leaveOut,
    trying,
    load,
    shown,
    leftOut: () => [...reasons].map(([why, files]) => ({ why, files: [...files].sort() })),

    /** 0..100; undefined: left out. */
    async liveness(file: string, image: Image): Promise<number | undefined> {
      const hash = hashOf(image);
      const known = cache.score(hash);
      if (known === undefined && !can(provider, "checkLiveness")) {
        throw new CheckError("unsupported", "This provider has no check of liveness.");
      }
      const score =
        known === undefined && can(provider, "checkLiveness")
          ? await trying([file], async () => (await provider.checkLiveness(image, options)).score)
          : known;
      if (known === undefined && score !== undefined) cache.keepScore(hash, score);
      if (score === null) leaveOut("No face was found.", file);
      return score ?? undefined;
    },
  };
}

const hashOf = ({ bytes }: Image) => createHash("sha256").update(bytes).digest("hex");

/** All pairs of all images, each of which is read once. */
async function measureByTemplates(run: Run, setting: Setting, found: ImageFolder, templates: Templates) {
  const { cache, onProgress } = setting;
  const photos: (Photo | undefined)[] = [];
  const measured: (Template | null)[] = [];
  const work = [
    ...found.persons.flatMap(({ files }, person) => files.map((file) => ({ file, person }))),
    ...livenessWork(found),
  ];
  const scores = new Map<string, number>();
  let done = 0;
  onProgress("images", 0, work.length);
  // Enough that no worker waits: one image is read from the disk while others are looked at.
  await each(work, Math.min(32, 2 * availableParallelism() + 2), async ({ file, person }, place) => {
    const image = await run.load(file);
    if (image !== undefined && person === undefined) {
      const score = await run.liveness(file, image);
      if (score !== undefined) scores.set(file, score);
    }
    if (image !== undefined && person !== undefined) {
      const hash = hashOf(image);
      const known = cache.template(hash);
      const template = known === undefined ? await run.trying([file], () => templates.read(image, run.options)) : known;
      if (known === undefined && template !== undefined) cache.keepTemplate(hash, template);
      if (template === null) run.leaveOut("No face was found.", file);
      if (template) {
        photos[place] = { file, hash, person };
        measured[place] = template;
      }
    }
    done += 1;
    onProgress("images", done, work.length);
  });

  const kept = withoutDoubles(photos, run);
  const faces = kept.map(({ place }) => measured[place]).filter((face) => face != null);
  const match = await compareAll(
    kept.map(({ photo }) => photo),
    async (tally) => {
      const ends = endsOf(kept.map(({ photo }) => photo.person));
      const kinds = (["genuine", "impostor"] as const).map((kind) => [kind, pairsOf(ends, kind)] as const);
      const total = kinds.reduce((sum, [, pairs]) => sum + pairs.total, 0);
      let count = 0;
      for (const [kind, pairs] of kinds) {
        for (const [one, other] of pairs.all()) {
          const [a, b] = [faces[one], faces[other]];
          if (a !== undefined && b !== undefined) tally(kind, [one, other], templates.similarity(a, b));
          count += 1;
          if (count % PAIRS_AT_ONCE === 0) {
            await breathe(undefined, { signal: setting.signal });
            onProgress("pairs", count, total);
          }
        }
      }
      onProgress("pairs", total, total);
    },
    run,
    setting.thresholds,
  );
  return [match, livenessOf(found, scores, run, setting.thresholds.liveness)] as const;
}

/** A sample of pairs and of images, each of which is a call; the calls that are known from earlier are not made again. */
async function measureByCalls(run: Run, setting: Setting, found: ImageFolder) {
  const { provider, cache, onProgress, sample, approve } = setting;
  const photos: (Photo | undefined)[] = [];
  const files = found.persons.flatMap((group, person) => group.files.map((file) => ({ file, person })));
  const checks = sampleOf(livenessWork(found), found, sample);
  const unknown: string[] = [];
  const work = [...files, ...checks];
  let done = 0;
  await each(work, BILLED_AT_ONCE, async ({ file, person }, place) => {
    const image = await run.load(file);
    done += 1;
    onProgress("images", done, work.length);
    if (image === undefined) return;
    const hash = hashOf(image);
    if (person !== undefined) photos[place] = { file, hash, person };
    else if (cache.score(hash) === undefined) unknown.push(file);
  });

  const kept = withoutDoubles(photos, run).map(({ photo }) => photo);
  const ends = endsOf(kept.map(({ person }) => person));
  const pairs = (["genuine", "impostor"] as const).flatMap((kind) =>
    pairsOf(ends, kind)
      .draw(sample)
      .map((pair) => ({ kind, pair, files: filesOf(pair, kept), key: keyOf(pair, kept) })),
  );
  const unmatched = pairs.filter(({ key }) => cache.score(key) === undefined);
  if (unmatched.length + unknown.length > 0 && provider.prices !== undefined) {
    approve({ matchFaces: unmatched.length, checkLiveness: unknown.length });
  }
  const scores = new Map<string, number>();
  const total = pairs.length + checks.length;
  done = 0;
  onProgress("pairs", 0, total);
  const step = () => {
    done += 1;
    onProgress("pairs", done, total);
  };
  await each(checks, BILLED_AT_ONCE, async ({ file }) => {
    const image = await run.load(file);
    const score = image === undefined ? undefined : await run.liveness(file, image);
    if (score !== undefined) scores.set(file, score);
    step();
  });
  const match = await compareAll(
    kept,
    (tally) =>
      each(pairs, BILLED_AT_ONCE, async ({ kind, pair, key, files: [one = "", other = ""] }) => {
        const known = cache.score(key);
        const score =
          known === undefined
            ? await run.trying([one, other], async () => {
                if (!can(provider, "matchFaces")) throw new CheckError("unsupported", "This provider has no match.");
                const images = [
                  await setting.loadImage(one, provider.images),
                  await setting.loadImage(other, provider.images),
                ] as const;
                return (await provider.matchFaces(...images, run.options)).score;
              })
            : known;
        if (known === undefined && score !== undefined) cache.keepScore(key, score);
        if (score === null) run.leaveOut("No face was found in one of them.", one, other);
        else if (score !== undefined) tally(kind, pair, score);
        step();
      }),
    run,
    setting.thresholds,
  );
  return [match, livenessOf(found, scores, run, setting.thresholds.liveness)] as const;
}

const keyOf = (pair: Pair, photos: readonly Photo[]) => pair.map((place) => photos[place]?.hash ?? "").join(" ");

const livenessWork = ({ live, attacks }: ImageFolder) =>
  [...live, ...attacks.flatMap(({ files }) => files)].map((file) => ({ file, person: undefined }));

/** At most `sample` live images and attacks. */
function sampleOf<T>(work: readonly T[], { live }: ImageFolder, sample: number): T[] {
  const some = (all: readonly T[]) => drawPlaces(all.length, sample).flatMap((place) => all.slice(place, place + 1));
  return [...some(work.slice(0, live.length)), ...some(work.slice(live.length))];
}

/** A file that is there twice would be compared with itself, or says that two persons are one. */
function withoutDoubles(photos: readonly (Photo | undefined)[], run: Run) {
  const seen = new Map<string, Photo>();
  const kept: { readonly photo: Photo; readonly place: number }[] = [];
  for (const [place, photo] of photos.entries()) {
    if (photo === undefined) continue;
    const first = seen.get(photo.hash);
    if (first === undefined) {
      seen.set(photo.hash, photo);
      kept.push({ photo, place });
    } else if (first.person === photo.person) run.leaveOut("The same file is there twice.", photo.file);
    else run.leaveOut("The same file is there under another person: one of them is wrong.", photo.file);
  }
  return kept;
}

/** For each photograph, where the next person begins. */
function endsOf(persons: readonly number[]): number[] {
  const ends: number[] = [];
  for (let place = persons.length - 1; place >= 0; place -= 1) {
    ends[place] = persons[place] === persons[place + 1] ? (ends[place + 1] ?? 0) : place + 1;
  }
  return ends;
}
