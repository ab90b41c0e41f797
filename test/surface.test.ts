import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";
import { TOOLS } from "../src/tools/index.ts";

const SRC = resolve(import.meta.dirname, "../src");
const sources = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));

/**
 * The rooms of the house, lowest first, and the rooms that each may use beside itself. A file belongs to the longest path
 * that it begins with; "." is what lies in src/ itself. A new folder must be placed here.
 */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  ".": [],
  language: ["."],
  images: ["."],
  storage: ["."],
  providers: [".", "images"],
  "providers/http": ["."],
  "providers/didit": [".", "images", "storage", "providers", "providers/http"],
  "providers/linkface": [".", "images", "providers", "providers/http"],
  "providers/on-device": [".", "images", "storage", "providers"],
  "providers/index.ts": [".", "storage", "providers", "providers/didit", "providers/linkface", "providers/on-device"],
  decision: [".", "language", "images", "providers"],
  card: [".", "decision"],
  evaluation: [".", "language", "images", "storage", "providers", "providers/on-device"],
  toolkit: [".", "images", "providers", "decision"],
  tools: [".", "images", "providers", "decision", "toolkit"],
  "app.ts": [".", "images", "storage", "providers/index.ts", "toolkit"],
  mcp: [".", "language", "decision", "card", "toolkit", "tools", "app.ts"],
  "command-line": [
    ".",
    "language",
    "images",
    "storage",
    "providers",
    "providers/on-device",
    "decision",
    "evaluation",
    "toolkit",
    "tools",
    "app.ts",
    "mcp",
  ],
  "main.ts": [".", "storage", "command-line", "mcp"],
  "start.ts": ["main.ts"],
};

function roomOf(file: string): string | undefined {
  const rooms = Object.keys(ROOMS).filter((room) => file === room || file.startsWith(`${room}/`));
  const room = rooms.sort((a, b) => b.length - a.length)[0];
  return room ?? (file.includes("/") ? undefined : ".");
}

const importsOf = (file: string) =>
  [...readFileSync(join(SRC, file), "utf8").matchAll(/(?:from |import\()"(\.[^"]+)"/g)]
    .map(([, target]) => relative(SRC, resolve(SRC, dirname(file), String(target))))
    .filter((target) => target.endsWith(".ts"));

test("no room uses one above it", () => {
  const rooms = Object.keys(ROOMS);
  for (const [room, uses] of Object.entries(ROOMS)) {
    for (const used of uses) expect(rooms.indexOf(used), `${room} uses ${used}`).toBeLessThan(rooms.indexOf(room));
    expect(rooms).toEqual(expect.arrayContaining([...uses]));
  }
});

test.each(sources)("%s imports only what its room may use", (file) => {
  const room = roomOf(file);
  expect(room, `no room for ${file}: place its folder in ROOMS`).toBeDefined();
  for (const target of importsOf(file)) {
    expect([room, ...(ROOMS[room ?? ""] ?? [])], `${file} imports ${target}`).toContain(roomOf(target));
  }
});

test("no file imports itself by way of others", () => {
  const done = new Set<string>();
  const visit = (file: string, way: readonly string[]) => {
    expect(way, [...way, file].join(" -> ")).not.toContain(file);
    if (done.has(file)) return;
    for (const target of importsOf(file)) visit(target, [...way, file]);
    done.add(file);
  };
  for (const file of sources) visit(file, []);
});

test.each([
  [
    "the MCP SDK",
    /"@modelcontextprotocol\//,
    ["guard.ts", "http.ts", "links.ts", "server.ts", "sessions.ts", "skills.ts", "stdio.ts"].map(
      (file) => `mcp/${file}`,
    ),
  ],
  ["the real process environment", /process\.env/, ["main.ts"]],
  ["standard output", /process\.stdout|stdout \} = process/, ["main.ts", "mcp/stdio.ts"]],
])("only one place knows %s", (_what, pattern, expected) => {
  const users = sources.filter((file) => pattern.test(readFileSync(join(SRC, file), "utf8")));
  expect(users.sort()).toEqual(expected);
});

test("each tool lives in the file named after it", () => {
  const files = sources.filter((file) => /^tools\/(?!index)/.test(file)).map((file) => file.slice(6, -3));
  expect(files.sort()).toEqual(TOOLS.map(({ name }) => name.replaceAll("_", "-")).sort());
});

test.each(TOOLS)("$name accepts no argument that it does not know", ({ input }) => {
  const issues = input.safeParse({ surprise: 1 }).error?.issues ?? [];
  expect(issues.map(({ code }) => code)).toContain("unrecognized_keys");
});

test.each(TOOLS)("$name answers with a summary", ({ output }) => {
  expect(Object.keys(output.shape)).toContain("summary");
});
