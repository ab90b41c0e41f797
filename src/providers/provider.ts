import { CheckError } from "../errors.ts";
import type { Image, ImageLimits } from "../images/image.ts";
import type { Outcome, Warning } from "../warnings.ts";

export const PROVIDERS = ["didit", "linkface", "on-device"] as const;
export type ProviderName = (typeof PROVIDERS)[number];

/** A face that a provider found in an image of the call. */
export interface DetectedFace {
  /** A match has two images, every other check the user's alone. */
  readonly image: "user" | "reference";
  /** Pixels of the image, turned upright where the provider turned it; null: the provider does not tell. */
  readonly box: { readonly left: number; readonly top: number; readonly right: number; readonly bottom: number } | null;
  /** 0..100, higher is better; null: not measured. */
  readonly quality: number | null;
  /** Brightness, 0..100; null: not measured. */
  readonly luminance: number | null;
}

/** What a provider found, before the rules of decision.ts are applied. */
export interface Report {
  /** The provider's own verdict. */
  readonly verdict: Outcome;
  /** 0..100, higher is more alive or more alike; null when there was nothing to score: never 0, which is a measurement. */
  readonly score: number | null;
  /** The threshold that was applied, 0..100: at or below it declines. null where the check has none. */
  readonly threshold: number | null;
  /** The provider takes a score that equals the threshold for a pass. */
  readonly passesAtThreshold?: boolean;
  readonly warnings: readonly Warning[];
  /** Of each image the largest first, which is the one that was judged. Left out: the provider does not tell. */
  readonly faces?: readonly DetectedFace[];
  /** What the provider's own scale means here, in our words: ends the summary. */
  readonly note?: string;
  /** The provider's own id of this call, for its support; null when it gave none. */
  readonly reference: string | null;
  /** The provider's JSON, untouched. */
  readonly raw: unknown;
}

/** Similarity 0..100: from `possible` on two faces may be one person's, from `strong` on they probably are (Didit's bands). */
export const SIMILARITY = { possible: 70, strong: 90 } as const;

/** What declines at or below it where nobody names a threshold: Didit's, and the scores of the device are fitted to them. */
export const DEFAULT_THRESHOLDS = { liveness: 30, match: 30 } as const;

export interface Match {
  readonly id: string | null;
  /** 0..100. */
  readonly similarity: number;
  readonly label: string | null;
  readonly vendorData: string | null;
  readonly blocklisted: boolean;
  /** The provider cleared this face by hand: it is neither a duplicate nor blocked. */
  readonly allowlisted: boolean;
  readonly status: string | null;
  /** The session that the face is known from, by the provider's id. */
  readonly sessionId?: string | null;
  /** When it was verified or enrolled, ISO 8601. */
  readonly date?: string | null;
}

export interface SearchReport extends Report {
  /** Nearest first. */
  readonly matches: readonly Match[];
  readonly totalMatches: number;
  /** There was no face to compare with. Left out: there was, or the provider does not tell. */
  readonly isEmpty?: boolean;
}

/** A step that a user waits for; the words of the progress notifications. */
export type Stage = "reading" | "detecting" | "comparing" | "asking the provider";

export interface CallOptions {
  /** Aborts the HTTP request or the inference. */
  readonly signal: AbortSignal;
  readonly onStage: (stage: Stage) => void;
}

export interface CheckOptions extends CallOptions {
  /** 0..100; at or below it declines. Left out: the provider's default. */
  readonly declineThreshold?: number | undefined;
  /** Try the image in all four rotations. */
  readonly rotate?: boolean | undefined;
  /** Whether the provider may keep the images and the result. Left out: the operator's setting, else the provider's default. */
  readonly save?: boolean | undefined;
  /** The caller's own id of the person. */
  readonly vendorData?: string | undefined;
  /** Of a match: where the main faces do not match, compare all. Left out: yes, where the provider can. */
  readonly compareAll?: boolean | undefined;
}

export const SEARCH_TYPES = ["most_similar", "blocklisted_or_approved"] as const;
export type SearchType = (typeof SEARCH_TYPES)[number];

/** A call that concerns one gallery. */
export interface GalleryOptions {
  /** Its name. Left out: the operator's, else the default one. */
  readonly gallery?: string | undefined;
}

export interface EnrolOptions extends CallOptions, GalleryOptions {
  /** Of a provider that has `hasFace`. Left out: a new one. A face that is there under it stays as it is. */
  readonly id?: string | undefined;
}

export interface SearchOptions extends GalleryOptions, Omit<CheckOptions, "declineThreshold" | "compareAll"> {
  /** Search for every face of the image, not only the main one. */
  readonly allFaces?: boolean | undefined;
  readonly searchType?: SearchType | undefined;
}

