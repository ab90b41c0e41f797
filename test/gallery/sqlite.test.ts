import { readdirSync, readlinkSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, rename, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { signBits } from "../../src/providers/on-device/gallery/embedding.ts";
import type { Gallery, Neighbour } from "../../src/providers/on-device/gallery/gallery.ts";
import { openGalleries } from "../../src/providers/on-device/gallery/open.ts";
import { installDistances } from "../../src/providers/on-device/gallery/sqlite/distance.ts";
import { type Database, loadDriver } from "../../src/providers/on-device/gallery/sqlite/driver.ts";
import { openSqliteGallery } from "../../src/providers/on-device/gallery/sqlite.ts";
import { galleriesContract, galleryContract } from "./contract.ts";
import { bitsOf, bytesOf, FaceMaker, MODEL, NEAREST, storedFace } from "./faces.ts";
import { emptyFolder } from "./folders.ts";

const SOMEONE = { label: "someone", vendorData: null, blocklisted: false };

galleryContract("SQLite", async () =>
  openSqliteGallery({ file: join(await emptyFolder(), "gallery.db"), model: MODEL }),
);
galleryContract("SQLite without its extension", async () =>
  openSqliteGallery({ file: join(await emptyFolder(), "gallery.db"), model: MODEL, extension: false }),
);

galleriesContract("SQLite", async () => openGalleries({ location: { folder: await emptyFolder() }, model: MODEL }));

async function open(file: string, model = MODEL, extension = true): Promise<Gallery> {
  const gallery = await openSqliteGallery({ file, model, extension });
  onTestFinished(() => gallery.close());
  return gallery;
}

async function withDatabase(file: string, work: (database: Database) => void): Promise<void> {
  const { DatabaseSync } = await loadDriver();
  const database = new DatabaseSync(file);
  work(database);
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)"); // else it happens when the statements are collected
  database.close();
}

async function galleryOf(...embeddings: readonly Float32Array[]): Promise<string> {
  const file = join(await emptyFolder(), "gallery.db");
  const gallery = await openSqliteGallery({ file, model: MODEL });
  for (const embedding of embeddings) await gallery.enroll(embedding, SOMEONE);
  await gallery.close();
  return file;
}

/** Opening fails, in words that hold no SQL, and a path only in a command. */
async function refusal(opening: Promise<Gallery>): Promise<{ code: string; message: string; next: string }> {
  const thrown: unknown = await opening.then(
    (gallery) => gallery.close(),
    (failure: unknown) => failure,
  );
  expect(thrown).toMatchObject({ name: "CheckError" });
  const { code, message, next } = thrown as { code: string; message: string; next: string };
  expect(message).not.toMatch(/gallery\.db|\/tmp|gallery-/);
  expect(`${message} ${next}`).not.toMatch(/SQLITE|PRAGMA/);
  return { code, message, next };
}

