import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import sharp from "sharp";
import { expect, onTestFinished, test } from "vitest";
import * as z from "zod";
import { readConfig, SETTINGS, type Setting } from "../src/config.ts";
import { CHECKS, Decision } from "../src/decision/decision.ts";
import { SearchDecision } from "../src/decision/search.ts";
import { FAILURES } from "../src/errors.ts";
import { LISTING } from "../src/mcp/listing.ts";
import { PROMPTS } from "../src/mcp/prompts.ts";
import { TOOLS } from "../src/tools/index.ts";
import { OUTCOMES } from "../src/warnings.ts";
import { connectTo } from "./package/connect.ts";
import { cleanEnvironment, closing, ERAS, MAIN, temporaryFolder } from "./support/clients.ts";
import { makePhotos } from "./support/photos.ts";
import { API_KEY } from "./support/stand-in.ts";

const ROOT = resolve(import.meta.dirname, "..");
const textOf = (page: string) => readFileSync(resolve(ROOT, page), "utf8");
const readme = textOf("README.md");

/** What stands below a heading, up to the next one. */
const sectionOf = (page: string, heading: string) =>
  textOf(page)
    .split(/^#+ /m)
    .find((part) => part.startsWith(`${heading}\n`)) ?? "";

/** The cells of each row of the table below a heading, without its head. */
const rowsOf = (page: string, heading: string) =>
  [...sectionOf(page, heading).matchAll(/^\| (.+) \|$/gm)].slice(1).map(([, cells = ""]) => cells.split(" | "));

const quotedIn = (text: string) => [...text.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name);

/** What stands in back quotes in the first column of the table below a heading. */
const firstColumn = (page: string, heading: string) =>
  rowsOf(page, heading).flatMap(([cell = ""]) => (cell.startsWith("`") ? quotedIn(cell) : []));

test("the README lists the tools as the server does", () => {
  expect(firstColumn("README.md", "Tools")).toEqual(TOOLS.map(({ name }) => name));
});

test("the README lists the prompts", () => {
  const [line = ""] = /^Prompts: .*$/m.exec(readme) ?? [];
  expect(quotedIn(line)).toEqual(PROMPTS.map(({ name }) => name));
});

test("the README lists the outcomes", () => {
  expect(firstColumn("README.md", "Outcomes")).toEqual([...OUTCOMES]);
});

test("every setting is documented, with its default", () => {
  const rows = rowsOf("docs/configuration.md", "Settings");
  expect(rows.flatMap(([names = ""]) => quotedIn(names)).sort()).toEqual(Object.keys(SETTINGS).sort());
  const { provider, didit, linkface, timeoutMs } = readConfig({});
  const defaults: Partial<Record<Setting, string>> = {
    BIOMETRICS_PROVIDER: `\`${provider}\` (default)`,
    DIDIT_API_BASE_URL: didit.baseUrl,
    DIDIT_AUTH_BASE_URL: didit.authBaseUrl,
    LINKFACE_API_BASE_URL: linkface.baseUrl,
    BIOMETRICS_TIMEOUT_MS: `Default ${timeoutMs}`,
  };
  for (const [setting, preset] of Object.entries(defaults)) {
    expect(rows.find(([names]) => names === `\`${setting}\``)?.[1], setting).toContain(preset);
  }
});

test.each([
  [{}, "on the device"],
  [{ DIDIT_API_KEY: API_KEY }, "Didit"],
])("the README names the images that a provider accepts, %j", async (env, provider) => {
  const home = temporaryFolder("home-");
  const server = await connectTo({
    command: process.execPath,
    args: [MAIN],
    env: cleanEnvironment(home, env),
    cwd: home,
  });
  onTestFinished(() => server.close());
  const setup = z.object({ formats: z.string(), max_bytes: z.int() }).parse(await server.call("get_setup"));
  const [head = [], ...rows] = [...sectionOf("README.md", "Providers").matchAll(/^\|(.+)\|$/gm)].map(([, cells = ""]) =>
    cells.split("|").map((cell) => cell.trim()),
  );
  const images = rows.find(([what]) => what === "images") ?? [];
  const [, first = ""] = images;
  const said = images[head.indexOf(provider)] === "the same" ? first : images[head.indexOf(provider)];
  expect(said).toBe(`${setup.formats.replace(" or ", ", ")}, up to ${setup.max_bytes / 2 ** 20} MB`);
});

/** Of `tools/list`: a host puts all of it before the model at every turn. */
const MAX_LISTING_BYTES = 14_000;

test("the comparison counts our own tools, and names the version of the peer that was measured", () => {
  const { dependencies } = JSON.parse(textOf("bench/package.json"));
  expect(readme).toContain(`| | this project | Didit's MCP server ${dependencies["@didit-protocol/mcp-server"]} |\n`);
  expect(readme).toContain(`| tools in the model's list | ${TOOLS.length}, below ${MAX_LISTING_BYTES / 1000} KB |`);
});

test("the README names the versions of Node that are tested", () => {
  const [, tested = ""] = /^for version in ([\d. ]+); do/m.exec(textOf(".ci/run")) ?? [];
  const [, named = "", tooOld = ""] =
    /tested with ([\d., and]+)\. Node (\d+) /.exec(sectionOf("README.md", "Versions")) ?? [];
  expect([tooOld, ...(named.match(/[\d.]+/g) ?? [])]).toEqual(tested.split(" "));
});

test("the README names the versions of MCP that are spoken", () => {
  const [line = ""] = /^- \*\*MCP\*\*: .*$/m.exec(readme) ?? [];
  const [modern, ...legacy] = line.match(/\d{4}-\d\d-\d\d/g) ?? [];
  expect(ERAS.map(({ era }) => era).sort()).toEqual([legacy[0], modern]);
  for (const protocolVersion of legacy) {
    const clientInfo = { name: "test", version: "1" };
    const params = { protocolVersion, capabilities: {}, clientInfo };
    const input = `${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params })}\n`;
    const env = cleanEnvironment(temporaryFolder("home-"));
    const { stdout } = spawnSync(process.execPath, [MAIN], { env, input, encoding: "utf8" });
    expect(JSON.parse(stdout).result.protocolVersion).toBe(protocolVersion);
  }
});

test("every error is documented", () => {
  expect(firstColumn("docs/errors.md", "Codes")).toEqual(Object.keys(FAILURES));
  const known = Object.keys({ ...FAILURES, ...SETTINGS });
  const symptoms = firstColumn("README.md", "Troubleshooting");
  expect(symptoms.filter((symptom) => !known.includes(symptom))).toEqual([]);
});

test("every field of a check's result is documented", () => {
  const fields = TOOLS.flatMap(({ output: { shape } }) => ("outcome" in shape ? Object.keys(shape) : []));
  expect(firstColumn("docs/results.md", "Fields").sort()).toEqual([...new Set(fields)].sort());
  const meaningOf = (field: string) =>
    quotedIn(rowsOf("docs/results.md", "Fields").find(([names]) => names?.includes(`\`${field}\``))?.[1] ?? "");
  expect(meaningOf("check")).toEqual([...CHECKS]);
  expect(meaningOf("outcome")).toEqual([...OUTCOMES]);
  expect(meaningOf("warnings")).toEqual(Object.keys(Decision.shape.warnings.element.shape));
  expect(Object.keys(SearchDecision.shape.matches.element.shape)).toEqual(expect.arrayContaining(meaningOf("matches")));
});

/** Pages that people read, in the repository's root, in docs and in the skill. */
const PAGES = ["", "docs", "skills"].flatMap((folder) =>
  readdirSync(resolve(ROOT, folder), { recursive: folder !== "", encoding: "utf8" })
    .map((file) => join(folder, file))
    .filter((file) => file.endsWith(".md")),
);

/** The anchor that GitHub gives to a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\- _]/gu, "")
    .replaceAll(" ", "-");
}

test.each(PAGES)("every link of %s leads somewhere", (page) => {
  const prose = textOf(page).replace(/^```.*?^```/gms, "");
  const broken = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = ""]) => {
    if (/^https:/.test(target)) return [];
    const [path = "", anchor] = target.split("#");
    const file = path === "" ? page : join(dirname(page), path);
    if (!existsSync(resolve(ROOT, file))) return [target];
    const anchors = () => [...textOf(file).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => anchorOf(heading));
    return anchor === undefined || anchors().includes(anchor) ? [] : [target];
  });
  expect(broken).toEqual([]);
});

test.each(PAGES)("every script and file that %s names is there", (page) => {
  const { scripts } = JSON.parse(textOf("package.json"));
  const named = [...textOf(page).matchAll(/npm run ([\w:]+)/g)].map(([, script = ""]) => script);
  expect(named.filter((script) => !(script in scripts))).toEqual([]);
  const sources = ["src", "test", "bench", "build", "demo"].flatMap((folder) =>
    readdirSync(resolve(ROOT, folder), { recursive: true, encoding: "utf8" }).map((file) => `/${folder}/${file}`),
  );
  const files = quotedIn(textOf(page)).filter((word) => /^[\w./-]+\.ts$/.test(word));
  expect(files.filter((file) => !sources.some((source) => source.endsWith(`/${file}`)))).toEqual([]);
});

/** Text below which nobody knows what a picture shows. */
const LEAST_ALT_CHARS = 15;

test.each(PAGES)("every picture of %s says in words what it shows", (page) => {
  for (const [picture, alt = ""] of textOf(page).matchAll(/!\[([^\]]*)\]\([^)]*\)/g)) {
    expect(alt.length, picture).toBeGreaterThan(LEAST_ALT_CHARS);
  }
  expect(textOf(page)).not.toMatch(/<img/); // which the test of links does not see
});

