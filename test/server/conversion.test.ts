import { execFile, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import sharp, { type Sharp } from "sharp";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { convert } from "../../src/images/convert.ts";
import { cleanEnvironment, closing, ERAS, MAIN, temporaryFolder } from "../support/clients.ts";
import { HTTP_ERAS, startHttp } from "../support/http.ts";
import { LINKFACE_ID, LINKFACE_SECRET, linkfaceRoutes } from "../support/stand-in/linkface.ts";
import { API_KEY, type StandIn, standIn } from "../support/stand-in.ts";

/** Four quarters, stored lying: grey, red, blue, green as displayed. Its EXIF block names an artist, SECRET-ARTIST. */
const QUARTERS = readFileSync(join(import.meta.dirname, "../support/quarters.heic"));
const photos = temporaryFolder("photos-");
const at = (name: string) => join(photos, name);
const keep = (name: string, bytes: Uint8Array) => writeFileSync(at(name), bytes);

/** Red and blue, above and below, with everything that a camera writes. */
const picture = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: "#0000ff" } }).composite([
    { input: { create: { width, height: height / 2, channels: 3, background: "#ff0000" } }, top: 0, left: 0 },
  ]);
/** Lying on its side. */
const byCamera = (it: Sharp) =>
  it.withExif({ IFD0: { Artist: "SECRET-ARTIST" }, IFD3: { GPSLatitudeRef: "N" } }).withMetadata({ orientation: 6 });

function bitmap(): Buffer {
  const header = Buffer.alloc(54);
  header.write("BM");
  header.writeUInt32LE(54, 10);
  header.writeUInt32LE(40, 14);
  header.writeUInt32LE(64, 18);
  header.writeInt32LE(-64, 22); // the first row is the uppermost
  header.writeUInt16LE(1, 26);
  header.writeUInt16LE(24, 28);
  const rows = (blueGreenRed: string) => Buffer.alloc(64 * 32 * 3, blueGreenRed, "hex");
  return Buffer.concat([header, rows("0000ff"), rows("ff0000")]);
}

