import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { Gallery } from "../../src/providers/on-device/gallery/gallery.ts";
import { openSqliteGallery } from "../../src/providers/on-device/gallery/sqlite.ts";
import type { EnrolledFace } from "../../src/providers/provider.ts";
import { bitsOf, bytesOf, FaceMaker, MODEL } from "./faces.ts";
import { emptyFolder } from "./folders.ts";
import { startProcess } from "./processes.ts";

const ADA = { label: "Ada, to be forgotten", vendorData: "user-to-be-forgotten", blocklisted: false };

/** What of the face is still in any file beside the gallery: its bytes, looked for raw. */
async function traces(file: string, embedding: Float32Array): Promise<string[]> {
  const needles = {
    // A part of the embedding, in case that the whole was cut over two pages.
    embedding: bytesOf(embedding).subarray(512, 1024),
    bits: bitsOf(embedding),
    label: Buffer.from(ADA.label),
    vendorData: Buffer.from(ADA.vendorData),
  };
  const found: string[] = [];
  for (const name of await readdir(dirname(file))) {
    const content = await readFile(join(dirname(file), name));
    for (const [part, bytes] of Object.entries(needles)) if (content.includes(bytes)) found.push(part);
  }
  return [...new Set(found)].toSorted();
}
const ALL = ["bits", "embedding", "label", "vendorData"];

async function enrollAda(): Promise<{ file: string; gallery: Gallery; embedding: Float32Array; ada: EnrolledFace }> {
  const file = join(await emptyFolder(), "gallery.db");
  const gallery = await openSqliteGallery({ file, model: MODEL });
  onTestFinished(() => gallery.close());
  const faces = new FaceMaker(11);
  for (let i = 0; i < 10; i++) await gallery.enroll(faces.face(), { ...ADA, label: `before ${i}`, vendorData: null });
  const embedding = faces.face();
  const ada = await gallery.enroll(embedding, ADA);
  for (let i = 0; i < 10; i++) await gallery.enroll(faces.face(), { ...ADA, label: `after ${i}`, vendorData: null });
  expect(await traces(file, embedding)).toEqual(ALL);
  return { file, gallery, embedding, ada };
}

test("nothing of a removed face is left in any file", async () => {
  const { file, gallery, embedding, ada } = await enrollAda();
  expect(await gallery.remove(ada.id)).toEqual({ removed: true, erased: true });
  expect(await traces(file, embedding)).toEqual([]);
  expect(await gallery.count()).toBe(20);
});

test("nor of one that was moved from the log into the database before", async () => {
  const { file, gallery, embedding, ada } = await enrollAda();
  await gallery.close();
  expect(await traces(file, embedding)).toEqual(ALL);
  const again = await openSqliteGallery({ file, model: MODEL });
  onTestFinished(() => again.close());
  expect(await again.remove(ada.id)).toEqual({ removed: true, erased: true });
  expect(await traces(file, embedding)).toEqual([]);
});

test("while another process reads it is not erased, and says so; the next call makes up for it", {
  timeout: 30_000,
}, async () => {
  const { file, gallery, embedding, ada } = await enrollAda();
  const reader = startProcess("read", file);
  await reader.line("reading");
  const before = performance.now();
  expect(await gallery.remove(ada.id)).toEqual({ removed: true, erased: false });
  expect(performance.now() - before).toBeLessThan(4000);
  expect(await gallery.count()).toBe(20);
  expect(await traces(file, embedding)).not.toEqual([]);
  await reader.kill();
  expect(await gallery.count()).toBe(20);
  expect(await traces(file, embedding)).toEqual([]);
});

test("a reader that ends in time is waited for", { timeout: 30_000 }, async () => {
  const { file, gallery, embedding, ada } = await enrollAda();
  const reader = startProcess("read", file);
  await reader.line("reading");
  const removal = gallery.remove(ada.id);
  setTimeout(() => void reader.kill(), 300);
  expect(await removal).toEqual({ removed: true, erased: true });
  expect(await traces(file, embedding)).toEqual([]);
});

test("what a process still owed when it ended is erased by the next one", { timeout: 30_000 }, async () => {
  const { file, gallery, embedding, ada } = await enrollAda();
  const reader = startProcess("read", file);
  await reader.line("reading");
  expect(await gallery.remove(ada.id)).toEqual({ removed: true, erased: false });
  await gallery.close();
  await reader.kill();
  expect(await traces(file, embedding)).not.toEqual([]);
  const next = await openSqliteGallery({ file, model: MODEL });
  onTestFinished(() => next.close());
  expect(await next.count()).toBe(20);
  expect(await traces(file, embedding)).toEqual([]);
});
