import { spawn, spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import type { Gallery } from "../../src/providers/on-device/gallery/gallery.ts";
import { loadDriver } from "../../src/providers/on-device/gallery/sqlite/driver.ts";
import { openSqliteGallery } from "../../src/providers/on-device/gallery/sqlite.ts";
import { FaceMaker, MODEL, NEAREST } from "./faces.ts";
import { emptyFolder } from "./folders.ts";
import { startProcess } from "./processes.ts";

async function open(file: string): Promise<Gallery> {
  const gallery = await openSqliteGallery({ file, model: MODEL });
  onTestFinished(() => gallery.close());
  return gallery;
}

async function storedIds(gallery: Gallery): Promise<Set<string>> {
  const { faces } = await gallery.list({ limit: 100_000 });
  return new Set(faces.map(({ id }) => id));
}

async function integrity(file: string): Promise<unknown> {
  const { DatabaseSync } = await loadDriver();
  const database = new DatabaseSync(file);
  const faults = database.prepare("PRAGMA foreign_key_check").all();
  const strays = database
    .prepare("SELECT count(*) AS strays FROM faces LEFT JOIN face_bits USING (seq) WHERE b IS NULL")
    .get();
  const { integrity_check } = database.prepare("PRAGMA integrity_check").get();
  database.close();
  return { integrity: integrity_check, faults, strays: strays?.strays };
}
const { sqlite: builtInSqlite } = process.versions;
const INTACT = { integrity: "ok", faults: [], strays: 0 };

test("two processes that make the same gallery and enrol at once lose nothing", { timeout: 60_000 }, async () => {
  const file = join(await emptyFolder(), "new", "gallery.db");
  const processes = [1, 2].map((seed) => startProcess("enroll-50", file, seed));
  const said = await Promise.all(processes.map((other) => other.end()));
  const acknowledged = said.flat().map((line) => line.slice("enrolled ".length));
  expect(acknowledged).toHaveLength(100);
  const gallery = await open(file);
  expect(await storedIds(gallery)).toEqual(new Set(acknowledged));
  for (const seed of [1, 2]) {
    const face = new FaceMaker(seed).face();
    expect((await gallery.search(face, NEAREST)).neighbours).toEqual([expect.objectContaining({ label: `${seed}:0` })]);
  }
  expect(await integrity(file)).toEqual(INTACT);
});

test("several processes may make the same gallery at the same moment", { timeout: 60_000 }, async () => {
  const folder = await emptyFolder();
  const processes = [1, 2, 3].map((seed) => startProcess("race", join(folder, "gallery"), seed));
  const said = await Promise.all(processes.map((other) => other.end()));
  const enrolments = said.flat().map((line) => line.slice("enrolled ".length));
  const galleries = [...new Set(enrolments)].map((start) => ({
    name: `gallery-${start}`,
    faceCount: enrolments.filter((other) => other === start).length,
  }));
  for (const { name, faceCount } of galleries) expect(await (await open(join(folder, name))).count()).toBe(faceCount);
  // They did meet.
  expect(galleries.filter(({ faceCount }) => faceCount > 1).length).toBeGreaterThan(3);
});

test("opening waits for a process that is making the same file", async () => {
  const file = join(await emptyFolder(), "gallery.db");
  await writeFile(file, "", { mode: 0o600 });
  const other = startProcess("make", file);
  await other.line("making");
  const opening = open(file);
  await setTimeout(300);
  await other.kill();
  expect(await (await opening).count()).toBe(0);
});

test("a face enrolled in one process is found by another that was open before", { timeout: 30_000 }, async () => {
  const file = join(await emptyFolder(), "gallery.db");
  const gallery = await open(file);
  expect(await gallery.count()).toBe(0);
  await startProcess("enroll-1", file, 9).end();
  expect(await gallery.search(new FaceMaker(9).face(), NEAREST)).toMatchObject({ total: 1 });
});

test("killed while it writes: no acknowledged face is lost, none comes back", { timeout: 120_000 }, async () => {
  const file = join(await emptyFolder(), "gallery.db");
  const enrolled = new Set<string>();
  const removing = new Set<string>();
  const removed = new Set<string>();
  const HEARD = { enrolled, removing, removed };
  for (let round = 1; round <= 6; round++) {
    const victim = startProcess("churn", file, round);
    await victim.line("removed");
    await setTimeout(20 + 37 * round);
    await victim.kill();
    for (const line of victim.lines()) {
      const [event, id = ""] = line.split(" ");
      if (event === "enrolled" || event === "removing" || event === "removed") HEARD[event].add(id);
    }
    const gallery = await openSqliteGallery({ file, model: MODEL });
    const stored = await storedIds(gallery);
    // A face whose removal was under way may be there or not.
    expect([...enrolled].filter((id) => !stored.has(id) && !removing.has(id))).toEqual([]);
    expect([...removed].filter((id) => stored.has(id))).toEqual([]);
    await gallery.close();
    expect(await integrity(file)).toEqual(INTACT);
  }
  expect(removed.size).toBeGreaterThan(6);
});

test.skipIf(process.platform === "win32")("a writer that holds the gallery for a moment is waited for", async () => {
  const file = join(await emptyFolder(), "gallery.db");
  const gallery = await open(file);
  const someone = { label: "x", vendorData: null, blocklisted: false };
  const { id } = await gallery.enroll(new FaceMaker(1).face(), someone);
  await gallery.remove(id); // the last thing that waits for nobody
  const other = startProcess("lock", file);
  await other.line("locked");
  spawn("sh", ["-c", `sleep 0.5; kill -9 ${other.pid}`]); // waiting, this process runs no timer
  await gallery.enroll(new FaceMaker(2).face(), someone);
  expect(await gallery.count()).toBe(1);
});

test("a process that makes the same file for longer than anyone waits is told as such", {
  timeout: 40_000,
}, async () => {
  const file = join(await emptyFolder(), "gallery.db");
  await writeFile(file, "", { mode: 0o600 });
  const other = startProcess("make", file);
  await other.line("making");
  await expect(open(file)).rejects.toMatchObject({ code: "unavailable", retryable: true });
});

test("a writer that holds the gallery longer than anyone waits is told as such", { timeout: 40_000 }, async () => {
  const file = join(await emptyFolder(), "gallery.db");
  const gallery = await open(file);
  const other = startProcess("lock", file);
  await other.line("locked");
  const enrolling = gallery.enroll(new FaceMaker(1).face(), { label: "x", vendorData: null, blocklisted: false });
  await expect(enrolling).rejects.toMatchObject({ code: "unavailable", retryable: true });
  await other.kill();
  expect(await gallery.count()).toBe(0);
});

test.skipIf(builtInSqlite !== undefined)("without any SQLite there is no gallery, and it says so", async () => {
  const file = join(await emptyFolder(), "gallery.db");
  const [said] = await startProcess("tell", file, 1, ["--no-addons"]).end();
  expect(said).toBe("refused unsupported: There is no face gallery in this setup; everything else works.");
});

test.skipIf(process.platform === "win32")(
  "a write that the system refuses is a failure, and nothing was stored",
  { timeout: 30_000 },
  async () => {
    const file = join(await emptyFolder(), "gallery.db");
    const gallery = await open(file);
    await gallery.close();
    // 128 blocks of 1 KiB: enough for the tables, not for many faces.
    const script = `ulimit -f 128; exec "$0" --import tsx "$1" enroll-50 "$2" 5`;
    const child = fileURLToPath(new URL("child.ts", import.meta.url));
    const failed = spawnSync("bash", ["-c", script, process.execPath, child, file], { encoding: "utf8" });
    expect(failed.status).not.toBe(0);
    expect(failed.stderr).toMatch(/CheckError: The disk of the data folder (failed|is full)/);
    const acknowledged = failed.stdout.trim().split("\n").filter(Boolean);
    expect(await (await open(file)).count()).toBe(acknowledged.length);
  },
);
