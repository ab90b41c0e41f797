/** Files that are not what they were, or not there to be read: the built program, real clients, a real provider's place. */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import {
  type Connection,
  cleanEnvironment,
  closing,
  connected,
  ERAS,
  MAIN,
  temporaryFolder,
} from "../support/clients.ts";
import { LINKFACE_ID, LINKFACE_SECRET, linkfaceRoutes } from "../support/stand-in/linkface.ts";
import { API_KEY, type StandIn, standIn } from "../support/stand-in.ts";

let didit: StandIn;
let photo: Buffer;
beforeAll(async () => {
  didit = await standIn();
  photo = await sharp({ create: { width: 320, height: 240, channels: 3, background: "#a08070" } })
    .jpeg()
    .toBuffer();
});
afterAll(() => didit.close());

async function connect(env: Readonly<Record<string, string>>): Promise<Connection> {
  const [, modern] = ERAS;
  if (modern === undefined) return expect.unreachable();
  return closing(await modern.connect({ env }));
}

/** Loaded before the program: right before it opens the file `at`, something happens to the folder. */
const SWAPPER = `
  import fs from "node:fs";
  import { syncBuiltinESMExports } from "node:module";
  const { at, calls, withoutProc } = JSON.parse(process.env.SWAP);
  let isDone = false;
  function swap(path) {
    if (path !== at || isDone) return;
    isDone = true;
    for (const [name, ...args] of calls) fs[name](...args);
  }
  for (const [holder, name] of [[fs, "openSync"], [fs, "open"], [fs.promises, "open"]]) {
    const original = holder[name];
    holder[name] = (...args) => (swap(args[0]), original(...args));
  }
  const { readlinkSync } = fs;
  fs.readlinkSync = (path, ...args) => {
    if (withoutProc && String(path).startsWith("/proc/")) throw new Error("there is no /proc");
    return readlinkSync(path, ...args);
  };
  syncBuiltinESMExports();`;

interface Swap {
  readonly calls: (folder: string, outside: string) => readonly (readonly [name: string, from: string, to: string])[];
  readonly code: string;
  readonly message: RegExp;
}

const NOT_THERE = /There is no readable file at that path/;

