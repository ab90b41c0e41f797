import { fileURLToPath } from "node:url";
import { type BuildOptions, build, type Plugin } from "esbuild";
import { LISTING } from "../src/mcp/listing.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The list of tools and prompts as data: making it would load every tool and schema at each start. */
const listing: Plugin = {
  name: "listing",
  setup(it) {
    it.onLoad({ filter: /src[\\/]mcp[\\/]listing\.ts$/ }, () => ({
      contents: `export const LISTING = ${JSON.stringify(LISTING)}`,
    }));
  },
};

interface BundleOptions extends Pick<BuildOptions, "write" | "outdir" | "plugins"> {
  /** Code at the start of each module. */
  readonly start?: string;
}

/** Makes the bundle in dist. `write: false`: only tells what would be in it. */
export const bundle = ({ write = true, outdir = "dist", plugins = [], start = "" }: BundleOptions = {}) =>
  build({
    write,
    absWorkingDir: root,
    entryPoints: {
      main: "src/start.ts",
      worker: "src/providers/on-device/worker.ts",
      converter: "src/images/converter.ts",
    },
    outdir,
    bundle: true,
    splitting: true, // what a call does not need is not loaded
    format: "esm",
    platform: "node",
    target: "node20",
    minify: true,
    legalComments: "linked",
    metafile: true,
    plugins: [listing, ...plugins],
    alias: { "@modelcontextprotocol/server/_shims": "./build/sdk-shims.ts" },
    external: ["sharp", "sqlite-vec", "onnxruntime-node"],
    // Bundled CommonJS (undici) asks for node: modules by require.
    banner: {
      js: `import { createRequire as requireFrom } from "node:module"; const require = requireFrom(import.meta.url);${start}`,
    },
  });
