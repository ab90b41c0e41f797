import { execFileSync } from "node:child_process";
import { chmod, cp, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Gallery } from "../../src/providers/on-device/gallery/gallery.ts";
import { loadDriver } from "../../src/providers/on-device/gallery/sqlite/driver.ts";
import { openSqliteGallery } from "../../src/providers/on-device/gallery/sqlite.ts";
import { bytesOf, FaceMaker, MODEL, NEAREST, storedFace } from "./faces.ts";
import { emptyFolder } from "./folders.ts";

const BLOCKED = { label: "blocked", vendorData: null, blocklisted: true };
const ada = new FaceMaker(1).face();

async function open(file: string, extension = true): Promise<Gallery> {
  const gallery = await openSqliteGallery({ file, model: MODEL, extension });
  onTestFinished(() => gallery.close());
  return gallery;
}

/** Ada is blocked, among ten others. */
async function galleryWithAda(): Promise<string> {
  const file = join(await emptyFolder(), "gallery.sqlite");
  const gallery = await openSqliteGallery({ file, model: MODEL });
  await gallery.enroll(ada, BLOCKED);
  const faces = new FaceMaker(2);
  for (let i = 0; i < 10; i++) await gallery.enroll(faces.face(), { ...BLOCKED, blocklisted: false });
  await gallery.close();
  return file;
}

async function sql(file: string, text: string, ...values: readonly (Uint8Array | number)[]): Promise<void> {
  const { DatabaseSync } = await loadDriver();
  const database = new DatabaseSync(file);
  database.exec("PRAGMA foreign_keys = OFF");
  database.prepare(text).run(...values);
  // Here and now: the package closes the file, and moves the log into it, only when its statements are collected.
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  database.close();
}

const searchAfterOpening = async (file: string, extension = true) =>
  (await open(file, extension)).search(ada, { ...NEAREST, minCosine: 0.45 });

const SETUP = {
  name: "CheckError",
  code: "setup",
  next: expect.stringMatching(/biometrics-mcp gallery check.*backup|backup.*biometrics-mcp gallery check/),
};

describe("a gallery that was there", () => {
  const DAMAGE: readonly (readonly [string, (file: string) => Promise<unknown>])[] = [
    ["is cut to nothing", (file) => truncate(file, 0)],
    ["is gone", (file) => rm(file)],
    ["is replaced by another one", async (file) => cp(await galleryWithAda(), file)],
    [
      "is replaced by an empty one of the first version",
      async (file) => {
        await rm(file);
        await rm(`${file}.mark`, { force: true });
        await (await openSqliteGallery({ file, model: MODEL })).close();
        await asFirstVersion(file);
        await writeFile(`${file}.mark`, "the id of the one before\n", { mode: 0o600 });
      },
    ],
    ["is a text", (file) => writeFile(file, "not a database, but longer than the header of one".repeat(9))],
    ["has lost a face", (file) => sql(file, "DELETE FROM faces WHERE blocklisted")],
    [
      "has lost all faces",
      async (file) => {
        await sql(file, "DELETE FROM faces");
        await sql(file, "DELETE FROM face_bits");
      },
    ],
    ["has lost the sign bits of a face", (file) => sql(file, "DELETE FROM face_bits WHERE seq = 1")],
    ["has blank sign bits", (file) => sql(file, "UPDATE face_bits SET b = zeroblob(64) WHERE seq = 1")],
    ["counts no faces any more", (file) => sql(file, "DELETE FROM meta WHERE key = 'faces'")],
  ];

  test.each(DAMAGE)("and %s is refused, and left as it is", async (_what, damage) => {
    const file = await galleryWithAda();
    await damage(file);
    const before = await readFile(file).catch(() => undefined);
    await expect(searchAfterOpening(file)).rejects.toMatchObject(SETUP);
    // A second time, too: nothing was made in its place.
    await expect(searchAfterOpening(file)).rejects.toMatchObject(SETUP);
    expect(await readFile(file).catch(() => undefined)).toEqual(before);
  });

  test.each([
    ["is cut to nothing", (file: string) => truncate(file, 0)],
    ["is cut short", (file: string) => truncate(file, 40_000)],
    ["is gone", (file: string) => rm(file)],
    ["loses a face", (file: string) => sql(file, "DELETE FROM faces WHERE blocklisted")],
  ])("and %s while a server uses it answers no search", async (_what, damage) => {
    const file = await galleryWithAda();
    const gallery = await open(file);
    expect(await gallery.search(ada, NEAREST)).toMatchObject({ total: 1 });
    await damage(file);
    await expect(gallery.search(ada, NEAREST)).rejects.toMatchObject({ name: "CheckError", code: "setup" });
  });
});

