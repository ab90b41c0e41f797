import { execFile, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { SkillsClient } from "@modelcontextprotocol/client/ext/skills";
import { loadSkills } from "@modelcontextprotocol/server/ext/skills/node";
import { describe, expect, onTestFinished, test } from "vitest";
import * as z from "zod";
import { SETTINGS } from "../src/config.ts";
import { decide } from "../src/decision/decision.ts";
import { BANDS, decideSearch } from "../src/decision/search.ts";
import { FAILURES } from "../src/errors.ts";
import { MIN_FACE_HEIGHT } from "../src/providers/on-device/remarks.ts";
import { MIN_FOUND_SIMILARITY } from "../src/providers/on-device/scores.ts";
import { type Match, type Report, SEARCH_TYPES, SIMILARITY } from "../src/providers/provider.ts";
import { TOOLS } from "../src/tools/index.ts";
import { OUTCOMES, WARNINGS } from "../src/warnings.ts";
import { connectTo } from "./package/connect.ts";
import { cleanEnvironment, MAIN, temporaryFolder } from "./support/clients.ts";

const FOLDER = resolve(import.meta.dirname, "../skills/face-checks");
/** As it is served. */
const SERVED = resolve(import.meta.dirname, "../dist/skills/face-checks");
const DECISIONS = "reference/decisions-and-warnings.md";
const files = readdirSync(FOLDER, { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => file.endsWith(".md"));
const textOf = (file: string) => readFileSync(join(FOLDER, file), "utf8");
const skill = textOf("SKILL.md");
const decisions = textOf(DECISIONS);

/** The cells of the rows of all tables whose first cell is in backticks. */
const rowsOf = (text: string) =>
  [...text.matchAll(/^\| `[^|]+` \|.*$/gm)].map(([line]) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** The text with the table between its two marks replaced: `vitest -u` writes it. */
function withTable(text: string, mark: string, content: string): string {
  return text.replace(new RegExp(`(<!-- ${mark}: [^>]*-->\n).*?(<!-- /${mark} -->)`, "s"), `$1\n${content}\n\n$2`);
}

test("the tables of warnings and errors are those of the code", async () => {
  const warnings = Object.entries(WARNINGS).map(([tag, { effect, action, meaning, advice }]) => [
    `\`${tag}\``,
    effect,
    action,
    meaning,
    advice,
  ]);
  const errors = Object.entries(FAILURES).map(([code, { retryable, next }]) => [
    `\`${code}\``,
    retryable ? "yes" : "no",
    next,
  ]);
  const expected = withTable(
    withTable(decisions, "warnings", table(["Tag", "Effect", "Action", "Meaning", "What to do"], warnings)),
    "errors",
    table(["Code", "`retryable`", "What to do"], errors),
  );
  await expect(expected).toMatchFileSnapshot(join(FOLDER, DECISIONS));
  const tags = rowsOf(expected).flatMap(([tag]) => (/^`[A-Z_]+`$/.test(tag ?? "") ? [tag?.slice(1, -1)] : []));
  expect(tags).toEqual(Object.keys(WARNINGS));
});

test("the table of tools is the list of tools, with their commands", () => {
  const rows = [...skill.matchAll(/^\| .+ \| `(\w+)` \| `([\w-]+)` \|$/gm)].map(([, tool, command]) => [tool, command]);
  expect(rows).toEqual(TOOLS.map(({ name }) => [name, name === "get_setup" ? "doctor" : name.replaceAll("_", "-")]));
});

describe("words in backticks", () => {
  const known = new Set<string>([
    ...TOOLS.flatMap(({ name, input, output }) => [name, ...Object.keys(input.shape), ...Object.keys(output.shape)]),
    ...Object.keys(SETTINGS),
    ...Object.keys(WARNINGS),
    ...Object.keys(FAILURES),
    ...OUTCOMES,
    ...BANDS,
    ...SEARCH_TYPES,
    ...["isError", "retryable", "retry_after_seconds", "Next:", "similarity", "band", "id", "null"],
    ...["allowlisted", "session_id", "date"],
    ...["retake", "review", "fraud"],
    ...TOOLS.map(({ name }) => name.replaceAll("_", "-")),
    ...["doctor", "--json", "Error [code]: what happened", "Next: what to do"],
  ]);
  test.each(files)("are words of the code, in %s", (file) => {
    const prose = textOf(file).replace(/```.*?```/gs, "");
    const words = [...prose.matchAll(/`([^`\n]+)`/g)].map(([, word]) => word);
    expect(words.filter((word) => !known.has(String(word)))).toEqual([]);
  });
});

const report = (score: number, more: Partial<Report> = {}): Report => ({
  verdict: "approved",
  score,
  threshold: null,
  warnings: [],
  reference: null,
  raw: null,
  ...more,
});

/** Rows such as "| 90 and above | very high similarity |", from one below which the last row reads. */
function bandsIn(section: string): (readonly [from: number, to: number, reading: string])[] {
  const rows = [...section.matchAll(/^\| (?:(\d+) and above|below (\d+)) \| (.+) \|$/gm)];
  return rows.map(([, from, below, reading = ""], at) => [
    from === undefined ? 0 : Number(from),
    below === undefined ? (at === 0 ? 100 : Number(rows[at - 1]?.[1]) - 0.01) : Number(below) - 0.01,
    reading.replaceAll("`", ""),
  ]);
}

describe("bands", () => {
  const [, match = "", search = ""] = /A face match says(.*?)A search calls(.*?)\n## /s.exec(decisions) ?? [];

  test("of the match score read as the summary does", () => {
    const subject = { check: "face_match", provider: "didit", images: [] } as const;
    const bands = bandsIn(match);
    expect(bands.map(([from]) => from)).toEqual([90, 70, 50, 30, 0]);
    for (const [from, to, reading] of bands) {
      for (const score of [from, to]) expect(decide(subject, report(score)).summary).toContain(`, ${reading})`);
    }
  });

  test("of the similarity are those of the matches", () => {
    const subject = { check: "face_search", provider: "didit", images: [] } as const;
    const bands = bandsIn(search);
    expect(bands.map(([, , band]) => band)).toEqual([...BANDS]);
    for (const [from, to, band] of bands) {
      for (const similarity of [from, to]) {
        const found: Match = {
          id: "1",
          similarity,
          label: null,
          vendorData: null,
          blocklisted: false,
          allowlisted: false,
          status: null,
        };
        const decision = decideSearch(subject, { ...report(0), matches: [found], totalMatches: 1 }, undefined);
        expect(decision.matches[0]?.band).toBe(band);
        expect(decision.outcome).toBe(band === "weak" ? "approved" : "review");
        const blocked = { ...report(0), matches: [{ ...found, blocklisted: true }], totalMatches: 1 };
        expect(decideSearch(subject, blocked, undefined).outcome).toBe(band === "weak" ? "approved" : "declined");
      }
    }
  });
});

test("the default thresholds are those that the tools tell", () => {
  const [, common, linkface] =
    /`decline_threshold`, it is (\d+)\. Linkface[^.]*its default is (\d+)\./.exec(decisions) ?? [];
  const told = TOOLS.flatMap(({ name, input }) => {
    const described = z.toJSONSchema(input, { io: "input" }).properties?.["decline_threshold"];
    return typeof described === "object" ? [[name, /default (\d+)/.exec(described.description ?? "")?.[1]]] : [];
  });
  expect(Object.fromEntries(told)).toEqual({
    check_liveness: common,
    match_faces: common,
    verify_liveness_selfie: linkface,
  });
});

test("the limits of the device are those of its code", () => {
  expect(decisions).toContain(`faces from ${MIN_FOUND_SIMILARITY} up are reported`);
  expect(decisions).toContain(`from a similarity of ${SIMILARITY.possible} on a face counts as found`);
  expect(decisions).toContain(`a face is smaller than ${MIN_FACE_HEIGHT} pixels`);
});

interface Finished {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Nobody listens at port 9 of this machine: a command that asks a provider fails, and bills nothing. */
function biometrics(args: readonly string[]): Promise<Finished> {
  const home = temporaryFolder("home-");
  const nowhere = "http://127.0.0.1:9";
  const env = cleanEnvironment(home, {
    DIDIT_API_KEY: "no-such-key",
    DIDIT_API_BASE_URL: nowhere,
    DIDIT_AUTH_BASE_URL: nowhere,
    LINKFACE_API_BASE_URL: nowhere,
    LINKFACE_API_ID: "no-such-id",
    LINKFACE_API_SECRET: "no-such-secret",
  });
  return new Promise((done) => {
    execFile(process.execPath, [MAIN, ...args], { env, cwd: home }, (error, out, err) => {
      done({ code: error === null ? 0 : Number(error.code ?? -1), out, err });
    }).stdin?.end();
  });
}

const commands = files.flatMap((file) =>
  [...textOf(file).matchAll(/```sh\n(.*?)```/gs)].flatMap(([, block = ""]) => block.trim().split("\n")),
);

test.each(commands)("%s", async (line) => {
  const [name, ...args] = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");
  expect(name).toBe("biometrics-mcp");
  const { code, err } = await biometrics(args);
  expect(err).not.toMatch(/^error: /m);
  // Wrong usage would be 2; here files and services are missing, which is 1.
  expect(code, err).toBe(args.includes("--help") ? 0 : 1);
});

test("the exit codes are those of the program", async () => {
  const { out } = await biometrics(["check-liveness", "--help"]);
  const [told] = /^Exit code: .*$/m.exec(skill) ?? [];
  expect(told).toBeDefined();
  expect(out).toContain(told);
  const codes = rowsOf(decisions).filter((cells) => cells.length === 3 && /^\d$/.test(cells[2] ?? ""));
  expect(codes.map(([outcome, , code]) => `${outcome} ${code}`)).toEqual([
    "`approved` 0",
    "`review` 3",
    "`declined` 4",
  ]);
});

test("it can be installed as a folder: valid, short, and no link leads nowhere", async () => {
  const { entries } = await loadSkills(dirname(SERVED), { strict: true });
  expect(entries.map(({ uri }) => uri)).toEqual(["skill://face-checks/SKILL.md"]);
  expect(entries[0]?.resources).toHaveLength(files.length);
  expect(skill.split("\n").length).toBeLessThan(150);
  for (const file of files) {
    for (const [, target = ""] of textOf(file).matchAll(/\]\(([^)]+)\)/g)) {
      expect(files).toContain(join(dirname(file), target).replaceAll("\\", "/"));
    }
  }
});

test("its front matter names the key that OpenClaw may give it", () => {
  const { homepage } = JSON.parse(readFileSync(resolve(FOLDER, "../../package.json"), "utf8"));
  const key = "DIDIT_API_KEY" satisfies keyof typeof SETTINGS;
  expect(skill).toContain(`
metadata:
  openclaw:
    homepage: ${homepage.replace("#readme", "")}
    primaryEnv: ${key}
    envVars:
      - name: ${key}
        required: false
        description: `);
});

const hasCurl = spawnSync("curl", ["--version"]).status === 0 && spawnSync("bash", ["--version"]).status === 0;

test.skipIf(!hasCurl)("the commands that copy it, copy the whole folder", () => {
  const root = resolve(FOLDER, "../..");
  const { homepage } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const address = `https://raw.githubusercontent.com${new URL(homepage).pathname}/main`;
  const installing = readFileSync(join(root, "docs/installing.md"), "utf8");
  expect(installing).toContain(address);
  const home = temporaryFolder("home-");
  const blocks = installing.replace(address, pathToFileURL(root).href).matchAll(/^ {4}mkdir .*\n(?: {4}.*\n)*/gm);
  for (const [commands] of blocks) {
    const env = cleanEnvironment(home);
    const { status, stderr } = spawnSync("bash", ["-ec", commands], { env, cwd: root, encoding: "utf8" });
    expect(status, stderr).toBe(0);
  }
  for (const copied of [".claude/skills/face-checks", ".openclaw/skills/face-checks"]) {
    for (const file of files) expect(readFileSync(join(home, copied, file), "utf8")).toBe(textOf(file));
  }
});

describe.each([undefined, "2026-07-28"])("served, version %s", (version) => {
  async function connect() {
    const home = temporaryFolder("home-");
    const given = version === undefined ? {} : { version };
    const env = cleanEnvironment(home);
    const server = await connectTo({ command: process.execPath, args: [MAIN], env, cwd: home, ...given });
    onTestFinished(() => server.close());
    return { client: server.client, skills: new SkillsClient(server.client) };
  }

  test("as the SDK would serve the folder, and every file passes its check", async () => {
    const { skills } = await connect();
    const { entries } = await loadSkills(dirname(SERVED), { strict: true });
    const { skills: listed } = await skills.list();
    expect(listed).toEqual(entries);
    const [entry] = listed;
    if (entry === undefined) throw new Error("no skill");
    expect((await skills.get(entry.uri)).skill).toEqual(entry);
    for (const file of files) {
      expect(await skills.read(entry, file)).toMatchObject({
        verified: true,
        mimeType: "text/markdown",
        text: readFileSync(join(SERVED, file), "utf8"),
      });
    }
  });

  test("its folders can be read, and it is among the resources", async () => {
    const { skills, client } = await connect();
    const children = async (uri: string) => (await skills.readDirectory(uri)).resources.map(({ name }) => name).sort();
    expect(await children("skill://face-checks")).toEqual(["SKILL.md", "reference"]);
    expect(await children("skill://face-checks/reference")).toEqual(
      files.flatMap((file) => (file.startsWith("reference/") ? [file.slice("reference/".length)] : [])).sort(),
    );
    await expect(skills.readDirectory("skill://face-checks/no-such-folder")).rejects.toThrow(/not a directory/);
    const { resources } = await client.listResources();
    expect(resources.filter(({ uri }) => !uri.startsWith("ui:"))).toMatchObject([
      { uri: "skill://face-checks/SKILL.md", name: "face-checks" },
    ]);
  });

  test.each(["skill://face-checks/no-such.md", "skill://face-checks/../package.json", "skill://face-checks/%2e%2e/x"])(
    "%s is not there",
    async (uri) => {
      const { client } = await connect();
      await expect(client.readResource({ uri })).rejects.toThrow(/not found/i);
    },
  );
});
