import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { SETTINGS } from "../src/config.ts";
import { Decision } from "../src/decision/decision.ts";
import { FAILURES } from "../src/errors.ts";
import { LISTING } from "../src/mcp/listing.ts";
import { TOOLS } from "../src/tools/index.ts";
import { OUTCOMES } from "../src/warnings.ts";
import { connectTo } from "./package/connect.ts";
import { cleanEnvironment, closing, ERAS, MAIN, temporaryFolder } from "./support/clients.ts";
import { makePhotos } from "./support/photos.ts";

const ROOT = resolve(import.meta.dirname, "..");
const textOf = (page: string) => readFileSync(resolve(ROOT, page), "utf8");
const readme = textOf("README.md");

/** What stands in back quotes in the first column of the tables below a heading. */
function firstColumn(page: string, heading: string): string[] {
  const section =
    textOf(page)
      .split(/^#+ /m)
      .find((part) => part.startsWith(`${heading}\n`)) ?? "";
  return [...section.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell = ""]) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name),
  );
}

test("the README lists the tools as the server does", () => {
  expect(firstColumn("README.md", "Tools")).toEqual(TOOLS.map(({ name }) => name));
});

test("the README lists the outcomes", () => {
  expect(firstColumn("README.md", "Outcomes")).toEqual([...OUTCOMES]);
});

test("every setting is documented", () => {
  expect(firstColumn("docs/configuration.md", "Settings").sort()).toEqual(Object.keys(SETTINGS).sort());
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

test("every page of docs can be reached from README", () => {
  for (const page of PAGES) if (page.startsWith("docs/")) expect(readme).toContain(`](${page})`);
});

/** Without what differs from run to run and from machine to machine. */
const inShape = (text: string) =>
  text.replace(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, "id").replace(/\d+(\.\d+)?/g, "0");

test("the answer in README is what the server answers: `npm run listing` writes it", async () => {
  const { womanA, womanB, dir } = await makePhotos(temporaryFolder("photos-"));
  const env = cleanEnvironment(temporaryFolder("home-"), { BIOMETRICS_IMAGE_DIRS: dir });
  const server = await connectTo({ command: process.execPath, args: [MAIN], env, cwd: dir });
  onTestFinished(() => server.close());
  const args = { user_image_path: womanA, reference_image_path: womanB };
  const answered = await server.call("match_faces", args);
  const result = Decision.omit({ images: true, detected_faces: true, raw: true }).parse(answered);
  expect(result.outcome).toBe("approved");
  const answer = `\`\`\`text\n${answered.text}\n\`\`\`\n\n\`\`\`json\n${JSON.stringify(result, null, 2)}\n\`\`\`\n\n`;
  const [, head = "", shown = "", tail = ""] =
    /^(.*<!-- answer: [^\n]*\n\n?)(.*?)(<!-- \/answer -->.*)$/s.exec(readme) ?? [];
  const isSame = inShape(shown) === inShape(answer);
  await expect(isSame ? readme : `${head}${answer}${tail}`).toMatchFileSnapshot(resolve(ROOT, "README.md"));
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

test("README gives each client a command", () => {
  expect(snippets).toHaveLength(3);
});

test("what clients see of tools and prompts changes only with test/listing.json, which is reviewed like an API", async () => {
  await expect(`${JSON.stringify(LISTING, null, 2)}
`).toMatchFileSnapshot("listing.json");
});

test.each(ERAS)("the list of tools is short, and as listed, in $era", async ({ connect }) => {
  const tools = await closing(await connect()).listTools();
  expect(Buffer.byteLength(JSON.stringify({ tools }))).toBeLessThanOrEqual(13_000);
  const seen = tools.map(({ name, title, description, inputSchema, outputSchema, annotations }) => {
    return { name, title, description, input: inputSchema, output: outputSchema, hints: annotations };
  });
  expect(seen).toEqual(JSON.parse(JSON.stringify(LISTING.tools)));
});
