import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { publint } from "publint";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import * as z from "zod";
import { TOOLS } from "../../src/tools/index.ts";
import { cleanEnvironment, temporaryFolder } from "../support/clients.ts";
import { makePhotos, type Photos } from "../support/photos.ts";
import { accountStandIn } from "../support/stand-in/account.ts";
import { LINKFACE_ID, LINKFACE_SECRET, linkfaceRoutes } from "../support/stand-in/linkface.ts";
import { type StandIn, standIn } from "../support/stand-in.ts";
import { connectTo } from "./connect.ts";
import { lendersAbove, NODES } from "./nodes.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const MAX_OWN_MB = 30;
const MAX_MB = 80;

const app = temporaryFolder("app-");
const installed = join(app, "node_modules/biometrics-mcp");
let photos: Photos;
let linkface: StandIn;

const packed = z.tuple([z.object({ filename: z.string(), files: z.array(z.object({ path: z.string() })) })]);
let contents: string[];

const npm = async (args: readonly string[], cwd: string) =>
  (await promisify(execFile)("npm", [...args], { cwd, shell: process.platform === "win32" })).stdout;

beforeAll(async () => {
  // What was built before the tests, so that nothing is built while others use it.
  const out = await npm(["pack", "--ignore-scripts", "--json", "--pack-destination", app], ROOT);
  const [{ filename, files }] = packed.parse(JSON.parse(out));
  contents = files.map(({ path }) => path);
  writeFileSync(join(app, "package.json"), `{ "private": true }\n`);
  await npm(["install", "--omit=dev", "--no-audit", "--no-fund", join(app, filename)], app);
  photos = await makePhotos(temporaryFolder("photos-"));
  linkface = await standIn({ routes: linkfaceRoutes() });
}, 120_000);
afterAll(() => linkface.close());

test("it holds the program and what it needs, no sources, and no script that runs at install", () => {
  const top = [...new Set(contents.map((path) => path.split("/")[0]))].sort();
  expect(top).toEqual(["LICENSE", "NOTICE", "README.md", "dist", "package.json"]);
  expect(contents.filter((path) => /\.(ts|map|node)$/.test(path))).toEqual([]);
  expect(contents).toContain("dist/skills/face-checks/SKILL.md");
  const { scripts } = z
    .object({ scripts: z.record(z.string(), z.string()) })
    .parse(JSON.parse(readFileSync(join(installed, "package.json"), "utf8")));
  for (const script of ["preinstall", "install", "postinstall", "prepare"]) expect(scripts).not.toHaveProperty(script);
});

test("it is small, by itself and with what it depends on", () => {
  const own = megabytes(installed);
  const all = megabytes(join(app, "node_modules"));
  console.log(`npm package: ${own.toFixed(1)} MB, with its dependencies ${all.toFixed(1)} MB`);
  expect(own).toBeLessThan(MAX_OWN_MB);
  expect(all).toBeLessThan(MAX_MB);
});

test("publint has nothing to say", async () => {
  const { messages } = await publint({ pkgDir: installed, strict: true, pack: false });
  expect(messages).toEqual([]);
});

test("npx finds its command", async () => {
  const out = await npm(["exec", "--offline", "--", "biometrics-mcp", "--version"], app);
  expect(out.trim()).toBe(JSON.parse(readFileSync(join(installed, "package.json"), "utf8")).version);
});

test("no folder above lends it a package", () => {
  expect(lendersAbove(app)).toEqual([]);
});

describe.each(NODES)("under $title", ({ path: node }) => {
  test.skipIf(node === undefined)("every tool runs", { timeout: 100_000 }, async () => {
    const api = await accountStandIn();
    onTestFinished(() => api.close());
    const home = temporaryFolder("home-");
    const env = cleanEnvironment(home, {
      ...api.env,
      BIOMETRICS_IMAGE_DIRS: photos.dir,
      LINKFACE_API_BASE_URL: linkface.url,
      LINKFACE_API_ID: LINKFACE_ID,
      LINKFACE_API_SECRET: LINKFACE_SECRET,
    });
    const args = [join(installed, "dist/main.js")];
    const server = await connectTo({ command: node ?? "", args, env, cwd: home });
    onTestFinished(() => server.close());
    const done = new Set<string>();
    const run = async (name: string, args: Record<string, unknown> = {}) => {
      const answer = await server.call(name, args);
      expect(answer.isError, answer.text).toBe(false);
      done.add(name);
      return answer as Record<string, unknown>;
    };

    expect(await run("get_setup")).toMatchObject({ provider: "on-device" });
    expect(await run("check_liveness", { image_path: photos.womanA })).toMatchObject({ outcome: "review" });
    const pair = { user_image_path: photos.womanA, reference_image_path: photos.womanB };
    expect(await run("match_faces", pair)).toMatchObject({ outcome: "approved" });
    const { face_id } = await run("enroll_face", { image_path: photos.womanA, label: "the woman" });
    expect(await run("list_faces")).toMatchObject({ total: 1, faces: [{ face_id }] });
    expect(await run("search_face", { image_path: photos.womanB })).toMatchObject({ outcome: "review" });
    const person = { selfie_path: photos.otherWoman, reference_image_path: photos.womanA };
    expect(await run("verify_person", person)).toMatchObject({ outcome: "declined" });
    expect(await run("remove_face", { face_id })).toMatchObject({ removed: true, erased: true });
    const recording = join(photos.dir, "liveness.bin");
    writeFileSync(recording, Buffer.from("0a0b6c66616365207465737412040801ff00fe", "hex"));
    const data = { selfie_path: photos.womanA, liveness_data_path: recording };
    expect(await run("verify_liveness_selfie", data)).toMatchObject({ provider: "linkface", outcome: "approved" });
    const email = "jane@mail.org";
    expect(await run("register_account", { email })).toMatchObject({ status: "code_sent" });
    await run("verify_email", { email, code: api.accounts.codeOf(email) });
    expect(await run("get_balance")).toMatchObject({ balance: "1234.5600" });
    expect(await run("top_up", { amount_in_dollars: 50 })).toMatchObject({ amount_in_dollars: 50 });
    expect(await run("check_liveness", { image_path: photos.womanA })).toMatchObject({ provider: "didit" });

    expect([...done].sort()).toEqual(TOOLS.map(({ name }) => name).sort());
    // Node 22 says of its SQLite that it is experimental.
    expect(server.stderr().replace(/^\(.*(ExperimentalWarning: SQLite|--trace-warnings).*\n/gm, "")).toBe("");
  });
});

test("a native runtime beside it is used", async () => {
  const native = join(app, "node_modules/onnxruntime-node");
  onTestFinished(() => rmSync(native, { recursive: true }));
  mkdirSync(native);
  // What the program asks of it before it makes the first session, which fails here and tells that it was asked.
  const session = `{ create: async () => { throw new Error("asked the native runtime") } }`;
  writeFileSync(
    join(native, "index.js"),
    `exports.env = { versions: { node: "1" } }; exports.InferenceSession = ${session};`,
  );
  const home = temporaryFolder("home-");
  const args = [join(installed, "dist/main.js"), "check-liveness", photos.womanA];
  const failed = await promisify(execFile)(process.execPath, args, { env: cleanEnvironment(home), cwd: home }).catch(
    (error: unknown) => z.object({ code: z.int(), stderr: z.string() }).parse(error),
  );
  expect(failed).toMatchObject({ code: 1, stderr: expect.stringContaining("asked the native runtime") });
});

function megabytes(folder: string): number {
  const all = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return all.reduce((sum, file) => sum + statSync(join(folder, file)).size, 0) / 1e6;
}