let didit: StandIn;
beforeAll(async () => {
  didit = await standIn();
  keep("quarters.heic", QUARTERS);
  keep("half.heic", QUARTERS.subarray(0, 700));
  keep("noise.heic", Buffer.concat([QUARTERS.subarray(0, 400), randomBytes(900)]));
  const [size, huge] = [
    Buffer.from("ispe\0\0\0\0\0\0\x02\x80\0\0\x01\xe0", "latin1"),
    Buffer.alloc(8, "0000f000", "hex"),
  ];
  const wide = Buffer.from(QUARTERS);
  huge.copy(wide, wide.indexOf(size) + 8);
  keep("wide.heic", wide);
  keep("photo.avif", await picture(64, 64).avif({ lossless: true }).toBuffer());
  keep("photo.gif", await picture(64, 64).gif().toBuffer());
  keep("photo.bmp", bitmap());
  keep("photo.jpg", await byCamera(picture(64, 32)).jpeg().toBuffer());
  keep("photo.tiff", await byCamera(picture(64, 32)).tiff().toBuffer());
  keep("photo.png", await byCamera(picture(64, 32)).png().toBuffer());
  keep("photo.webp", await byCamera(picture(64, 32)).webp({ lossless: true }).toBuffer());
  keep("profile.jpg", await byCamera(picture(64, 32)).withIccProfile("p3").jpeg().toBuffer());
  keep("progressive.jpg", await byCamera(picture(64, 32)).jpeg({ progressive: true }).toBuffer());
  keep("appended.jpg", Buffer.concat([readFileSync(at("photo.jpg")), Buffer.from("SECRET-VIDEO")]));
  const noise = { type: "gaussian", mean: 128, sigma: 60 } as const;
  const large = sharp({ create: { width: 3200, height: 2400, channels: 3, background: "#808080", noise } });
  keep("large.jpg", await byCamera(large).jpeg({ quality: 100 }).toBuffer());
  keep("drawing.svg", Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"/>'));
});
afterAll(() => didit.close());

const envOf = (more: Record<string, string> = {}) => ({
  DIDIT_API_KEY: API_KEY,
  DIDIT_API_BASE_URL: didit.url,
  BIOMETRICS_IMAGE_DIRS: photos,
  ...more,
});

/** The file that the API was last sent. */
function lastSent(name = "user_image") {
  const file = didit.received.at(-1)?.files[name];
  if (file === undefined) throw new Error("nothing was sent");
  return file;
}

/** The colours at a quarter and three quarters of the height, at three quarters of the width, as displayed. */
async function coloursOf(bytes: Uint8Array): Promise<string[]> {
  const { data, info } = await sharp(bytes).autoOrient().removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return [1, 3].map((quarter) => {
    const pixel = Math.floor((info.height * quarter) / 4) * info.width + Math.floor((info.width * 3) / 4);
    const [red = 0, green = 0, blue = 0] = data.subarray(pixel * 3, pixel * 3 + 3);
    const isHigh = [red, green, blue].map((value) => (value > 150 ? 1 : 0)).join("");
    return { 100: "red", "001": "blue", "010": "green" }[isHigh] ?? `${red},${green},${blue}`;
  });
}

async function biometrics(args: readonly string[], input?: Uint8Array, env?: Record<string, string>) {
  const options = { env: cleanEnvironment(photos, envOf(env)), cwd: photos };
  return new Promise<{ code: number; out: string; err: string }>((done) => {
    const child = execFile(process.execPath, [MAIN, ...args], options, (error, out, err) => {
      done({ code: error === null ? 0 : Number(error.code ?? -1), out, err });
    });
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
  });
}

const RISK = { tag: "REENCODED_IMAGE", effect: "approved" };

const newest = ERAS[1] ?? expect.fail();

describe.each(ERAS)("over stdio, $era", ({ connect }) => {
  test("a HEIC is refused with the way out, and converted where that is asked for", async () => {
    const server = closing(await connect({ env: envOf() }));
    const before = didit.received.length;
    const refused = await server.call("check_liveness", { image_path: at("quarters.heic") });
    expect(refused).toMatchObject({ isError: true, _meta: { code: "image_rejected" } });
    expect(JSON.stringify(refused.content)).toContain("Retry with convert: true, or export it as JPEG (iPhone: ");
    expect(didit.received).toHaveLength(before);

    const { structuredContent } = await server.call("check_liveness", {
      image_path: at("quarters.heic"),
      convert: true,
    });
    const sent = lastSent();
    expect(sent).toMatchObject({ mime: "image/jpeg", fileName: "user_image.jpg" });
    expect(await sharp(sent.bytes).metadata()).toMatchObject({ width: 480, height: 640 });
    expect(await coloursOf(sent.bytes)).toEqual(["red", "green"]);
    expect(sent.bytes.includes("SECRET")).toBe(false);
    expect(structuredContent).toMatchObject({
      outcome: "approved",
      summary: expect.stringMatching(/ The image was converted from HEIC to JPEG without its metadata\.$/),
      warnings: [expect.objectContaining(RISK)],
      next_steps: ["Where the decision matters, retake the photo as a JPEG and check that."],
      images: [
        {
          name: "image",
          mime: "image/jpeg",
          bytes: sent.bytes.length,
          width: 480,
          height: 640,
          prepared: "converted from HEIC to JPEG without its metadata",
        },
      ],
    });
  });
});

test.each([
  ["photo.avif", "AVIF"],
  ["photo.gif", "GIF"],
  ["photo.bmp", "BMP"],
])("%s becomes a JPEG of the same picture", async (name, format) => {
  const { code, out } = await biometrics(["check-liveness", name, "--convert"]);
  expect({ code, out }).toMatchObject({ code: 0, out: expect.stringContaining(`converted from ${format} to JPEG`) });
  expect(await coloursOf(lastSent().bytes)).toEqual(["red", "blue"]);
});

test("a file over the limit is made smaller, upright and without metadata", async () => {
  const large = readFileSync(at("large.jpg"));
  expect(large.length).toBeGreaterThan(5 * 2 ** 20);
  const refused = await biometrics(["check-liveness", "large.jpg"]);
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining("Retry with --convert, or export a smaller") });
  const { code, out } = await biometrics(["check-liveness", "large.jpg", "--convert", "--json"]);
  expect(code).toBe(0);
  const { bytes } = lastSent();
  const { width = 0, height = 0, orientation } = await sharp(bytes).metadata();
  expect(bytes.length).toBeLessThan(5 * 2 ** 20);
  expect(bytes.length).toBeGreaterThan(3 * 2 ** 20); // not smaller than it must be
  expect(width / height).toBeCloseTo(2400 / 3200, 2);
  expect(orientation).toBeUndefined();
  expect(out).toContain(`and reduced from 2400x3200 to ${width}x${height} pixels`);
});

test("what fits already is sent as it is, whatever is asked for", async () => {
  const { out } = await biometrics(["check-liveness", "photo.jpg", "--convert", "--json"]);
  expect(lastSent().bytes.equals(readFileSync(at("photo.jpg")))).toBe(true);
  expect(JSON.parse(out)).toMatchObject({ warnings: [], images: [{ width: 32, height: 64 }] });
  expect(out).not.toContain("prepared");
});