test("the pictures that README shows are those that `npm run screenshots` makes, and small", async () => {
  const made = [...textOf("demo/screenshots.ts").matchAll(/keep\("([\w-]+\.png)"/g)].map(([, name]) => name);
  const shown = [...readme.matchAll(/\(docs\/pictures\/([^)]+)\)/g)].map(([, name]) => name);
  expect(shown.length).toBeGreaterThan(3);
  expect([...made].sort()).toEqual([...shown].sort());
  expect(readdirSync(resolve(ROOT, "docs/pictures")).sort()).toEqual([...shown].sort());
  for (const name of shown) {
    const png = readFileSync(resolve(ROOT, `docs/pictures/${name}`));
    expect(await sharp(png).metadata()).toMatchObject({ format: "png", isPalette: true });
    expect(png.length, name).toBeLessThan(100_000);
  }
});

test("CONTRIBUTING names constants that exist", () => {
  const code = ["src", "test"].flatMap((folder) =>
    readdirSync(resolve(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => textOf(join(folder, file))),
  );
  const constants = quotedIn(textOf("CONTRIBUTING.md")).filter((word) => /^[A-Z_]{3,}$/.test(word) && word !== "OWNER");
  expect(constants.length).toBeGreaterThan(3);
  const isDeclared = (name: string) =>
    code.some((text) => text.includes(`const ${name} `) || text.includes(`const ${name}:`));
  expect(constants.filter((name) => !isDeclared(name))).toEqual([]);
});

test("CONTRIBUTING shows the folders as they are", () => {
  const foldersOf = (folder: string) =>
    readdirSync(resolve(ROOT, folder), { withFileTypes: true }).flatMap((it) => (it.isDirectory() ? [it.name] : []));
  const shown = [...sectionOf("CONTRIBUTING.md", "Where things are").matchAll(/([\w-]+)\/(?=\s)/g)].map(
    ([, name]) => name,
  );
  const sources = [...foldersOf("src"), ...foldersOf("src/providers")];
  expect(shown).toEqual(expect.arrayContaining(sources));
  expect([...foldersOf("."), ...sources]).toEqual(expect.arrayContaining(shown));
});

test("every figure of what was tried stands in the test that tries it", () => {
  const rows = rowsOf("SECURITY.md", "What was tried");
  expect(rows.length).toBeGreaterThan(5);
  for (const [tried = "", held = "", tests = ""] of rows) {
    const code = [...tests.matchAll(/\]\(([^)]+)\)/g)]
      .map(([, file = ""]) => textOf(file))
      .join("")
      .replaceAll("_", "");
    const figures = `${tried} ${held}`.replaceAll(",", "").match(/\d+/g) ?? [];
    expect(
      figures.filter((figure) => !new RegExp(`(?<!\\d)${figure}(000)?(?!\\d)`).test(code)),
      tried,
    ).toEqual([]);
  }
});

