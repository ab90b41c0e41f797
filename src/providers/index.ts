import type { Config } from "../config.ts";
import { CheckError } from "../errors.ts";
import { onceEach } from "../once.ts";
import { type Credentials, openCredentials } from "../storage/credentials.ts";
import type { Account } from "./account.ts";
import type { LivenessSelfie } from "./liveness-selfie.ts";
import type { Provider } from "./provider.ts";

export interface Chosen {
  readonly name: Exclude<Config["provider"], "auto">;
  readonly reason: string;
  readonly apiKey: string | undefined;
}

/** The providers of a running program, each opened when it is first chosen. */
export interface Providers {
  choose(): Promise<Chosen>;
  /** @throws CheckError `unauthorized` where the chosen provider has no key. */
  current(): Promise<Provider>;
  /** @throws CheckError `unauthorized` without credentials. */
  linkface(): Promise<LivenessSelfie>;
  account(): Promise<Account>;
  close(): Promise<void>;
}

export function openProviders(config: Config): Providers {
  const providers = onceEach<Provider>();
  const linkfaces = onceEach<LivenessSelfie>();
  const accounts = onceEach<Account>();
  const credentials = openCredentials(config.dataFolder);
  const keyOf = async () => config.didit.apiKey ?? (await credentials.read()).didit?.api_key;

  async function choose(): Promise<Chosen> {
    if (config.provider === "on-device") {
      return { name: "on-device", reason: "set by BIOMETRICS_PROVIDER", apiKey: config.didit.apiKey };
    }
    const apiKey = await keyOf();
    if (config.provider === "didit") return { name: "didit", reason: "set by BIOMETRICS_PROVIDER", apiKey };
    if (apiKey === undefined) return { name: "on-device", reason: "there is no Didit API key", apiKey };
    const isStored = config.didit.apiKey === undefined;
    return { name: "didit", reason: isStored ? "verify_email saved an API key" : "DIDIT_API_KEY is set", apiKey };
  }
  return {
    choose,
    async current() {
      const { name, apiKey } = await choose();
      return providers.get(`${name} ${apiKey}`, () => OPEN[name](config, apiKey));
    },
    linkface: () => linkfaces.get("linkface", () => openLinkface(config)),
    account: () => accounts.get("didit", () => openAccount(config, credentials, keyOf)),
    close: async () => void (await Promise.all([providers.close(), linkfaces.close(), accounts.close()])),
  };
}

const OPEN = { didit: openDidit, "on-device": openOnDevice } satisfies Record<
  Chosen["name"],
  (config: Config, apiKey: string | undefined) => Promise<Provider>
>;

async function openDidit(
  { didit: { baseUrl, saveRequests }, stripMetadata, timeoutMs, proxy }: Config,
  apiKey: string | undefined,
) {
  if (apiKey === undefined) {
    throw new CheckError("unauthorized", "The provider is Didit, but there is no API key.", {
      next: "Open an account with register_account; or set DIDIT_API_KEY or BIOMETRICS_PROVIDER=auto, then restart the server.",
    });
  }
  const { didit } = await import("./didit/provider.ts");
  return didit({ apiKey, baseUrl, timeoutMs, saveRequests, stripMetadata, proxy });
}

async function openAccount(
  { didit: { authBaseUrl, baseUrl }, timeoutMs, proxy }: Config,
  credentials: Credentials,
  apiKey: () => Promise<string | undefined>,
) {
  const { diditAccount } = await import("./didit/account.ts");
  return diditAccount({ authBaseUrl, apiBaseUrl: baseUrl, apiKey, credentials, timeoutMs, proxy });
}

async function openLinkface({ linkface: { apiId, apiSecret, baseUrl }, stripMetadata, timeoutMs, proxy }: Config) {
  if (apiId === undefined || apiSecret === undefined) {
    throw new CheckError("unauthorized", "There are no Linkface credentials.", {
      next: "Set LINKFACE_API_ID and LINKFACE_API_SECRET, then restart the server. Without them, check_liveness and match_faces work on photos.",
    });
  }
  const { linkface } = await import("./linkface/provider.ts");
  return linkface({ apiId, apiSecret, baseUrl, timeoutMs, stripMetadata, proxy });
}

async function openOnDevice(config: Config) {
  const [{ onDevice }, { locateGalleries, openGalleries }, { choosePack }] = await Promise.all([
    import("./on-device/provider.ts"),
    import("./on-device/gallery/open.ts"),
    import("./on-device/choice.ts"),
  ]);
  const location = locateGalleries(config);
  return onDevice({
    pack: await choosePack(config),
    gallery: config.gallery,
    openGalleries: (model) => openGalleries({ location, model }),
  });
}