describe.each([
  ["with /proc", false],
  ["without", true],
])("a file that is replaced between the look at it and its opening, %s", (_what, withoutProc) => {
  test.each<[string, Swap]>([
    [
      "by a link, even to a file that may be read",
      {
        calls: (folder) => [["renameSync", join(folder, "sub/link"), join(folder, "sub/photo.jpg")]],
        code: "path_refused",
        message: NOT_THERE,
      },
    ],
    [
      "by a FIFO that nobody writes to",
      {
        calls: (folder) => [["renameSync", join(folder, "sub/fifo"), join(folder, "sub/photo.jpg")]],
        code: "image_rejected",
        message: /not a regular file/,
      },
    ],
    [
      "by a folder elsewhere in the place of its own",
      {
        calls: (folder, outside) => [
          ["renameSync", join(folder, "sub"), join(folder, "moved")],
          ["symlinkSync", outside, join(folder, "sub")],
        ],
        code: "path_refused",
        message: NOT_THERE,
      },
    ],
    [
      "by the data folder in the place of its own",
      {
        calls: (folder) => [
          ["renameSync", join(folder, "sub"), join(folder, "moved")],
          ["symlinkSync", join(folder, "data"), join(folder, "sub")],
        ],
        code: "path_refused",
        message: NOT_THERE,
      },
    ],
  ])("%s", async (_by, { calls, code, message }) => {
    const [folder, outside] = [temporaryFolder("in-"), temporaryFolder("out-")];
    for (const at of [join(folder, "sub"), join(folder, "data"), outside]) {
      mkdirSync(at, { recursive: true });
      writeFileSync(join(at, "photo.jpg"), photo);
    }
    chmodSync(join(folder, "data"), 0o700);
    writeFileSync(join(folder, "other.jpg"), photo);
    symlinkSync(join(folder, "other.jpg"), join(folder, "sub/link"));
    execFileSync("mkfifo", [join(folder, "sub/fifo")]);
    const at = join(folder, "sub/photo.jpg");
    const server = await connect({
      DIDIT_API_KEY: API_KEY,
      DIDIT_API_BASE_URL: didit.url,
      BIOMETRICS_IMAGE_DIRS: folder,
      BIOMETRICS_DATA_DIR: join(folder, "data"),
      NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(SWAPPER)}`,
      SWAP: JSON.stringify({ at, calls: calls(folder, outside), withoutProc }),
    });
    const before = didit.received.length;
    // Not hanging is what is tested, so the test does not wait for long.
    const answer = await server.call("check_liveness", { image_path: at }, { signal: AbortSignal.timeout(8000) });
    expect(answer).toMatchObject({ isError: true, _meta: { code }, text: expect.stringMatching(message) });
    expect(didit.received).toHaveLength(before);
    const other = await server.call("check_liveness", { image_path: join(folder, "other.jpg") });
    expect(other.structuredContent).toMatchObject({ outcome: "approved" });
  });
});

/** Loaded before the program: some files cannot be opened, and others are cut short right before they are read. */
const FAULTY = `
  import fs from "node:fs";
  import { syncBuiltinESMExports } from "node:module";
  const faults = JSON.parse(process.env.FAULTS);
  const opened = new Map();
  const { openSync, readSync } = fs;
  fs.openSync = (path, ...args) => {
    const { code } = faults[path] ?? {};
    if (code !== undefined) throw Object.assign(new Error(code), { code });
    const file = openSync(path, ...args);
    opened.set(file, path);
    return file;
  };
  fs.readSync = (file, ...args) => {
    const path = opened.get(file);
    if (faults[path] !== undefined) fs.truncateSync(path, faults[path].cut);
    return readSync(file, ...args);
  };
  syncBuiltinESMExports();`;

test("a file that fails on the way is no image, and the failure is said to be whose it is", async () => {
  const folder = temporaryFolder("in-");
  const cases: readonly [name: string, fault: object, code: string, message: RegExp][] = [
    ["denied.jpg", { code: "EACCES" }, "image_rejected", /permission denied/],
    ["forbidden.jpg", { code: "EPERM" }, "image_rejected", /permission denied/],
    ["odd.jpg", { code: "EINVAL" }, "image_rejected", /cannot be read/],
    ["busy.jpg", { code: "EMFILE" }, "unavailable", /too many files/],
    ["gone.jpg", { code: "ENOENT" }, "path_refused", NOT_THERE],
    ["cut.jpg", { cut: 99 }, "image_rejected", /shrank/],
    ["emptied.jpg", { cut: 0 }, "image_rejected", /shrank/],
  ];
  for (const [name] of cases) writeFileSync(join(folder, name), photo);
  const server = await connect({
    DIDIT_API_KEY: API_KEY,
    DIDIT_API_BASE_URL: didit.url,
    BIOMETRICS_IMAGE_DIRS: folder,
    NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(FAULTY)}`,
    FAULTS: JSON.stringify(Object.fromEntries(cases.map(([name, fault]) => [join(folder, name), fault]))),
  });
  const before = didit.received.length;
  for (const [name, , code, message] of cases) {
    const answer = await server.call("check_liveness", { image_path: join(folder, name) });
    expect(answer, name).toMatchObject({ isError: true, _meta: { code }, text: expect.stringMatching(message) });
  }
  expect(didit.received).toHaveLength(before);
});

describe("the data folder inside of a folder that may be read", () => {
  const folder = temporaryFolder("in-");
  const data = join(folder, "data");
  const stored = JSON.stringify({ version: 1, pending: [], earlier: [], didit: null });
  const credentials = join(data, "credentials.json");
  /** Protobuf and a photo at once would be of use to nobody: each is put where its tool would take it. */
  const protobuf = Buffer.from("0a0a6c66616365207465737412050801ff00fe", "hex");
  beforeAll(() => {
    mkdirSync(data, { mode: 0o700 });
    writeFileSync(join(data, "photo.jpg"), photo);
    writeFileSync(join(data, "protobuf.bin"), protobuf);
    writeFileSync(join(folder, "protobuf.bin"), protobuf);
    writeFileSync(join(folder, "photo.jpg"), photo);
    linkSync(join(data, "photo.jpg"), join(folder, "hard.jpg"));
    linkSync(join(data, "protobuf.bin"), join(folder, "hard.bin"));
    symlinkSync(join(data, "protobuf.bin"), join(folder, "link.bin"));
    writeFileSync(join(folder, ".env"), "DIDIT_API_KEY=abcdef123456\n");
    writeFileSync(join(folder, "key.pem"), "-----BEGIN PRIVATE KEY-----\nMIIE\n");
    writeFileSync(join(folder, "copy.json"), stored);
    writeFileSync(join(folder, "credentials"), stored);
  });

  test.each(ERAS)("gives nothing to any tool, $era", async ({ connect }) => {
    const linkface = await standIn({ routes: linkfaceRoutes() });
    onTestFinished(() => linkface.close());
    const server = closing(
      await connect({
        env: {
          DIDIT_API_KEY: API_KEY,
          DIDIT_API_BASE_URL: didit.url,
          LINKFACE_API_ID: LINKFACE_ID,
          LINKFACE_API_SECRET: LINKFACE_SECRET,
          LINKFACE_API_BASE_URL: linkface.url,
          BIOMETRICS_IMAGE_DIRS: folder,
          BIOMETRICS_DATA_DIR: data,
        },
      }),
    );
    const verify = (path: string) =>
      server.call("verify_liveness_selfie", { selfie_image_id: "I", liveness_data_path: path });
    const before = didit.received.length;
    for (const name of ["data/protobuf.bin", "hard.bin", "link.bin", "data/credentials.json", "data/none"]) {
      expect((await verify(join(folder, name)))._meta, name).toMatchObject({ code: "path_refused" });
    }
    for (const name of [".env", "key.pem", "copy.json", "photo.jpg"]) {
      expect((await verify(join(folder, name)))._meta, name).toMatchObject({
        code: expect.stringMatching(/^(invalid_input|image_rejected)$/),
      });
    }
    for (const image_path of [join(data, "photo.jpg"), join(folder, "hard.jpg")]) {
      for (const [tool, args] of [
        ["check_liveness", { image_path }],
        ["search_face", { image_path }],
        ["enroll_face", { image_path, label: "x" }],
        ["match_faces", { user_image_path: join(folder, "photo.jpg"), reference_image_path: image_path }],
        ["verify_person", { selfie_path: image_path }],
      ] as const) {
        expect((await server.call(tool, args))._meta, tool).toMatchObject({ code: "path_refused" });
      }
    }
    expect(linkface.received).toEqual([]);
    expect(didit.received).toHaveLength(before);
    expect(await verify(join(folder, "protobuf.bin"))).toMatchObject({ structuredContent: { outcome: "approved" } });
  });

  test("nor to the command line, where folders are anywhere", () => {
    writeFileSync(credentials, stored, { mode: 0o600 });
    onTestFinished(() => writeFileSync(credentials, "{}"));
    const env = cleanEnvironment(folder, { DIDIT_API_KEY: API_KEY, DIDIT_API_BASE_URL: didit.url });
    const before = didit.received.length;
    for (const name of ["data/photo.jpg", "hard.jpg"]) {
      const { status, stderr } = spawnSync(process.execPath, [MAIN, "check-liveness", join(folder, name)], {
        env,
        encoding: "utf8",
        timeout: 10_000,
      });
      expect(status).toBe(1);
      expect(stderr).toMatch(/\[path_refused\].*data folder/s);
    }
    expect(didit.received).toHaveLength(before);
  });
});

test("descriptors that run out are the machine's fault, and nothing stays broken afterwards", async () => {
  const folder = temporaryFolder("in-");
  // Large enough to be read in the pool, where descriptors are held for longer.
  const large = join(folder, "large.jpg");
  writeFileSync(large, Buffer.concat([photo, Buffer.alloc(2 ** 20)]));
  writeFileSync(join(folder, "small.jpg"), photo);
  const transport = new StdioClientTransport({
    command: "sh",
    args: ["-c", 'ulimit -n 100 && exec "$0" "$1"', process.execPath, MAIN],
    env: cleanEnvironment(temporaryFolder("home-"), {
      DIDIT_API_KEY: API_KEY,
      DIDIT_API_BASE_URL: didit.url,
      BIOMETRICS_IMAGE_DIRS: folder,
    }),
    stderr: "pipe",
  });
  const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode: { pin: "2026-07-28" } } });
  const server = closing(await connected(client, transport, () => client.connect(transport)));
  const answers = await Promise.all(
    Array.from({ length: 400 }, (_, at) =>
      server.call("check_liveness", { image_path: at % 2 === 0 ? large : join(folder, "small.jpg") }),
    ),
  );
  for (const { isError, _meta, structuredContent } of answers) {
    if (isError) expect(_meta).toMatchObject({ code: "unavailable", retryable: true });
    else expect(structuredContent).toMatchObject({ outcome: "approved" });
  }
  // Connections that are kept alive for a few seconds still hold theirs.
  for (const image_path of [large, join(folder, "small.jpg")]) {
    const outcome = async () => (await server.call("check_liveness", { image_path })).structuredContent?.["outcome"];
    await expect.poll(outcome, { timeout: 15_000, interval: 500 }).toBe("approved");
  }
}, 60_000);
