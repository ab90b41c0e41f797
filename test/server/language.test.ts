import { spawn, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import sharp from "sharp";
import stringWidth from "string-width";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import * as z from "zod";
import { run } from "../evaluation/setting.ts";
import { LIVENESS_DATA, put } from "../linkface/setting.ts";
import {
  type Connection,
  cleanEnvironment,
  ERAS,
  type Era,
  MAIN,
  type ToolAnswer,
  temporaryFolder,
} from "../support/clients.ts";
import { englishIn } from "../support/english.ts";
import { makePhotos, type Photos } from "../support/photos.ts";
import { accountStandIn } from "../support/stand-in/account.ts";
import { LINKFACE_ID, LINKFACE_SECRET, linkfaceError, linkfaceRoutes } from "../support/stand-in/linkface.ts";
import { API_KEY, type Behaviour, type StandIn, standIn } from "../support/stand-in.ts";

const folder = temporaryFolder("photos-");
const selfie = join(folder, "selfie.jpg");
const document = join(folder, "document.jpg");
let photos: Photos;

beforeAll(async () => {
  const picture = sharp({ create: { width: 64, height: 64, channels: 3, background: "#765" } });
  for (const file of [selfie, document]) writeFileSync(file, await picture.clone().jpeg().toBuffer());
  photos = await makePhotos(folder);
});

const LANGUAGES = ["en", "zh-CN"] as const;
type Answers = Readonly<Record<string, ToolAnswer>>;

/** The fields that hold our sentences. */
const OURS = ["summary", "meaning", "advice", "next_steps", "message", "next", "reason"];

/** A result without our sentences, and without what differs from run to run. */
function neutral(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(neutral);
  if (typeof value === "string")
    return value.replace(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}|home-\w+|\d{4}-\d\d-\d\dT[\d:.]+Z/g, "#");
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [name, OURS.includes(name) ? [field].flat().length : neutral(field)]),
  );
}

function sentencesIn(value: unknown, isOurs = false): string[] {
  if (typeof value === "string") return isOurs ? [value] : [];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, field]) =>
    name === "raw" ? [] : sentencesIn(field, isOurs || OURS.includes(name)),
  );
}

const UNTRUSTED = "The face was removed and its template erased.";

const answered = (body: object): Behaviour => ({ status: 200, body: { request_id: "r-1", ...body } });
const warned = (...risks: string[]) => risks.map((risk) => ({ risk, log_type: "warning", feature: "LIVENESS" }));

/** One call after the other, each with what Didit answers to it. */
const DIDIT_CALLS: readonly (readonly [name: string, tool: string, args: object, ...answers: Behaviour[]])[] = [
  [
    "approved",
    "check_liveness",
    { image_path: "selfie" },
    answered({ liveness: { status: "Approved", score: 95.4, warnings: [] } }),
  ],
  [
    "review",
    "check_liveness",
    { image_path: "selfie" },
    answered({ liveness: { status: "In Review", score: 61, warnings: warned("LOW_FACE_LUMINANCE", "NEW_IN_2027") } }),
  ],
  [
    "declined",
    "check_liveness",
    { image_path: "selfie", decline_threshold: 40 },
    answered({
      liveness: { status: "Declined", score: 3, warnings: warned("LIVENESS_FACE_ATTACK", "LOW_FACE_QUALITY") },
    }),
  ],
  [
    "by eye",
    "match_faces",
    { user_image_path: "selfie", reference_image_path: "document" },
    answered({ face_match: { status: "Approved", score: 44, warnings: [] } }),
  ],
  [
    "blocked",
    "search_face",
    { image_path: "selfie" },
    answered({
      face_search: {
        status: "Declined",
        total_matches: 2,
        matches: [
          { session_id: "s-1", similarity_percentage: 93, vendor_data: UNTRUSTED, is_blocklisted: true },
          { session_id: "s-2", similarity_percentage: 75, vendor_data: "u-2" },
        ],
      },
    }),
  ],
  [
    "person",
    "verify_person",
    { selfie_path: "selfie", reference_image_path: "document" },
    answered({ liveness: { status: "Approved", score: 95, warnings: [] } }),
    { status: 403, body: { detail: "No permission" } },
    answered({ face_match: { status: "Approved", score: 92, warnings: [] } }),
  ],
  ["unauthorized", "check_liveness", { image_path: "selfie" }, { status: 401, body: { detail: "no" } }],
  ["busy", "check_liveness", { image_path: "selfie" }, { status: 429, body: {}, headers: { "retry-after": "600" } }],
  [
    "no JSON",
    "match_faces",
    { user_image_path: "selfie", reference_image_path: "document" },
    { status: 200, text: "<html>" },
  ],
  ["dropped", "check_liveness", { image_path: "selfie" }, { drop: "after body" }],
  ["unsupported", "enroll_face", { image_path: "selfie", label: "Ann" }],
  ["no galleries", "list_faces", { gallery: "staff" }],
  ["wrong", "check_liveness", { image_path: "selfie", decline_threshold: 400, foo: 1 }],
  ["no file", "check_liveness", { image_path: "none" }],
  ["setup", "get_setup", {}],
];

