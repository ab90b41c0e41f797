import { execFile, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { forPerson } from "../../src/command-line/for-person.ts";
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

function biometrics(
  args: readonly string[],
  env: Record<string, string> = {},
  input: string | Uint8Array = "",
): Promise<Finished> {
  const given = { DIDIT_API_KEY: API_KEY, DIDIT_API_BASE_URL: didit.url, ...env };
  const options = { env: cleanEnvironment(home, given), cwd: home };
  return new Promise((done) => {
    const child = execFile(process.execPath, [MAIN, ...args], options, (error, out, err) => {
      done({ code: error === null ? 0 : Number(error.code ?? -1), out, err });
    });
    child.stdin?.on("error", () => {}); // a program that has read enough closes it
    child.stdin?.end(input);
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
    ["one argument too many", ["match-faces", "a.jpg", "b.jpg", "c.jpg"], /too many arguments/],
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
    "--decline-threshold",
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
  expect(out.replace(/\s+/g, " ")).toContain(forPerson(description));
  expect(out).toMatch(/Exit code: 0 approved/);
});

test("the help lists every command", async () => {
  const { out } = await biometrics(["--help"]);
  for (const { name } of TOOLS) if (name !== "get_setup") expect(out).toContain(name.replaceAll("_", "-"));
  for (const name of ["doctor|get-setup", "serve", "completion"]) expect(out).toContain(name);
});

test("the doctor finds what is wrong, and bills nothing", async () => {
  const well = await biometrics(["doctor", "--image-dirs", home]);
  expect(well).toMatchObject({ code: 0, out: expect.stringContaining(`ok    folder ${home}`) });
  expect(well.out).not.toContain(API_KEY);
  const paths = didit.received.map(({ path }) => path);
  expect(paths.at(-1)).toBe("/v3/billing/balance/");
  const ill = await biometrics(["doctor", "--image-dirs", join(home, "none")], { DIDIT_API_KEY: "another-key" });
  expect(ill).toMatchObject({
    code: 1,
    out: expect.stringMatching(/FAULT folder .*none: .*\n(?:ok .*\n)*FAULT provider didit: /),
  });
});

test.each([
  [["chek-liveness", "x.jpg", "--json"], /^unknown command 'chek-liveness'/, "Run biometrics-mcp --help."],
  [["search-face", "--json"], /^missing required argument 'image-path'/, "Run biometrics-mcp search-face --help."],
  [["get-balance", "--json", "--treshold"], /^unknown option/, "Run biometrics-mcp balance --help."],
  [["check-liveness", "x.jpg", "--threshold", "high", "--json"], /must be a number/, undefined],
])("with --json a wrong usage prints JSON too: %j", async (args, message, next) => {
  const { code, out, err } = await biometrics(args);
  expect(code).toBe(2);
  const { error } = JSON.parse(out);
  expect(error).toMatchObject({ code: "invalid_input", message: expect.stringMatching(message), retryable: false });
  if (next !== undefined) expect(error.next).toBe(next);
  expect(err).toContain("error: ");
});

test("verify-person takes the reference as its second argument, and --no-search", async () => {
  const before = didit.received.length;
  const { code, out } = await biometrics(["verify-person", selfie, selfie, "--no-search"]);
  expect({ code, out }).toMatchObject({ code: 0, out: expect.stringMatching(/^approved\nVerification of the person/) });
  const paths = () => didit.received.slice(before).map(({ path }) => path);
  expect(paths()).toEqual(["/v3/passive-liveness/", "/v3/face-match/"]);
  const named = await biometrics(["verify-person", selfie, "--reference-image-path", selfie, "--no-search"]);
  expect(named.code).toBe(0);
  expect(paths()).toHaveLength(4);
});

test("what was not finished exits with 3, and says to the person how to run that step alone", async () => {
  didit.next(answer({ status: "Approved", score: 95 }), { status: 200, text: "<html>" });
  const { code, out, err } = await biometrics(["verify-person", selfie, selfie]);
  expect(code).toBe(3);
  expect(out).toMatch(/^review\n/);
  expect(out).toContain("To run the search alone, run biometrics-mcp search-face on the selfie");
  expect(err).toContain("face_search failed, bad_response");
});

describe("- reads the image from standard input", () => {
  test("with all the checks of a file", async () => {
    const { code } = await biometrics(["check-liveness", "-"], {}, readFileSync(selfie));
    expect(code).toBe(0);
    expect(didit.received.at(-1)?.files["user_image"]?.bytes).toEqual(readFileSync(selfie));
  });

  test.each([
    ["nothing", "", /Standard input is empty/],
    ["no image", "hello", /The file is not JPEG/],
    ["too much", new Uint8Array(5 * 2 ** 20 + 1), /too large; the limit is 5 MB/],
    ["a damaged image", new Uint8Array([0xff, 0xd8, 0xff, 0xe0]), /damaged|not an image/],
  ] as const)("%s is refused, and nothing is sent", async (_what, input, message) => {
    const sent = didit.received.length;
    const { code, err } = await biometrics(["check-liveness", "-"], {}, input);
    expect(code).toBe(1);
    expect(err).toMatch(/^Error \[image_rejected\]/);
    expect(err).toMatch(message);
    expect(didit.received).toHaveLength(sent);
  });

  test("one image a command", async () => {
    const { code, err } = await biometrics(["match-faces", "-", "-"], {}, readFileSync(selfie));
    expect(code).toBe(2);
    expect(err).toContain("Only one image can be read from standard input.");
  });
});

test("a folder that is named twice is listed once", async () => {
  const { out } = await biometrics(["doctor", "--image-dirs", home, `${home}/`]);
  expect(out.match(/ok {4}folder /g)).toHaveLength(1);
});

describe("words on a terminal speak to the person there", () => {
  test("in an error, whose JSON is for a program", async () => {
    const { err } = await biometrics(["check-liveness", selfie], { DIDIT_API_KEY: "", BIOMETRICS_PROVIDER: "didit" });
    expect(err).toMatch(/Next: Open an account with biometrics-mcp register-account; or set DIDIT_API_KEY or .*\.\n$/);
  });

  test.each([
    ["Correct X, then restart the server.", "Correct X."],
    [
      "Call list_faces to see which faces are enrolled.",
      "Run biometrics-mcp list-faces to see which faces are enrolled.",
    ],
    ["Retry with rotate: true, or without save.", "Retry with --rotate, or without save."],
    ["Retry without compare_all.", "Retry without --compare-all."],
    ["US dollars: ask, never invent it", "US dollars"],
  ])("%s", (text, shown) => expect(forPerson(text)).toBe(shown));
});

describe("completion", () => {
  const shells = ["bash", "zsh", "fish"] as const;
  const isThere = (shell: string) => spawnSync(shell, ["--version"]).status === 0;
  const start = `'${process.execPath}' '${MAIN}' completion`;

  /** What a shell offers for the last word of a line. */
  function offered(shell: (typeof shells)[number], words: readonly string[]): string[] {
    const quotedWords = words.map((word) => `'${word}'`).join(" ");
    const script = {
      bash: `source <(${start} bash); COMP_WORDS=(${quotedWords}); COMP_CWORD=${words.length - 1}; _biometrics_mcp; printf '%s\\n' "\${COMPREPLY[@]}"`,
      zsh: `source <(${start} zsh) 2>/dev/null; setopt ksharrays shwordsplit; COMP_WORDS=(${quotedWords}); COMP_CWORD=${words.length - 1}; _biometrics_mcp; printf '%s\\n' "\${COMPREPLY[@]}"`,
      fish: `${start} fish | source; complete -C '${words.join(" ")}' | string split -f1 \\t; true`,
    }[shell];
    const { stdout, stderr, status } = spawnSync(shell, ["-c", script], {
      cwd: home,
      env: cleanEnvironment(home),
      encoding: "utf8",
    });
    expect(status, stderr).toBe(0);
    // zsh itself drops what does not begin like the word.
    return stdout.split("\n").filter((word) => word !== "" && word.startsWith(words.at(-1) ?? ""));
  }

  describe.each(shells)("%s", (shell) => {
    test.skipIf(!isThere(shell)).each([
      [["biometrics-mcp", "check"], ["check-liveness"]],
      [["biometrics-mcp", "check-liveness", "--thr"], ["--threshold"]],
      [
        ["biometrics-mcp", "verify-person", "x.jpg", "--no-s"],
        ["--no-save", "--no-search"],
      ],
      [["biometrics-mcp", "search-face", "--search-type", "mo"], ["most_similar"]],
      [["biometrics-mcp", "completion", "z"], ["zsh"]],
      [["biometrics-mcp", "models", "l"], ["list"]],
      [["biometrics-mcp", "remove-face", "--thr"], []],
    ])("%j", (words, expected) => {
      expect(offered(shell, words).sort()).toEqual(expected);
    });
  });

  test("bash completes file names where nothing of ours fits", () => {
    const { stdout } = spawnSync("bash", ["-c", `source <(${start} bash); complete -p biometrics-mcp`], {
      encoding: "utf8",
    });
    expect(stdout).toContain("-o default");
    expect(offered("bash", ["biometrics-mcp", "check-liveness", "self"])).toEqual([]);
  });

  test("an unknown shell is wrong usage", async () => {
    expect(await biometrics(["completion", "tcsh"])).toMatchObject({
      code: 2,
      err: expect.stringMatching(/bash, zsh, fish/),
    });
  });
});
