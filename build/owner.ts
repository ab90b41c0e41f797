/**
 * Writes the owner of the repository, which "OWNER" stands for until it is known, into every file that names it:
 *
 *   npm run owner -- NAME
 */
import { readFileSync, writeFileSync } from "node:fs";

const [name = ""] = process.argv.slice(2);
if (!/^[A-Za-z\d](-?[A-Za-z\d])*$/.test(name)) throw new Error("Give the name of a user or an organization of GitHub.");

const FILES = [
  "package.json",
  "manifest.json",
  "server.json",
  ".claude-plugin/marketplace.json",
  "skills/face-checks/SKILL.md",
  "docs/installing.md",
];
const root = new URL("..", import.meta.url);
const [, owner = "", repository = ""] =
  /github\.com\/([^/]+)\/([\w-]+)/.exec(readFileSync(new URL("package.json", root), "utf8")) ?? [];
for (const file of FILES) {
  const text = readFileSync(new URL(file, root), "utf8");
  writeFileSync(new URL(file, root), text.replaceAll(`${owner}/${repository}`, `${name}/${repository}`));
}