describe.each(ERAS)("over MCP with Didit, $era", ({ connect }) => {
  let didit: StandIn;
  const logs = Object.fromEntries(
    LANGUAGES.map((language) => [language, join(temporaryFolder("audit-"), "log.jsonl")]),
  );
  const answers: Record<string, Answers> = {};
  const tools: Record<string, unknown> = {};
  const errors: Record<string, string> = {};

  beforeAll(async () => {
    didit = await standIn();
    for (const language of LANGUAGES) {
      const env = { DIDIT_API_KEY: API_KEY, DIDIT_API_BASE_URL: didit.url, BIOMETRICS_IMAGE_DIRS: folder };
      const server = await connect({
        env: {
          ...env,
          BIOMETRICS_AUDIT_LOG: logs[language] ?? "",
          ...(language === "en" ? { LANG: "zh_CN.UTF-8" } : { BIOMETRICS_LANG: language }),
        },
      });
      const made: Record<string, ToolAnswer> = {};
      for (const [name, tool, args, ...next] of DIDIT_CALLS) {
        didit.next(...next);
        const paths = Object.entries(args).map(([key, value]) => [
          key,
          key.endsWith("_path") ? join(folder, `${value}.jpg`) : value,
        ]);
        made[name] = await server.call(tool, Object.fromEntries(paths));
      }
      answers[language] = made;
      tools[language] = [await server.listTools(), server.instructions()];
      errors[language] = server.stderr();
      await server.close();
    }
  }, 60_000);
  afterAll(() => didit.close());

  test.each(DIDIT_CALLS)("%s: a Chinese answer, with the same outcome, codes and data", (name) => {
    const [english, chinese] = LANGUAGES.map((language) => answers[language]?.[String(name)]);
    if (english === undefined || chinese === undefined) throw new Error("no answer");
    expect(neutral(chinese.structuredContent)).toEqual(neutral(english.structuredContent));
    expect(chinese.structuredContent?.["raw"]).toEqual(english.structuredContent?.["raw"]);
    expect([chinese.isError, chinese._meta]).toEqual([english.isError, english._meta]);
    // The names of arguments are a list of words.
    const text = chinese.text.replace(/（已知：[^）]*）/, "");
    const said = [...sentencesIn(chinese.structuredContent), ...text.split("\n")];
    expect(said.filter((one) => englishIn(one) !== undefined)).toEqual([]);
    expect(chinese.text).toMatch(/\p{Script=Han}/u);
    expect(english.text).not.toMatch(/\p{Script=Han}/u);
    if (chinese.structuredContent !== undefined)
      expect(JSON.parse(chinese.content[1]?.text ?? "")).toEqual(chinese.structuredContent);
  });

  test("the outcome is the first word, and in the summary too", () => {
    for (const [name, outcome] of [
      ["approved", "approved"],
      ["by eye", "review"],
      ["declined", "declined"],
    ] as const) {
      const { text, structuredContent } = z
        .object({ text: z.string(), structuredContent: z.object({ summary: z.string() }) })
        .parse(answers["zh-CN"]?.[name]);
      expect(text.split("\n")[0]).toBe(outcome);
      expect(structuredContent.summary).toContain(`：${outcome}`);
    }
  });

  test("what others wrote is not translated, also where it is a sentence of ours", () => {
    expect(answers["zh-CN"]?.["blocked"]?.text).toContain(`“${UNTRUSTED}”`);
  });

  test("a model chooses its tools from the same list, and the log is the same", () => {
    expect(JSON.stringify(tools["zh-CN"])).toBe(JSON.stringify(tools["en"]));
    expect(errors["zh-CN"]).toBe(errors["en"]);
    expect(errors["en"]).toContain("check_liveness failed, unauthorized");
    const [english, chinese] = LANGUAGES.map((language) =>
      readFileSync(logs[language] ?? "", "utf8")
        .replace(/"(hash|previous|prev|time|at)":"[^"]*"/g, "")
        // The two images of a match are read at once.
        .replace(/"(user|reference)_image_path":"\w+",?/g, ""),
    );
    expect(chinese).toBe(english);
    expect(english?.split("\n").length).toBeGreaterThan(5);
  });
});