export interface Enrolment {
  readonly label: string;
  readonly vendorData: string | null;
  readonly blocklisted: boolean;
}

export interface EnrolledFace extends Enrolment {
  readonly id: string;
  /** ISO 8601, UTC. */
  readonly enrolledAt: string;
  /** What the provider had to do to the image first, in our words. */
  readonly note?: string;
}

export interface FacePage {
  /** Newest first. */
  readonly faces: readonly EnrolledFace[];
  readonly total: number;
  /** Where they are, to end a sentence. Left out: "enrolled". */
  readonly place?: string;
  /** Give it back as `cursor` for the next page; null on the last. */
  readonly nextCursor: string | null;
}

export interface Removal {
  /** false: no such face. */
  readonly removed: boolean;
  /** true: the bytes of the embedding are gone from the store's files too. */
  readonly erased: boolean;
  /** Where they are not: what is left and why, as the end of a sentence. */
  readonly remains?: string;
}

/** What a match rests on, of the main face of an image, as a user's and as a reference. Biometric data. */
export interface Template {
  readonly user: Float32Array;
  readonly reference: Float32Array;
}

/** For comparing many images with one another, each of which is read once. */
export interface Templates {
  /** All that templates, and scores of liveness, depend on: they may be kept, and compared, under this name. */
  readonly model: string;
  /** null: no face was found. */
  read(image: Image, options: CallOptions): Promise<Template | null>;
  /** 0..100, two decimals: what `matchFaces` would give where each image shows one face. */
  similarity(user: Template, reference: Template): number;
}

/** The checks that a batch or an evaluation makes many of. */
export type Billed = "matchFaces" | "checkLiveness" | "searchFace";

/**
 * One backend. A capability that it lacks is an absent method, never one that throws.
 *
 * The contract that every implementation keeps:
 *  - it throws only CheckError, and never turns a failure into a verdict;
 *  - it stops when `signal` aborts, with the code `cancelled`;
 *  - it keeps no image after the call, except where `save` or `enrollFace` says so.
 */
export interface Provider {
  readonly name: ProviderName;
  readonly images: ImageLimits;

  checkLiveness?(image: Image, options: CheckOptions): Promise<Report>;
  /** Is the person of `user` the person of `reference`? */
  matchFaces?(user: Image, reference: Image, options: CheckOptions): Promise<Report>;
  searchFace?(image: Image, options: SearchOptions): Promise<SearchReport>;
  enrollFace?(image: Image, enrolment: Enrolment, options: EnrolOptions): Promise<EnrolledFace>;
  hasFace?(id: string, options: CallOptions & GalleryOptions): Promise<boolean>;
  listFaces?(
    page: { readonly limit: number; readonly cursor?: string | undefined },
    options: CallOptions & GalleryOptions,
  ): Promise<FacePage>;
  removeFace?(id: string, options: CallOptions & GalleryOptions): Promise<Removal>;

  /** The faces are kept in galleries that have names. Left out: there is one place, the default. */
  readonly galleries?: true;

  /** Left out: each pair of images is a call of `matchFaces`. */
  readonly templates?: Templates;

  /** US dollars for a call, as published, from the lowest to the highest figure. Left out: nothing is billed. */
  readonly prices?: Readonly<Record<Billed, readonly [low: number, high: number]>>;

  /** Calls a minute that it accepts. Left out: no limit is known. */
  readonly callsPerMinute?: number;

  /** A hint that a later call will come with this image: work on it may begin. Never fails, and decides nothing. */
  preload?(image: Image, options: Pick<CheckOptions, "rotate" | "signal">): void;

  /** What `get_setup` says of this provider beyond its name: model versions, runtime, gallery. No secrets. */
  describe(): Promise<Readonly<Record<string, string | number | boolean | null>>>;

  /**
   * For `doctor`: tries whether checks could be made now, without making or billing one, and says what it found.
   *
   * @throws CheckError with what to do, where they could not.
   */
  test(options: CallOptions): Promise<string>;

  /** Releases sockets, model sessions, workers and files. */
  close(): Promise<void>;
}

export type Capability = Exclude<
  keyof Provider,
  | "name"
  | "images"
  | "galleries"
  | "templates"
  | "prices"
  | "callsPerMinute"
  | "preload"
  | "describe"
  | "test"
  | "close"
>;
export type ProviderWith<C extends Capability> = Provider & Required<Pick<Provider, C>>;

export function can<C extends Capability>(provider: Provider, capability: C): provider is ProviderWith<C> {
  return provider[capability] !== undefined;
}

/** For a cursor that no page had. */
export function unknownCursor(): CheckError {
  return new CheckError("invalid_input", "The cursor is not one that list_faces returned.", {
    next: "Call list_faces without a cursor.",
  });
}
