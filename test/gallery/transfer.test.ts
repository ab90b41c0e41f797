import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { Gallery } from "../../src/providers/on-device/gallery/gallery.ts";
import { openSqliteGallery } from "../../src/providers/on-device/gallery/sqlite.ts";
import {
  copyGallery,
  exportGallery,
  type FileTransfer,
  importGallery,
} from "../../src/providers/on-device/gallery/transfer.ts";
import { FaceMaker, MODEL, NEAREST } from "./faces.ts";
import { emptyFolder } from "./folders.ts";

const FACES = 450;
const PASSPHRASE = "correct horse battery";
const people = (() => {
  const maker = new FaceMaker(3);
  return Array.from({ length: FACES }, () => maker.face());
})();

async function galleryOf(faces: readonly Float32Array[]): Promise<Gallery> {
  const gallery = await openSqliteGallery({ file: join(await emptyFolder(), "gallery.sqlite"), model: MODEL });
  onTestFinished(() => gallery.close());
  const enrolledAt = new Date(0).toISOString();
  const stored = faces.map((embedding, i) => {
    return {
      id: `face-${i}`,
      label: `label ${i}`,
      vendorData: `u-${i}`,
      blocklisted: i % 10 === 0,
      enrolledAt,
      embedding,
    };
  });
  await gallery.store(stored);
  return gallery;
}

let file: string;
beforeEach(async () => {
  file = join(await emptyFolder(), "faces.jsonl");
});

function transfer(gallery: Gallery, more: Partial<FileTransfer> = {}) {
  const signal = new AbortController().signal;
  const open = async () => gallery;
  return {
    gallery,
    open,
    model: MODEL,
    file,
    passphrase: async () => PASSPHRASE,
    onProgress: () => {},
    signal,
    ...more,
  };
}

/** Interrupts at that many faces. */
function until(faces: number) {
  const stop = new AbortController();
  const onProgress = (what: string, done: number) => {
    if (what === "faces" && done >= faces) stop.abort();
  };
  return { onProgress, signal: stop.signal };
}

const linesIn = (path: string) => readFileSync(path, "utf8").split("\n").slice(0, -1);

describe.each([true, false])("a gallery goes through a file, encrypted: %s", (isEncrypted) => {
  const write = (gallery: Gallery, more = {}) => exportGallery({ ...transfer(gallery, more), isEncrypted });

  test("and is the same", async () => {
    const from = await galleryOf(people);
    expect(await write(from)).toEqual({ faces: FACES, added: FACES, searched: expect.any(Number) });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(existsSync(`${file}.part`)).toBe(false);
    expect(linesIn(file)).toHaveLength(FACES + 2);
    expect(JSON.parse(linesIn(file)[0] ?? "")).toMatchObject({ format: "biometrics-mcp gallery", model: MODEL });
    expect(readFileSync(file, "utf8").includes("label 7")).toBe(!isEncrypted);
    const to = await galleryOf([]);
    const { searched, ...done } = await importGallery(transfer(to));
    expect(done).toEqual({ faces: FACES, added: FACES });
    expect(searched).toBeGreaterThanOrEqual(90);
    const all = (gallery: Gallery) => gallery.read({ after: 0, limit: 1000 });
    expect(await all(to)).toEqual(await all(from));
    expect((await to.search(people[440] ?? new Float32Array(), NEAREST)).neighbours).toMatchObject([
      { id: "face-440", label: "label 440", vendorData: "u-440", blocklisted: true },
    ]);
    expect(await importGallery(transfer(to))).toMatchObject({ faces: FACES, added: 0 });
  });

  test("with an interruption on either side, and goes on where it stopped", async () => {
    const from = await galleryOf(people);
    await expect(write(from, until(200))).rejects.toBeDefined();
    expect(existsSync(file)).toBe(false);
    // As a killed process leaves it.
    writeFileSync(`${file}.part`, '{"seq":201,"id":', { flag: "a" });
    expect(await write(from)).toMatchObject({ faces: FACES, added: FACES - 200 });
    const to = await galleryOf([]);
    await expect(importGallery(transfer(to, until(200)))).rejects.toBeDefined();
    expect(await to.count()).toBe(200);
    expect(await importGallery(transfer(to))).toMatchObject({ faces: FACES, added: FACES - 200 });
    expect(await to.count()).toBe(FACES);
  });

  test("whoever was removed between two runs is in no file", async () => {
    const from = await galleryOf(people);
    await expect(write(from, until(200))).rejects.toBeDefined();
    await from.remove("face-7");
    await from.enroll(new FaceMaker(9).face(), { label: "new", vendorData: null, blocklisted: false });
    await expect(write(from)).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("changed"),
    });
    expect([existsSync(file), existsSync(`${file}.part`)]).toEqual([false, false]);
    expect(await write(from)).toMatchObject({ faces: FACES });
  });

  test.each<[string, (lines: string[]) => string[]]>([
    ["cut short", (lines) => lines.slice(0, -1)],
    ["without a face", (lines) => lines.toSpliced(5, 1)],
    ["with a face twice", (lines) => lines.toSpliced(5, 0, lines[5] ?? "")],
    ["with a letter changed", (lines) => lines.with(9, (lines[9] ?? "").replace(/[A-Z](?=[^A-Z]*$)/, "!"))],
    ["with lines after the end", (lines) => [...lines, lines[1] ?? ""]],
    ["without a header", (lines) => lines.slice(1)],
    ["with an empty line", (lines) => lines.toSpliced(3, 0, "")],
    ["with a line without end", (lines) => lines.with(4, "a".repeat(20_000))],
    ["empty", () => []],
  ])("a file %s: nothing is stored", async (_what, damage) => {
    await write(await galleryOf(people.slice(0, 12)));
    writeFileSync(
      file,
      damage(linesIn(file))
        .map((line) => `${line}\n`)
        .join(""),
    );
    const to = await galleryOf([]);
    await expect(importGallery(transfer(to))).rejects.toMatchObject({ name: "CheckError", code: "invalid_input" });
    expect(await to.count()).toBe(0);
  });

  test("a file of another model is refused", async () => {
    await write(await galleryOf(people.slice(0, 2)));
    const to = await galleryOf([]);
    await expect(importGallery(transfer(to, { model: "other" }))).rejects.toMatchObject({ code: "setup" });
    expect(await to.count()).toBe(0);
  });

  test("no file is replaced", async () => {
    writeFileSync(file, "mine");
    await expect(write(await galleryOf([]))).rejects.toMatchObject({ code: "invalid_input" });
    expect(readFileSync(file, "utf8")).toBe("mine");
  });

  test("an empty gallery is a file as well", async () => {
    expect(await write(await galleryOf([]))).toMatchObject({ faces: 0 });
    expect(await importGallery(transfer(await galleryOf([])))).toMatchObject({ faces: 0, searched: 0 });
  });
});

