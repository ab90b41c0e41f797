import { join } from "node:path";
import type { Config } from "../config.ts";
import { CheckError } from "../errors.ts";
import type { LivenessSelfie } from "../liveness-selfie.ts";
import type { Provider, ProviderName } from "../provider.ts";

export interface Chosen {
  readonly name: ProviderName;
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
  close(): Promise<void>;
}

export function openProviders(config: Config): Providers {
  const providers = openings<Provider>();
  const linkfaces = openings<LivenessSelfie>();
  const choose = async (): Promise<Chosen> => {
    const { apiKey } = config.didit;
    if (config.provider === "on-device") return { name: "on-device", reason: "BIOMETRICS_PROVIDER says so", apiKey };
    if (config.provider === "didit") return { name: "didit", reason: "BIOMETRICS_PROVIDER says so", apiKey };
    return apiKey === undefined
      ? { name: "on-device", reason: "there is no DIDIT_API_KEY", apiKey }
      : { name: "didit", reason: "there is a DIDIT_API_KEY", apiKey };
  };
  return {
    choose,
    async current() {
      const { name, apiKey } = await choose();
      return name === "didit"
        ? providers.get(`didit ${apiKey}`, () => openDidit(config, apiKey))
        : providers.get(name, () => openOnDevice(config));
    },
    linkface: () => linkfaces.get("linkface", () => openLinkface(config)),
    close: async () => void (await Promise.all([providers.close(), linkfaces.close()])),
  };
}

/** Opens each thing once. What failed to open is forgotten, so that it can be tried again. */
function openings<T extends { close(): Promise<void> }>() {
  const opened = new Map<string, Promise<T>>();
  return {
    get(id: string, open: () => Promise<T>): Promise<T> {
      const known = opened.get(id);
      if (known !== undefined) return known;
      const opening = open();
      opened.set(id, opening);
      opening.catch(() => opened.delete(id));
      return opening;
    },
    async close(): Promise<void> {
      const all = await Promise.allSettled(opened.values());
      await Promise.allSettled(all.map((one) => (one.status === "fulfilled" ? one.value.close() : undefined)));
    },
  };
}

async function openDidit({ didit: { baseUrl, saveRequests }, timeoutMs, proxy }: Config, apiKey: string | undefined) {
  if (apiKey === undefined) {
    throw new CheckError("unauthorized", "Didit is chosen as the provider, but there is no API key.", {
      next: "Ask the user to set DIDIT_API_KEY, or to leave BIOMETRICS_PROVIDER at auto.",
    });
  }
  const { didit } = await import("./didit/provider.ts");
  return didit({ apiKey, baseUrl, timeoutMs, saveRequests, proxy });
}

async function openLinkface({ linkface: { apiId, apiSecret, baseUrl }, timeoutMs, proxy }: Config) {
  if (apiId === undefined || apiSecret === undefined) {
    throw new CheckError("unauthorized", "There are no credentials for Linkface.", {
      next: "Ask the user to set LINKFACE_API_ID and LINKFACE_API_SECRET. Without them, check_liveness and match_faces work on photos.",
    });
  }
  const { linkface } = await import("./linkface/provider.ts");
  return linkface({ apiId, apiSecret, baseUrl, timeoutMs, proxy });
}

async function openOnDevice({ dataFolder, galleryUrl }: Config) {
  const [{ onDevice }, { openGallery }] = await Promise.all([
    import("./on-device/provider.ts"),
    import("./on-device/gallery/open.ts"),
  ]);
  const location = galleryUrl === undefined ? { file: join(dataFolder, "gallery.sqlite") } : { url: galleryUrl };
  return onDevice({ openGallery: (model) => openGallery({ location, model }) });
}
