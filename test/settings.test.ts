import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readSettings, saveSettings } from "../src/storage/settings.ts";
import { closing, ERAS, temporaryFolder } from "./support/clients.ts";

const mode = (path: string) => statSync(path).mode & 0o777;
const newFolder = () => join(temporaryFolder("data-"), "it's data");

function folderWith(text: string): string {
  const folder = newFolder();
  mkdirSync(folder, { mode: 0o700 });
  writeFileSync(join(folder, "settings.json"), text, { mode: 0o600 });
  return folder;
}

test("reading makes nothing; what is saved is the owner's alone and keeps what it does not change", async () => {
  const folder = newFolder();
  expect(readSettings(folder)).toEqual({});
  expect(existsSync(folder)).toBe(false);
  await saveSettings(folder, { BIOMETRICS_MATCH_THRESHOLD: "61.5" });
  await saveSettings(folder, { BIOMETRICS_LIVENESS_THRESHOLD: "40" });
  expect(readSettings(folder)).toEqual({ BIOMETRICS_MATCH_THRESHOLD: "61.5", BIOMETRICS_LIVENESS_THRESHOLD: "40" });
  expect([mode(folder), mode(join(folder, "settings.json")), readdirSync(folder)]).toEqual([
    0o700,
    0o600,
    ["settings.json"],
  ]);
});

test.each([
  ["no JSON", "{"],
  ["no object", "[]"],
  ["a setting that is not known", '{"BIOMETRICS_MATCH_TRESHOLD":"90"}'],
  ["a secret, which does not belong there", '{"DIDIT_API_KEY":"key-of-the-test"}'],
  ["a number where words are", '{"BIOMETRICS_MATCH_THRESHOLD":90}'],
])("a file with %s is refused and left as it is", async (_what, text) => {
  const folder = folderWith(text);
  expect(() => readSettings(folder)).toThrow("The settings file in the data folder is damaged");
  await expect(saveSettings(folder, {})).rejects.toMatchObject({ code: "setup" });
  expect(readFileSync(join(folder, "settings.json"), "utf8")).toBe(text);
});

test("a file that others may read, and one that is a pipe, are refused without waiting", () => {
  const shared = folderWith("{}");
  chmodSync(join(shared, "settings.json"), 0o644);
  expect(() => readSettings(shared)).toThrow("Other users of this machine have access");
  const piped = newFolder();
  mkdirSync(piped, { mode: 0o700 });
  execFileSync("mkfifo", ["-m", "600", join(piped, "settings.json")]);
  expect(() => readSettings(piped)).toThrow("not a regular file");
});

test.each(ERAS)(
  "get_setup names the file, and says where each threshold comes from; the environment wins ($era)",
  async ({ connect }) => {
    const folder = folderWith('{"BIOMETRICS_MATCH_THRESHOLD":"61.5","BIOMETRICS_LIVENESS_THRESHOLD":"40"}');
    const env = { BIOMETRICS_DATA_DIR: folder, BIOMETRICS_LIVENESS_THRESHOLD: "55" };
    const { structuredContent } = await closing(await connect({ env })).call("get_setup");
    expect(structuredContent).toMatchObject({
      details: {
        match_threshold: 61.5,
        liveness_threshold: 55,
        settings_file: join(folder, "settings.json"),
        settings_from_file: "BIOMETRICS_MATCH_THRESHOLD",
      },
      summary: expect.stringContaining("liveness 55 (environment), match 61.5 (settings file)."),
    });
  },
);

test.each(ERAS)(
  "a damaged file, or a threshold in it that is none, is an error at every call ($era)",
  async ({ connect }) => {
    for (const [text, message] of [
      ["{", /settings file in the data folder is damaged/],
      [
        '{"BIOMETRICS_MATCH_THRESHOLD":"0.9"}',
        /BIOMETRICS_MATCH_THRESHOLD in the settings file must be a number from 0 to 100/,
      ],
    ] as const) {
      const env = { BIOMETRICS_DATA_DIR: folderWith(text) };
      const answer = await closing(await connect({ env })).call("get_setup");
      expect(answer).toMatchObject({ isError: true, text: expect.stringMatching(message) });
    }
  },
);
