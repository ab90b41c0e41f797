import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, isAbsolute, join, parse, resolve } from "node:path";
import envPaths from "env-paths";
import * as z from "zod";
import { CheckError } from "./errors.ts";

/** Who makes the checks on photos; `auto` chooses one of the others. */
export const PROVIDER_CHOICES = ["auto", "didit", "on-device"] as const;

export const LANGUAGES = ["en", "zh-CN"] as const;
export type Language = (typeof LANGUAGES)[number];

/** It becomes part of a file's name and of a table's. */
export const GALLERY_NAME = /^[a-z0-9][a-z0-9-]{0,39}$/;
export const GALLERY_NAME_RULE = "1 to 40 small letters, digits or hyphens, not starting with a hyphen";
export const DEFAULT_GALLERY = "default";

/** Everything that an operator can set, in the order of `--help`. */
export const SETTINGS = {
  BIOMETRICS_PROVIDER: "auto (Didit if there is a key, otherwise on the device), didit or on-device",
  DIDIT_API_KEY: "API key of your Didit application",
  DIDIT_API_BASE_URL: "Didit's verification API (https://verification.didit.me)",
  DIDIT_AUTH_BASE_URL: "Didit's account API (https://apx.didit.me/auth/v2)",
  DIDIT_SAVE_REQUESTS: "true or false: whether Didit may keep images and results (Didit's default: true)",
  BIOMETRICS_STRIP_METADATA: "true or false: whether photos are uploaded without what a camera wrote into them (false)",
  LINKFACE_API_ID: "API id of your Linkface application",
  LINKFACE_API_SECRET: "API secret of your Linkface application",
  LINKFACE_API_BASE_URL: "Linkface's API (https://cloudapi.linkface.cn)",
  BIOMETRICS_LIVENESS_THRESHOLD:
    "your own liveness threshold, 0 to 100: nothing at or below it is approved (the provider's)",
  BIOMETRICS_MATCH_THRESHOLD: "your own match threshold, 0 to 100: nothing at or below it is approved (the provider's)",
  BIOMETRICS_IMAGE_DIRS: `folders that may be read, separated by "${delimiter}" (Pictures, Downloads, Desktop, Documents and the working directory)`,
  BIOMETRICS_DATA_DIR: "folder for the gallery and credentials (the platform's data folder)",
  BIOMETRICS_AUDIT_LOG: "file to which every decision is appended before it is given (none)",
  BIOMETRICS_MODELS: "a folder with a model pack for checks on the device (the pack that `models use` chose)",
  BIOMETRICS_GALLERY: "the gallery of calls that name none (default)",
  BIOMETRICS_GALLERY_URL: "postgres://... for galleries in Postgres with pgvector (SQLite files in the data folder)",
  BIOMETRICS_TIMEOUT_MS: "time limit for a call to a provider, in milliseconds (60000)",
  BIOMETRICS_LANG: "language of summaries, advice and help: en or zh-CN (en; in a terminal, the locale's)",
  BIOMETRICS_HTTP_TOKEN: "bearer token for clients of serve --http, 32 characters or more (a new one at each start)",
  HTTPS_PROXY: "proxy for calls to providers",
  NO_PROXY: "hosts to call without the proxy",
} as const;
export type Setting = keyof typeof SETTINGS;

/** Settings that are or contain secrets: read from the environment only, since every process can see arguments. */
export const SECRET_SETTINGS: readonly Setting[] = [
  "DIDIT_API_KEY",
  "LINKFACE_API_ID",
  "LINKFACE_API_SECRET",
  "BIOMETRICS_GALLERY_URL",
  "BIOMETRICS_HTTP_TOKEN",
  "HTTPS_PROXY",
];

export interface Proxy {
  readonly url: string;
  readonly noProxy: string;
}

