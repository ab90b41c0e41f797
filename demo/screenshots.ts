/**
 * The pictures in README, of real results: the checks run on the demo's photographs. No photograph of a person may be
 * published, so each is then replaced by a drawing with the face in the same place.
 */
import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { AnsiUp } from "ansi_up";
import type { Locator } from "playwright-core";
import sharp from "sharp";
import { COLOURS } from "../src/appearance.ts";
import { Decision } from "../src/decision/decision.ts";
import { draw } from "../src/decision/picture.ts";
import { toImage } from "../src/images/image.ts";
import { openBrowser } from "../test/support/chromium.ts";
import { openHost, View } from "../test/support/host.ts";
import { makePhotos } from "../test/support/photos.ts";
import { type Drawn, standInFor } from "./stand-in.ts";

const ROOT = resolve(import.meta.dirname, "..");
const MAIN = join(ROOT, "dist/main.js");
const PICTURES = join(ROOT, "docs/pictures");
const MAX_BYTES = 100_000;
const DENSITY = 1.5;

const ANNA = { skin: "#f2c9a8", hair: "#a8542b", clothes: "#2f5d8a" };
const MIA = { skin: "#c98d63", hair: "#2e2320", clothes: "#8a3b52" };
const EVE = { skin: "#f5d6bd", hair: "#d9b25f", clothes: "#3f7a5b" };

const folder = mkdtempSync(join(tmpdir(), "biometrics-screenshots-"));
const env = {
  PATH: process.env["PATH"] ?? "",
  HOME: folder,
  BIOMETRICS_PROVIDER: "on-device",
  BIOMETRICS_IMAGE_DIRS: folder,
  BIOMETRICS_DATA_DIR: join(folder, "data"),
};
const put = (photo: string, ...name: readonly string[]) => {
  const path = join(folder, ...name);
  mkdirSync(resolve(path, ".."), { recursive: true });
  copyFileSync(photo, path);
  return path;
};

const photos = await makePhotos(folder);
const selfie = put(photos.womanA, "selfie.jpg");
const passport = put(photos.womanB, "passport.jpg");
/** Who stands in for whom, by the names of the files. */
const DRAWN: Readonly<Record<string, Drawn>> = {
  "selfie.jpg": { ...ANNA, wall: "#b9cbd9" },
  "passport.jpg": { ...ANNA, wall: "#e8dfce" },
  "anna.jpg": { ...ANNA, wall: "#b9cbd9" },
  "eve.jpg": { ...EVE, wall: "#d5cfe4" },
  "visitor-1.jpg": { ...ANNA, wall: "#e8dfce" },
  "visitor-2.jpg": { ...MIA, wall: "#cfdcc8" },
};
put(photos.womanA, "known", "anna.jpg");
put(photos.otherWoman, "known", "eve.jpg");
put(photos.womanB, "visitors", "visitor-1.jpg");
put(photos.thirdWoman, "visitors", "visitor-2.jpg");

const client = new Client({ name: "screenshots", version: "1.0.0" });
await client.connect(new StdioClientTransport({ command: process.execPath, args: [MAIN], env }));
const [host, browser] = await Promise.all([openHost(), openBrowser()]);
try {
  mkdirSync(PICTURES, { recursive: true });
  const preview = await previewPicture();
  await cardPicture(preview);
  await terminalPicture();
  await batchPicture();
} finally {
  await Promise.all([host.close(), browser.close(), client.close()]);
  rmSync(folder, { recursive: true, force: true });
}

/** A match with its picture, drawn as always, of the drawings. */
async function previewPicture() {
  const result = await client.callTool({
    name: "match_faces",
    arguments: { user_image_path: selfie, reference_image_path: passport, preview: true },
  });
  const decision = Decision.parse(result.structuredContent);
  const images = await Promise.all(
    [selfie, passport].map(async (path, at) => {
      const face = decision.detected_faces?.find(({ image }) => image === (at === 0 ? "user" : "reference"));
      const jpeg = await drawnFor(path, face?.box);
      return toImage(new Uint8Array(jpeg), { maxBytes: 1e6, mimes: ["image/jpeg"] });
    }),
  );
  const jpeg = Buffer.from(await draw(decision, images, false));
  await keep("preview.png", jpeg);
  const content = result.content.map((block) =>
    block.type === "image" ? { ...block, data: jpeg.toString("base64") } : block,
  );
  return { ...result, content };
}

