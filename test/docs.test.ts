import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { SETTINGS } from "../src/config.ts";
import { FAILURES } from "../src/errors.ts";
import { LISTING } from "../src/mcp/listing.ts";
import { TOOLS } from "../src/tools/index.ts";
import { connectTo } from "./package/connect.ts";
import { cleanEnvironment, closing, ERAS, temporaryFolder } from "./support/clients.ts";

const ROOT = resolve(import.meta.dirname, "..");
const readme = readFileSync(resolve(ROOT, "README.md"), "utf8");

/** What stands in back quotes in the first column of the tables below a heading. */
function firstColumn(heading: string): string[] {
  const section = readme.split(/^#+ /m).find((part) => part.startsWith(`${heading}\n`)) ?? "";
  return [...section.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell = ""]) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name),
  );
}

test("the README lists the tools as the server does", () => {
  expect(firstColumn("Tools")).toEqual(TOOLS.map(({ name }) => name));
});

test("the README lists every setting", () => {
  expect(firstColumn("Configuration").sort()).toEqual(Object.keys(SETTINGS).sort());
});

test("the README lists every error", () => {
  expect(firstColumn("Errors")).toEqual(Object.keys(FAILURES));
});

/** The commands that README gives to clients, with this checkout's path. */
const snippets = [
  ...[...readme.matchAll(/^```json\n(.*?)^```$/gms)].map(([, json = ""]) => {
    const { mcpServers, servers = mcpServers } = JSON.parse(json);
    return [servers.biometrics.command, ...servers.biometrics.args];
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