export interface Config {
  readonly provider: (typeof PROVIDER_CHOICES)[number];
  readonly didit: {
    readonly apiKey: string | undefined;
    readonly baseUrl: string;
    readonly authBaseUrl: string;
    readonly saveRequests: boolean | undefined;
  };
  readonly linkface: {
    readonly apiId: string | undefined;
    readonly apiSecret: string | undefined;
    readonly baseUrl: string;
  };
  /** Whether uploads go without metadata. */
  readonly stripMetadata: boolean;
  /** Set by the operator, 0..100; undefined: the provider's default. */
  readonly thresholds: { readonly liveness: number | undefined; readonly match: number | undefined };
  /** The settings that come from the settings file, and not from the environment. */
  readonly saved: readonly Setting[];
  /** Absolute, not resolved: a folder may be made, or become a link, while the program runs. */
  readonly imageFolders: readonly string[];
  readonly dataFolder: string;
  /** Absolute; undefined: none is kept. */
  readonly auditLog: string | undefined;
  /** The folder of a model pack, absolute; undefined: the one that was chosen, or the shipped one. */
  readonly models: string | undefined;
  /** The gallery of calls that name none. */
  readonly gallery: string;
  readonly galleryUrl: string | undefined;
  readonly timeoutMs: number;
  /** undefined: English, or on a terminal that of its locale. */
  readonly language: Language | undefined;
  readonly httpToken: string | undefined;
  readonly proxy: Proxy | undefined;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The environment, with what is saved where it says nothing, as a Config.
 *
 * @throws CheckError `setup`, which reports all errors together and shows no value: one of them may be a secret.
 */
export function readConfig(environment: Environment, saved: Environment = {}): Config {
  const names = Object.keys(SETTINGS) as Setting[];
  const given = names.map((name) => [name, settingOf(environment, name)] as const);
  const parsed = settingsSchema.safeParse({
    ...saved,
    ...Object.fromEntries(given.filter(([, it]) => it !== undefined)),
  });
  if (!parsed.success) {
    const isSaved = new Set(given.filter(([, it]) => it === undefined).map(([name]): PropertyKey => name));
    const faults = parsed.error.issues.map(({ path, message }) => {
      const [name = ""] = path;
      return `${String(name)} ${isSaved.has(name) ? "in the settings file " : ""}${message}`;
    });
    throw new CheckError("setup", `The configuration is invalid: ${faults.join("; ")}.`);
  }
  const settings = parsed.data;
  return Object.freeze({
    provider: settings.BIOMETRICS_PROVIDER,
    didit: Object.freeze({
      apiKey: settings.DIDIT_API_KEY,
      baseUrl: settings.DIDIT_API_BASE_URL,
      authBaseUrl: settings.DIDIT_AUTH_BASE_URL,
      saveRequests: settings.DIDIT_SAVE_REQUESTS,
    }),
    linkface: Object.freeze({
      apiId: settings.LINKFACE_API_ID,
      apiSecret: settings.LINKFACE_API_SECRET,
      baseUrl: settings.LINKFACE_API_BASE_URL,
    }),
    stripMetadata: settings.BIOMETRICS_STRIP_METADATA,
    thresholds: Object.freeze({
      liveness: settings.BIOMETRICS_LIVENESS_THRESHOLD,
      match: settings.BIOMETRICS_MATCH_THRESHOLD,
    }),
    saved: Object.freeze(given.flatMap(([name, it]) => (it === undefined && saved[name] !== undefined ? [name] : []))),
    imageFolders: Object.freeze([...new Set(settings.BIOMETRICS_IMAGE_DIRS ?? defaultFolders())]),
    dataFolder: settings.BIOMETRICS_DATA_DIR ?? envPaths("biometrics-mcp", { suffix: "" }).data,
    auditLog: settings.BIOMETRICS_AUDIT_LOG,
    models: settings.BIOMETRICS_MODELS,
    gallery: settings.BIOMETRICS_GALLERY,
    galleryUrl: settings.BIOMETRICS_GALLERY_URL,
    timeoutMs: settings.BIOMETRICS_TIMEOUT_MS,
    language: settings.BIOMETRICS_LANG,
    httpToken: settings.BIOMETRICS_HTTP_TOKEN,
    proxy:
      settings.HTTPS_PROXY === undefined ? undefined : { url: settings.HTTPS_PROXY, noProxy: settings.NO_PROXY ?? "" },
  });
}

/** What the environment says, even where the rest of it is wrong. */
export function languageOf(environment: Environment): Language | undefined {
  const named = settingOf(environment, "BIOMETRICS_LANG");
  return LANGUAGES.find((language) => language === named);
}

/** Simplified: there is no table for Traditional Chinese. Another encoding than UTF-8 would show nothing legible. */
const CHINESE = /^zh(?![_-](?:hant|tw|hk|mo)\b)[^.]*(?:\.utf-?8)?(?:@.*)?$/i;

/** The same for a terminal, which otherwise has the language of its locale. */
export function terminalLanguage(environment: Environment): Language {
  const { LC_ALL, LC_MESSAGES, LANG } = environment;
  const named = LC_ALL || LC_MESSAGES || LANG;
  // Windows sets none of them.
  const locale = named || (process.platform === "win32" ? Intl.DateTimeFormat().resolvedOptions().locale : "");
  return languageOf(environment) ?? (CHINESE.test(locale) ? "zh-CN" : "en");
}

/** A desktop host passes "" or the unexpanded `${user_config.…}` for what its user left empty. */
function settingOf(environment: Environment, name: Setting): string | undefined {
  const lowercase = name.endsWith("_PROXY") ? environment[name.toLowerCase()] : undefined;
  const value = (environment[name] ?? lowercase)?.trim();
  return value === "" || value?.startsWith("${user_config.") ? undefined : value;
}

/** A desktop host can pass the defaults of its form as they stand in the manifest. */
const HOME = /^(~|\$\{HOME\})(?=\/)/;

const folder = z.string().transform((path, context) => {
  const expanded = path.replace(HOME, () => homedir());
  if (isAbsolute(expanded)) return resolve(expanded);
  context.addIssue("must be an absolute path, or start with ~/");
  return z.NEVER;
});

const baseUrl = z.string().transform((text, context) => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && url.username === "" && (url.protocol === "https:" || isLoopback(url))) {
    return text.replace(/\/+$/, "");
  }
  context.addIssue("must be an https URL without a user name (http is allowed for this machine only)");
  return z.NEVER;
});