test("a page of zeroes, wherever it lies, is damage, or leaves every face where it was", async () => {
  const PAGE_BYTES = 16_384;
  const intact = await galleryWithAda();
  const pages = (await stat(intact)).size / PAGE_BYTES;
  let refused = 0;
  for (let page = 0; page < pages; page++) {
    const file = join(await emptyFolder(), "gallery.sqlite");
    await cp(`${intact}.mark`, `${file}.mark`);
    await writeFile(file, (await readFile(intact)).fill(0, page * PAGE_BYTES, (page + 1) * PAGE_BYTES), {
      mode: 0o600,
    });
    const answer = await searchAfterOpening(file).catch((thrown: unknown) => thrown);
    if (answer instanceof Error) expect(answer, `page ${page}`).toMatchObject(SETUP);
    else expect(answer, `page ${page}`).toMatchObject({ total: 1 });
    if (answer instanceof Error) refused += 1;
  }
  expect(refused).toBeGreaterThan(3);
});

describe.each([true, false])("an embedding that is no unit vector is no stranger (extension: %s)", (extension) => {
  const scaled = (by: number) => bytesOf(ada.map((component) => component * by));
  test.each([
    ["zeroes", scaled(0)],
    ["half its length", scaled(0.5)],
    ["no numbers", scaled(Number.NaN)],
    ["infinite", scaled(Number.POSITIVE_INFINITY)],
    ["too few components", scaled(1).subarray(0, 1024)],
    ["a unit vector of fewer components", bytesOf(new Float32Array(256).fill(1 / 16))],
    ["nothing", new Uint8Array(0)],
  ])("%s", async (_what, embedding) => {
    const file = await galleryWithAda();
    await sql(file, "UPDATE faces SET embedding = ? WHERE blocklisted", embedding);
    await expect(searchAfterOpening(file, extension)).rejects.toMatchObject(SETUP);
    // Who it was can still be seen, and removed.
    const gallery = await open(file, extension);
    const { faces } = await gallery.list({ limit: 20 });
    const blocked = faces.find(({ blocklisted }) => blocklisted);
    expect(await gallery.remove(blocked?.id ?? "")).toMatchObject({ removed: true });
    expect(await gallery.search(ada, NEAREST)).toEqual({ neighbours: [], total: 0 });
  });
});

describe.each([true, false])("an embedding that is destroyed while a server uses it (extension: %s)", (extension) => {
  const zeroes = new Uint8Array(2048);

  test.each([200, 20_100])("by another program's SQL, among %i faces", async (size) => {
    const file = await galleryWithAda();
    const gallery = await open(file, extension);
    await fill(gallery, size);
    expect(await gallery.search(ada, NEAREST)).toMatchObject({ neighbours: [BLOCKED], total: 1 });
    await sql(file, "UPDATE faces SET embedding = ? WHERE blocklisted", zeroes);
    await expect(gallery.search(ada, NEAREST)).rejects.toMatchObject(SETUP);
    await expect(gallery.search(ada, NEAREST)).rejects.toMatchObject(SETUP);
    await sql(file, "UPDATE faces SET embedding = ? WHERE blocklisted", bytesOf(ada));
    expect(await gallery.search(ada, NEAREST)).toMatchObject({ neighbours: [BLOCKED], total: 1 });
  });

  test("in the file itself", async () => {
    const file = await galleryWithAda();
    const filling = await openSqliteGallery({ file, model: MODEL });
    await fill(filling, 1500); // more than SQLite keeps in memory
    await filling.close();
    const gallery = await open(file, extension);
    expect(await gallery.search(ada, NEAREST)).toMatchObject({ neighbours: [BLOCKED], total: 1 });
    await gallery.search(new FaceMaker(5).face(), NEAREST); // Ada's page is no longer in memory
    const at = (await readFile(file)).indexOf(bytesOf(ada));
    expect(at).toBeGreaterThan(0);
    overwrite(file, at, zeroes);
    await expect(gallery.search(ada, NEAREST)).rejects.toMatchObject(SETUP);
  });
});