describe("an encrypted file", () => {
  test("does not open with another passphrase, nor without one", async () => {
    await exportGallery({ ...transfer(await galleryOf(people.slice(0, 3))), isEncrypted: true });
    for (const [passphrase, message] of [
      ["correct horse batterz", "passphrase is wrong"],
      [undefined, "there is no passphrase"],
    ]) {
      const refused = importGallery(transfer(await galleryOf([]), { passphrase: async () => passphrase }));
      await expect(refused).rejects.toMatchObject({
        code: "invalid_input",
        message: expect.stringContaining(message ?? ""),
      });
    }
  });

  test("takes no line from its other place, nor from another file, nor another model", async () => {
    const gallery = await galleryOf(people.slice(0, 4));
    await exportGallery({ ...transfer(gallery), isEncrypted: true });
    const other = `${file}.other`;
    await exportGallery({ ...transfer(gallery, { file: other }), isEncrypted: true });
    const lines = linesIn(file);
    const [, one = "", two = ""] = lines;
    for (const changed of [
      lines.with(1, two).with(2, one),
      lines.with(3, linesIn(other)[3] ?? ""),
      lines.with(0, (lines[0] ?? "").replace(MODEL, "other")),
    ]) {
      writeFileSync(file, changed.map((line) => `${line}\n`).join(""));
      const to = await galleryOf([]);
      const model = changed[0]?.includes(MODEL) ? MODEL : "other";
      await expect(importGallery(transfer(to, { model }))).rejects.toMatchObject({ code: "invalid_input" });
      expect(await to.count()).toBe(0);
    }
  });

  test("no two lines of one face are alike", async () => {
    const [ada = new Float32Array()] = people;
    await exportGallery({ ...transfer(await galleryOf([ada, ada])), isEncrypted: true });
    const [, one, two] = linesIn(file);
    expect(one?.slice(0, 17)).not.toBe(two?.slice(0, 17));
  });
});

test("a gallery is copied into another, again after an interruption, and those that were there stay", async () => {
  const from = await galleryOf(people);
  const to = await galleryOf([]);
  const other = await to.enroll(new FaceMaker(8).face(), {
    label: "here before",
    vendorData: null,
    blocklisted: false,
  });
  const { onProgress, signal } = until(400);
  await expect(copyGallery({ ...transfer(to), from, onProgress, signal })).rejects.toBeDefined();
  expect(await to.count()).toBe(401);
  expect(await copyGallery({ ...transfer(to), from })).toMatchObject({ faces: FACES, added: FACES - 400 });
  expect(await to.count()).toBe(FACES + 1);
  expect((await to.list({ limit: 500 })).faces).toContainEqual(other);
});