const env = (more: Record<string, string> = {}) => ({ BIOMETRICS_IMAGE_DIRS: folder, ...more });

const modern = ERAS.find(({ era }) => era === "2026-07-28") as Era;

async function opened(more: Record<string, string>): Promise<Connection> {
  const server = await modern.connect({ env: env(more) });
  onTestFinished(() => server.close());
  return server;
}

function expectChinese(answer: ToolAnswer): void {
  const said = [...sentencesIn(answer.structuredContent), ...answer.text.split("\n")];
  expect(said.filter((text) => englishIn(text) !== undefined)).toEqual([]);
  expect(answer.text).toMatch(/\p{Script=Han}/u);
}

test("on the device, every tool answers in Chinese", { timeout: 120_000 }, async () => {
  const server = await opened({ BIOMETRICS_LANG: "zh-CN" });
  const { womanA, womanB, otherWoman, group, sideways, noFace } = photos;
  const call = async (tool: string, args: Record<string, unknown> = {}) => {
    const answer = await server.call(tool, args, { timeout: 60_000 });
    expectChinese(answer);
    return answer.structuredContent;
  };
  expect(await call("search_face", { image_path: womanA })).toMatchObject({ outcome: "review" });
  const enrolled = await call("enroll_face", {
    image_path: womanA,
    label: "Ann",
    gallery: "default",
    vendor_data: "u1",
  });
  expect(await call("check_liveness", { image_path: womanA })).toMatchObject({ outcome: "review" });
  expect(await call("check_liveness", { image_path: noFace })).toMatchObject({ outcome: "declined" });
  expect(await call("match_faces", { user_image_path: womanA, reference_image_path: womanB })).toMatchObject({
    outcome: "approved",
  });
  expect(await call("match_faces", { user_image_path: womanA, reference_image_path: otherWoman })).toMatchObject({
    outcome: "declined",
  });
  expect(
    await call("match_faces", { user_image_path: group, reference_image_path: sideways, rotate: true }),
  ).toHaveProperty("outcome");
  expect(await call("search_face", { image_path: womanB, all_faces: true })).toMatchObject({ outcome: "review" });
  expect(
    await call("verify_person", { selfie_path: womanB, reference_image_path: noFace, vendor_data: "u1" }),
  ).toHaveProperty("steps");
  expect(await call("list_faces")).toMatchObject({ total: 1 });
  expect(await call("remove_face", { face_id: enrolled?.["face_id"] })).toMatchObject({ removed: true });
  for (const [tool, args] of [
    ["remove_face", { face_id: "none" }],
    ["check_liveness", { image_path: womanA, save: true }],
    ["enroll_face", { image_path: group, label: "Group" }],
    ["search_face", { image_path: noFace }],
    ["list_faces", { gallery: "elsewhere" }],
    ["verify_liveness_selfie", { selfie_path: womanA }],
    ["get_balance", {}],
  ] as const) {
    expect(await call(tool, args)).toBeUndefined();
  }
});