test("the changelog has the version of the package, in the format that it names", () => {
  const { version } = JSON.parse(textOf("package.json"));
  const headings = [...textOf("CHANGELOG.md").matchAll(/^## (.+)$/gm)].map(([, heading]) => heading);
  expect(headings[0]).toBe("[Unreleased]");
  expect(headings[1]).toMatch(new RegExp(`^\\[${version}\\] - \\d{4}-\\d\\d-\\d\\d$`));
  for (const [, kind] of textOf("CHANGELOG.md").matchAll(/^### (.+)$/gm)) {
    expect(["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]).toContain(kind);
  }
});

test("every page of docs can be reached from README", () => {
  for (const page of PAGES) if (page.startsWith("docs/")) expect(readme).toContain(`](${page})`);
});

/** Without what differs from run to run and from machine to machine. */
const inShape = (text: string) =>
  text.replace(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, "id").replace(/\d+(\.\d+)?/g, "0");

test("the run in README is what happens: `npm run listing` writes the answer", { timeout: 120_000 }, async () => {
  const home = temporaryFolder("home-");
  mkdirSync(join(home, "Pictures"));
  await makePhotos(join(home, "Pictures"));
  const server = await connectTo({ command: process.execPath, args: [MAIN], env: cleanEnvironment(home), cwd: home });
  onTestFinished(() => server.close());
  const [, tool = "", args = ""] = /calls `(\w+)` with\s+> `(\{.*?\})`/.exec(readme) ?? [];
  const answered = await server.call(tool, JSON.parse(args));
  const result = Decision.omit({ images: true, detected_faces: true, raw: true }).parse(answered);
  const answer = `\`\`\`json\n${JSON.stringify(result, null, 2)}\n\`\`\`\n\n`;
  const [, head = "", shown = "", tail = ""] =
    /^(.*<!-- answer: [^\n]*\n\n?)(.*?)(<!-- \/answer -->.*)$/s.exec(readme) ?? [];
  const isSame = inShape(shown) === inShape(answer);
  await expect(isSame ? readme : `${head}${answer}${tail}`).toMatchFileSnapshot(resolve(ROOT, "README.md"));
  const [, similarity = "none"] = /, ([a-z ]+ similarity)[;)]/.exec(result.summary) ?? [];
  expect(readme).toMatch(new RegExp(`\\*\\*Assistant\\*\\*: .*${result.outcome}.*${similarity}`));
});

/** The commands that README gives to clients, with this checkout's path. */
const snippets = [
  ...[...readme.matchAll(/^```json\n(.*?)^```$/gms)].flatMap(([, json = ""]) => {
    const { mcpServers, servers = mcpServers } = JSON.parse(json);
    return servers === undefined ? [] : [[servers.biometrics.command, ...servers.biometrics.args]];
  }),
  ...[...readme.matchAll(/^ {4}claude mcp add biometrics -- (.+)$/gm)].map(([, line = ""]) => line.split(" ")),
].map((words) => words.map((word: string) => word.replace("/path/to/biometrics-mcp", ROOT)));

test.each(snippets)("what README has a client start is there: %s %s", async (command, ...args) => {
  const home = temporaryFolder("home-");
  const server = await connectTo({ command, args, env: cleanEnvironment(home), cwd: home });
  onTestFinished(() => server.close());
  expect(await server.call("get_setup")).toMatchObject({ provider: "on-device" });
});

/** What README shows of the command line. */
const commands = [...sectionOf("README.md", "Command line").matchAll(/^ {4}(.+)$/gm)].map(([, line = ""]) => line);

test.skipIf(process.platform === "win32")(
  "the commands in README work as they stand there, and end with the code of their outcome",
  {
    timeout: 180_000,
  },
  async () => {
    const home = temporaryFolder("home-");
    const { womanA, womanB } = await makePhotos(home);
    copyFileSync(womanA, join(home, "selfie.jpg"));
    copyFileSync(womanB, join(home, "passport.jpg"));
    mkdirSync(join(home, "selfies"));
    copyFileSync(womanA, join(home, "selfies/a.jpg"));
    const codes = Object.fromEntries(
      rowsOf("README.md", "Outcomes").map(([outcome = "", , code]) => [quotedIn(outcome)[0], Number(code)]),
    );
    expect(commands.length).toBeGreaterThan(5);
    for (const command of commands) {
      const script = `biometrics-mcp() { "${process.execPath}" "${MAIN}" "$@"; }\n${command}`;
      const { status, stdout, stderr } = spawnSync("bash", ["-c", script], {
        cwd: home,
        env: cleanEnvironment(home),
        encoding: "utf8",
      });
      const [, outcome = ""] = /^(?:\{.*"outcome":"|1 image: 1 )?(approved|review|declined)/.exec(stdout) ?? [];
      expect(status, `${command}\n${stderr}`).toBe(/ (check|match|search|verify)-/.test(command) ? codes[outcome] : 0);
    }
  },
);

test("every flag that README and docs name is one", () => {
  const env = cleanEnvironment(temporaryFolder("home-"));
  const flags = [
    "check-liveness",
    "verify-person",
    "doctor",
    "audit verify",
    "evaluate",
    "enroll-face",
    "gallery export",
    "serve",
  ].flatMap((command) => {
    const { stdout } = spawnSync(process.execPath, [MAIN, ...command.split(" "), "--help"], {
      env,
      encoding: "utf8",
    });
    return stdout.match(/--[a-z-]+/g) ?? [];
  });
  const pages = PAGES.filter((page) => page === "README.md" || page.startsWith("docs/"));
  const named = pages.flatMap((page) => textOf(page).match(/(?<=`(?:[a-z -]+ )?)--[a-z-]+/g) ?? []);
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((flag) => !flags.includes(flag))).toEqual([]);
});

test("README gives each client a command", () => {
  expect(snippets).toHaveLength(3);
});

test("what clients see of tools and prompts changes only with test/listing.json, which is reviewed like an API", async () => {
  await expect(`${JSON.stringify(LISTING, null, 2)}
`).toMatchFileSnapshot("listing.json");
});

test.each(ERAS)("the list of tools is short, and as listed, in $era", async ({ connect }) => {
  const tools = await closing(await connect()).listTools();
  expect(Buffer.byteLength(JSON.stringify({ tools }))).toBeLessThanOrEqual(MAX_LISTING_BYTES);
  const seen = tools.map(({ name, title, description, inputSchema, outputSchema, annotations, _meta: meta }) => {
    return { name, title, description, input: inputSchema, output: outputSchema, hints: annotations, meta };
  });
  expect(seen).toEqual(JSON.parse(JSON.stringify(LISTING.tools)));
});
