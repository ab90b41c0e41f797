import { execFile } from "node:child_process";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { cleanEnvironment, MAIN, temporaryFolder } from "./support/clients.ts";
import { makePhotos, type Photos } from "./support/photos.ts";

const { engines } = JSON.parse(readFileSync(resolve(import.meta.dirname, "../package.json"), "utf8"));
const OLDEST = engines.node.slice(">=".length);

const run = (node: string, args: readonly string[]) =>
  new Promise<{ code: unknown; out: string; err: string }>((done) => {
    const home = temporaryFolder("home-");
    const child = execFile(node, args, { env: cleanEnvironment(home), cwd: home }, (error, out, err) =>
      done({ code: error?.code ?? 0, out, err }),
    );
    child.stdin?.end();
  });

/** The start of the program alone, so that nothing else can be loaded; in a Node that says it is another. */
const alone = temporaryFolder("alone-");
const start = join(alone, "main.js");
const saying = (version: string) => {
  const file = join(alone, `${version}.mjs`);
  writeFileSync(file, `Object.defineProperty(process.versions, "node", { value: "${version}" });`);
  return ["--import", file, start];
};
beforeAll(() => {
  copyFileSync(MAIN, start);
  writeFileSync(join(alone, "package.json"), '{ "type": "module" }');
});

test.each(["12.22.12", "18.20.8", "20.9.0", "20.18.0"])(
  "Node %s is told in one line which one is needed, before anything is loaded",
  async (version) => {
    for (const args of [[], ["doctor"], ["serve", "--http"], ["--version"]]) {
      const { code, out, err } = await run(process.execPath, [...saying(version), ...args]);
      expect({ code, out }).toEqual({ code: 1, out: "" });
      expect(err).toMatch(/^biometrics-mcp needs Node\.js .+\n$/);
      expect(err).toContain(`${OLDEST} or newer; this is ${version}`);
    }
  },
);

test.each([OLDEST, "20.19.0", "22.0.0", "100.0.0"])("Node %s is new enough", async (version) => {
  const { err } = await run(process.execPath, [...saying(version), "--version"]);
  expect(err).toContain("ERR_MODULE_NOT_FOUND"); // the program, which is not there
});

const old = process.env["NODE18"];
test.skipIf(old === undefined)(`a real old Node is told (${old ?? "NODE18 names no binary"})`, async () => {
  const { code, out, err } = await run(old ?? "", [MAIN]);
  expect({ code, out }).toEqual({ code: 1, out: "" });
  expect(err).toMatch(new RegExp(`^biometrics-mcp needs Node\\.js ${OLDEST} or newer; this is 18\\.\\S+\\. .+\n$`));
});

describe("experimental features of Node and of packages", () => {
  let photos: Photos;
  beforeAll(async () => {
    photos = await makePhotos(temporaryFolder("photos-"));
  });

  test.each([
    ["check-liveness", 3],
    ["enroll-face", 0],
  ])("are not announced by %s", async (command, expected) => {
    const label = command === "enroll-face" ? ["someone"] : [];
    const { code, err } = await run(process.execPath, [MAIN, command, photos.womanA, ...label]);
    expect({ code, err }).toEqual({ code: expected, err: "" });
  });

  test("other warnings are still seen", async () => {
    const file = join(alone, "warning.mjs");
    writeFileSync(
      file,
      `const say = process.emitWarning; setTimeout(() => { say("seen", "Odd"); say("unseen", "ExperimentalWarning"); }, 100).ref();
       const exit = process.exit; process.exit = () => setTimeout(exit, 500);`,
    );
    const { err } = await run(process.execPath, ["--import", file, MAIN, "--version"]);
    expect(err).toContain("Odd: seen");
    expect(err).not.toContain("unseen");
  });
});
