import type { FileLimits, Image, ImageLimits } from "../image.ts";
import type { Account } from "../providers/account.ts";
import type { LivenessSelfie } from "../providers/liveness-selfie.ts";
import type { Provider, ProviderName } from "../providers/provider.ts";

/** Where decisions are kept for those who must be able to show them. */
export interface Audit {
  /** Could an entry be appended now? @throws CheckError `setup` or `unavailable` where not */
  test(): Promise<void>;
  /** The entry is on the disk when this settles. @throws CheckError as `test` */
  append(entry: Readonly<Record<string, unknown>>): Promise<void>;
}

/** What a running program holds, as far as tools need it. */
export interface Deps {
  readonly version: string;
  /** The provider of the present setup: asked for at every call, since a key may arrive while the program runs. */
  provider(): Promise<Provider>;
  /** Why it is that one, in words. */
  choice(): Promise<Choice>;
  /** The operator's own, 0..100; undefined: the provider's default. */
  readonly thresholds: { readonly liveness: number | undefined; readonly match: number | undefined };
  loadImage(path: string, limits: ImageLimits): Promise<Image>;
  /** The same for a file that is no image. */
  loadFile(path: string, limits: FileLimits): Promise<Uint8Array<ArrayBuffer>>;
  /** @throws CheckError `unauthorized` where there are no credentials for it. */
  linkface(): Promise<LivenessSelfie>;
  /** The account at Didit, also where there is none yet. */
  account(): Promise<Account>;
  /** The folders that may be read, and whether each is there. */
  folders(): Promise<readonly { readonly path: string; readonly readable: boolean }[]>;
  /** undefined: none is kept. */
  readonly audit: Audit | undefined;
}

export interface Choice {
  readonly name: ProviderName;
  readonly reason: string;
  /** "ends in 3456", or null where there is no key. */
  readonly apiKey: string | null;
}

export interface ToolContext extends Deps {
  readonly signal: AbortSignal;
  /** Told what is being done now, for a progress bar. */
  readonly onStage: (message: string) => void;
  /** Told, for the log, of a failure that the answer survives. */
  readonly onFailure?: (what: string, detail: unknown) => void;
}