test("accounts and liveness data are answered for in Chinese", async () => {
  const [account, linkface] = [await accountStandIn(), await standIn({ routes: linkfaceRoutes() })];
  onTestFinished(async () => void (await Promise.all([account.close(), linkface.close()])));
  const credentials = {
    LINKFACE_API_ID: LINKFACE_ID,
    LINKFACE_API_SECRET: LINKFACE_SECRET,
    LINKFACE_API_BASE_URL: linkface.url,
  };
  const server = await opened({ ...account.env, ...credentials, BIOMETRICS_LANG: "zh-CN" });
  const recording = put(folder, "recording.bin", LIVENESS_DATA);
  const verify = () => server.call("verify_liveness_selfie", { selfie_path: selfie, liveness_data_path: recording });
  expectChinese(await verify());
  linkface.next(linkfaceError(400, "NO_FACE_DETECTED"));
  expectChinese(await verify());
  const email = "jane@mail.org";
  expectChinese(await server.call("register_account", { email }));
  expectChinese(await server.call("register_account", { email }));
  expectChinese(await server.call("verify_email", { email, code: "000000" }));
  expectChinese(await server.call("verify_email", { email, code: account.accounts.codeOf(email) }));
  expectChinese(await server.call("get_balance"));
  const link = await server.call("top_up", { amount_in_dollars: 50 });
  expectChinese(link);
  expect(link.structuredContent?.["summary"]).toContain(`${link.structuredContent?.["checkout_url"]}\n`);
});

test("a wrong configuration is explained in Chinese", async () => {
  const server = await opened({ BIOMETRICS_LANG: "zh-CN", BIOMETRICS_TIMEOUT_MS: "soon", DIDIT_API_KEY: "a b" });
  const answer = await server.call("get_setup");
  expectChinese(answer);
  expect(answer.text).toMatch(/^错误 \[setup\]：.*DIDIT_API_KEY.*BIOMETRICS_TIMEOUT_MS/);
});

const home = temporaryFolder("home-");
const place = { home, data: join(home, "data") };

