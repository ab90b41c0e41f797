import { spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run } from "../evaluation/setting.ts";
import { cleanEnvironment, MAIN, temporaryFolder } from "../support/clients.ts";
import { API_KEY, type StandIn, standIn } from "../support/stand-in.ts";

const home = temporaryFolder("home-");
const place = { home, data: join(home, "data") };
let didit: StandIn;

beforeAll(async () => {
  const picture = sharp({ create: { width: 64, height: 64, channels: 3, background: "#567" } });
  writeFileSync(join(home, "selfie.jpg"), await picture.jpeg().toBuffer());
  didit = await standIn();
});
afterAll(() => didit.close());

const dark = {
  status: 200,
  body: {
    request_id: "r-1",
    liveness: {
      status: "In Review",
      score: 61.5,
      warnings: [{ risk: "LOW_FACE_LUMINANCE", log_type: "warning", feature: "LIVENESS" }],
    },
  },
};

const envOf = (env: Record<string, string> = {}) => ({
  DIDIT_API_KEY: API_KEY,
  DIDIT_API_BASE_URL: didit.url,
  ...env,
});

function check(env: Record<string, string>, ...flags: string[]) {
  didit.next(dark);
  return run(place, ["check-liveness", "selfie.jpg", ...flags], envOf(env));
}

const ESCAPE = "\u001b";
const PLAIN =
  /^review\nLiveness by Didit: .*\nWarnings:\n- LOW_FACE_LUMINANCE \(review\): The face is too dark\.\nNext:\n/;

describe("a pipe", () => {
  test.each([{}, { NO_COLOR: "1" }, { FORCE_COLOR: "0" }, { COLORTERM: "truecolor", TERM: "xterm-256color" }])(
    "gets the plain text: %j",
    async (env) => {
      const { code, out } = await check(env);
      expect(code).toBe(3);
      expect(out).toMatch(PLAIN);
      expect(out).not.toContain(ESCAPE);
    },
  );

  test("gets colours with FORCE_COLOR, and JSON never does", async () => {
    const { out } = await check({ FORCE_COLOR: "1" });
    expect(out).toContain(`${ESCAPE}[33mreview${ESCAPE}[39m\n`);
    const json = await check({ FORCE_COLOR: "1" }, "--json");
    expect(JSON.parse(json.out)).toMatchObject({ outcome: "review", score: 61.5 });
  });
});

describe.skipIf(spawnSync("script", ["--version"]).status !== 0)("a terminal", () => {
  /** What a terminal of so many columns shows. */
  async function shown(columns: number, env: Record<string, string> = {}, image = "selfie.jpg"): Promise<string> {
    didit.next(dark);
    const line = `stty cols ${columns}; exec '${process.execPath}' '${MAIN}' check-liveness ${image}`;
    const child = spawn("script", ["-qec", line, "/dev/null"], {
      cwd: home,
      env: cleanEnvironment(home, envOf({ TERM: "xterm-256color", ...env })),
    });
    let out = "";
    child.stdout.on("data", (chunk: Buffer) => {
      out += chunk.toString();
    });
    await new Promise((closed) => child.on("close", closed));
    return out.replaceAll("\r\n", "\n");
  }

  test("shows the outcome in colour and word, the score beside its threshold, advice below its warning, and times", async () => {
    const out = await shown(90);
    expect(out).toContain(`${ESCAPE}[33mreview${ESCAPE}[39m\n`);
    const lines = stripVTControlCharacters(out).split("\n");
    expect(lines[0]).toBe("review");
    const [bar = "", ...facts] = (lines[1] ?? "").split(" ");
    expect(facts.join(" ")).toBe("61.5 of 100, threshold 30");
    expect([bar.length, bar.indexOf("┃"), bar.lastIndexOf("█")]).toEqual([40, 12, 24]); // 30 and 61.5 of 100
    expect(lines).toContain("  LOW_FACE_LUMINANCE (review)");
    expect(lines.filter((line) => line.includes("Retake in better light."))).toEqual(["    Retake in better light."]);
    expect(lines.at(-2)).toMatch(/^Took \d+\.\d\d s: .*asking the provider \d+\.\d\d s/);
  });

  test.each([20, 33, 60, 200])("of %d columns is never too narrow", async (columns) => {
    const lines = stripVTControlCharacters(await shown(columns)).split("\n");
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(Math.min(columns, 100));
    expect(lines.join(" ").replace(/\s+/g, " ")).toContain("61.5 of 100, threshold 30");
  });

  test("without colours says the same", async () => {
    const timeless = (text: string) => stripVTControlCharacters(text).replace(/\nTook .*$/s, "");
    const without = await shown(80, { NO_COLOR: "1" });
    expect(without).not.toContain(ESCAPE);
    expect(timeless(without)).toBe(timeless(await shown(80)));
    expect(await shown(80, { TERM: "dumb" })).not.toContain(ESCAPE);
  });

  test("shows a failure in red", async () => {
    expect(await shown(80, {}, "none.jpg")).toContain(`${ESCAPE}[31mError${ESCAPE}[39m [path_refused]`);
  });
});
