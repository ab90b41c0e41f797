import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { COLOUR_VARIABLES } from "../src/appearance.ts";

const folder = fileURLToPath(new URL("../src/card", import.meta.url));

/** The decision card as one page that needs nothing else. */
export async function cardPage(): Promise<string> {
  const { outputFiles } = await build({
    absWorkingDir: folder,
    entryPoints: ["card.css", "card.ts"],
    outdir: "card", // nothing is written there
    bundle: true,
    format: "iife",
    target: "es2022",
    minify: true,
    write: false,
  });
  const [style = "", script = ""] = outputFiles.map(({ text }) => text.trim());
  return (await readFile(join(folder, "card.html"), "utf8"))
    .replace("/* style */", () => COLOUR_VARIABLES + style)
    .replace("/* script */", () => script.replaceAll("</", "<\\/"));
}