describe("the command line", () => {
  test.each([
    [{ LANG: "zh_CN.UTF-8" }, true],
    [{ LANG: "zh_CN" }, true],
    [{ LC_ALL: "zh_SG.utf8", LANG: "de_DE.UTF-8" }, true],
    [{ LC_MESSAGES: "zh_CN.UTF-8", LC_ALL: "", LANG: "C" }, true],
    [{ LC_ALL: "C", LANG: "zh_CN.UTF-8" }, false],
    [{ LANG: "zh_TW.UTF-8" }, false],
    [{ LANG: "zh_HK.UTF-8" }, false],
    [{ LANG: "zh_CN.GBK" }, false],
    [{ LANG: "en_US.UTF-8" }, false],
    [{}, false],
    [{ LANG: "zh_CN.UTF-8", BIOMETRICS_LANG: "en" }, false],
    [{ LANG: "en_US.UTF-8", BIOMETRICS_LANG: "zh-CN" }, true],
  ])("with %j: Chinese %s", async (env, isChinese) => {
    const { out } = await run(place, ["--help"], env);
    expect(/\p{Script=Han}/u.test(out)).toBe(isChinese);
    expect(out.includes("Usage:")).toBe(!isChinese);
  });

  test("a flag chooses too, for help as for errors", async () => {
    expect((await run(place, ["doctor", "--lang", "zh-CN", "--help"])).out).toContain("用法：");
    expect((await run(place, ["check-liveness", "none.jpg", "--lang=zh-CN"])).err).toMatch(/^错误 \[path_refused\]：/);
    expect((await run(place, ["check-liveness", "none.jpg", "--lang", "en"], { LANG: "zh_CN.UTF-8" })).err).toMatch(
      /^Error \[/,
    );
  });

  test("a wrong language is an error that names the choices", async () => {
    const { code, err } = await run(place, ["doctor"], { BIOMETRICS_LANG: "fr" });
    expect([code, err]).toEqual([2, expect.stringContaining("BIOMETRICS_LANG must be one of en, zh-CN")]);
  });

  test("the help of every command is in Chinese", async () => {
    const zh = { BIOMETRICS_LANG: "zh-CN" };
    const { out } = await run(place, ["--help"], zh);
    const commands = [...out.matchAll(/^ {2}([a-z-]+)(?=[| ])/gm)].map(([, command = ""]) => [command]);
    const groups = ["gallery", "models", "audit"];
    const inGroups = await Promise.all(
      groups.map(async (group) => {
        const shown = await run(place, [group, "--help"], zh);
        return [...shown.out.matchAll(/^ {2}([a-z]+)(?= )/gm)].map(([, command = ""]) => [group, command]);
      }),
    );
    const all = [[], ...commands, ...inGroups.flat()].filter((words) => words.at(-1) !== "help");
    expect(all.length).toBeGreaterThan(25);
    for (const words of all) {
      const { out, code } = await run(place, [...words, "--help"], zh);
      expect(code).toBe(0);
      expect(
        out.split("\n").filter((line) => englishIn(line) !== undefined),
        words.join(" "),
      ).toEqual([]);
      expect(out).toContain("用法：");
    }
  }, 60_000);

  test("exits, and answers a script, as in English", { timeout: 120_000 }, async () => {
    const photo = join(home, "nobody.jpg");
    writeFileSync(photo, readFileSync(selfie));
    for (const args of [
      ["check-liveness", photo, "--json"],
      ["check-liveness", "none.jpg", "--json"],
      ["check-liveness", "--nope", "--json"],
      ["list-faces", "--json"],
      ["doctor", "--json"],
    ]) {
      const [english, chinese] = await Promise.all(
        LANGUAGES.map((language) => run(place, args, { BIOMETRICS_LANG: language })),
      );
      expect(chinese?.code).toBe(english?.code);
      expect(neutral(JSON.parse(chinese?.out ?? ""))).toEqual(neutral(JSON.parse(english?.out ?? "")));
    }
  });

  test("what is printed of a check, a batch and the setup is Chinese", { timeout: 180_000 }, async () => {
    const zh = { BIOMETRICS_LANG: "zh-CN" };
    for (const args of [
      ["check-liveness", photos.womanA],
      ["check-liveness", photos.womanA, photos.noFace, "none.jpg"],
      ["check-liveness", photos.womanA, "--out", join(home, "results.html")],
      ["match-faces", photos.womanA, photos.womanB],
      ["enroll-face", photos.womanA, "Ann"],
      ["gallery", "list"],
      ["gallery", "check"],
      ["remove-face", "none"],
      ["doctor"],
    ]) {
      const { out, err } = await run(place, args, zh);
      expect(
        `${out}${err}`.split("\n").filter((line) => englishIn(line) !== undefined),
        args.join(" "),
      ).toEqual([]);
      expect(`${out}${err}`).toMatch(/\p{Script=Han}/u);
      expect(`${out}${err}`).not.toMatch(/check_liveness|remove_face|重启服务器/);
    }
    const page = readFileSync(join(home, "results.html"), "utf8");
    expect(page).toMatch(/<html lang="zh-CN">.*活体检测（本机）/s);
    // What a program reads, and a later run in another language, is English.
    expect(readFileSync(join(home, "results.html.jsonl"), "utf8")).toContain("Liveness by the device");
  });

  test.skipIf(spawnSync("script", ["--version"]).status !== 0).each([20, 33, 60, 100])(
    "fits a terminal of %i columns",
    async (columns) => {
      const line = `stty cols ${columns}; exec '${process.execPath}' '${MAIN}' check-liveness '${photos.noFace}'`;
      const options = { cwd: home, env: cleanEnvironment(home, { TERM: "xterm-256color", LANG: "zh_CN.UTF-8" }) };
      const child = spawn("script", ["-qec", line, "/dev/null"], options);
      let out = "";
      child.stdout.on("data", (chunk: Buffer) => {
        out += chunk.toString();
      });
      await new Promise((closed) => child.on("close", closed));
      const lines = stripVTControlCharacters(out.replaceAll("\r\n", "\n")).split("\n");
      expect(lines[0]).toBe("declined");
      expect(lines.join("").replace(/\s/g, "")).toContain("图像中未找到人脸。");
      expect(Math.max(...lines.map((it) => stringWidth(it)))).toBeLessThanOrEqual(columns);
      // Punctuation does not begin a line.
      expect(lines.filter((it) => /^\s*[，。；：）]/.test(it))).toEqual([]);
    },
  );
});
