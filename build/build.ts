import { chmod, copyFile, cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { isIntact, MODELS, type ModelName } from "../src/providers/on-device/models.ts";
import { bundle } from "./bundle.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const packages = join(root, "node_modules");
const dist = join(root, "dist");
const WASM = "ort-wasm-simd-threaded.wasm";

const { metafile } = await bundle();

const main = join(dist, "main.js");
await writeFile(main, `#!/usr/bin/env node\n${await readFile(main, "utf8")}`);
await chmod(main, 0o755);

await mkdir(join(dist, "models"), { recursive: true });
for (const name of Object.keys(MODELS) as ModelName[]) await copyModel(name);
await copyFile(join(packages, "onnxruntime-web/dist", WASM), join(dist, WASM));
await rm(join(dist, "skills"), { recursive: true, force: true }); // a page that was renamed would still be served
await cp(join(root, "skills"), join(dist, "skills"), { recursive: true });

// SQLite for a Node that has none, or an old one. Its package would build it by a script at install, which package
// managers refuse to run. Removed and not overwritten: a program may be running it.
const sqlite = join(packages, "@photostructure/sqlite");
const prebuilds = join(root, "prebuilds"); // beside dist: where the package looks from there
await rm(prebuilds, { recursive: true, force: true });
await cp(join(sqlite, "prebuilds"), prebuilds, { recursive: true });
await copyFile(join(sqlite, "LICENSE"), join(prebuilds, "LICENSE"));

// Removed last, and not all of dist beforehand: a program that runs meanwhile finds its files.
const made = new Set([...Object.keys(metafile.outputs).map((output) => basename(output)), "models", "skills", WASM]);
for (const file of await readdir(dist)) {
  if (!made.has(file)) await rm(join(dist, file), { recursive: true, force: true });
}

async function copyModel(name: ModelName): Promise<void> {
  const { file } = MODELS[name];
  const from = join(packages, "faceplugin-face-recognition-js/model", file);
  if (!isIntact(name, await readFile(from))) throw new Error(`${from} is not the model that was measured`);
  await copyFile(from, join(dist, "models", file));
}