/** Didit's own server takes these URLs with the version at the end. */
const withoutVersion = (url: string) => url.replace(/\/v3$/, "");
const withVersion = (url: string) => `${url.replace(/\/auth\/v2$/, "")}/auth/v2`;

/** http to this machine itself. */
export function isLoopback({ protocol, hostname }: URL): boolean {
  return protocol === "http:" && (/^127\.\d+\.\d+\.\d+$/.test(hostname) || ["localhost", "[::1]"].includes(hostname));
}

// What a header can carry: anything else was pasted wrongly.
const credential = z
  .string()
  .regex(/^[\x21-\x7e]{8,512}$/, { error: "does not look like a key: 8 to 512 characters without spaces" })
  .optional();

// Between 0 and 1 a fraction was meant; as a percentage it would approve nearly everything.
const threshold = z
  .string()
  .regex(/^(0|[1-9]\d?(\.\d{1,6})?|100(\.0{1,6})?)$/, {
    error: "must be a number from 0 to 100 (80, not 0.8)",
  })
  .transform(Number)
  .optional();

const trueOrFalse = z.stringbool({ truthy: ["true"], falsy: ["false"], error: "must be true or false" });

const settingsSchema = z.object({
  BIOMETRICS_PROVIDER: z
    .enum(PROVIDER_CHOICES, { error: `must be one of ${PROVIDER_CHOICES.join(", ")}` })
    .default("auto"),
  DIDIT_API_KEY: credential,
  DIDIT_API_BASE_URL: baseUrl.transform(withoutVersion).default("https://verification.didit.me"),
  DIDIT_AUTH_BASE_URL: baseUrl.transform(withVersion).default("https://apx.didit.me/auth/v2"),
  LINKFACE_API_ID: credential,
  LINKFACE_API_SECRET: credential,
  LINKFACE_API_BASE_URL: baseUrl.default("https://cloudapi.linkface.cn"),
  DIDIT_SAVE_REQUESTS: trueOrFalse.optional(),
  BIOMETRICS_STRIP_METADATA: trueOrFalse.default(false),
  BIOMETRICS_LIVENESS_THRESHOLD: threshold,
  BIOMETRICS_MATCH_THRESHOLD: threshold,
  BIOMETRICS_IMAGE_DIRS: z
    .string()
    .transform((list) => list.split(delimiter).filter((path) => path.trim() !== ""))
    .pipe(z.array(folder))
    .optional(),
  BIOMETRICS_DATA_DIR: folder.optional(),
  BIOMETRICS_AUDIT_LOG: folder.optional(),
  BIOMETRICS_MODELS: folder.optional(),
  BIOMETRICS_GALLERY: z
    .string()
    .regex(GALLERY_NAME, { error: `must be ${GALLERY_NAME_RULE}` })
    .default(DEFAULT_GALLERY),
  BIOMETRICS_GALLERY_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, { error: "must start with postgres://" })
    .optional(),
  BIOMETRICS_TIMEOUT_MS: z.coerce
    .number({ error: "must be a number of milliseconds" })
    .int({ error: "must be a whole number of milliseconds" })
    .min(1000, { error: "must be at least 1000" })
    .max(600_000, { error: "must be at most 600000" })
    .default(60_000),
  BIOMETRICS_LANG: z.enum(LANGUAGES, { error: `must be one of ${LANGUAGES.join(", ")}` }).optional(),
  BIOMETRICS_HTTP_TOKEN: z
    .string()
    .regex(/^[A-Za-z0-9._~+/-]{32,512}=*$/, {
      error: "must be 32 to 512 letters, digits or . _ ~ + / - (openssl rand -hex 32 generates one)",
    })
    .optional(),
  HTTPS_PROXY: z.url({ protocol: /^https?$/, error: "must be an http or https URL" }).optional(),
  NO_PROXY: z.string().optional(),
});

/** Where people keep photos. The working directory too, unless it holds everything. */
function defaultFolders(): string[] {
  const home = homedir();
  const known = ["Pictures", "Downloads", "Desktop", "Documents"].map((name) => join(home, name)).filter(existsSync);
  const here = process.cwd();
  const isTooWide = here === parse(here).root || here === home || home.startsWith(join(here, "/"));
  return isTooWide ? known : [...known, here];
}
