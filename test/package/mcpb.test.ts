import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { promisify } from "node:util";
import { unpackExtension } from "@anthropic-ai/mcpb";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { LISTING } from "../../src/mcp/listing.ts";
import { cleanEnvironment, temporaryFolder } from "../support/clients.ts";
import { makePhotos, type Photos } from "../support/photos.ts";
import { connectTo } from "./connect.ts";
import { lendersAbove, NODES, versionOf } from "./nodes.ts";
import { hasRegistry } from "./registry.ts";

const ROOT = resolve(import.meta.dirname, "../..");
/** As it is downloaded; a third of it are the models, a third the WebAssembly of the networks. */
const MAX_BUNDLE_BYTES = 20e6;
/** The SQLite of Node from which on the gallery is kept in it. */
const OLDEST_SQLITE = [3, 51, 3];

const bundle = join(temporaryFolder("bundle-"), "biometrics-mcp.mcpb");
const unpacked = temporaryFolder("unpacked-");
let photos: Photos;

const isAble = await hasRegistry();

beforeAll(async () => {
  if (!isAble) return;
  await promisify(execFile)(process.execPath, ["--import", "tsx", "build/mcpb.ts", bundle], { cwd: ROOT });
  expect(await unpackExtension({ mcpbPath: bundle, outputDir: unpacked, silent: true })).toBe(true);
  photos = await makePhotos(temporaryFolder("photos-"));
}, 120_000);

const files = () =>
  readdirSync(unpacked, { recursive: true, encoding: "utf8" }).filter((file) =>
    statSync(join(unpacked, file)).isFile(),
  );

test("it holds no native code, by name or by content", () => {
  const magic = ["7f454c46", "feedface", "feedfacf", "cefaedfe", "cffaedfe", "cafebabe"];
  for (const file of files()) {
    expect(basename(file)).not.toMatch(/\.(node|dll|dylib|exe|so)$|\.so\./);
    const head = readFileSync(join(unpacked, file)).subarray(0, 4).toString("hex");
    expect(magic, file).not.toContain(head);
    expect(head.startsWith("4d5a"), `${file} is a program of Windows`).toBe(false);
  }
});

test("it holds what runs and what is read, and nothing of the development", () => {
  const top = [...new Set(files().map((file) => file.replaceAll("\\", "/").split("/")[0]))].sort();
  expect(top).toEqual(
    ["LICENSE", "NOTICE", "README.md", "assets", "dist", "manifest.json", "node_modules", "package.json"].sort(),
  );
  expect(readdirSync(join(unpacked, "dist/skills"))).toEqual(["face-checks"]);
  const bytes = statSync(bundle).size;
  console.log(`bundle: ${(bytes / 1e6).toFixed(1)} MB, unpacked ${(sizeOf(unpacked) / 1e6).toFixed(1)} MB`);
  expect(bytes).toBeLessThan(MAX_BUNDLE_BYTES);
});

test("no folder above the unpacked one lends it a package", () => {
  expect(lendersAbove(unpacked)).toEqual([]);
});

describe.each(NODES)("under $title", ({ path: node }) => {
  async function start() {
    const home = temporaryFolder("home-");
    mkdirSync(join(home, "data"), { mode: 0o700 });
    const env = cleanEnvironment(home);
    // As the manifest's form has it when one folder is chosen, and the rest is left.
    const args = ["--no-addons", join(unpacked, "dist/main.js"), "--image-dirs", photos.dir];
    const server = await connectTo({ command: node ?? "", args, env, cwd: home });
    onTestFinished(() => server.close());
    return server;
  }

  test.skipIf(node === undefined)("it checks liveness and compares faces", { timeout: 60_000 }, async () => {
    const server = await start();
    expect((await server.client.listTools()).tools).toHaveLength(LISTING.tools.length);
    expect(await server.call("check_liveness", { image_path: photos.womanA })).toMatchObject({
      isError: false,
      provider: "on-device",
      outcome: "review",
      score: expect.any(Number),
    });
    const pair = (user: string, reference: string) =>
      server.call("match_faces", { user_image_path: user, reference_image_path: reference });
    expect(await pair(photos.womanA, photos.womanB)).toMatchObject({ outcome: "approved" });
    expect(await pair(photos.womanA, photos.otherWoman)).toMatchObject({ outcome: "declined" });
  });

  test.skipIf(node === undefined)("it keeps a gallery, or says that it cannot", { timeout: 60_000 }, async () => {
    const server = await start();
    const enrolled = await server.call("enroll_face", { image_path: photos.womanA, label: "the woman" });
    if (isOlder(versionOf(node ?? "", "sqlite"), OLDEST_SQLITE)) {
      expect(enrolled).toMatchObject({ isError: true });
      expect(enrolled.text).toMatch(
        /^Error \[unsupported\]: There is no face gallery in this setup; everything else works/,
      );
      const args = { selfie_path: photos.womanA, reference_image_path: photos.womanB };
      expect(await server.call("verify_person", args)).toMatchObject({
        isError: false,
        outcome: "review",
        steps: [{ outcome: "review" }, { outcome: null, error: { code: "unsupported" } }, { outcome: "approved" }],
      });
      return;
    }
    expect(enrolled).toMatchObject({ isError: false, face_id: expect.any(String) });
    expect(await server.call("search_face", { image_path: photos.womanB })).toMatchObject({
      outcome: "review",
      matches: [{ label: "the woman", band: "strong" }],
    });
    expect(await server.call("search_face", { image_path: photos.otherWoman })).toMatchObject({ outcome: "approved" });
  });
});

function isOlder(version: string, than: readonly number[]): boolean {
  const parts = version.split(".").map(Number);
  const at = than.findIndex((part, index) => (parts[index] ?? 0) !== part);
  return at >= 0 && (parts[at] ?? 0) < (than[at] ?? 0);
}

function sizeOf(folder: string): number {
  const all = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return all.reduce((sum, file) => sum + statSync(join(folder, file)).size, 0);
}
