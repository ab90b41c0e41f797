import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, isAbsolute, join, parse, resolve } from "node:path";
import envPaths from "env-paths";
import * as z from "zod";
import { CheckError } from "./errors.ts";

/** Everything that an operator can set, in the order in which README and `--help` list it. */
export const SETTINGS = {
  BIOMETRICS_PROVIDER: "auto (Didit when there is a key, else on the device), didit or on-device",
  DIDIT_API_KEY: "the API key of Didit's application",
  DIDIT_API_BASE_URL: "where Didit's verification API is (https://verification.didit.me)",
  DIDIT_AUTH_BASE_URL: "where Didit's account API is (https://apx.didit.me/auth/v2)",
  DIDIT_SAVE_REQUESTS: "true or false: may Didit keep images and results (unset: Didit's default, which is true)",
  LINKFACE_API_ID: "the id of Linkface's application",
  LINKFACE_API_SECRET: "its secret",
  LINKFACE_API_BASE_URL: "where Linkface's API is (https://cloudapi.linkface.cn)",
  BIOMETRICS_LIVENESS_THRESHOLD: "your own threshold of liveness, 0 to 100: at or below it nothing is approved (30)",
  BIOMETRICS_MATCH_THRESHOLD: "the same for a match of two faces (30, and what is 70 or below goes to review)",
  BIOMETRICS_IMAGE_DIRS: `folders that may be read, joined by "${delimiter}" (Pictures, Downloads, Desktop, Documents and the working directory)`,
  BIOMETRICS_DATA_DIR: "where the gallery is kept (the data folder of the platform)",
  BIOMETRICS_AUDIT_LOG: "a file to which every decision is appended before it is given (none)",
  BIOMETRICS_GALLERY_URL: "postgres://... for a gallery in Postgres with pgvector (a SQLite file in the data folder)",
  BIOMETRICS_TIMEOUT_MS: "how long a call to a provider may take, in milliseconds (60000)",
  BIOMETRICS_HTTP_TOKEN: "the bearer token that clients of serve --http send, 32 characters or more (one for each run)",
  HTTPS_PROXY: "the proxy for calls to providers",
  NO_PROXY: "hosts that are called without the proxy",
} as const;
export type Setting = keyof typeof SETTINGS;

/** Settings that are secrets, or hold one: from the environment alone, since arguments are visible to every process. */
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
  readonly provider: "auto" | "didit" | "on-device";
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
  /** The operator's own, 0..100; undefined: the provider's default. */
  readonly thresholds: { readonly liveness: number | undefined; readonly match: number | undefined };
  /** Absolute, not resolved: a folder may be made, or become a link, while the program runs. */
  readonly imageFolders: readonly string[];
  readonly dataFolder: string;
  readonly auditLog: string | undefined;
  readonly galleryUrl: string | undefined;
  readonly timeoutMs: number;
  readonly httpToken: string | undefined;
  readonly proxy: Proxy | undefined;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The environment as a Config.
 *
 * @throws CheckError `setup`, which names every fault at once and no value: one of them may be a secret.
 */
export function readConfig(environment: Environment): Config {
  const parsed = settingsSchema.safeParse(
    Object.fromEntries((Object.keys(SETTINGS) as Setting[]).map((name) => [name, settingOf(environment, name)])),
  );
  if (!parsed.success) {
    const faults = parsed.error.issues.map(({ path, message }) => `${path.join(".")} ${message}`);
    throw new CheckError("setup", `The configuration is wrong: ${faults.join("; ")}.`);
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
    thresholds: Object.freeze({
      liveness: settings.BIOMETRICS_LIVENESS_THRESHOLD,
      match: settings.BIOMETRICS_MATCH_THRESHOLD,
    }),
    imageFolders: Object.freeze([...new Set(settings.BIOMETRICS_IMAGE_DIRS ?? defaultFolders())]),
    dataFolder: settings.BIOMETRICS_DATA_DIR ?? envPaths("biometrics-mcp", { suffix: "" }).data,
    auditLog: settings.BIOMETRICS_AUDIT_LOG,
    galleryUrl: settings.BIOMETRICS_GALLERY_URL,
    timeoutMs: settings.BIOMETRICS_TIMEOUT_MS,
    httpToken: settings.BIOMETRICS_HTTP_TOKEN,
    proxy:
      settings.HTTPS_PROXY === undefined ? undefined : { url: settings.HTTPS_PROXY, noProxy: settings.NO_PROXY ?? "" },
  });
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
  context.addIssue("must be an https address without a user name (http only for this machine itself)");
  return z.NEVER;
});

/** Didit's own server has these addresses with the version at their end. */
const withoutVersion = (url: string) => url.replace(/\/v3$/, "");
const withVersion = (url: string) => `${url.replace(/\/auth\/v2$/, "")}/auth/v2`;

function isLoopback({ protocol, hostname }: URL): boolean {
  return protocol === "http:" && (/^127\.\d+\.\d+\.\d+$/.test(hostname) || ["localhost", "[::1]"].includes(hostname));
}

// What a header can carry: anything else is a paste that went wrong.
const credential = z
  .string()
  .regex(/^[\x21-\x7e]{8,512}$/, { error: "does not look like a key: 8 to 512 characters without spaces" })
  .optional();

// Between 0 and 1 it is a share that was meant, which as a percentage would approve nearly everything.
const threshold = z
  .string()
  .regex(/^(0|[1-9]\d?(\.\d{1,6})?|100(\.0{1,6})?)$/, {
    error: "must be a number from 0 to 100 (80, not 0.8)",
  })
  .transform(Number)
  .optional();

const settingsSchema = z.object({
  BIOMETRICS_PROVIDER: z
    .enum(["auto", "didit", "on-device"], { error: "must be auto, didit or on-device" })
    .default("auto"),
  DIDIT_API_KEY: credential,
  DIDIT_API_BASE_URL: baseUrl.transform(withoutVersion).default("https://verification.didit.me"),
  DIDIT_AUTH_BASE_URL: baseUrl.transform(withVersion).default("https://apx.didit.me/auth/v2"),
  LINKFACE_API_ID: credential,
  LINKFACE_API_SECRET: credential,
  LINKFACE_API_BASE_URL: baseUrl.default("https://cloudapi.linkface.cn"),
  DIDIT_SAVE_REQUESTS: z.stringbool({ truthy: ["true"], falsy: ["false"], error: "must be true or false" }).optional(),
  BIOMETRICS_LIVENESS_THRESHOLD: threshold,
  BIOMETRICS_MATCH_THRESHOLD: threshold,
  BIOMETRICS_IMAGE_DIRS: z
    .string()
    .transform((list) => list.split(delimiter).filter((path) => path.trim() !== ""))
    .pipe(z.array(folder))
    .optional(),
  BIOMETRICS_DATA_DIR: folder.optional(),
  BIOMETRICS_AUDIT_LOG: folder.optional(),
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
  BIOMETRICS_HTTP_TOKEN: z
    .string()
    .regex(/^[A-Za-z0-9._~+/-]{32,512}=*$/, {
      error: "must be 32 to 512 letters, digits or . _ ~ + / - (openssl rand -hex 32 makes one)",
    })
    .optional(),
  HTTPS_PROXY: z.url({ protocol: /^https?$/, error: "must be an http or https address" }).optional(),
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
