import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { describe, expect, test } from "vitest";
import { readConfig } from "../src/config.ts";

const faultsOf = (environment: Record<string, string>) => {
  try {
    readConfig(environment);
    return "";
  } catch (error) {
    expect(error).toMatchObject({ name: "CheckError", code: "setup" });
    return (error as Error).message;
  }
};

test("an empty environment is a valid one", () => {
  expect(readConfig({})).toMatchObject({
    provider: "auto",
    didit: { apiKey: undefined, baseUrl: "https://verification.didit.me", saveRequests: undefined },
    timeoutMs: 60_000,
    proxy: undefined,
  });
});

test("every setting is read", () => {
  const environment = {
    BIOMETRICS_PROVIDER: "didit",
    DIDIT_API_KEY: "key-of-the-test",
    DIDIT_API_BASE_URL: "http://127.0.0.1:8080/",
    DIDIT_AUTH_BASE_URL: "http://127.0.0.1:8081/auth/v2",
    DIDIT_SAVE_REQUESTS: "false",
    BIOMETRICS_STRIP_METADATA: "true",
    LINKFACE_API_ID: "id-of-linkface",
    LINKFACE_API_SECRET: "secret-of-linkface",
    LINKFACE_API_BASE_URL: "http://127.0.0.1:8082",
    BIOMETRICS_LIVENESS_THRESHOLD: "80",
    BIOMETRICS_MATCH_THRESHOLD: "70.5",
    BIOMETRICS_IMAGE_DIRS: ["/photos", "~/ids"].join(delimiter),
    BIOMETRICS_DATA_DIR: "/data",
    BIOMETRICS_MODELS: "/models",
    BIOMETRICS_GALLERY: "staff-2",
    BIOMETRICS_GALLERY_URL: "postgres://u:p@localhost/faces",
    BIOMETRICS_TIMEOUT_MS: "5000",
    HTTPS_PROXY: "http://proxy:3128",
    NO_PROXY: "localhost",
  };
  expect(readConfig(environment)).toEqual({
    provider: "didit",
    didit: {
      apiKey: "key-of-the-test",
      baseUrl: "http://127.0.0.1:8080",
      authBaseUrl: "http://127.0.0.1:8081/auth/v2",
      saveRequests: false,
    },
    linkface: { apiId: "id-of-linkface", apiSecret: "secret-of-linkface", baseUrl: "http://127.0.0.1:8082" },
    stripMetadata: true,
    thresholds: { liveness: 80, match: 70.5 },
    saved: [],
    imageFolders: ["/photos", join(homedir(), "ids")],
    dataFolder: "/data",
    models: "/models",
    gallery: "staff-2",
    galleryUrl: "postgres://u:p@localhost/faces",
    timeoutMs: 5000,
    proxy: { url: "http://proxy:3128", noProxy: "localhost" },
  });
});

test("what a desktop host leaves unset is unset", () => {
  const config = readConfig({
    DIDIT_API_KEY: "",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: what a desktop host passes for a field left empty
    BIOMETRICS_PROVIDER: "${user_config.provider}",
    BIOMETRICS_TIMEOUT_MS: " ",
  });
  expect(config).toMatchObject({ provider: "auto", didit: { apiKey: undefined }, timeoutMs: 60_000 });
});

test("every fault is told at once, and no value", () => {
  const message = faultsOf({
    BIOMETRICS_PROVIDER: "dodit",
    DIDIT_API_KEY: "my key with spaces",
    DIDIT_API_BASE_URL: "http://example.com",
    DIDIT_SAVE_REQUESTS: "maybe",
    BIOMETRICS_STRIP_METADATA: "yes",
    BIOMETRICS_LIVENESS_THRESHOLD: "high",
    BIOMETRICS_MATCH_THRESHOLD: "0.8",
    BIOMETRICS_IMAGE_DIRS: "photos",
    BIOMETRICS_DATA_DIR: "data",
    BIOMETRICS_MODELS: "models",
    BIOMETRICS_GALLERY_URL: "mysql://secret",
    BIOMETRICS_TIMEOUT_MS: "soon",
    HTTPS_PROXY: "socks5://secret",
  });
  for (const name of [
    "BIOMETRICS_PROVIDER must be",
    "DIDIT_API_KEY does not look like",
    "DIDIT_API_BASE_URL must be an https",
    "DIDIT_SAVE_REQUESTS must be",
    "BIOMETRICS_STRIP_METADATA must be true or false",
    "BIOMETRICS_LIVENESS_THRESHOLD must be a number from 0 to 100",
    "BIOMETRICS_MATCH_THRESHOLD must be a number from 0 to 100 (80, not 0.8)",
    "BIOMETRICS_IMAGE_DIRS",
    "BIOMETRICS_DATA_DIR must be an absolute path",
    "BIOMETRICS_MODELS must be an absolute path",
    "BIOMETRICS_GALLERY_URL must start",
    "BIOMETRICS_TIMEOUT_MS must be",
    "HTTPS_PROXY must be",
  ]) {
    expect(message).toContain(name);
  }
  expect(message).not.toMatch(/high|dodit|my key|secret|example\.com/);
});

describe("a base URL", () => {
  test.each([
    ["https://verification.didit.me", "https://apx.didit.me", "https://verification.didit.me"],
    ["https://verification.didit.me/v3", "https://apx.didit.me/auth/v2", "https://verification.didit.me"],
    ["https://verification.didit.me/v3/", "https://apx.didit.me/auth/v2//", "https://verification.didit.me"],
    ["http://localhost:1/didit/v3", "https://apx.didit.me/", "http://localhost:1/didit"],
  ])("of Didit is %s, %s, as its own server takes them", (api, auth, baseUrl) => {
    const { didit } = readConfig({ DIDIT_API_BASE_URL: api, DIDIT_AUTH_BASE_URL: auth });
    expect(didit).toMatchObject({ baseUrl, authBaseUrl: "https://apx.didit.me/auth/v2" });
  });

  test.each(["https://example.com", "http://127.0.0.1:1", "http://localhost:1/", "http://[::1]:9"])(
    "%s is taken",
    (url) => {
      expect(faultsOf({ DIDIT_API_BASE_URL: url })).toBe("");
    },
  );

  test.each([
    "http://example.com",
    "http://127.0.0.1.example.com",
    "ftp://localhost",
    "localhost",
    "https://user@example.com",
  ])("%s is refused", (url) => {
    expect(faultsOf({ DIDIT_API_BASE_URL: url })).toContain("DIDIT_API_BASE_URL");
  });
});

describe("a threshold", () => {
  test.each([
    ["0", 0],
    ["1", 1],
    ["100", 100],
    ["100.0", 100],
    ["69.9", 69.9],
    ["", undefined],
  ])("of %j is read", (text, match) => {
    expect(readConfig({ BIOMETRICS_MATCH_THRESHOLD: text }).thresholds).toEqual({ liveness: undefined, match });
  });

  // A share where a percentage is meant would approve nearly everybody.
  test.each(["0.7", ".7", "0.0", "-1", "100.1", "101", "1e1", "0x10", "70%", "70,5", "NaN", "Infinity", "007"])(
    "of %j is refused",
    (text) => {
      expect(faultsOf({ BIOMETRICS_LIVENESS_THRESHOLD: text })).toContain("BIOMETRICS_LIVENESS_THRESHOLD must be");
    },
  );
});
