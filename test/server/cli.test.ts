import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TOOLS } from "../../src/tools/index.ts";
import { cleanEnvironment, MAIN, temporaryFolder } from "../support/clients.ts";
import { API_KEY, type StandIn, standIn } from "../support/stand-in.ts";

const home = temporaryFolder("home-");
const selfie = join(home, "selfie.jpg");
let didit: StandIn;

beforeAll(async () => {
  const picture = sharp({ create: { width: 64, height: 64, channels: 3, background: "#765" } });
  writeFileSync(selfie, await picture.jpeg().toBuffer());
  didit = await standIn();
});
afterAll(() => didit.close());

interface Finished {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function biometrics(args: readonly string[], env: Record<string, string> = {}): Promise<Finished> {
  const given = { DIDIT_API_KEY: API_KEY, DIDIT_API_BASE_URL: didit.url, ...env };
  const options = { env: cleanEnvironment(home, given), cwd: home };
  return new Promise((done) => {
    execFile(process.execPath, [MAIN, ...args], options, (error, out, err) => {
      done({ code: error === null ? 0 : Number(error.code ?? -1), out, err });
    });
  });
}

const answer = (liveness: object) => ({
  status: 200,
  body: { request_id: "r-1", liveness: { warnings: [], ...liveness } },
});

describe("exit codes", () => {
  test.each([
    [0, answer({ status: "Approved", score: 95 })],
    [3, answer({ status: "In Review", score: 60 })],
    [4, answer({ status: "Declined", score: 5 })],
    [1, { status: 500, text: "oops" }],
    [1, answer({ status: "Unheard of", score: 95 })],
  ])("%d", async (code, behaviour) => {
    didit.next(behaviour);
    expect(await biometrics(["check-liveness", selfie])).toMatchObject({ code });
  });

  test("a threshold is taken from an argument, and the operator's from a flag or the environment", async () => {
    const sent = () => didit.received.at(-1)?.fields["face_liveness_score_decline_threshold"];
    const person = ["verify-person", selfie, "--liveness-threshold", "96"]; // the stand-in scores 95.5
    expect(await biometrics(person, { BIOMETRICS_LIVENESS_THRESHOLD: "20" })).toMatchObject({ code: 4 });
    expect(sent()).toBe("96");
    expect(await biometrics(["check-liveness", selfie, "--liveness-threshold", "97"])).toMatchObject({ code: 4 });
    expect(sent()).toBe("97");
    const env = { BIOMETRICS_LIVENESS_THRESHOLD: "98" };
    const { code, out } = await biometrics(["check-liveness", selfie], env);
    expect([code, sent()]).toEqual([4, "98"]);
    expect(out).toContain("declines at or below 98, the operator's threshold");
    expect(await biometrics(["check-liveness", selfie, "--threshold", "40"], env)).toMatchObject({ code: 3 });
    expect(await biometrics(["check-liveness", selfie], { BIOMETRICS_LIVENESS_THRESHOLD: "0.98" })).toMatchObject({
      code: 2,
      err: expect.stringContaining("must be a number from 0 to 100 (80, not 0.8)"),
    });
  });

  test.each([
    ["an unknown command", ["chek-liveness", "x.jpg"], /Did you mean check-liveness/],
    ["an unknown flag", ["check-liveness", "selfie.jpg", "--treshold", "3"], /Did you mean --threshold/],
    ["a missing argument", ["match-faces", "selfie.jpg"], /missing required argument 'reference-image-path'/],
    ["one argument too many", ["check-liveness", "a.jpg", "b.jpg"], /too many arguments/],
    ["a threshold that is no number", ["check-liveness", "selfie.jpg", "--threshold", "high"], /must be a number/],
    ["a threshold out of range", ["check-liveness", "selfie.jpg", "--threshold", "101"], /threshold.*100/],
    [
      "an unknown choice",
      ["search-face", "selfie.jpg", "--search-type", "all"],
      /most_similar, blocklisted_or_approved/,
    ],
    [
      "a wrong setting",
      ["check-liveness", "selfie.jpg", "--timeout-ms", "1"],
      /BIOMETRICS_TIMEOUT_MS must be at least 1000/,
    ],
  ])("2 for %s", async (_what, args, message) => {
    const sent = didit.received.length;
    const { code, out, err } = await biometrics(args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toMatch(message);
    expect(didit.received).toHaveLength(sent);
  });
});

test("flags become arguments, settings become flags", async () => {
  const flags = [
    "--threshold",
    "80",
    "--rotate",
    "--no-save",
    "--vendor-data",
    "u1",
    "--didit-api-base-url",
    didit.url,
  ];
  const { code } = await biometrics(["check-liveness", "selfie.jpg", ...flags], { DIDIT_API_BASE_URL: "" });
  expect(code).toBe(0);
  expect(didit.received.at(-1)?.fields).toEqual({
    face_liveness_score_decline_threshold: "80",
    rotate_image: "true",
    save_api_request: "false",
    vendor_data: "u1",
  });
});

test("--json prints the structured result alone", async () => {
  const { out } = await biometrics(["check-liveness", "selfie.jpg", "--json"]);
  expect(JSON.parse(out)).toMatchObject({ check: "liveness", provider: "didit", outcome: "approved" });
});

test("--json tells a failure as JSON too, and words go to stderr", async () => {
  didit.next({ status: 401, body: { detail: "SECRET-PROSE" } });
  const { code, out, err } = await biometrics(["check-liveness", "selfie.jpg", "--json"]);
  expect(code).toBe(1);
  expect(JSON.parse(out)).toMatchObject({ error: { code: "unauthorized", retryable: false } });
  expect(err).toMatch(/^Error \[unauthorized\]/);
  expect(out).not.toContain("SECRET-PROSE");
  expect(out + err).not.toContain(API_KEY);
});

test("a path on the command line may lie anywhere", async () => {
  const elsewhere = join(temporaryFolder("elsewhere-"), "photo.jpg");
  writeFileSync(elsewhere, await sharp(selfie).toBuffer());
  expect(await biometrics(["check-liveness", elsewhere])).toMatchObject({ code: 0 });
});

test.each(TOOLS.filter(({ name }) => name !== "get_setup"))("$name has a help", async ({ name, description }) => {
  const { code, out } = await biometrics([name.replaceAll("_", "-"), "--help"]);
  expect(code).toBe(0);
  expect(out.replace(/\s+/g, " ")).toContain(description);
  expect(out).toMatch(/Exit code: 0 approved/);
});

test("the help lists every command", async () => {
  const { out } = await biometrics(["--help"]);
  for (const { name } of TOOLS) if (name !== "get_setup") expect(out).toContain(name.replaceAll("_", "-"));
  for (const name of ["doctor", "serve"]) expect(out).toContain(name);
});

test("the doctor finds what is wrong, and bills nothing", async () => {
  const well = await biometrics(["doctor", "--image-dirs", home]);
  expect(well).toMatchObject({ code: 0, out: expect.stringContaining(`ok    folder ${home}`) });
  expect(well.out).not.toContain(API_KEY);
  const paths = didit.received.map(({ path }) => path);
  expect(paths.at(-1)).toBe("/v3/billing/balance/");
  const ill = await biometrics(["doctor", "--image-dirs", join(home, "none")], { DIDIT_API_KEY: "another-key" });
  expect(ill).toMatchObject({ code: 1, out: expect.stringMatching(/FAULT folder .*none: .*\nFAULT provider didit: /) });
});
