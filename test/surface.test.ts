import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";
import { TOOLS } from "../src/tools/index.ts";

const SRC = resolve(import.meta.dirname, "../src");
const sources = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));

/** What each part may import of ours: a line may only name what stands above it. */
const LAYERS: readonly (readonly [part: RegExp, imports: RegExp])[] = [
  [/^(errors|warnings|untrusted|skills|secret|credentials-format)\.ts$/, /^$/],
  [/^(image|config)\.ts$/, /^errors\.ts$/],
  [/^credentials\.ts$/, /^(errors|credentials-format)\.ts$/],
  [/^log\.ts$/, /^untrusted\.ts$/],
  [/^arguments\.ts$/, /^(errors|untrusted)\.ts$/],
  [/^prompts\.ts$/, /^(arguments|untrusted)\.ts$/],
  [/^provider\.ts$/, /^(errors|warnings|image)\.ts$/],
  [/^liveness-selfie\.ts$/, /^(image|provider)\.ts$/],
  [/^account\.ts$/, /^(errors|provider)\.ts$/],
  [/^decision\.ts$/, /^(warnings|provider|untrusted)\.ts$/],
  [/^render\.ts$/, /^untrusted\.ts$/],
  [/^providers\/index\.ts$/, /^(config|errors|provider|account|credentials|liveness-selfie)\.ts$|^providers\//],
  [
    /^providers\//,
    /^(errors|warnings|untrusted|image|provider|account|credentials|liveness-selfie|secret)\.ts$|^providers\/(?!index)/,
  ],
  [/^tools\//, /^(arguments|errors|untrusted|warnings|image|provider|account|liveness-selfie|decision)\.ts$|^tools\//],
  [/^app\.ts$/, /^(secret|config|image)\.ts$|^providers\/index\.ts$|^tools\/define\.ts$|package\.json$/],
  [/^links\.ts$/, /^tools\/define\.ts$/],
  [/^server\.ts$/, /^(errors|log|links|prompts|render|skills)\.ts$|^listing\.json$|^tools\/(define|index)\.ts$/],
  [/^listing\.ts$/, /^prompts\.ts$|^tools\//],
  [/^sessions\.ts$/, /^(errors|log|server)\.ts$/],
  [/^http\.ts$/, /^(app|errors|log|server|sessions)\.ts$|^tools\/define\.ts$/],
  [/^doctor\.ts$/, /^(app|errors)\.ts$|^tools\/get-setup\.ts$/],
  [/^for-person\.ts$/, /^tools\/index\.ts$/],
  [/^completion\.ts$/, /^$/],
  [/^(serve|cli|main)\.ts$/, /./],
];

test.each(sources)("%s imports only what is below it", (file) => {
  const [, allowed] = LAYERS.find(([part]) => part.test(file)) ?? [];
  expect(allowed, `no layer for ${file}: add one`).toBeDefined();
  const text = readFileSync(join(SRC, file), "utf8");
  for (const [, target] of text.matchAll(/(?:from |import\()"(\.[^"]+)"/g)) {
    expect(relative(SRC, resolve(SRC, dirname(file), String(target)))).toMatch(allowed ?? /^$/);
  }
});

test.each([
  ["the MCP SDK", /"@modelcontextprotocol\//, ["http.ts", "links.ts", "server.ts", "sessions.ts", "skills.ts"]],
  ["the real process environment", /process\.env/, ["main.ts"]],
  ["standard output", /process\.stdout/, ["main.ts", "server.ts"]],
])("only one place knows %s", (_what, pattern, expected) => {
  const users = sources.filter((file) => pattern.test(readFileSync(join(SRC, file), "utf8")));
  expect(users.sort()).toEqual(expected);
});

test("each tool lives in the file named after it", () => {
  const files = sources.filter((file) => /^tools\/(?!define|index)/.test(file)).map((file) => file.slice(6, -3));
  expect(files.sort()).toEqual(TOOLS.map(({ name }) => name.replaceAll("_", "-")).sort());
});

test.each(TOOLS)("$name accepts no argument that it does not know", ({ input }) => {
  const issues = input.safeParse({ surprise: 1 }).error?.issues ?? [];
  expect(issues.map(({ code }) => code)).toContain("unrecognized_keys");
});

test.each(TOOLS)("$name answers with a summary", ({ output }) => {
  expect(Object.keys(output.shape)).toContain("summary");
});
