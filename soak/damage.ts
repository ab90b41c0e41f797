import { copyFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CheckError } from "../src/errors.ts";
import type { Gallery } from "../src/providers/on-device/gallery/gallery.ts";
import { loadDriver } from "../src/providers/on-device/gallery/sqlite/driver.ts";
import { openSqliteGallery } from "../src/providers/on-device/gallery/sqlite.ts";
import { FaceMaker, MODEL, NEAREST } from "../test/gallery/faces.ts";
import { temporaryFolder } from "../test/support/clients.ts";
import { type Part, Random, Tally } from "./part.ts";

const FACES = 200;
const PAGE_BYTES = 16_384;

type Damage = (file: string, random: Random) => Promise<void> | void;

const sql = async (file: string, text: string) => {
  const { DatabaseSync } = await loadDriver();
  const database = new DatabaseSync(file);
  database.exec(text);
  database.close();
};

const WAYS: Readonly<Record<string, Damage>> = {
  truncated: (file, random) => truncateSync(file, random.below(readFileSync(file).length)),
  "truncated at a page": (file, random) =>
    truncateSync(file, random.below(readFileSync(file).length / PAGE_BYTES) * PAGE_BYTES),
  zeroed: (file, random) => {
    const bytes = readFileSync(file);
    const at = random.below(bytes.length);
    writeFileSync(file, bytes.fill(0, at, Math.min(bytes.length, at + 1 + random.below(4 * PAGE_BYTES))));
  },
  "zeroed pages": (file, random) => {
    const bytes = readFileSync(file);
    const page = random.below(bytes.length / PAGE_BYTES);
    writeFileSync(
      file,
      bytes.fill(0, page * PAGE_BYTES, Math.min(bytes.length, (page + 1 + random.below(3)) * PAGE_BYTES)),
    );
  },
  "noise over it": (file, random) => {
    const bytes = readFileSync(file);
    const at = random.below(bytes.length);
    for (let i = at; i < Math.min(bytes.length, at + 2000); i++) bytes[i] = random.below(256);
    writeFileSync(file, bytes);
  },
  "another program's": async (file) => {
    writeFileSync(file, "");
    await sql(file, "CREATE TABLE notes (text); INSERT INTO notes VALUES ('hello')");
  },
  "no database": (file, random) => writeFileSync(file, Buffer.alloc(random.below(60_000), random.below(256))),
  newer: (file, random) => sql(file, `PRAGMA user_version = ${3 + random.below(1000)}`),
};

/** Ada is blocked, among many; the folder is copied for each damage. */
async function original(): Promise<{ file: string; ada: Float32Array }> {
  const folder = temporaryFolder("gallery-");
  const file = join(folder, "gallery.sqlite");
  const gallery = await openSqliteGallery({ file, model: MODEL });
  const ada = new FaceMaker(1).face();
  const faces = new FaceMaker(2);
  const someone = { label: "x", vendorData: null, blocklisted: false };
  for (let n = 0; n < FACES; n++) {
    if (n === FACES / 2) await gallery.enroll(ada, { label: "Ada", vendorData: null, blocklisted: true });
    await gallery.enroll(faces.face(), someone);
  }
  await gallery.close();
  return { file, ada };
}

export const damage: Part = {
  name: "gallery",
  invariant:
    "A gallery that was truncated, zeroed, overwritten, exchanged or written by a newer version is refused, or still finds who is on its blocklist; it is left as it is.",
  async run({ seed, rounds }) {
    const tally = new Tally();
    const { file: from, ada } = await original();
    for (const [n, [what, damage]] of Array.from({ length: rounds }, () => Object.entries(WAYS))
      .flat()
      .entries()) {
      const random = new Random(seed + n);
      const folder = join(temporaryFolder("damage-"), "data");
      mkdirSync(folder, { mode: 0o700 });
      const file = join(folder, "gallery.sqlite");
      for (const suffix of ["", ".mark"]) copyFileSync(from + suffix, file + suffix);
      await damage(file, random);
      const damaged = readFileSync(file);
      let gallery: Gallery | undefined;
      try {
        gallery = await openSqliteGallery({ file, model: MODEL });
        const { neighbours } = await gallery.search(ada, NEAREST);
        const isFound = neighbours.some(({ label, blocklisted }) => label === "Ada" && blocklisted);
        tally.add(`${what}: ${isFound ? "Ada found" : "Ada not found"}`);
        tally.check(isFound, () => `${what}, round ${n}: the blocklist is lost`);
      } catch (thrown) {
        const error = CheckError.from(thrown);
        tally.add(`${what}: refused`);
        tally.check(error.code === "setup", () => `${what}, round ${n}: ${error.code} ${error.message} ${error.cause}`);
        tally.check(readFileSync(file).equals(damaged), () => `${what}, round ${n}: it was changed`);
      } finally {
        await gallery?.close();
      }
    }
    return tally;
  },
};
