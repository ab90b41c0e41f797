import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";
import { TOOLS } from "../src/tools/index.ts";

const SRC = resolve(import.meta.dirname, "../src");
const sources = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));

/** What each part may import of ours: a line may only name what stands above it. */
const LAYERS: readonly (readonly [part: RegExp, imports: RegExp])[] = [
  [/^(errors|warnings|untrusted|skills|secret|credentials-format)\.ts$/, /^$/],
  [/^(config|errno)\.ts$/, /^errors\.ts$/],
  [/^image\.ts$/, /^(errno|errors)\.ts$/],
  [/^data-folder\.ts$/, /^err(no|ors)\.ts$/],
  [/^credentials\.ts$/, /^(err(no|ors)|data-folder|credentials-format)\.ts$/],
  [/^log\.ts$/, /^(secret|untrusted)\.ts$/],
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
    /^(err(no|ors)|data-folder|warnings|untrusted|image|provider|account|credentials|liveness-selfie|secret)\.ts$|^providers\/(?!index)/,
  ],
  [/^tools\//, /^(arguments|errors|untrusted|warnings|image|provider|account|liveness-selfie|decision)\.ts$|^tools\//],
  [/^app\.ts$/, /^(secret|config|image)\.ts$|^providers\/index\.ts$|^tools\/define\.ts$|package\.json$/],
  [/^admission\.ts$/, /^errors\.ts$/],
  [/^links\.ts$/, /^tools\/define\.ts$/],
  [
    /^server\.ts$/,
    /^(admission|errors|log|links|prompts|render|skills)\.ts$|^listing\.json$|^tools\/(define|index)\.ts$/,
  ],
  [/^listing\.ts$/, /^prompts\.ts$|^tools\//],
  [/^sessions\.ts$/, /^(errors|log|server)\.ts$/],
  [/^http\.ts$/, /^(admission|app|errors|log|server|sessions)\.ts$|^tools\/define\.ts$/],
  [
    /^doctor\.ts$/,
    /^(app|config|data-folder|errors)\.ts$|^tools\/get-setup\.ts$|^providers\/on-device\/(gallery\/(inspect|open)|models)\.ts$/,
  ],
  [/^start\.ts$/, /^main\.ts$/],
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
  [
    "the MCP SDK",
    /"@modelcontextprotocol\//,
    ["http.ts", "links.ts", "serve.ts", "server.ts", "sessions.ts", "skills.ts"],
  ],
  ["the real process environment", /process\.env/, ["main.ts"]],
  ["standard output", /process\.stdout|stdout \} = process/, ["main.ts", "serve.ts"]],
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
