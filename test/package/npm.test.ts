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
import { hasRegistry, npm } from "./registry.ts";

const ROOT = resolve(import.meta.dirname, "../..");
/** 18 of them are SQLite for six platforms. */
const MAX_OWN_MB = 46;
const MAX_MB = 70;

const app = temporaryFolder("app-");
const installed = join(app, "node_modules/biometrics-mcp");
let photos: Photos;
let linkface: StandIn;

const packed = z.tuple([z.object({ filename: z.string(), files: z.array(z.object({ path: z.string() })) })]);
let contents: string[];
let tarball: string;

const isAble = await hasRegistry();

beforeAll(async () => {
  photos = await makePhotos(temporaryFolder("photos-"));
  linkface = await standIn({ routes: linkfaceRoutes() });
  if (!isAble) return;
  // What was built before the tests, so that nothing is built while others use it.
  const out = await npm(["pack", "--ignore-scripts", "--json", "--pack-destination", app], ROOT);
  const [{ filename, files }] = packed.parse(JSON.parse(out));
  tarball = join(app, filename);
  contents = files.map(({ path }) => path);
  writeFileSync(join(app, "package.json"), `{ "private": true }\n`);
  await npm(["install", "--omit=dev", "--no-audit", "--no-fund", tarball], app);
}, 120_000);
afterAll(() => linkface.close());

test("it holds the program and what it needs, and no sources", () => {
  const top = [...new Set(contents.map((path) => path.split("/")[0]))].sort();
  expect(top).toEqual(["LICENSE", "NOTICE", "README.md", "README.zh-CN.md", "dist", "package.json", "prebuilds"]);
  expect(contents.filter((path) => /\.(ts|map)$/.test(path))).toEqual([]);
  expect(contents).toContain("dist/skills/face-checks/SKILL.md");
});

test("nothing that is installed runs a script at install", () => {
  const lock = z
    .object({ packages: z.record(z.string(), z.object({ hasInstallScript: z.boolean().default(false) })) })
    .parse(JSON.parse(readFileSync(join(app, "package-lock.json"), "utf8")));
  expect(Object.keys(lock.packages)).toContain("node_modules/biometrics-mcp");
  expect(Object.entries(lock.packages).filter(([, { hasInstallScript }]) => hasInstallScript)).toEqual([]);
});

const node24 = process.env["NODE24"];
test.skipIf(node24 === undefined)(`pnpm installs it (${node24 ?? "NODE24 names no binary to run pnpm"})`, async () => {
  const folder = temporaryFolder("pnpm-");
  writeFileSync(join(folder, "package.json"), `{ "private": true }\n`);
  await npm(["install", "--no-audit", "--no-fund", "--prefix", join(folder, "its"), "pnpm@latest"], folder);
  const pnpm = join(folder, "its/node_modules/pnpm/bin/pnpm.mjs");
  const home = temporaryFolder("home-");
  const run = (program: string, args: readonly string[]) =>
    promisify(execFile)(program, [...args], { cwd: folder, env: cleanEnvironment(home) });
  const { stdout, stderr } = await run(node24 ?? "", [pnpm, "add", tarball]);
  expect(stdout + stderr).not.toMatch(/build scripts/i);
  const enrolled = await run(process.execPath, [
    join(folder, "node_modules/biometrics-mcp/dist/main.js"),
    ...["enroll-face", photos.womanA, "someone"],
  ]);
  expect(enrolled.stdout).toMatch(/^Enrolled "someone"/);
});

test("it is small, by itself and with what it depends on", () => {
  const own = megabytes(installed);
  const all = megabytes(join(app, "node_modules"));
  console.log(`npm package: ${own.toFixed(1)} MB, with its dependencies ${all.toFixed(1)} MB`);
  expect(own).toBeLessThan(MAX_OWN_MB);
  expect(all).toBeLessThan(MAX_MB);
});

/** The runtime's own file, as it is published: a module that also names `require`, which publint takes for CommonJS. */
const TAKEN_FOR_COMMONJS = "/dist/ort-wasm-simd-threaded.mjs";

test("publint has nothing to say", async () => {
  const { messages } = await publint({ pkgDir: installed, strict: true, pack: false });
  const others = messages.filter(
    ({ code, args }) => code !== "FILE_INVALID_EXPLICIT_FORMAT" || args.actualFilePath !== TAKEN_FOR_COMMONJS,
  );
  expect(others).toEqual([]);
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
    writeFileSync(recording, Buffer.from("0a0a6c66616365207465737412050801ff00fe", "hex"));
    const data = { selfie_path: photos.womanA, liveness_data_path: recording };
    expect(await run("verify_liveness_selfie", data)).toMatchObject({ provider: "linkface", outcome: "approved" });
    const email = "jane@mail.org";
    expect(await run("register_account", { email })).toMatchObject({ status: "code_sent" });
    await run("verify_email", { email, code: api.accounts.codeOf(email) });
    expect(await run("get_balance")).toMatchObject({ balance: "1234.5600" });
    expect(await run("top_up", { amount_in_dollars: 50 })).toMatchObject({ amount_in_dollars: 50 });
    expect(await run("check_liveness", { image_path: photos.womanA })).toMatchObject({ provider: "didit" });

    expect([...done].sort()).toEqual(TOOLS.map(({ name }) => name).sort());
    expect(server.stderr()).toBe("");
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
