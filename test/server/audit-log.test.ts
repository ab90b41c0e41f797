import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import sharp from "sharp";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Connection, cleanEnvironment, closing, ERAS, MAIN, temporaryFolder } from "../support/clients.ts";
import { LINKFACE_ID, LINKFACE_SECRET, linkfaceRoutes } from "../support/stand-in/linkface.ts";
import { API_KEY, type StandIn, standIn } from "../support/stand-in.ts";

const photos = temporaryFolder("photos-");
const selfie = join(photos, "jane-doe.jpg");
const passport = join(photos, "jane-passport.png");
const recording = join(photos, "jane.bin");
const sha256 = (bytes: string | Buffer) => createHash("sha256").update(bytes).digest("hex");
const hashOf = (file: string) => sha256(readFileSync(file));

let didit: StandIn;
let linkface: StandIn;
beforeAll(async () => {
  const picture = sharp({ create: { width: 64, height: 64, channels: 3, background: "#765" } });
  writeFileSync(selfie, await picture.jpeg().toBuffer());
  writeFileSync(passport, await picture.png().toBuffer());
  writeFileSync(recording, Buffer.from("0a0a6c66616365207465737412050801ff00fe", "hex"));
  didit = await standIn();
  linkface = await standIn({ routes: linkfaceRoutes() });
});
afterEach(() => didit.always(undefined));
afterAll(() => Promise.all([didit.close(), linkface.close()]));

const newLog = () => join(temporaryFolder("audit-"), "decisions.jsonl");
const envOf = (log: string, more: Record<string, string> = {}) => ({
  DIDIT_API_KEY: API_KEY,
  DIDIT_API_BASE_URL: didit.url,
  LINKFACE_API_ID: LINKFACE_ID,
  LINKFACE_API_SECRET: LINKFACE_SECRET,
  LINKFACE_API_BASE_URL: linkface.url,
  BIOMETRICS_IMAGE_DIRS: photos,
  BIOMETRICS_AUDIT_LOG: log,
  ...more,
});