test("from standard input too", async () => {
  const { code } = await biometrics(["check-liveness", "-", "--convert"], QUARTERS);
  expect(code).toBe(0);
  expect(await coloursOf(lastSent().bytes)).toEqual(["red", "green"]);
});

test("only liveness warns, and every check says what was done to which image", async () => {
  const match = await biometrics(["match-faces", "photo.jpg", "quarters.heic", "--convert", "--json"]);
  expect(JSON.parse(match.out)).toMatchObject({
    warnings: [],
    summary: expect.stringContaining("The reference image was converted from HEIC"),
  });
  expect(match.out).not.toContain("The user image was");
  const search = await biometrics(["search-face", "quarters.heic", "--convert"]);
  expect(search.out).toContain("The image was converted from HEIC");
  const person = await biometrics(["verify-person", "quarters.heic", "photo.gif", "--convert", "--json"]);
  const { warnings, summary, steps } = JSON.parse(person.out);
  expect(warnings).toEqual([expect.objectContaining(RISK)]);
  expect(steps[0]).toMatchObject({ check: "liveness", warnings: [expect.objectContaining(RISK)] });
  expect(summary).toMatch(/The selfie was converted from HEIC .* The reference image was converted from GIF /);
});

test("the audit log has the hash of the file that was read, not of the JPEG made of it", async () => {
  const log = join(temporaryFolder("audit-"), "decisions.jsonl");
  await biometrics(["check-liveness", "quarters.heic", "--convert"], undefined, { BIOMETRICS_AUDIT_LOG: log });
  const image_path = createHash("sha256").update(QUARTERS).digest("hex");
  expect(JSON.parse(readFileSync(log, "utf8"))).toMatchObject({ sha256: { image_path }, warnings: [RISK.tag] });
});

test.each([
  ["half.heic", /damaged or incomplete/],
  ["noise.heic", /damaged or incomplete/],
  ["wide.heic", /61440x61440 pixels; the limit is 50 million pixels/],
  ["drawing.svg", /is an SVG drawing, not JPEG.*\nNext: Use a photo\.$/m],
])("%s is refused, and nothing is sent", async (name, why) => {
  const before = didit.received.length;
  const { code, out, err } = await biometrics(["check-liveness", name, "--convert"]);
  expect({ code, out, err }).toEqual({ code: 1, out: "", err: expect.stringMatching(why) });
  expect(didit.received).toHaveLength(before);
});

describe("what takes long", () => {
  beforeAll(async () => {
    keep("slow.gif", await picture(6000, 6000).gif({ effort: 1 }).toBuffer());
  });

  /** A decoder that never comes to an end; it counts in the bytes that it is given. */
  const ENDLESS = `import { workerData } from "node:worker_threads";
    for (const beats = new Int32Array(workerData.bytes.buffer); ; ) Atomics.add(beats, 0, 1);`;
  const program = new URL(`data:text/javascript,${encodeURIComponent(ENDLESS)}`);
  function endless(options: { readonly signal?: AbortSignal; readonly maxMs?: number }) {
    const beats = new Int32Array(new SharedArrayBuffer(4));
    const bytes = new Uint8Array(beats.buffer) as Uint8Array<never>;
    const limits = { maxBytes: 1, maxSide: undefined, maxPixels: undefined };
    const isRunning = async () => {
      const before = Atomics.load(beats, 0);
      await pause(50);
      return Atomics.load(beats, 0) !== before;
    };
    return { isRunning, conversion: convert({ bytes, mime: "image/gif", limits }, { program, ...options }) };
  }

  test("too long is refused, and its thread ends", async () => {
    const { isRunning, conversion } = endless({ maxMs: 1000 });
    await expect(conversion).rejects.toMatchObject({
      code: "image_rejected",
      message: "The image takes too long to convert.",
    });
    await expect.poll(isRunning, { timeout: 5000 }).toBe(false);
  });

  test("and is cancelled ends its thread", async () => {
    const stop = new AbortController();
    const { isRunning, conversion } = endless({ signal: stop.signal });
    await expect.poll(isRunning, { timeout: 5000 }).toBe(true);
    stop.abort();
    await expect(conversion).rejects.toMatchObject({ code: "cancelled" });
    await expect.poll(isRunning, { timeout: 5000 }).toBe(false);
  });

  test.each(ERAS)("and is cancelled by a client of $era sends nothing", async ({ connect }) => {
    const server = closing(await connect({ env: envOf() }));
    const before = didit.received.length;
    const stop = new AbortController();
    const ask = (name: string, signal?: AbortSignal) =>
      server.call("check_liveness", { image_path: at(name), convert: true }, signal === undefined ? {} : { signal });
    const call = ask("slow.gif", stop.signal);
    await pause(300);
    stop.abort();
    await expect(call).rejects.toThrow();
    expect((await ask("photo.gif")).structuredContent).toMatchObject({ outcome: "approved" });
    expect(didit.received).toHaveLength(before + 1);
  });

  test("and is interrupted by Ctrl-C sends nothing", async () => {
    const before = didit.received.length;
    const options = { env: cleanEnvironment(photos, envOf()), cwd: photos };
    const child = spawn(process.execPath, [MAIN, "check-liveness", "slow.gif", "--convert"], options);
    await pause(600);
    child.kill("SIGINT");
    expect(await once(child, "exit")).toEqual([130, null]);
    expect(didit.received).toHaveLength(before);
  });

  test.runIf(process.platform === "linux")(
    "takes turns over HTTP: five at once need no more memory than two",
    {
      timeout: 120_000,
    },
    async () => {
      const server = await startHttp({ env: envOf() });
      const [era] = HTTP_ERAS;
      const client = await era?.connect(server);
      const calls = Array.from({ length: 5 }, () =>
        client?.call("check_liveness", { image_path: at("slow.gif"), convert: true }, { timeout: 100_000 }),
      );
      const done = Promise.all(calls);
      let isDone = false;
      void done.finally(() => {
        isDone = true;
      });
      while (!isDone) await pause(20);
      for (const answer of await done) expect(answer?.structuredContent).toMatchObject({ outcome: "approved" });
      const [, most = ""] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8")) ?? [];
      expect(Number(most)).toBeGreaterThan(0);
      expect(Number(most)).toBeLessThan(1_000_000); // 0.6 GB; all five at once take 1.3 GB
    },
  );
});

