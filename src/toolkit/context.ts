import type { FileLimits } from "../file.ts";
import type { Image, ImageLimits } from "../images/image.ts";
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

/** What tools need of the running program. */
export interface Deps {
  readonly version: string;
  /** The current provider, looked up at every call: a key may arrive while the program runs. */
  provider(): Promise<Provider>;
  /** The current provider's name, and why it was chosen. */
  choice(): Promise<Choice>;
  /** Set by the operator, 0..100; undefined: the provider's default. */
  readonly thresholds: { readonly liveness: number | undefined; readonly match: number | undefined };
  /** Where settings are saved, and the names of those that are in force from there. */
  readonly settings: { readonly file: string; readonly saved: readonly string[] };
  loadImage(path: string, limits: ImageLimits): Promise<Image>;
  /** The same for files other than images. */
  loadFile(path: string, limits: FileLimits): Promise<Uint8Array<ArrayBuffer>>;
  /** @throws CheckError `unauthorized` where there are no credentials for it. */
  linkface(): Promise<LivenessSelfie>;
  /** Didit's account API; there need not be an account yet. */
  account(): Promise<Account>;
  /** The folders that may be read, and whether each can be. */
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
  /** Receives the current stage, for a progress bar. */
  readonly onStage: (message: string) => void;
  /** Receives the picture of a decision, a JPEG, where the call asked for one; undefined: it could not be drawn. */
  readonly onPicture?: (jpeg: Uint8Array | undefined) => void;
  /** Logs a failure that does not fail the call. */
  readonly onFailure?: (what: string, detail: unknown) => void;
}