interface Finished {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function biometrics(log: string, ...args: readonly string[]): Promise<Finished> {
  const options = { env: cleanEnvironment(photos, envOf(log)), cwd: photos };
  return new Promise((done) => {
    execFile(process.execPath, [MAIN, ...args], options, (error, out, err) => {
      done({ code: error === null ? 0 : Number(error.code ?? -1), out, err });
    });
  });
}

const verify = (log: string, ...args: readonly string[]) => biometrics(log, "audit", "verify", ...args);
const check = (log: string, vendor = "u1") => biometrics(log, "check-liveness", selfie, "--vendor-data", vendor);
const linesOf = (log: string) => readFileSync(log, "utf8").split("\n").filter(Boolean);
const entriesOf = (log: string) => linesOf(log).map((line) => JSON.parse(line) as Record<string, unknown>);
const lastHash = (log: string) => String(entriesOf(log).at(-1)?.["hash"]);

/** A log of so many decisions by the real program. */
async function written(count: number): Promise<string> {
  const log = newLog();
  for (let n = 1; n <= count; n++) await check(log, `u${n}`);
  expect(entriesOf(log)).toHaveLength(count);
  return log;
}

/** Rows of the log as somebody else left them. */
function rewrite(log: string, change: (rows: readonly string[]) => readonly string[]): void {
  writeFileSync(
    log,
    change(linesOf(log))
      .map((row) => `${row}\n`)
      .join(""),
  );
}

describe.each(ERAS)("over stdio, $era", ({ connect }) => {
  test("a decision stands in the log before anybody has it, and holds nothing that it must not", async () => {
    const log = newLog();
    const server = closing(await connect({ env: envOf(log) }));
    const before = new Date().toISOString();
    const args = { image_path: selfie, vendor_data: `u1 ${API_KEY}`, decline_threshold: 50 };
    const { structuredContent } = await server.call("check_liveness", args);
    expect(structuredContent).toMatchObject({ outcome: "approved" });
    const [line = {}, ...more] = entriesOf(log);
    expect(more).toEqual([]);
    expect(line).toEqual({
      line: 1,
      prev: "0".repeat(64),
      at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      tool: "check_liveness",
      provider: "didit",
      vendor_data: "u1 [secret]",
      outcome: "approved",
      score: 95.5,
      threshold: structuredContent?.["threshold"],
      warnings: [],
      reference: structuredContent?.["reference"],
      sha256: { image_path: hashOf(selfie) },
      hash: expect.stringMatching(/^[\da-f]{64}$/),
    });
    expect(String(line["at"]) >= before).toBe(true);
    expect(readFileSync(log, "utf8")).not.toMatch(/jane|\/home|gender|bbox/);
  });

  test("what decided is one line, with its steps; what failed or decided nothing is none", async () => {
    const log = newLog();
    const server = closing(await connect({ env: envOf(log) }));
    const person = await server.call("verify_person", { selfie_path: selfie, reference_image_path: passport });
    expect(person.structuredContent).toMatchObject({ outcome: "approved" });
    const data = { selfie_path: selfie, liveness_data_path: recording };
    expect((await server.call("verify_liveness_selfie", data)).isError).toBeFalsy();
    didit.next({ status: 200, body: { request_id: "r-1", liveness: { status: "Declined", score: 5, warnings: [] } } });
    await server.call("check_liveness", { image_path: selfie });
    didit.next({ status: 500, text: "oops" });
    expect((await server.call("check_liveness", { image_path: selfie })).isError).toBe(true);
    expect((await server.call("check_liveness", { image_path: "/etc/passwd" })).isError).toBe(true);
    expect((await server.call("check_liveness", { image_path: selfie, surprise: 1 })).isError).toBe(true);
    await server.call("get_setup");
    expect(entriesOf(log)).toMatchObject([
      {
        line: 1,
        tool: "verify_person",
        vendor_data: null,
        outcome: "approved",
        score: null,
        steps: [
          { check: "liveness", outcome: "approved", score: 95.5, reference: expect.any(String) },
          { check: "face_search", outcome: "approved", reference: expect.any(String) },
          { check: "face_match", outcome: "approved", score: 88.25, threshold: 30, reference: expect.any(String) },
        ],
        sha256: { selfie_path: hashOf(selfie), reference_image_path: hashOf(passport) },
      },
      {
        line: 2,
        tool: "verify_liveness_selfie",
        provider: "linkface",
        sha256: { selfie_path: hashOf(selfie), liveness_data_path: hashOf(recording) },
      },
      { line: 3, outcome: "declined", score: 5, reference: "r-1" },
    ]);
    expect(entriesOf(log)).toHaveLength(3);
    const { code, out } = await verify(log);
    expect([code, out]).toEqual([0, expect.stringContaining(`3 lines; the hash of the last is ${lastHash(log)}`)]);
  });

  test("it is never read, by whatever name, nor sent as liveness data", async () => {
    const log = join(temporaryFolder("audit-"), "decisions.jsonl");
    const env = envOf(log, { BIOMETRICS_IMAGE_DIRS: [photos, dirname(log)].join(":") });
    const server = closing(await connect({ env }));
    await server.call("check_liveness", { image_path: selfie });
    const link = join(dirname(log), "link.bin");
    symlinkSync(log, link);
    const before = linkface.received.length;
    for (const path of [log, link]) {
      const { text } = await server.call("verify_liveness_selfie", { selfie_path: selfie, liveness_data_path: path });
      expect(text).toMatch(/^Error \[path_refused\]/);
    }
    expect(linkface.received).toHaveLength(before);
  });
});

describe("a log that cannot be written", () => {
  /** What is wrong -> how a log is made so, what is said. */
  const FAULTS: Readonly<Record<string, readonly [(log: string) => unknown, RegExp]>> = {
    "its folder is missing": [
      (log) => renameSync(dirname(log), `${dirname(log)}.gone`),
      /\(ENOENT\).*\n.*folder of .* exists/,
    ],
    "it is a folder": [(log) => mkdirSync(log), /not a regular file/],
    "it is a link": [(log) => symlinkSync(selfie, log), /not a regular file/],
    "it has a second name": [
      (log) => {
        writeFileSync(log, "", { mode: 0o600 });
        linkSync(log, `${log}.too`);
      },
      /with one name/,
    ],
    "others may write to it": [
      (log) => {
        writeFileSync(log, "");
        chmodSync(log, 0o622);
      },
      /Other users.*\n.*chmod go-w/,
    ],
    "it is another kind of file": [
      (log) => writeFileSync(log, "dear diary\n", { mode: 0o600 }),
      /another kind of file/,
    ],
  };

  test.skipIf(process.platform === "win32").each(Object.entries(FAULTS))(
    "%s: an error, and nothing was sent",
    async (_what, [make, said]) => {
      const log = newLog();
      make(log);
      const before = didit.received.length;
      const { code, out, err } = await check(log);
      expect([code, out]).toEqual([1, ""]);
      expect(err).toMatch(/^Error \[setup\]/);
      expect(err).toMatch(said);
      expect(didit.received).toHaveLength(before);
      const doctor = await biometrics(log, "doctor");
      expect(doctor.code).toBe(1);
      expect(doctor.out).toContain(`FAULT audit log ${log}: `);
    },
  );

  test("its last line was changed: nothing is appended to it", async () => {
    const log = await written(2);
    const changed = readFileSync(log, "utf8").replace(/u2/, "u3");
    writeFileSync(log, changed);
    const before = didit.received.length;
    expect(await check(log)).toMatchObject({ code: 1, err: expect.stringContaining("was changed at its end") });
    expect(didit.received).toHaveLength(before);
    expect(readFileSync(log, "utf8")).toBe(changed);
  });

  test("it breaks while the provider is asked: the decision is not given, and the log names the reference", async () => {
    const log = newLog();
    await check(log);
    didit.next({ delayMs: 1500 });
    const before = didit.received.length;
    const call = check(log);
    await expect.poll(() => didit.received.length).toBe(before + 1);
    chmodSync(log, 0o622);
    const { code, out, err } = await call;
    expect([code, out]).toEqual([1, ""]);
    expect(err).toMatch(/^Error \[unavailable\]: .*The decision is withheld/);
    expect(err).toMatch(/references: \[ '[\w-]+' \]/);
    expect(err).not.toContain("approved");
  });

  /** A shell in which `$folder` is a disk of 4 MB of its own, and the log lies there. */
  const onSmallDisk = (script: string) => {
    const folder = temporaryFolder("disk-");
    const env = {
      ...cleanEnvironment(photos, envOf(join(folder, "decisions.jsonl"))),
      folder,
      photo: selfie,
      node: process.execPath,
      main: MAIN,
    };
    const mounted = `mount -t tmpfs -o size=4m,mode=700 tmpfs "$folder"; ${script}`;
    return new Promise<string>((done) => {
      execFile("unshare", ["-rm", "bash", "-c", mounted], { env }, (_error, out, err) => done(out + err));
    });
  };
  const hasSmallDisk = spawnSync("unshare", ["-rm", "true"]).status === 0;

  test.skipIf(!hasSmallDisk)("the disk has no room: nothing was sent", async () => {
    const before = didit.received.length;
    const said = await onSmallDisk(
      '"$node" "$main" check-liveness "$photo"; head -c 3500000 /dev/zero >"$folder/filler"; "$node" "$main" check-liveness "$photo"',
    );
    expect(said).toMatch(/^Approved|^approved/im);
    expect(said).toMatch(/Error \[unavailable\]: The audit log cannot be written: the disk is full\./);
    expect(didit.received).toHaveLength(before + 1);
  });
});

describe("audit verify", () => {
  let log: string;
  let noted: string;
  beforeAll(async () => {
    log = await written(5);
    noted = lastHash(log);
  });

  /** A copy to be changed. */
  function changed(change: (rows: readonly string[]) => readonly string[]): string {
    const copy = newLog();
    writeFileSync(copy, readFileSync(log), { mode: 0o600 });
    rewrite(copy, change);
    return copy;
  }

  test("an untouched log: its length and its last hash, which anybody can compute again", async () => {
    const { code, out } = await verify(log);
    expect([code, out]).toEqual([0, expect.stringContaining(`5 lines; the hash of the last is ${noted}`)]);
    expect(out).toMatch(/^ok .*\nnote .*cut off at the end.*--head/m);
    expect(await verify(log, "--head", noted)).toMatchObject({ code: 0, out: expect.not.stringContaining("--head") });
    for (const line of linesOf(log)) {
      const { hash } = JSON.parse(line) as { hash: string };
      expect(sha256(line.replace(`,"hash":"${hash}"`, ""))).toBe(hash);
    }
    const asData = JSON.parse((await verify(log, "--json")).out);
    expect(asData).toEqual({ file: log, ok: true, lines: 5, head: noted, faults: [], torn: [] });
  });

  test.each<readonly [string, (rows: readonly string[]) => readonly string[], string]>([
    ["a line that was changed", (rows) => rows.map((row) => row.replace('"u3"', '"u9"')), "line 3 was changed"],
    ["a line that was removed", (rows) => rows.toSpliced(2, 1), "one line is missing before line 3"],
    ["first lines that were removed", (rows) => rows.slice(2), "2 lines are missing before line 1"],
    [
      "lines that changed places",
      ([a = "", b = "", ...rest]) => [b, a, ...rest],
      "line 2 is out of place: it says that it is number 1",
    ],
    ["a line that is there twice", (rows) => rows.toSpliced(2, 0, rows[1] ?? ""), "line 3 is out of place"],
    [
      "a line of somebody else",
      (rows) => rows.toSpliced(2, 0, '{"outcome":"approved"}'),
      "line 3 was not written by this program",
    ],
    ["something at the end", (rows) => [...rows, "x"], "line 6 was not written by this program"],
    [
      "a line that was changed with its hash",
      (rows) =>
        rows.map((row) => {
          const { hash, ...entry } = JSON.parse(row.replace('"u3"', '"u9"'));
          return row.includes('"u3"') ? JSON.stringify({ ...entry, hash: sha256(JSON.stringify(entry)) }) : row;
        }),
      "line 4 does not follow from the one before it",
    ],
  ])("finds %s", async (_what, change, said) => {
    const { code, out } = await verify(changed(change));
    expect([code, out]).toEqual([1, expect.stringContaining(`FAULT ${said}`)]);
    expect(out).not.toMatch(/^ok/m);
  });

  test.each<readonly [string, (rows: readonly string[]) => readonly string[]]>([
    ["cut off at its end", (rows) => rows.slice(0, 4)],
    ["emptied", () => []],
  ])("of itself a log does not show that it was %s; against a hash that was noted it does", async (_what, change) => {
    const copy = changed(change);
    expect(await verify(copy)).toMatchObject({ code: 0 });
    const { code, out } = await verify(copy, "--head", noted);
    expect([code, out]).toEqual([1, expect.stringContaining("FAULT the line with the hash that you noted is missing")]);
  });

  test("what is wrong to ask is told", async () => {
    expect(await verify("", join(photos, "none.jsonl"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("no audit log"),
    });
    expect(await verify("")).toMatchObject({ code: 2, err: expect.stringContaining("BIOMETRICS_AUDIT_LOG") });
    expect(await verify(log, "--head", "abc")).toMatchObject({ code: 2 });
  });
});

describe("a writer that was killed while it wrote", () => {
  test("leaves a line that is named, and stays so after the next", async () => {
    const log = await written(3);
    truncateSync(log, readFileSync(log).length - 40);
    const cut = await verify(log);
    expect(cut).toMatchObject({ code: 0, out: expect.stringContaining("note  line 3, the last, is not finished") });
    expect((await check(log, "next")).code).toBe(0);
    expect(linesOf(log)).toHaveLength(4);
    const after = await verify(log);
    expect(after).toMatchObject({ code: 0, out: expect.stringContaining("note  line 3 is not finished") });
    const entries = linesOf(log)
      .toSpliced(2, 1)
      .map((line) => JSON.parse(line));
    expect(entries.map(({ line, vendor_data }) => [line, vendor_data])).toEqual([
      [1, "u1"],
      [2, "u2"],
      [3, "next"],
    ]);
    rewrite(log, (rows) => rows.toSpliced(2, 1));
    expect(await verify(log)).toMatchObject({
      code: 1,
      out: expect.stringContaining("an unfinished line was removed"),
    });
  });

  test("a line without its newline, and zeros of a power cut, are followed too", async () => {
    const log = await written(1);
    truncateSync(log, readFileSync(log).length - 1);
    expect((await check(log)).code).toBe(0);
    expect(await verify(log)).toMatchObject({ code: 0, out: expect.not.stringContaining("not finished") });
    appendFileSync(log, Buffer.alloc(500));
    expect((await check(log)).code).toBe(0);
    expect(await verify(log)).toMatchObject({ code: 0, out: expect.stringContaining("note  line 3 is not finished") });
  });

  test.skipIf(process.platform === "win32")(
    "a line that found no room is no decision that was given",
    { timeout: 90_000 },
    async () => {
      const log = await written(2);
      const blocks = Math.ceil(readFileSync(log).length / 1024);
      const script = `ulimit -f ${blocks}; for n in 1 2 3; do "$0" "$1" check-liveness "$2" --json; done`;
      const env = cleanEnvironment(photos, envOf(log));
      const answers = await new Promise<string>((done) => {
        execFile("bash", ["-c", script, process.execPath, MAIN, selfie], { env }, (_error, out) => done(out));
      });
      const given = answers.split("\n").filter((line) => line.includes('"outcome"')).length;
      expect(given).toBeLessThan(3);
      expect(answers).toContain("the disk is full. The decision is withheld");
      expect((await check(log)).code).toBe(0);
      const { code, out } = await verify(log);
      expect([code, out]).toEqual([0, expect.stringContaining("is not finished: its writer was ended")]);
      expect(intactOf(log)).toHaveLength(2 + given + 1);
    },
  );
});

/** Also of a log with unfinished lines. */
function intactOf(log: string): Record<string, unknown>[] {
  return linesOf(log).flatMap((line) => {
    try {
      return [JSON.parse(line) as Record<string, unknown>];
    } catch {
      return [];
    }
  });
}

const sizeOf = (file: string) => (existsSync(file) ? statSync(file).size : 0);

describe("several processes at one log", () => {
  const [, modern] = ERAS;
  const connect = (log: string): Promise<Connection> => {
    if (modern === undefined) throw new Error("no client");
    return modern.connect({ env: envOf(log) });
  };
  const call = (server: Connection, vendor: string) =>
    server.call("check_liveness", { image_path: selfie, vendor_data: vendor });

  test("one chain, no decision lost, none twice", async () => {
    const log = newLog();
    const servers = await Promise.all([1, 2, 3, 4].map(async () => closing(await connect(log))));
    const names = servers.map((_, s) => Array.from({ length: 30 }, (_, n) => `${s}-${n}`));
    // One after the other, so that each is a line, and a lock, of its own.
    const answers = await Promise.all(
      servers.map(async (server, s) => {
        const given = [];
        for (const name of names[s] ?? []) given.push(await call(server, name));
        return given;
      }),
    ).then((given) => given.flat());
    expect(answers.filter(({ isError }) => isError)).toEqual([]);
    expect(
      entriesOf(log)
        .map((entry) => entry["vendor_data"])
        .sort(),
    ).toEqual(names.flat().sort());
    expect(await verify(log, "--head", lastHash(log))).toMatchObject({ code: 0 });
    expect(readdirSync(dirname(log))).toEqual(["decisions.jsonl"]);
  });

  test("kill -9 at any moment: whatever was answered is there, and the chain goes on", {
    timeout: 120_000,
  }, async () => {
    const log = newLog();
    const answered: string[] = [];
    for (let round = 0; round < 3; round++) {
      const servers = await Promise.all([1, 2].map(() => connect(log)));
      const calls = servers.flatMap((server, s) =>
        Array.from({ length: 30 }, (_, n) =>
          call(server, `${round}-${s}-${n}`).then(
            ({ isError }) => isError || answered.push(`${round}-${s}-${n}`),
            () => undefined,
          ),
        ),
      );
      const before = sizeOf(log);
      await expect.poll(() => sizeOf(log), { interval: 5 }).toBeGreaterThan(before);
      await pause(Math.random() * 60);
      for (const { pid } of servers) process.kill(pid, "SIGKILL");
      await Promise.all([...calls, ...servers.map((server) => server.close().catch(() => {}))]);
    }
    expect((await check(log, "after")).code).toBe(0); // also where the last one has left its lock
    const there = new Set(intactOf(log).map((entry) => entry["vendor_data"]));
    expect(answered.filter((vendor) => !there.has(vendor))).toEqual([]);
    expect(answered.length).toBeGreaterThan(0);
    expect(await verify(log, "--head", lastHash(log))).toMatchObject({ code: 0 });
  });
});