async function cardPicture(result: object) {
  const { contents } = await client.readResource({ uri: "ui://biometrics/decision" });
  const { page, frame, send } = await host.show(View.parse(contents[0]), { width: 760, density: DENSITY });
  await send("sendToolResult", result);
  await frame.getByRole("img").waitFor();
  await page.waitForTimeout(300); // the frame takes the height that the card asks for
  await keep("card.png", await shot(page.locator("iframe")));
}

/** What a command prints, in the colours of the palette. */
async function terminalPicture() {
  const words = ["check-liveness", "group.jpg"];
  const ansi = new AnsiUp();
  ansi.use_classes = true;
  const printed = ansi.ansi_to_html((await biometrics(words, { FORCE_COLOR: "1" })).trimEnd());
  const page = await browser.newPage({ viewport: { width: 780, height: 900 }, deviceScaleFactor: DENSITY });
  await page.setContent(`<!doctype html><style>
body{margin:0}pre{margin:0;padding:18px 22px;background:${COLOURS.bg[1]};color:${COLOURS.ink[1]};font:14px/1.5 ui-monospace,"DejaVu Sans Mono",monospace;width:fit-content}
.ansi-green-fg{color:${COLOURS.approved[1]}}.ansi-yellow-fg{color:${COLOURS.review[1]}}.ansi-red-fg{color:${COLOURS.declined[1]}}i{color:${COLOURS.soft[1]};font-style:normal}
</style><pre><i>$</i> biometrics-mcp ${words.join(" ")}\n${printed}</pre>`);
  await keep("terminal.png", await shot(page.locator("pre")));
}

async function batchPicture() {
  await biometrics(["match-faces", "known", "visitors", "--out", "results.html"]);
  const written = readFileSync(join(folder, "results.html"), "utf8");
  const drawings = new Map<string, string>();
  for (const name of Object.keys(DRAWN)) {
    const thumbnail = await sharp(await drawnFor(name, undefined))
      .resize(200, 200, { fit: "inside" })
      .toBuffer();
    drawings.set(name, `data:image/jpeg;base64,${thumbnail.toString("base64")}`);
  }
  const html = written.replace(
    /src="[^"]*"(><figcaption title="([^"]*)")/g,
    (_all, rest: string, name: string) => `src="${drawings.get(basename(name)) ?? ""}"${rest}`,
  );
  const left = [...html.matchAll(/data:image[^"]*/g)].filter(([uri]) => ![...drawings.values()].includes(uri));
  if (left.length > 0 || drawings.size === 0) throw new Error("A photograph is left in the page.");
  const page = await browser.newPage({ viewport: { width: 1120, height: 700 }, deviceScaleFactor: DENSITY });
  await page.setContent(html);
  await keep("batch.png", await shot(page.locator("main")));
}

/** The drawing for a photograph of the demo, with the face where it is in that, or in the middle of its upper half. */
async function drawnFor(path: string, box: Parameters<typeof standInFor>[1] | null | undefined) {
  const name = basename(path);
  const drawn = DRAWN[name];
  if (drawn === undefined) throw new Error(`Nobody stands in for ${name}.`);
  const size = { width: 520, height: 600 };
  if (!box) return standInFor(size, { left: 150, top: 130, right: 370, bottom: 400 }, drawn);
  const { width, height } = await sharp(path).metadata();
  return standInFor({ width, height }, box, drawn);
}

/** Standard output of the command; its exit code is an outcome. */
function biometrics(args: readonly string[], more: Readonly<Record<string, string>> = {}): Promise<string> {
  return new Promise((done, fail) => {
    execFile(process.execPath, [MAIN, ...args], { cwd: folder, env: { ...env, ...more } }, (error, out, err) => {
      if (out === "") fail(new Error(err || String(error)));
      else done(out);
    });
  });
}

function shot(element: Locator): Promise<Buffer> {
  return element.screenshot({ animations: "disabled" });
}

/** As a small PNG with a palette. */
async function keep(name: string, image: Buffer): Promise<void> {
  const png = await sharp(image).png({ palette: true, effort: 10 }).toBuffer();
  if (png.length > MAX_BYTES) throw new Error(`${name} is too large: ${png.length} bytes.`);
  writeFileSync(join(PICTURES, name), png);
  console.log(`docs/pictures/${name}: ${(png.length / 1000).toFixed(0)} KB`);
}
