import { access, constants } from "node:fs/promises";
import packageJson from "../package.json" with { type: "json" };
import type { Config, Language } from "./config.ts";
import { type Folders, readLocalFile } from "./file.ts";
import { openProviders } from "./providers/index.ts";
import { endOf, hideAll } from "./secret.ts";
import { openAuditLog } from "./storage/audit-log.ts";
import { settingsFileOf } from "./storage/settings.ts";
import type { Deps } from "./toolkit/context.ts";
import { atMost } from "./turns.ts";

export const VERSION = packageJson.version;

/** Each may take several hundred megabytes. */
const CONVERSIONS_AT_ONCE = 2;

export interface App extends Deps {
  /** Of clients; a terminal can have its own. */
  readonly language: Language;
  close(): Promise<void>;
}

/** Composes a running program. `folders` replaces the configured image folders. */
export function openApp(config: Config, folders: Folders = config.imageFolders): App {
  const providers = openProviders(config);
  const allowed = { folders, dataFolder: config.dataFolder, auditLog: config.auditLog };
  const auditLog = config.auditLog === undefined ? undefined : openAuditLog(config.auditLog);
  const inTurn = atMost(CONVERSIONS_AT_ONCE);
  return {
    version: VERSION,
    provider: () => providers.current(),
    async choice() {
      const { name, reason, apiKey } = await providers.choose();
      return { name, reason, apiKey: apiKey === undefined ? null : endOf(apiKey) };
    },
    language: config.language ?? "en",
    thresholds: config.thresholds,
    settings: { file: settingsFileOf(config.dataFolder), saved: config.saved },
    async loadImage(path, limits) {
      // At the first call, since a host that only lists the tools does not wait for it; before a file is open, since a
      // failed import is remembered for ever where descriptors have run out.
      const { loadImage } = await import("./images/image.ts");
      return loadImage(path, allowed, { ...limits, inTurn });
    },
    loadFile: (path, limits) => readLocalFile(path, allowed, limits),
    linkface: () => providers.linkface(),
    account: () => providers.account(),
    folders: () =>
      Promise.all(
        config.imageFolders.map(async (path) => {
          const readable = await access(path, constants.R_OK).then(
            () => true,
            () => false,
          );
          return { path, readable };
        }),
      ),
    audit: auditLog && {
      test: () => auditLog.test(),
      async append(entry) {
        const { apiKey } = await providers.choose();
        const { apiId, apiSecret } = config.linkface;
        const hide = hideAll([apiKey, apiId, apiSecret].filter((secret) => secret !== undefined));
        // What a caller or a provider names could be a key by mistake.
        await auditLog.append(withTexts(entry, hide));
      },
    },
    close: () => providers.close(),
  };
}

function withTexts(entry: object, change: (text: string) => string) {
  const changed = JSON.stringify(entry, (_name, value) => (typeof value === "string" ? change(value) : value));
  return JSON.parse(changed) as Record<string, unknown>;
}

/** The app for an invalid configuration: every tool answers with what to correct. */
export function brokenApp(fault: unknown, language: Language = "en"): App {
  const fail = () => Promise.reject(fault);
  return {
    version: VERSION,
    language,
    provider: fail,
    choice: fail,
    thresholds: { liveness: undefined, match: undefined },
    settings: { file: "", saved: [] },
    loadImage: fail,
    loadFile: fail,
    linkface: fail,
    account: fail,
    folders: fail,
    audit: undefined,
    close: async () => {},
  };
}
