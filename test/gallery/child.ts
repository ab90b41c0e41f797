import { appendFileSync, closeSync, openSync, rmSync, writeSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { CheckError } from "../../src/errors.ts";
import { locateGalleries } from "../../src/providers/on-device/gallery/open.ts";
import { loadDriver } from "../../src/providers/on-device/gallery/sqlite/driver.ts";
import { FaceMaker, MODEL } from "./faces.ts";
import { openGallery } from "./opening.ts";

// Another process at the same gallery: `node --import tsx child.ts <task> <file or URL> <seed>`, speaking in lines on stdout.
const [, , task, file = "", seed = "1"] = process.argv;
const dataFolder = await mkdtemp(join(tmpdir(), "mark-"));
const location = file.startsWith("postgres:") ? locateGalleries({ dataFolder, galleryUrl: file }) : { file };

/** Written through at once: what the parent has read stays true when this process is killed. */
function say(line: string): void {
  writeSync(1, `${line}\n`);
}

async function enrollMany(faceCount: number): Promise<void> {
  const gallery = await openGallery({ location, model: MODEL });
  const faces = new FaceMaker(Number(seed));
  for (let i = 0; i < faceCount; i++) {
    const { id } = await gallery.enroll(faces.face(), { label: `${seed}:${i}`, vendorData: null, blocklisted: false });
    say(`enrolled ${id}`);
  }
  await gallery.close();
}

/** New galleries at agreed moments: each is made by all these processes within the same fraction of a millisecond. */
async function race(): Promise<void> {
  const PERIOD_MS = 60;
  for (let round = 0; round < 20; round++) {
    const start = (Math.floor(Date.now() / PERIOD_MS) + 1) * PERIOD_MS;
    while (Date.now() < start); // A timer would come a millisecond late or early.
    const gallery = await openGallery({ location: { file: `${file}-${start}` }, model: MODEL });
    await gallery.enroll(new FaceMaker(Number(seed)).face(), { label: seed, vendorData: null, blocklisted: false });
    say(`enrolled ${start}`);
    await gallery.close();
  }
}

async function churn(): Promise<never> {
  const gallery = await openGallery({ location, model: MODEL });
  const faces = new FaceMaker(Number(seed));
  for (let i = 0; ; i++) {
    const { id } = await gallery.enroll(faces.face(), { label: `${seed}:${i}`, vendorData: null, blocklisted: false });
    say(`enrolled ${id}`);
    if (i % 3 !== 0) continue;
    say(`removing ${id}`);
    await gallery.remove(id);
    say(`removed ${id}`);
  }
}

/** Holds a read transaction, and so the pages of what is removed meanwhile, until it is ended. */
async function read(): Promise<void> {
  const { DatabaseSync } = await loadDriver();
  const database = new DatabaseSync(file);
  database.exec("BEGIN");
  database.prepare("SELECT count(*) FROM faces").get();
  say("reading");
  await setTimeout(60_000);
}

async function lock(): Promise<void> {
  const { DatabaseSync } = await loadDriver();
  const database = new DatabaseSync(file);
  database.exec("BEGIN IMMEDIATE");
  say("locked");
  await setTimeout(60_000);
}

/** Is about to make tables, but has not yet switched to the write-ahead log. */
async function make(): Promise<void> {
  const { DatabaseSync } = await loadDriver();
  const database = new DatabaseSync(file);
  database.exec("BEGIN IMMEDIATE; CREATE TABLE unfinished (a)");
  say("making");
  await setTimeout(60_000);
}

async function tell(): Promise<void> {
  const opened = await openGallery({ location, model: MODEL }).catch((failure: unknown) => failure);
  if (opened instanceof Error && "code" in opened) return say(`refused ${String(opened.code)}: ${opened.message}`);
  say("opened");
}

/** On a disk that can be filled: what each call says while it is full. */
async function full(): Promise<void> {
  const gallery = await openGallery({ location, model: MODEL });
  const ada = new FaceMaker(1).face();
  const someone = { label: "Ada", vendorData: null, blocklisted: false };
  const { id } = await gallery.enroll(ada, someone);
  const filler = join(dirname(file), "filler");
  for (let size = 2 ** 19; size >= 1; size = Math.floor(size / 2)) {
    while (canAppend(filler, size));
  }
  const told = async (call: Promise<unknown>) => {
    const thrown = await call.then(() => "done", CheckError.from);
    return thrown instanceof CheckError ? `${thrown.code} ${thrown.retryable} ${thrown.message}` : thrown;
  };
  const faces = new FaceMaker(2);
  // What is left of the last page may hold some.
  let enrolled = "done";
  while (enrolled === "done") enrolled = await told(gallery.enroll(faces.face(), someone));
  say(`enroll: ${enrolled}`);
  say(`remove: ${await told(gallery.remove(id))}`);
  const query = { minCosine: 0.49, limit: 10, blocklistedFirst: false };
  say(`search: ${(await gallery.search(ada, query)).total}`);
  rmSync(filler);
  say(`with space again: ${(await gallery.remove(id)).removed}`);
}

function canAppend(path: string, bytes: number): boolean {
  try {
    appendFileSync(path, Buffer.alloc(bytes));
    return true;
  } catch {
    return false;
  }
}

async function descriptors(): Promise<void> {
  await loadDriver();
  const taken: number[] = [];
  try {
    for (;;) taken.push(openSync(file.replace(/[^/]*$/, "."), "r"));
  } catch {
    // None is left.
  }
  const thrown = CheckError.from(await openGallery({ location, model: MODEL }).catch((failure: unknown) => failure));
  say(`open: ${thrown.code} ${thrown.retryable}`);
  for (const descriptor of taken) closeSync(descriptor);
  say(`afterwards: ${await (await openGallery({ location, model: MODEL })).count()}`);
}

const TASKS: Readonly<Record<string, () => Promise<void>>> = {
  "enroll-50": () => enrollMany(50),
  "enroll-1": () => enrollMany(1),
  race,
  churn,
  read,
  lock,
  make,
  tell,
  full,
  descriptors,
};
await TASKS[task ?? ""]?.();