describe("the files", () => {
  test.skipIf(process.platform === "win32")("belong to their user alone, in a folder of the user's own", async () => {
    const folder = join(await emptyFolder(), "not", "yet", "there");
    const previous = process.umask(0);
    onTestFinished(() => void process.umask(previous));
    const gallery = await open(join(folder, "gallery.db"));
    await gallery.enroll(new FaceMaker(1).face(), SOMEONE);
    const names = await readdir(folder);
    expect(names.toSorted()).toEqual(["gallery.db", "gallery.db-shm", "gallery.db-wal", "gallery.db.mark"]);
    for (const name of names) expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600);
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
  });

  test.skipIf(process.platform === "win32").each(["", "-wal"])(
    "gallery.db%s that others can read is refused, with the cure",
    async (suffix) => {
      const file = await galleryOf(new FaceMaker(1).face());
      await writeFile(file + suffix, "", { flag: "a" });
      await chmod(file + suffix, 0o640);
      const { code, message, next } = await refusal(openSqliteGallery({ file, model: MODEL }));
      expect({ code, message }).toEqual({ code: "setup", message: expect.stringContaining("Other users") });
      expect(next).toContain(`chmod 600 '${file}${suffix}'`);
      await (suffix === "" ? chmod(file, 0o600) : rm(file + suffix, { force: true }));
      expect(await (await open(file)).count()).toBe(1);
    },
  );

  test.runIf(process.platform === "linux")("that it needs for a moment are closed again", async () => {
    const file = await galleryOf();
    await open(file);
    const opened = readdirSync("/proc/self/fd").map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return ""; // of the list itself
      }
    });
    expect(opened.filter((path) => path.startsWith(`${file}.`))).toEqual([]);
  });

  test("a folder in the file's place, a file in the folder's place", async () => {
    const folder = await emptyFolder();
    await mkdir(join(folder, "gallery.db"), { mode: 0o700 });
    await writeFile(join(folder, "file"), "");
    for (const [file, message] of [
      [join(folder, "gallery.db"), "not a regular file"],
      [join(folder, "file", "gallery.db"), "cannot be opened"],
    ] as const) {
      expect(await refusal(openSqliteGallery({ file, model: MODEL }))).toMatchObject({
        code: "setup",
        message: expect.stringContaining(message),
      });
    }
  });

  test("a file that is no database, or another program's, is refused and left alone", async () => {
    const folder = await emptyFolder();
    const text = join(folder, "text.db");
    await writeFile(text, "not a database, but longer than the header of one".repeat(9), { mode: 0o600 });
    const foreign = join(folder, "foreign.db");
    await writeFile(foreign, "", { mode: 0o600 });
    await withDatabase(foreign, (database) => database.exec("CREATE TABLE faces (name TEXT)"));
    for (const file of [text, foreign]) {
      const before = await readFile(file);
      expect(await refusal(openSqliteGallery({ file, model: MODEL }))).toMatchObject({
        code: "setup",
        message: expect.stringContaining("damaged"),
      });
      expect(await readFile(file)).toEqual(before);
    }
  });

  test("a gallery cut short is damaged, not empty", async () => {
    const faces = new FaceMaker(1);
    const file = await galleryOf(...Array.from({ length: 50 }, () => faces.face()));
    await truncate(file, 40_000);
    const gallery = await openSqliteGallery({ file, model: MODEL }).catch((failure: unknown) => failure);
    const failure =
      gallery instanceof Error
        ? gallery
        : await (gallery as Gallery).search(faces.face(), NEAREST).catch((thrown: unknown) => thrown);
    expect(failure).toMatchObject({ name: "CheckError", code: "setup", message: expect.stringContaining("damaged") });
  });

  test("a gallery deleted or replaced under a running server takes no more faces", async () => {
    const file = await galleryOf();
    const gallery = await open(file);
    const other = await galleryOf();
    await rm(file);
    const refused = {
      code: "setup",
      message: expect.stringContaining("moved, deleted"),
      next: "Restore the gallery, then restart the server.",
    };
    await expect(gallery.enroll(new FaceMaker(1).face(), SOMEONE)).rejects.toMatchObject(refused);
    await rename(other, file);
    await expect(gallery.enroll(new FaceMaker(1).face(), SOMEONE)).rejects.toMatchObject(refused);
    await expect(gallery.remove("x")).rejects.toMatchObject(refused);
  });
});

describe("what was stored by another version", () => {
  test("has the same bits: those of the components above zero", () => {
    const face = new FaceMaker(1).face().fill(0, 100, 300);
    expect(Buffer.from(signBits(face))).toEqual(bitsOf(face));
  });

  test("faces of another model are refused, also when the gallery is empty", async () => {
    for (const file of [await galleryOf(new FaceMaker(1).face()), await galleryOf()]) {
      expect(await refusal(openSqliteGallery({ file, model: "other" }))).toMatchObject({
        code: "setup",
        message: expect.stringContaining("another face model"),
      });
      await expect((await open(file)).count()).resolves.toBeLessThan(2);
    }
  });

  test("a newer schema is refused and left alone", async () => {
    const file = await galleryOf(new FaceMaker(1).face());
    await withDatabase(file, (database) => database.exec("PRAGMA user_version = 3"));
    const before = await readFile(file);
    expect(await refusal(openSqliteGallery({ file, model: MODEL }))).toMatchObject({
      code: "setup",
      message: expect.stringContaining("newer version"),
    });
    expect(await readFile(file)).toEqual(before);
  });

  test("what is enrolled is there after closing and opening again", async () => {
    const ada = new FaceMaker(1).face();
    const file = await galleryOf(ada);
    expect(await (await open(file)).search(ada, NEAREST)).toMatchObject({ neighbours: [SOMEONE], total: 1 });
  });
});

