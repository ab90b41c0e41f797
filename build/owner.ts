/**
 * Writes the owner of the repository, which "OWNER" stands for until it is known, into every file that names it:
 *
 *   npm run owner -- NAME
 */
import { readFileSync, writeFileSync } from "node:fs";

const [name = ""] = process.argv.slice(2);
if (!/^[A-Za-z\d](-?[A-Za-z\d])*$/.test(name)) throw new Error("Give the name of a user or an organization of GitHub.");

const root = new URL("..", import.meta.url);
const [, owner = ""] = /github\.com\/([^/]+)\//.exec(readFileSync(new URL("package.json", root), "utf8")) ?? [];
for (const file of ["package.json", "manifest.json", "server.json"]) {
  const text = readFileSync(new URL(file, root), "utf8");
  const renamed = text.replaceAll(`github.com/${owner}/`, `github.com/${name}/`);
  writeFileSync(new URL(file, root), renamed.replaceAll(`io.github.${owner}/`, `io.github.${name}/`));
}
