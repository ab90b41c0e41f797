import { rm } from "node:fs/promises";
import { build } from "esbuild";

const root = new URL("..", import.meta.url).pathname;

await rm(`${root}dist`, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: { main: "src/main.ts", worker: "src/providers/on-device/worker.ts" },
  outdir: "dist",
  bundle: true,
  splitting: true, // what a call does not need is not loaded
  format: "esm",
  platform: "node",
  target: "node20",
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "linked",
  external: ["sharp", "@photostructure/sqlite", "sqlite-vec", "onnxruntime-node"],
  // Bundled CommonJS (undici) asks for node: modules by require.
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
});