describe("--strip-metadata", () => {
  test.each(["photo.jpg", "profile.jpg", "progressive.jpg", "appended.jpg", "photo.png", "photo.webp"])(
    "%s is sent with the same pixels the same way up, and nothing else",
    async (name) => {
      const original = readFileSync(at(name));
      expect(original.includes("SECRET")).toBe(true);
      const { code, out } = await biometrics(["check-liveness", name, "--strip-metadata", "--json"]);
      expect(code).toBe(0);
      const { bytes } = lastSent();
      expect(bytes.includes("SECRET")).toBe(false);
      const seen = (file: Uint8Array) => sharp(file).autoOrient().raw().toBuffer({ resolveWithObject: true });
      const [before, after] = [await seen(original), await seen(bytes)];
      expect(after.info).toEqual(before.info);
      expect(after.data.equals(before.data)).toBe(true);
      const profileOf = async (file: Uint8Array) => (await sharp(file).metadata()).icc?.toString("base64");
      expect(await profileOf(bytes)).toBe(await profileOf(original));
      expect(after.info.height).toBe(64);
      expect(JSON.parse(out)).toMatchObject({
        warnings: [],
        images: [{ prepared: "stripped of its metadata", bytes: bytes.length }],
      });
    },
  );

  test("a BMP, which has none, is sent as it is", async () => {
    const linkface = await standIn({ routes: linkfaceRoutes() });
    onTestFinished(() => linkface.close());
    const env = {
      LINKFACE_API_ID: LINKFACE_ID,
      LINKFACE_API_SECRET: LINKFACE_SECRET,
      LINKFACE_API_BASE_URL: linkface.url,
      BIOMETRICS_STRIP_METADATA: "true",
    };
    const server = closing(await newest.connect({ env: envOf(env) }));
    const paths = { selfie_path: at("photo.bmp"), liveness_data_id: "recording-1" };
    expect(await server.call("verify_liveness_selfie", paths)).toMatchObject({ structuredContent: { warnings: [] } });
    expect(linkface.received.at(-1)?.files["selfie_file"]?.bytes.equals(bitmap())).toBe(true);
  });

  test("a TIFF is encoded anew for that, and liveness says so", async () => {
    const { out } = await biometrics(["check-liveness", "photo.tiff", "--strip-metadata", "--json"]);
    expect(lastSent().bytes.includes("SECRET")).toBe(false);
    expect(lastSent().mime).toBe("image/jpeg");
    expect(JSON.parse(out)).toMatchObject({ warnings: [RISK] });
  });

  test("as a setting it holds for every check of a server", async () => {
    const server = closing(await newest.connect({ env: envOf({ BIOMETRICS_STRIP_METADATA: "true" }) }));
    await server.call("match_faces", { user_image_path: at("photo.jpg"), reference_image_path: at("photo.png") });
    for (const name of ["user_image", "ref_image"]) expect(lastSent(name).bytes.includes("SECRET")).toBe(false);
  });
});