test("a backup of the same gallery is taken, and one without a mark gets one", async () => {
  const file = await galleryWithAda();
  const backup = await readFile(file);
  const gallery = await openSqliteGallery({ file, model: MODEL });
  await gallery.enroll(new FaceMaker(3).face(), BLOCKED);
  await gallery.close();
  await writeFile(file, backup);
  expect(await (await open(file)).count()).toBe(11);
  await rm(`${file}.mark`);
  expect(await (await open(file)).count()).toBe(11);
  expect((await stat(`${file}.mark`)).mode & 0o777).toBe(0o600);
});

test("whoever removes the mark begins anew", async () => {
  const file = await galleryWithAda();
  await rm(file);
  await expect(open(file)).rejects.toMatchObject({ next: expect.stringContaining(`${file}.mark`) });
  await rm(`${file}.mark`);
  expect(await (await open(file)).count()).toBe(0);
});

test("a gallery of the first version is taken over with its faces", async () => {
  const file = await galleryWithAda();
  await asFirstVersion(file);
  const gallery = await open(file);
  expect(await gallery.search(ada, NEAREST)).toMatchObject({ neighbours: [BLOCKED], total: 1 });
  await gallery.enroll(new FaceMaker(3).face(), BLOCKED);
  await gallery.close();
  expect(await (await open(file)).count()).toBe(12);
});

describe.runIf(process.platform !== "win32")("the data folder", () => {
  test.each([0o755, 0o777, 0o711, 0o770])(
    "of mode %o is refused, and the command that mends it is a real one",
    async (mode) => {
      const file = await galleryWithAda();
      await chmod(dirname(file), mode);
      const refused: unknown = await open(file).catch((thrown: unknown) => thrown);
      expect(refused).toMatchObject({ code: "setup", message: expect.stringContaining("Other users") });
      const [, command = ""] = /`(chmod[^`]+)`/.exec((refused as { next: string }).next) ?? [];
      execFileSync("sh", ["-c", command]);
      expect((await stat(dirname(file))).mode & 0o777).toBe(0o700);
      expect(await (await open(file)).count()).toBe(11);
    },
  );

  test("with a mark that others can write is refused", async () => {
    const file = await galleryWithAda();
    await chmod(`${file}.mark`, 0o622);
    await expect(open(file)).rejects.toMatchObject({ next: expect.stringContaining(`chmod 600 '${file}.mark'`) });
  });

  test.each(["", "-wal", ".mark"])("with a FIFO as gallery.sqlite%s is refused at once", async (suffix) => {
    const file = await galleryWithAda();
    await rm(file + suffix, { force: true });
    execFileSync("mkfifo", ["-m", "600", file + suffix]);
    await expect(open(file)).rejects.toMatchObject({
      code: "setup",
      message: expect.stringContaining("not a regular file"),
      next: expect.stringContaining(`'${file}${suffix}'`),
    });
  });
});

async function fill(gallery: Gallery, size: number): Promise<void> {
  const faces = new FaceMaker(4);
  await gallery.store(Array.from({ length: size }, (_, i) => storedFace(`filling:${i}`, faces.face())));
}

/** In a process of its own: closing a handle of the file here would drop the locks that the gallery holds. */
function overwrite(file: string, at: number, bytes: Uint8Array): void {
  const program = `const { openSync, readFileSync, writeSync } = require("node:fs");
    writeSync(openSync(process.argv[1], "r+"), readFileSync(0), 0, ${bytes.length}, ${at})`;
  execFileSync(process.execPath, ["-e", program, file], { input: bytes });
}

async function asFirstVersion(file: string): Promise<void> {
  await sql(file, "DELETE FROM meta WHERE key <> 'model'");
  await sql(file, "PRAGMA user_version = 1");
  await rm(`${file}.mark`);
}
