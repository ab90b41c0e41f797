import { join } from "node:path";
import type { Config } from "../config.ts";
import type { Provider, ProviderName } from "../provider.ts";
import { CheckError } from "../errors.ts";

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
  close(): Promise<void>;
}

export function openProviders(config: Config): Providers {
  const opened = new Map<string, Promise<Provider>>();
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
      const id = name === "didit" ? `didit ${apiKey}` : name;
      const known = opened.get(id);
      if (known !== undefined) return known;
      const opening = name === "didit" ? openDidit(config, apiKey) : openOnDevice(config);
      opened.set(id, opening);
      opening.catch(() => opened.delete(id)); // a failure can be retried
      return opening;
    },
    async close() {
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

async function openOnDevice({ dataFolder, galleryUrl }: Config) {
  const [{ onDevice }, { openGallery }] = await Promise.all([
    import("./on-device/provider.ts"),
    import("./on-device/gallery/open.ts"),
  ]);
  const location = galleryUrl === undefined ? { file: join(dataFolder, "gallery.sqlite") } : { url: galleryUrl };
  return onDevice({ openGallery: (model) => openGallery({ location, model }) });
}
