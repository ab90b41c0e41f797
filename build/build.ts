import { chmod, copyFile, cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parsePack } from "../src/providers/on-device/choice.ts";
import { networksOf, sha256Of } from "../src/providers/on-device/models.ts";
import { bundle } from "./bundle.ts";
import { cardPage } from "./card.ts";
import { fuseRelu } from "./fuse.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const packages = join(root, "node_modules");
const dist = join(root, "dist");
/** The runtime of the networks, and what starts it, also in each further thread. */
const WASM = ["ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.mjs"];

const { metafile } = await bundle();

const main = join(dist, "main.js");
await writeFile(main, `#!/usr/bin/env node\n${await readFile(main, "utf8")}`);
await chmod(main, 0o755);

await writeFile(join(dist, "card.html"), await cardPage());

await mkdir(join(dist, "models"), { recursive: true });
const pack = await readFile(join(root, "src/providers/on-device/shipped.json"));
for (const network of networksOf(parsePack(pack))) await makeModel(network);
await writeFile(join(dist, "models/pack.json"), pack);
for (const file of WASM) await copyFile(join(packages, "onnxruntime-web/dist", file), join(dist, file));
// The decoder of HEIC, unchanged and apart, as its licence asks; as .cjs, since dist holds ES modules.
const libheif = join(packages, "libheif-js/libheif-wasm");
await mkdir(join(dist, "libheif"), { recursive: true });
for (const [file, as = file] of [["libheif.js", "libheif.cjs"], ["libheif.wasm"], ["LICENSE"]] as const) {
  await copyFile(join(libheif, file), join(dist, "libheif", as));
}
await rm(join(dist, "skills"), { recursive: true, force: true }); // a page that was renamed would still be served
await cp(join(root, "skills"), join(dist, "skills"), { recursive: true });
// OpenClaw reads nested metadata from the folder; what is served over MCP may hold only strings there.
const skill = join(dist, "skills/face-checks/SKILL.md");
await writeFile(skill, (await readFile(skill, "utf8")).replace(/^metadata:\n(?: .*\n)+/m, ""));

// SQLite for a Node that has none, or an old one. Its package would build it by a script at install, which package
// managers refuse to run. Removed and not overwritten: a program may be running it.
const sqlite = join(packages, "@photostructure/sqlite");
const prebuilds = join(root, "prebuilds"); // beside dist: where the package looks from there
await rm(prebuilds, { recursive: true, force: true });
await cp(join(sqlite, "prebuilds"), prebuilds, { recursive: true });
await copyFile(join(sqlite, "LICENSE"), join(prebuilds, "LICENSE"));

// Removed last, and not all of dist beforehand: a program that runs meanwhile finds its files.
const made = new Set([
  ...Object.keys(metafile.outputs).map((output) => basename(output)),
  "card.html",
  "models",
  "skills",
  "libheif",
  ...WASM,
]);
for (const file of await readdir(dist)) {
  if (!made.has(file)) await rm(join(dist, file), { recursive: true, force: true });
}

async function makeModel({ file, sha256 }: { file: string; sha256: string }): Promise<void> {
  const from = join(packages, "faceplugin-face-recognition-js/model", file);
  const made = fuseRelu(await readFile(from));
  if (sha256Of(made) !== sha256) throw new Error(`${from} does not give the model that was measured`);
  await writeFile(join(dist, "models", file), made);
}
