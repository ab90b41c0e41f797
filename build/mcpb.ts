/**
 * Packs one desktop bundle for macOS, Windows and Linux. macOS refuses native addons in a bundle, so it has none:
 * pictures are decoded by sharp's WebAssembly build, and SQLite is the one of the Node that runs it.
 */
import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { packExtension } from "@anthropic-ai/mcpb";

const root = fileURLToPath(new URL("..", import.meta.url));
const NATIVE = /\.(node|dll|dylib|so(\.\d+)*)$/;
/** What runs, and what a reader of the bundle should find. */
const CONTENTS = ["manifest.json", "assets/icon.png", "dist", "LICENSE", "NOTICE", "README.md"];

const { name, version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as Record<string, string>;
const output = process.argv[2] ?? join(root, `${name}-${version}.mcpb`);

const stage = await mkdtemp(join(tmpdir(), "mcpb-"));
try {
  await installSharp();
  for (const path of CONTENTS) await cp(join(root, path), join(stage, path), { recursive: true });
  // Node asks it whether the files are ES modules.
  await writeFile(join(stage, "package.json"), `${JSON.stringify({ name, version, type: "module", private: true })}\n`);
  await drop();
  await refuseNative();
  // Validates the manifest and its icon first.
  if (!(await packExtension({ extensionPath: stage, outputPath: output, silent: true }))) {
    throw new Error("the bundle could not be packed");
  }
  console.log(`${output}: ${((await stat(output)).size / 1e6).toFixed(1)} MB`);
} finally {
  await rm(stage, { recursive: true, force: true });
}

/**
 * The sharp of this checkout with its WebAssembly build in the place of the platform's own. Made here and not a
 * dependency: npm installs a package for the processor "wasm32" only where it is told that this is the processor.
 */
async function installSharp(): Promise<void> {
  const { version: sharp } = JSON.parse(await readFile(join(root, "node_modules/sharp/package.json"), "utf8")) as {
    version: string;
  };
  await writeFile(join(stage, "package.json"), `{"private":true}\n`);
  const args = ["install", "--cpu=wasm32", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"];
  await promisify(execFile)("npm", [...args, `sharp@${sharp}`, `@img/sharp-wasm32@${sharp}`], {
    cwd: stage,
    shell: process.platform === "win32", // where npm is a .cmd
  });
}

/** What no program of the bundle reads: the sources of sharp's addon, its types, the commands of its dependencies. */
async function drop(): Promise<void> {
  const modules = join(stage, "node_modules");
  for (const path of [".bin", ".package-lock.json", "sharp/src", "sharp/install", "@img/sharp-webcontainers-wasm32"]) {
    await rm(join(modules, path), { recursive: true, force: true });
  }
}

async function refuseNative(): Promise<void> {
  const native = (await readdir(stage, { recursive: true })).filter((file) => NATIVE.test(file));
  if (native.length > 0) throw new Error(`native files in the bundle: ${native.join(", ")}`);
}