describe("beyond the exact search", () => {
  const hasPackage = ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64", "win32-x64"].includes(
    `${process.platform}-${process.arch}`,
  );
  test.skipIf(!hasPackage)(
    "the extension is in use where there is one, and no other can be loaded after it",
    async () => {
      const { DatabaseSync } = await loadDriver();
      const database = new DatabaseSync(":memory:", { allowExtension: true });
      expect(await installDistances(database, true)).toEqual({
        hamming: expect.stringContaining("vec_distance_hamming"),
        cosine: expect.stringContaining("vec_distance_l2"),
        isUnit: expect.stringContaining("vec_distance_l2"),
      });
      expect(database.prepare("SELECT vec_version() AS version").get()).toEqual({ version: expect.any(String) });
      expect(() => database.loadExtension("other")).toThrow(/not (enabled|allowed)/);
      database.close();
    },
  );

  test("where the package is missing, or may not be loaded, distances are computed without it", async () => {
    const load = () => {
      throw new Error("there is none for this platform");
    };
    vi.doMock("sqlite-vec", () => ({ load }));
    onTestFinished(() => void vi.doUnmock("sqlite-vec"));
    const { DatabaseSync } = await loadDriver();
    const database = new DatabaseSync(":memory:", { allowExtension: true });
    const { hamming, isUnit } = await installDistances(database, true);
    const [a, b] = [Buffer.from([0xff, 0b101]), Buffer.from([0, 1])];
    expect(database.prepare(`SELECT ${hamming} AS d FROM (SELECT :b AS b)`).get({ b: a, bits: b })).toEqual({ d: 9 });
    expect(isUnit).toContain("js_");
    database.close();
  });

  test("up to 20,000 faces none is missed, whatever its signs", async () => {
    const faces = new FaceMaker(5);
    // Ten components decide how near the two are; the signs of all others differ.
    const shape = (sign: number) => new Float32Array(512).map((_, i) => (i < 10 ? 0.3 : sign * 0.0141));
    const [face, opposite] = [shape(1), shape(-1)];
    const gallery = await open(join(await emptyFolder(), "gallery.db"));
    const strangers = Array.from({ length: 1100 }, (_, i) => storedFace(`stranger ${i}`, faces.face()));
    await gallery.store([storedFace("opposite", opposite), ...strangers]);
    expect((await gallery.search(face, NEAREST)).neighbours.map(({ id }) => id)).toEqual(["opposite"]);
  });

  test("a large gallery finds who is enrolled, never loses a blocked face, and needs no extension to do so", async () => {
    const STRANGERS = 20_050;
    const faces = new FaceMaker(3);
    const ada = faces.face();
    const file = await galleryOf();
    await withDatabase(file, (database) => {
      const face = database.prepare(
        "INSERT INTO faces (id, label, blocklisted, enrolled_at, embedding) VALUES (?, ?, ?, '', ?)",
      );
      const bits = database.prepare("INSERT INTO face_bits VALUES (?, ?)");
      const insert = (label: string, embedding: Float32Array, stored = bitsOf(embedding)): void => {
        const blocklisted = Number(label.startsWith("blocked"));
        bits.run(face.run(label, label, blocklisted, bytesOf(embedding)).lastInsertRowid, stored);
      };
      database.exec("PRAGMA foreign_keys = ON; BEGIN");
      for (let i = 0; i < STRANGERS; i++) insert(`stranger ${i}`, faces.face());
      for (const cosine of [0.5, 0.67, 0.97]) insert(`Ada ${cosine}`, faces.photoOf(ada, cosine));
      // Its sign bits are as far off as can be: no prefilter would let it through.
      const blocked = faces.photoOf(ada, 0.6);
      insert("blocked", blocked, bitsOf(blocked.map((component) => -component)));
      insert("lost to the prefilter", ada, bitsOf(ada.map((component) => -component)));
      database.exec("UPDATE meta SET value = (SELECT count(*) FROM faces) WHERE key = 'faces'; COMMIT");
    });
    for (const extension of [true, false]) {
      const gallery = await open(file, MODEL, extension);
      const labels = async (limit: number, blocklistedFirst: boolean): Promise<string[]> =>
        (await gallery.search(ada, { minCosine: 0.45, limit, blocklistedFirst })).neighbours.map(({ label }) => label);
      // The face with the wrong bits stays away: proof that this went through the prefilter.
      expect(await labels(10, false)).toEqual(["Ada 0.97", "Ada 0.67", "blocked", "Ada 0.5"]);
      expect(await labels(1, false)).toEqual(["blocked"]);
      expect(await labels(2, true)).toEqual(["blocked", "Ada 0.97"]);
    }
  });

  test("with and without the extension the answers are the same", async () => {
    const faces = new FaceMaker(7);
    const people = Array.from({ length: 300 }, () => faces.face());
    const file = await galleryOf(...people.flatMap((person) => [person, faces.photoOf(person, 0.6)]));
    const [native, plain] = [await open(file), await open(file, MODEL, false)];
    for (const person of people.slice(0, 50)) {
      const photo = faces.photoOf(person, 0.6);
      const clear = { minCosine: 0.25, limit: 20, blocklistedFirst: false };
      const found = await native.search(photo, clear);
      expect(found.total).toBe(2);
      expect(await plain.search(photo, clear)).toEqual({ ...found, neighbours: found.neighbours.map(nearly) });
      // Strangers lie so close together that two of them may change places in the seventh digit.
      const everybody = { ...clear, minCosine: -1 };
      const [a, b] = [await native.search(photo, everybody), await plain.search(photo, everybody)];
      expect(b.neighbours.map(({ cosine }) => cosine)).toEqual(a.neighbours.map((near) => nearly(near).cosine));
      expect([a.total, b.total]).toEqual([600, 600]);
    }
  });
});

function nearly(near: Neighbour): Neighbour {
  return { ...near, cosine: expect.closeTo(near.cosine, 5) };
}
