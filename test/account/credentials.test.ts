import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { build } from "esbuild";
import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { openCredentials, type Stored } from "../../src/storage/credentials.ts";
import { openRegular } from "../../src/storage/folder.ts";
import { acquireLock } from "../../src/storage/lock.ts";
import { temporaryFolder } from "../support/clients.ts";
import { refusal } from "./setting.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const mode = (path: string) => statSync(path).mode & 0o777;
const newFolder = () => join(temporaryFolder("data-"), "it's data");
const pending = (email: string, size = 10) => ({
  email,
  password: "x".repeat(size),
  password_made_here: true,
  code_sent_at: null,
});
const adding = (email: string) => (it: Stored) => ({ ...it, pending: [...it.pending, pending(email)] });
const emails = ({ pending }: Stored) => pending.map(({ email }) => email);

let writer: string;
beforeAll(async () => {
  writer = join(temporaryFolder("writer-"), "writer.mjs");
  const entryPoints = [join(ROOT, "test/account/writer.ts")];
  await build({ entryPoints, outfile: writer, bundle: true, format: "esm", platform: "node", target: "node20" });
});

/** Another process that updates the same folder. */
function start(folder: string, name: string, count: number): ChildProcess {
  const child = spawn(process.execPath, [writer, folder, name, String(count)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

test("nothing is there before something is stored, and reading makes nothing", async () => {
  const folder = newFolder();
  expect(await openCredentials(folder).read()).toEqual({ version: 1, pending: [], earlier: [] });
  expect(() => statSync(folder)).toThrow("ENOENT");
});

test("folder and file are the owner's alone, whatever the umask, and nothing else is left", async () => {
  const folder = newFolder();
  const before = process.umask(0);
  onTestFinished(() => void process.umask(before));
  const credentials = openCredentials(folder);
  await credentials.update(adding("a@mail.org"));
  await credentials.update(adding("b@mail.org"));
  expect(mode(folder)).toBe(0o700);
  expect(mode(join(folder, "credentials.json"))).toBe(0o600);
  expect(readdirSync(folder)).toEqual(["credentials.json"]);
});

test("a second instance sees a change at once, and fields that it does not know survive it", async () => {
  const folder = newFolder();
  const [one, other] = [openCredentials(folder), openCredentials(folder)];
  for (let n = 0; n < 50; n++) {
    // Same length every time: size alone says nothing.
    await one.update((it) => ({ ...it, future: { n: 100 + n }, pending: [pending(`n${100 + n}@mail.org`)] }));
    expect(emails(await other.read())).toEqual([`n${100 + n}@mail.org`]);
  }
  await other.update(adding("b@mail.org"));
  expect(await one.read()).toMatchObject({ future: { n: 149 } });
  expect(emails(await one.read())).toEqual(["n149@mail.org", "b@mail.org"]);
});

test("an edit by hand is seen, and so is a file that went", async () => {
  const folder = newFolder();
  const credentials = openCredentials(folder);
  await credentials.update(adding("a@mail.org"));
  const file = join(folder, "credentials.json");
  utimesSync(file, new Date(0), new Date(0)); // long settled: it is remembered
  expect(emails(await credentials.read())).toEqual(["a@mail.org"]);
  expect(emails(await credentials.read())).toEqual(["a@mail.org"]);
  writeFileSync(file, readFileSync(file, "utf8").replace("a@mail", "z@mail"));
  expect(emails(await credentials.read())).toEqual(["z@mail.org"]);
  unlinkSync(file);
  expect(emails(await credentials.read())).toEqual([]);
});

describe.runIf(process.platform !== "win32")("what others can read is refused, with the command that mends it", () => {
  test.each([
    ["the folder", 0o750, 0o600, (folder: string) => [`chmod 700 ${folder}`]],
    ["the folder, for passing through", 0o711, 0o600, (folder: string) => [`chmod 700 ${folder}`]],
    ["the file", 0o700, 0o640, (_: string, file: string) => [`chmod 600 ${file}`]],
    ["the file, for writing", 0o700, 0o602, (_: string, file: string) => [`chmod 600 ${file}`]],
    ["both", 0o755, 0o644, (folder: string, file: string) => [`chmod 700 ${folder} && chmod 600 ${file}`]],
  ])("%s", async (_what, folderMode, fileMode, commands) => {
    const folder = newFolder();
    const file = join(folder, "credentials.json");
    const credentials = openCredentials(folder);
    await credentials.update(adding("a@mail.org"));
    utimesSync(file, new Date(0), new Date(0));
    await credentials.read(); // what is remembered is looked at again
    chmodSync(file, fileMode);
    chmodSync(folder, folderMode);
    for (const instance of [credentials, openCredentials(folder)]) {
      for (const call of [() => instance.read(), () => instance.update((it) => it)]) {
        const error = await refusal(call());
        expect(error.code).toBe("setup");
        expect(error.next).toContain("the data folder (BIOMETRICS_DATA_DIR)");
      }
    }
    const quoted = (path: string) => `'${path.replace("'", "'\\''")}'`;
    const error = await refusal(credentials.read());
    const [command = ""] = commands(quoted(folder), quoted(file));
    expect(error.next).toContain(`\`${command}\``);
    // The command is a real one.
    const shell = spawn("sh", ["-c", command], { stdio: "inherit" });
    expect(await once(shell, "exit")).toEqual([0, null]);
    expect(emails(await credentials.read())).toEqual(["a@mail.org"]);
  });

  test("a folder that is there already and open to others is refused before anything is stored", async () => {
    const folder = newFolder();
    mkdirSync(folder, { mode: 0o755 });
    chmodSync(folder, 0o755);
    const credentials = openCredentials(folder);
    expect(emails(await credentials.read())).toEqual([]); // nothing is in it
    expect(await refusal(credentials.update(adding("a@mail.org")))).toMatchObject({ code: "setup" });
    expect(readdirSync(folder)).toEqual([]);
  });
});

test.each([
  ["half a file", '{"version": 1, "didit": {"api_key": "SECRET-KEY-123'],
  ["nothing", ""],
  ["text", "SECRET-KEY-123"],
  ["another shape", '{"version": 1, "didit": {"api_key": "SECRET-KEY-123"}}'],
  ["a list", '["SECRET-KEY-123"]'],
  ["no version", '{"pending": []}'],
  ["an older version", '{"version": 0, "pending": []}'],
  ["two megabytes", `{"version": 1, "pad": "${"x".repeat(2 ** 21)}"}`],
])("%s is refused, and never replaced", async (_what, text) => {
  const folder = newFolder();
  const credentials = openCredentials(folder);
  await credentials.update((it) => it);
  const file = join(folder, "credentials.json");
  writeFileSync(file, text);
  for (const call of [() => credentials.read(), () => credentials.update(adding("a@mail.org"))]) {
    const error = await refusal(call());
    expect(error).toMatchObject({ code: "setup", message: expect.stringContaining("damaged") });
    expect(error.next).toMatch(/backup/);
    expect(`${error.message} ${error.next} ${error.cause} ${error.stack}`).not.toContain("SECRET-KEY");
  }
  expect(readFileSync(file, "utf8")).toBe(text);
  expect(readdirSync(folder)).toEqual(["credentials.json"]);
});

test("a file of a megabyte is read to its last byte, and a larger one not at all", async () => {
  const folder = newFolder();
  const credentials = openCredentials(folder);
  await credentials.update((it) => it);
  const file = join(folder, "credentials.json");
  const text = '{"version": 1, "pad": ""}';
  writeFileSync(file, text.replace('""', `"${"x".repeat(2 ** 20 - text.length)}"`));
  expect(await credentials.read()).toMatchObject({ version: 1 });
  writeFileSync(file, " ", { flag: "a" });
  expect(await refusal(credentials.read())).toMatchObject({ code: "setup" });
});

test.runIf(process.platform !== "win32").each([
  ["a folder", (file: string) => mkdirSync(file, { mode: 0o700 })],
  ["a FIFO that nobody writes to", (file: string) => execFileSync("mkfifo", ["-m", "600", file])],
])("%s in its place is not opened", async (_what, make) => {
  const folder = newFolder();
  const file = join(folder, "credentials.json");
  mkdirSync(folder, { mode: 0o700 });
  make(file);
  const credentials = openCredentials(folder);
  for (const call of [() => credentials.read(), () => credentials.update((it) => it), () => openRegular(file)]) {
    const error = await refusal(call());
    expect(error).toMatchObject({ code: "setup", message: expect.stringContaining("not a regular file") });
    expect(error.next).toContain(`'${file.replace("'", "'\\''")}'`);
  }
  expect(await openRegular(join(folder, "none"))).toBeUndefined();
});

test("what a process that died has left goes with the next update, and nothing else does", async () => {
  const folder = newFolder();
  await openCredentials(folder).update((it) => it);
  const left = ["json.0123456789abcdef.tmp", "lock.12-345-0", "lock.12-345-0.6-78-9"];
  const others = ["json.0123456789abcde.tmp", "json.bak", "json.tmp", "lock.1-2", "lock.old", "txt"];
  for (const end of [...left, ...others]) writeFileSync(join(folder, `credentials.${end}`), "", { mode: 0o600 });
  await openCredentials(folder).update((it) => it);
  expect(readdirSync(folder)).toEqual(["json", ...others].map((end) => `credentials.${end}`).sort());
});

test.runIf(process.platform === "linux")("each file is closed, whether read or refused", async () => {
  const folder = newFolder();
  const credentials = openCredentials(folder);
  const open = () => readdirSync("/proc/self/fd").length;
  await credentials.update((it) => it);
  const before = open();
  let most = before; // what is lost is closed sooner or later, with a warning
  for (let n = 0; n < 20; n++) {
    await credentials.update((it) => it);
    most = Math.max(most, open());
  }
  writeFileSync(join(folder, "credentials.json"), "");
  for (let n = 0; n < 20; n++) {
    await refusal(credentials.read());
    most = Math.max(most, open());
  }
  expect(most).toBeLessThan(before + 10);
});

test.each<[errno: string | undefined, code: string, message: RegExp, next: RegExp]>([
  ["ENOSPC", "unavailable", /disk .* is full/, /Free space/],
  ["EROFS", "unavailable", /read-only/, /writable/],
  ["EMFILE", "unavailable", /too many files/, /./],
  ["EACCES", "setup", /cannot be read or written/, /belongs to the user/],
  [undefined, "internal", /failed/, /./],
])("%s while it is written is %s", async (errno, code, message, next) => {
  const folder = newFolder();
  const fault = Object.assign(new Error("SECRET"), errno === undefined ? {} : { code: errno, syscall: "write" });
  const failing = () => {
    throw fault;
  };
  const error = await refusal(openCredentials(folder).update(failing));
  expect(error).toMatchObject({ code, message: expect.stringMatching(message), next: expect.stringMatching(next) });
  expect(readdirSync(folder)).toEqual([]);
});

test("a lock that cannot be made for another reason than another's is not waited for", async () => {
  const folder = newFolder();
  const locking = acquireLock(join(folder, "none.lock"), "it", { longestWaitMs: 2000 });
  await expect(locking).rejects.toMatchObject({ code: "ENOENT" });
});

test("the file of a newer version is left alone", async () => {
  const folder = newFolder();
  const credentials = openCredentials(folder);
  await credentials.update((it) => it);
  const text = '{"version": 2, "keys": []}';
  writeFileSync(join(folder, "credentials.json"), text);
  const error = await refusal(credentials.update((it) => it));
  expect(error).toMatchObject({ code: "setup", next: expect.stringContaining("Update biometrics-mcp") });
  expect(readFileSync(join(folder, "credentials.json"), "utf8")).toBe(text);
});

test("a folder that is none is told as such", async () => {
  const folder = join(temporaryFolder("data-"), "file");
  writeFileSync(folder, "");
  const credentials = openCredentials(folder);
  expect(await refusal(credentials.read())).toMatchObject({ code: "setup", next: expect.stringMatching(/DATA_DIR/) });
  expect(await refusal(credentials.update((it) => it))).toMatchObject({ code: "setup" });
});

test("a change that throws, or makes no sense, changes nothing and keeps no lock", async () => {
  const folder = newFolder();
  const credentials = openCredentials(folder);
  await credentials.update(adding("a@mail.org"));
  const broken = () => {
    throw new Error("no");
  };
  await expect(credentials.update(broken)).rejects.toThrow();
  await expect(credentials.update((it) => ({ ...it, version: 3 }) as never)).rejects.toThrow();
  expect(readdirSync(folder)).toEqual(["credentials.json"]);
  expect(emails(await credentials.read())).toEqual(["a@mail.org"]);
});

test("two processes and twenty calls of this one lose no update", async () => {
  const folder = newFolder();
  const children = ["p", "q"].map((name) => start(folder, name, 40));
  // Everybody lives, and a slow disk may make a hundred updates long: nobody gives up.
  const credentials = openCredentials(folder, { deadAfterMs: 60_000, longestWaitMs: 120_000 });
  const own = Array.from({ length: 20 }, (_, n) => credentials.update(adding(`own-${n}@mail.org`)));
  const exits = children.map((child) => once(child, "exit"));
  await Promise.all(own);
  expect(await Promise.all(exits)).toEqual([
    [0, null],
    [0, null],
  ]);
  const expected = ["p", "q"].flatMap((name) => Array.from({ length: 40 }, (_, n) => `${name}-${n}@mail.org`));
  expect(emails(await credentials.read()).sort()).toEqual(
    [...expected, ...own.map((_, n) => `own-${n}@mail.org`)].sort(),
  );
  expect(readdirSync(folder)).toEqual(["credentials.json"]);
}, 120_000);

test("a process that is killed while it writes leaves a whole file, and its traces go with the next update", async () => {
  const folder = newFolder();
  const credentials = openCredentials(folder);
  await credentials.update(adding("first@mail.org"));
  const lock = join(folder, "credentials.lock");
  let traces = 0;
  let dead = 0;
  // Until one was killed while it held the lock, which is nearly always held.
  for (let round = 0; round < 12 || dead === 0; round++) {
    const child = start(folder, `r${round}`, 100_000);
    if (child.stdout !== null) await once(child.stdout, "data");
    await pause(20 + Math.random() * 40);
    while (!existsSync(lock)) await pause(1);
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
    const names = readdirSync(folder);
    traces += names.length - 1;
    dead += names.includes("credentials.lock") ? 1 : 0;
    expect(emails(await openCredentials(folder).read()).length).toBeGreaterThan(0);
    // The wait for a dead lock has a test of its own.
    if (names.includes("credentials.lock")) unlinkSync(lock);
  }
  expect(traces, "no child was killed at work").toBeGreaterThan(0);
  await credentials.update(adding("last@mail.org"));
  expect(readdirSync(folder)).toEqual(["credentials.json"]);
  expect(emails(await credentials.read()).at(-1)).toBe("last@mail.org");
});

test("the lock of a dead process is removed by one of all who wait for it, and no update is lost", async () => {
  const folder = newFolder();
  await openCredentials(folder).update((it) => it);
  writeFileSync(join(folder, "credentials.lock"), "", { mode: 0o600 });
  const started = performance.now();
  const waiting = Array.from({ length: 20 }, (_, n) =>
    openCredentials(folder, { deadAfterMs: 3000 }).update(adding(`n-${n}@mail.org`)),
  );
  await pause(300);
  expect(emails(await openCredentials(folder).read())).toEqual([]); // it may be at work still; reading waits for nobody
  await Promise.all(waiting);
  expect(performance.now() - started).toBeGreaterThan(3000);
  expect(emails(await openCredentials(folder).read())).toHaveLength(20);
  expect(readdirSync(folder)).toEqual(["credentials.json"]);
});

test("a process that was killed while it removed its lock keeps nobody out", async () => {
  const folder = newFolder();
  await openCredentials(folder).update((it) => it);
  const lock = join(folder, "credentials.lock");
  writeFileSync(lock, "", { mode: 0o600 });
  const { ino, mtimeNs, size } = statSync(lock, { bigint: true });
  const right = `${lock}.${ino}-${mtimeNs}-${size}`;
  writeFileSync(right, "", { mode: 0o600 });
  // And one that was killed while it removed what the first had left.
  const of = statSync(right, { bigint: true });
  writeFileSync(`${right}.${of.ino}-${of.mtimeNs}-${of.size}`, "", { mode: 0o600 });
  const began = performance.now();
  const waiting = Array.from({ length: 10 }, (_, n) =>
    openCredentials(folder, { deadAfterMs: 500 }).update(adding(`n-${n}@mail.org`)),
  );
  await Promise.all(waiting);
  expect(performance.now() - began).toBeGreaterThan(1500); // each was given its time
  expect(emails(await openCredentials(folder).read())).toHaveLength(10);
  expect(readdirSync(folder)).toEqual(["credentials.json"]);
});

test("a process that slept while others took its lock does not overwrite what they stored", async () => {
  const folder = newFolder();
  const credentials = openCredentials(folder);
  const late = credentials.update((it) => {
    // While it changes, the lock goes to another process, which is done by the time it writes.
    unlinkSync(join(folder, "credentials.lock"));
    writeFileSync(join(folder, "credentials.lock"), "other", { mode: 0o600 });
    return adding("late@mail.org")(it);
  });
  expect(await refusal(late)).toMatchObject({ code: "unavailable" });
  expect(readdirSync(folder)).toEqual(["credentials.lock"]); // the other's
  expect(emails(await credentials.read())).toEqual([]);
});

test("a lock that its holder refreshes is not taken from it; one that another has is left alone", async () => {
  const lock = join(temporaryFolder("locks-"), "it.lock");
  const held = await acquireLock(lock, "it", { refreshMs: 20 });
  const impatient = { deadAfterMs: 300, longestWaitMs: 1500, pollMs: 10 };
  await expect(acquireLock(lock, "it", impatient)).rejects.toMatchObject({ code: "unavailable" });
  expect(await held.isHeld()).toBe(true);
  unlinkSync(lock);
  const other = await acquireLock(lock, "it");
  await pause(200);
  expect([await held.isHeld(), await other.isHeld()]).toEqual([false, true]);
  await held.release();
  expect(await other.isHeld()).toBe(true);
  await other.release();
  expect(existsSync(lock)).toBe(false);
});

test("a lock that keeps changing hands is waited for, but not for ever", async () => {
  const folder = newFolder();
  await openCredentials(folder).update((it) => it);
  const lock = join(folder, "credentials.lock");
  const busy = setInterval(() => {
    // In one step: where there is no lock for a moment, the one that waits takes it.
    writeFileSync(`${lock}.new`, "");
    renameSync(`${lock}.new`, lock);
  }, 20);
  writeFileSync(lock, "");
  onTestFinished(() => clearInterval(busy));
  const error = await refusal(openCredentials(folder, { deadAfterMs: 1500, longestWaitMs: 4000 }).update((it) => it));
  expect(error).toMatchObject({ code: "unavailable", next: expect.stringContaining("credentials.lock") });
});

test.each([
  [0, "b"],
  [1000, "b"],
  [-1000, "b"],
  [1001, "a"],
])("what was written %i ms ago may be followed by what looks alike, which is seen: %s", async (ago, seen) => {
  const folder = newFolder();
  const credentials = openCredentials(folder);
  await credentials.update(adding("a@mail.org"));
  const file = join(folder, "credentials.json");
  const now = new Date("2026-01-02T03:04:05Z");
  const written = new Date(now.getTime() - ago);
  vi.useFakeTimers({ now, toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  utimesSync(file, written, written);
  await credentials.read();
  writeFileSync(file, readFileSync(file, "utf8").replace("a@mail", "b@mail"));
  utimesSync(file, written, written);
  expect(emails(await credentials.read())).toEqual([`${seen}@mail.org`]);
});

test("reading what has not changed costs no more than a look", async () => {
  const folder = newFolder();
  const credentials = openCredentials(folder);
  await credentials.update((it) => ({
    ...it,
    pending: Array.from({ length: 200 }, (_, n) => pending(`${n}@x.org`, 3000)),
  }));
  utimesSync(join(folder, "credentials.json"), new Date(0), new Date(0));
  const first = await credentials.read();
  // The very object: nothing was read and parsed anew.
  for (let n = 0; n < 200; n++) expect(await credentials.read()).toBe(first);
});
