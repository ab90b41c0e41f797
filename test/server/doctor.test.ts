import { execFile, execFileSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { loadDriver } from "../../src/providers/on-device/gallery/sqlite/driver.ts";
import { cleanEnvironment, closing, ERAS, MAIN, temporaryFolder } from "../support/clients.ts";
import { makePhotos, type Photos } from "../support/photos.ts";

const MODULES = resolve(import.meta.dirname, "../../node_modules");

interface Setting {
  readonly home: string;
  readonly data: string;
  readonly gallery: string;
}

function newSetting(): Setting {
  const home = temporaryFolder("home-");
  const data = join(home, "data");
  return { home, data, gallery: join(data, "gallery.sqlite") };
}

interface Finished {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function biometrics(
  { home }: Setting,
  args: readonly string[],
  env: Record<string, string> = {},
  main = MAIN,
): Promise<Finished> {
  const options = { env: cleanEnvironment(home, { BIOMETRICS_IMAGE_DIRS: home, ...env }), cwd: home };
  return new Promise((done) => {
    execFile(process.execPath, [main, ...args], options, (error, out, err) => {
      done({ code: error === null ? 0 : Number(error.code ?? -1), out, err });
    });
  });
}

let photos: Photos;
beforeAll(async () => {
  photos = await makePhotos();
});

const blocked = (setting: Setting) =>
  biometrics(setting, ["enroll-face", photos.womanA, "Banned", "--blocklisted", "--json"]);

test("a gallery of its own for each name, by argument and by setting", async () => {
  const setting = newSetting();
  const enrol = [photos.womanA, "Ann", "--json"];
  expect(await biometrics(setting, ["enroll-face", ...enrol, "--gallery", "staff"])).toMatchObject({ code: 0 });
  const totalIn = async (args: readonly string[], env = {}) => {
    const { out } = await biometrics(setting, ["list-faces", "--json", ...args], env);
    return (JSON.parse(out) as { total: number }).total;
  };
  expect(await totalIn([])).toBe(0);
  expect(await totalIn(["--gallery", "staff"])).toBe(1);
  expect(await totalIn([], { BIOMETRICS_GALLERY: "staff" })).toBe(1);
  expect(await totalIn(["--gallery", "default"], { BIOMETRICS_GALLERY: "staff" })).toBe(0);
  const checked = await biometrics(setting, ["gallery", "check", "--gallery", "staff"]);
  expect(checked).toMatchObject({ code: 0, out: expect.stringMatching(/gallery-staff\.sqlite.*\n(.*\n)*.*1 face/) });
  const wrong = await biometrics(setting, ["gallery", "check", "--gallery", "../x"]);
  expect(wrong).toMatchObject({ code: 2, err: expect.stringContaining("BIOMETRICS_GALLERY must be") });
});

test("a gallery goes to another machine in an encrypted file", async () => {
  const [here, there] = [newSetting(), newSetting()];
  await biometrics(here, ["enroll-face", photos.womanA, "Ann Example", "--gallery", "staff"]);
  const file = join(here.home, "staff.jsonl");
  const exported = ["gallery", "export", file, "--gallery", "staff"];
  const unset = await biometrics(here, exported);
  expect(unset).toMatchObject({ code: 2, err: expect.stringContaining("BIOMETRICS_PASSPHRASE") });
  const env = { BIOMETRICS_PASSPHRASE: "correct horse battery" };
  const { code, out, err } = await biometrics(here, exported, env);
  expect({ code, out }).toMatchObject({ code: 0, out: expect.stringMatching(/^1 face .*staff.*\nVerified by count/) });
  expect(err).toContain("faces 1 of 1");
  expect(readFileSync(file, "utf8")).not.toContain("Ann");
  expect(await biometrics(here, exported, env)).toMatchObject({ code: 2, err: expect.stringContaining("already") });
  const wrong = await biometrics(there, ["gallery", "import", file], {
    BIOMETRICS_PASSPHRASE: "another horse battery",
  });
  expect(wrong).toMatchObject({ code: 2, err: expect.stringMatching(/passphrase is wrong/) });
  expect(`${out}${err}${wrong.out}${wrong.err}`).not.toContain("horse battery");
  const sealed = readFileSync(file);
  writeFileSync(`${file}.cut`, sealed.subarray(0, sealed.lastIndexOf("\n", -2)));
  const cut = await biometrics(there, ["gallery", "import", `${file}.cut`], env);
  expect(cut).toMatchObject({ code: 2, err: expect.stringMatching(/damaged/) });
  expect(existsSync(there.data)).toBe(false);
  const imported = await biometrics(there, ["gallery", "import", file, "--gallery", "visitors", "--json"], env);
  expect(JSON.parse(imported.out)).toEqual({ faces: 1, added: 1, searched: 1 });
  const found = await biometrics(there, ["search-face", photos.womanB, "--gallery", "visitors"]);
  expect(found).toMatchObject({ code: 3, out: expect.stringContaining("Ann Example") });
  const listed = await biometrics(there, ["gallery", "list"]);
  expect(listed).toMatchObject({ code: 0, out: "visitors: 1 face\n" });
});

describe("the doctor", () => {
  test("tells folders, data folder, gallery and Linkface, and decodes every format", async () => {
    const setting = newSetting();
    expect(await blocked(setting)).toMatchObject({ code: 0 });
    const { code, out } = await biometrics(setting, ["doctor"]);
    expect(code).toBe(0);
    for (const line of [
      `ok    folder ${setting.home}: readable`,
      `ok    data folder ${setting.data}: only its owner`,
      "ok    provider on-device: JPEG, PNG, WebP and TIFF can be decoded",
      `ok    gallery ${setting.gallery}: 1 face\n`,
      "ok    Linkface: no credentials",
    ]) {
      expect(out).toContain(line);
    }
  });

  test("without the key of its provider still tells the rest, and what is missing", async () => {
    const setting = newSetting();
    const { code, out } = await biometrics(setting, ["doctor", "--json"], {
      BIOMETRICS_PROVIDER: "didit",
      LINKFACE_API_ID: "an-id-of-linkface",
    });
    expect(code).toBe(1);
    const tests = JSON.parse(out).tests as { test: string; ok: boolean; detail: string }[];
    expect(tests.map(({ test: name, ok }) => [name, ok])).toEqual([
      [`folder ${setting.home}`, true],
      [`data folder ${setting.data}`, true],
      ["provider didit", false],
      ["gallery", true],
      ["Linkface", false],
    ]);
    expect(tests[2]?.detail).toContain("DIDIT_API_KEY");
    expect(tests[4]?.detail).toContain("LINKFACE_API_SECRET is missing");
    expect(out).not.toContain("an-id-of-linkface");
  });

  test("finds that no photo can be decoded where the packages of sharp were left out", async () => {
    const place = temporaryFolder("installed-");
    cpSync(dirname(MAIN), join(place, "dist"), { recursive: true });
    writeFileSync(join(place, "package.json"), '{"type":"module"}');
    for (const name of ["sharp", "@photostructure/sqlite", "sqlite-vec"]) {
      mkdirSync(dirname(join(place, "node_modules", name)), { recursive: true });
      cpSync(join(MODULES, name), join(place, "node_modules", name), { recursive: true });
    }
    const { code, out } = await biometrics(newSetting(), ["doctor"], {}, join(place, "dist/main.js"));
    expect(code).toBe(1);
    expect(out).toMatch(/^FAULT provider on-device: The image decoder \(sharp\) cannot be loaded/m);
  });

  test.skipIf(process.platform === "win32").each([0o755, 0o777])(
    "refuses a data folder of mode %o, and so does every tool that keeps something",
    async (mode) => {
      const setting = newSetting();
      mkdirSync(setting.data);
      chmodSync(setting.data, mode);
      const { code, out } = await biometrics(setting, ["doctor"]);
      expect(code).toBe(1);
      expect(out).toMatch(/^FAULT data folder .*`chmod 700 '.*data'`/m);
      expect(await blocked(setting)).toMatchObject({ code: 1, err: expect.stringContaining("chmod 700") });
      execFileSync("sh", ["-c", /`(chmod 700 [^`]+)`/.exec(out)?.[1] ?? "false"]);
      expect(await biometrics(setting, ["doctor"])).toMatchObject({ code: 0 });
    },
  );
});

describe("gallery check", () => {
  test("tells count, schema and lengths of a gallery in order, and makes none", async () => {
    const setting = newSetting();
    const none = await biometrics(setting, ["gallery", "check"]);
    expect(none).toMatchObject({ code: 0, out: expect.stringContaining("does not exist yet") });
    await blocked(setting);
    const { code, out } = await biometrics(setting, ["gallery", "check"]);
    expect(code).toBe(0);
    expect(out).toMatch(/^ok {4}schema: version 2, /m);
    expect(out).toMatch(/^ok {4}count: 1 face, 1 of them on the blocklist$/m);
    expect(out).toMatch(/^ok {4}embeddings: lengths from 1\.0000 to 1\.0000/m);
  });

  test("names the faces that no search would find, and what to do", async () => {
    const setting = newSetting();
    const { face_id } = JSON.parse((await blocked(setting)).out);
    const { DatabaseSync } = await loadDriver();
    const database = new DatabaseSync(setting.gallery);
    database.exec("UPDATE faces SET embedding = zeroblob(2048)");
    database.close();
    const { code, out } = await biometrics(setting, ["gallery", "check"]);
    expect(code).toBe(1);
    expect(out).toMatch(new RegExp(`^FAULT embeddings: .*${face_id}.*backup`, "m"));
    expect(out).toMatch(/^ok {4}count: 1 face/m);
  });
});

describe.each(ERAS)("over stdio, $era", ({ connect }) => {
  test("a search in a gallery that was cut to nothing is no approval", async () => {
    const setting = newSetting();
    await blocked(setting);
    const env = { BIOMETRICS_IMAGE_DIRS: photos.dir, BIOMETRICS_DATA_DIR: setting.data };
    const args = { image_path: photos.womanB };
    const before = closing(await connect({ env }));
    expect((await before.call("search_face", args)).structuredContent).toMatchObject({ outcome: "declined" });
    truncateSync(setting.gallery, 0);
    for (const server of [before, closing(await connect({ env }))]) {
      const { isError, _meta, everything } = await server.call("search_face", args);
      expect({ isError, _meta }).toMatchObject({ isError: true, _meta: { code: "setup" } });
      expect(everything).not.toContain("approved");
    }
  });

  test.skipIf(process.platform === "win32")("a FIFO in place of the credentials is answered at once", async () => {
    const setting = newSetting();
    mkdirSync(setting.data, { mode: 0o700 });
    execFileSync("mkfifo", ["-m", "600", join(setting.data, "credentials.json")]);
    const server = closing(await connect({ env: { BIOMETRICS_DATA_DIR: setting.data } }));
    const started = performance.now();
    const { isError, _meta, text } = await server.call("get_setup");
    expect({ isError, _meta }).toMatchObject({ isError: true, _meta: { code: "setup" } });
    expect(text).toContain("not a regular file");
    expect(performance.now() - started).toBeLessThan(5000);
  });
});
