import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { loadDriver } from "../../src/providers/on-device/gallery/sqlite/driver.ts";
import { fileFailure, openingFailure, sqliteFailure } from "../../src/providers/on-device/gallery/sqlite/failure.ts";
import { openSqliteGallery } from "../../src/providers/on-device/gallery/sqlite.ts";
import { temporaryFolder } from "../support/clients.ts";
import { FaceMaker, MODEL } from "./faces.ts";
import { emptyFolder } from "./folders.ts";

const CHILD = fileURLToPath(new URL("child.ts", import.meta.url));

/** A shell in which `$folder` is a disk of 1 MB of its own; undefined where this user cannot have one. */
function onSmallDisk(script: string, mode = "rw") {
  const args = ["-rm", "bash", "-ec", `mount -t tmpfs -o ${mode},size=1m,mode=700 tmpfs "$folder"; ${script}`];
  return (folder: string) => {
    const env = { ...process.env, folder, node: process.execPath, child: CHILD };
    return spawnSync("unshare", args, { encoding: "utf8", env });
  };
}
const inChild = (task: string) => `"$node" --import tsx "$child" ${task} "$folder/gallery.sqlite"`;
const hasSmallDisk = onSmallDisk("echo yes")(temporaryFolder("disk-")).stdout === "yes\n";

test.skipIf(!hasSmallDisk)("a full disk: nothing was stored or removed, and it may be tried again", async () => {
  const { stdout, stderr } = onSmallDisk(inChild("full"))(await emptyFolder());
  expect(stdout.trim().split("\n"), stderr).toEqual([
    "enroll: unavailable true The disk of the data folder is full; nothing was stored or removed.",
    "remove: unavailable true The disk of the data folder is full; nothing was stored or removed.",
    "search: 1",
    "with space again: true",
  ]);
});

test.skipIf(!hasSmallDisk)("a disk that is read-only", async () => {
  const { stdout, stderr } = onSmallDisk(inChild("tell"), "ro")(await emptyFolder());
  expect(stdout, stderr).toBe(
    "refused unavailable: The disk of the data folder is read-only; nothing was stored or removed.\n",
  );
});

test.skipIf(!hasSmallDisk).each([
  ["a gallery", () => inChild("enroll-1"), "unavailable: The disk of the data folder is read-only"],
  [
    "another program's",
    (other: string) => `cp "${other}" "$folder/gallery.sqlite"; chmod 600 "$folder/gallery.sqlite"`,
    "setup: The face gallery is damaged, or is not a gallery",
  ],
] as const)("a disk that became read-only under %s", async (_what, make, said) => {
  const other = join(await emptyFolder(), "other.sqlite");
  const { DatabaseSync } = await loadDriver();
  const database = new DatabaseSync(other);
  database.exec("PRAGMA application_id = 7; CREATE TABLE theirs (a)");
  database.close();
  const script = `${make(other)} >/dev/null; mount -o remount,bind,ro "$folder"; ${inChild("tell")}`;
  const { stdout, stderr } = onSmallDisk(script)(await emptyFolder());
  expect(stdout, stderr).toMatch(new RegExp(`^refused ${said}`));
});

const sqliteError = (words: string, more: object) =>
  Object.assign(new Error(words), { code: "ERR_SQLITE_ERROR", ...more });

test.each([
  [1, "SQL logic error", "internal", "The server failed unexpectedly."],
  [3, "access permission denied", "setup", "The face gallery cannot be opened in the data folder."],
  [5, "database is locked", "unavailable", "Another program has locked the face gallery."],
  [8, "attempt to write a readonly database", "setup", "The face gallery in the data folder cannot be written."],
  [10, "disk I/O error", "unavailable", "The disk of the data folder failed to read or write."],
  [11, "database disk image is malformed", "setup", "The face gallery is damaged, or is not a gallery."],
  [
    13,
    "database or disk is full",
    "unavailable",
    "The disk of the data folder is full; nothing was stored or removed.",
  ],
])("SQLite's result %i is told in our words, also when the gallery is opened", async (result, words, code, message) => {
  const folder = await emptyFolder();
  // The package gives some errors no code, and all an extended one: the result is in its lower byte.
  for (const cause of [sqliteError("", { errcode: result | 0x100 }), sqliteError(words, {})]) {
    expect(sqliteFailure(cause)).toMatchObject({ code, message, cause });
    for (const at of [folder, join(folder, "none")]) {
      expect(await openingFailure(cause, at)).toMatchObject({ code, message, cause });
    }
  }
});

test.each([
  ["EACCES", "setup", "The face gallery in the data folder cannot be written."],
  ["EPERM", "setup", "The face gallery in the data folder cannot be written."],
  ["ENOTDIR", "setup", "The face gallery cannot be opened in the data folder."],
  ["EROFS", "unavailable", "The disk of the data folder is read-only; nothing was stored or removed."],
  ["EMFILE", "unavailable", "This machine could not complete the call: too many files and connections are open."],
])("%s from the file system as well", (errno, code, message) => {
  const cause = Object.assign(new Error(errno), { code: errno });
  expect(fileFailure(cause)).toMatchObject({ code, message, cause });
});

test.skipIf(process.platform === "win32")(
  "without file descriptors a gallery is unavailable, and then again not",
  async () => {
    const file = join(await emptyFolder(), "gallery.sqlite");
    const gallery = await openSqliteGallery({ file, model: MODEL });
    await gallery.enroll(new FaceMaker(1).face(), { label: "Ada", vendorData: null, blocklisted: false });
    await gallery.close();
    const script = 'ulimit -n 200; exec "$0" --import tsx "$1" descriptors "$2"';
    const { stdout, stderr } = spawnSync("bash", ["-c", script, process.execPath, CHILD, file], { encoding: "utf8" });
    expect(stdout.trim().split("\n"), stderr).toEqual(["open: unavailable true", "afterwards: 1"]);
  },
);
