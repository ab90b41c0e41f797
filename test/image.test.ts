import { execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { CheckError, FAILURES } from "../src/errors.ts";
import { type Folders, readLocalFile } from "../src/file.ts";
import { type ImageLimits, type ImageMime, loadImage, toImage, uploadName } from "../src/images/image.ts";
import { temporaryFolder } from "./support/clients.ts";

const LIMITS: ImageLimits = {
  maxBytes: 5 * 2 ** 20,
  mimes: ["image/jpeg", "image/png", "image/webp", "image/tiff"],
};

const root = temporaryFolder("in-");
const outside = temporaryFolder("out-");
const data = join(outside, "data");
const load = (path: string, folders: Folders = [root], limits = LIMITS, dataFolder = data) =>
  loadImage(path, { folders, dataFolder }, limits);
let socket: Server;
const canvas = () => sharp({ create: { width: 40, height: 30, channels: 3, background: "#a05030" } });

/** Of a PNG. */
function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type), data]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}

/** Of a JPEG. */
function segment(marker: number, ...data: (string | Buffer)[]): Buffer {
  const body = Buffer.concat(data.map((it) => (typeof it === "string" ? Buffer.from(it, "latin1") : it)));
  const start = Buffer.from([0xff, marker, 0, 0]);
  start.writeUInt16BE(body.length + 2, 2);
  return Buffer.concat([start, body]);
}

/** Of a WebP. */
function riff(type: string, ...data: Buffer[]): Buffer {
  const body = Buffer.concat(data);
  const start = Buffer.from(`${type}\0\0\0\0`, "latin1");
  start.writeUInt32LE(body.length, 4);
  return Buffer.concat([start, body, Buffer.alloc(body.length % 2)]);
}

/** The EXIF block that says the orientation and nothing else. */
const bareExif = (orientation: number) =>
  Buffer.from(`49492a0008000000010012010300010000000${orientation}00000000000000`, "hex");

beforeAll(async () => {
  const jpeg = await canvas().jpeg().toBuffer();
  writeFileSync(join(root, "photo.jpg"), jpeg);
  writeFileSync(join(root, "photo.png"), await canvas().png().toBuffer());
  writeFileSync(join(root, "photo.webp"), await canvas().webp().toBuffer());
  writeFileSync(join(root, "photo.tiff"), await canvas().tiff().toBuffer());
  writeFileSync(join(root, "large.tiff"), await canvas().resize(400, 300).tiff({ compression: "none" }).toBuffer());
  writeFileSync(join(root, "really-png.jpg"), await canvas().png().toBuffer());
  writeFileSync(join(root, "no-extension"), jpeg);
  writeFileSync(join(root, "with space é.jpg"), jpeg);
  writeFileSync(join(root, "..odd.jpg"), jpeg);
  writeFileSync(join(root, "turned.jpg"), await canvas().jpeg().withMetadata({ orientation: 6 }).toBuffer());
  writeFileSync(join(root, "a.gif"), await canvas().gif().toBuffer());
  writeFileSync(join(root, "a.avif"), await canvas().avif().toBuffer());
  writeFileSync(join(root, "a.heic"), Buffer.from("\0\0\0\x18ftypheic\0\0\0\0mif1heic", "latin1"));
  writeFileSync(join(root, "a.heif"), Buffer.from("\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "latin1"));
  writeFileSync(join(root, "a.bmp"), Buffer.concat([Buffer.from("BM"), Buffer.alloc(60)]));
  writeFileSync(join(root, "a.pdf"), "%PDF-1.7\n%%EOF");
  writeFileSync(join(root, "a.jls"), Buffer.from("\xff\xd8\xff\xf7\0\x0b\x08\0\x1e\0\x28", "latin1"));
  writeFileSync(join(root, "a.cr2"), Buffer.from("II*\0\x10\0\0\0CR\x02\0\0\0\0\0", "latin1"));
  const [start, rest] = [
    (await canvas().png().toBuffer()).subarray(0, 33),
    (await canvas().png().toBuffer()).subarray(33),
  ];
  const animation = chunk("acTL", Buffer.from([0, 0, 0, 1, 0, 0, 0, 0]));
  writeFileSync(join(root, "animated.png"), Buffer.concat([start, animation, rest]));
  const drawing = '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="90"/>';
  const almost = Buffer.concat([start.subarray(0, 6), Buffer.of(0), start.subarray(7), rest, Buffer.from(drawing)]);
  writeFileSync(join(root, "almost.png"), almost);
  writeFileSync(join(root, "almost.webp"), `RIFF0000WEBP${drawing}`);
  const text = chunk("tEXt", Buffer.from("Comment\0IDAT"));
  writeFileSync(join(root, "hidden-animation.png"), Buffer.concat([start, text, animation, rest]));
  writeFileSync(join(root, "comment.png"), Buffer.concat([start, chunk("tEXt", Buffer.from("Comment\0acTL")), rest]));
  writeFileSync(join(root, "a.svg"), '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>');
  writeFileSync(join(root, "xml.svg"), '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>');
  writeFileSync(join(root, "text.jpg"), "hello");
  writeFileSync(join(root, "empty.jpg"), "");
  writeFileSync(join(root, "large.jpg"), Buffer.concat([jpeg, Buffer.alloc(LIMITS.maxBytes)]));
  writeFileSync(join(root, "headless.jpg"), Buffer.from("\xff\xd8\xff\xe0\0\x10JFIF\0", "latin1"));
  writeFileSync(join(outside, "secret.jpg"), jpeg);
  symlinkSync(join(outside, "secret.jpg"), join(root, "link-out.jpg"));
  symlinkSync(outside, join(root, "folder-out"));
  symlinkSync(join(root, "photo.jpg"), join(root, "link-in.jpg"));
  mkdirSync(join(root, "folder.jpg"));
  execFileSync("mkfifo", [join(root, "fifo.jpg")]);
  socket = createServer().listen(join(root, "socket.jpg"));
  const [gif, png] = [await canvas().gif().toBuffer(), await canvas().png().toBuffer()];
  writeFileSync(
    join(root, "drawn-on.gif"),
    Buffer.concat([gif.subarray(0, -1), Buffer.from("!\xfe\x04<svg\0;", "latin1")]),
  );
  for (const [name, at] of Object.entries({ "narrow.png": 16, "low.png": 20 })) {
    writeFileSync(join(root, name), Buffer.concat([png.subarray(0, at), Buffer.alloc(4), png.subarray(at + 4)]));
  }
});
afterAll(() => void socket.close());

describe("what is read", () => {
  test.each([
    ["photo.jpg", "image/jpeg"],
    ["photo.png", "image/png"],
    ["photo.webp", "image/webp"],
    ["photo.tiff", "image/tiff"],
    ["really-png.jpg", "image/png"],
    ["comment.png", "image/png"],
    ["no-extension", "image/jpeg"],
    ["with space é.jpg", "image/jpeg"],
    ["..odd.jpg", "image/jpeg"],
    ["link-in.jpg", "image/jpeg"],
  ] as const)("%s is %s, by its content", async (name, mime) => {
    const image = await load(join(root, name));
    expect(image).toMatchObject({ mime, width: 40, height: 30 });
    expect(uploadName("user_image", image)).toBe(`user_image.${mime.slice(6).replace("jpeg", "jpg")}`);
  });

  test("the size is that of the image as displayed", async () => {
    expect(await load(join(root, "turned.jpg"))).toMatchObject({ width: 30, height: 40 });
  });

  test("file: addresses are decoded, and only those", async () => {
    expect(await load(pathToFileURL(join(root, "with space é.jpg")).href)).toMatchObject({ width: 40 });
    await expect(load(join(root, "with%20space%20%C3%A9.jpg"))).rejects.toMatchObject({ code: "path_refused" });
  });

  test("~/ is the home of the user, and ~name is nobody's", async () => {
    vi.stubEnv("HOME", root);
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(await load("~/photo.jpg")).toMatchObject({ width: 40 });
    await expect(load("~root/photo.jpg")).rejects.toMatchObject({ code: "path_refused" });
  });

  test("a relative path starts at the working directory", async () => {
    expect(await load(relative(process.cwd(), join(root, "photo.jpg")))).toMatchObject({ width: 40 });
  });

  test("an allowed folder that is itself a link", async () => {
    const link = join(outside, "allowed");
    symlinkSync(root, link);
    expect(await load(join(link, "photo.jpg"), [link])).toMatchObject({ width: 40 });
  });
});

test("a TIFF whose directory stands at its end", async () => {
  expect(await load(join(root, "large.tiff"))).toMatchObject({ mime: "image/tiff", width: 400, height: 300 });
});

describe("what is refused as a path", () => {
  test.each([
    ["a link out of the folder", () => join(root, "link-out.jpg")],
    ["a linked folder", () => join(root, "folder-out", "secret.jpg")],
    ["traversal", () => `${root}/../${outside.split("/").at(-1)}/secret.jpg`],
    ["encoded traversal", () => `${pathToFileURL(root)}/..%2f${outside.split("/").at(-1)}%2fsecret.jpg`],
    ["a folder with the allowed one as prefix", () => `${root}-x/a.jpg`],
    ["a device", () => "/dev/zero"],
    ["its own memory", () => "/proc/self/environ"],
    ["a missing file", () => join(root, "none.jpg")],
    ["a missing file elsewhere", () => join(outside, "none.jpg")],
    ["a file elsewhere", () => join(outside, "secret.jpg")],
    ["the folder itself", () => root],
    ["the folder above", () => join(root, "..")],
    ["a file used as a folder", () => join(root, "photo.jpg", "x")],
    ["a very long name", () => join(root, "x".repeat(5000))],
    ["an empty list of folders", () => join(root, "photo.jpg"), []],
  ] as [string, () => string, Folders?][])("%s, saying no more than that", async (_what, path, folders) => {
    const error = await load(path(), folders).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CheckError);
    expect(error).toMatchObject({ code: expect.stringMatching(/^(path_refused|invalid_input)$/) });
    expect(String((error as CheckError).toText())).not.toMatch(/in-|out-|secret|\/tmp/);
  });

  test("missing and forbidden are told apart by nothing", async () => {
    const answers = await Promise.all(
      [join(root, "none.jpg"), join(outside, "secret.jpg"), join(outside, "none.jpg")].map((path) =>
        load(path).catch((error: CheckError) => error.toText()),
      ),
    );
    expect(new Set(answers).size).toBe(1);
  });

  test.each([
    ["a NUL", `${root}/photo.jpg\0.png`, /NUL/],
    ["http", "https://example.com/a.jpg", /URL/],
    ["data", "data:image/png;base64,AAAA", /URL/],
    ["another host", "file://server/share/a.jpg", /^That file: URL/],
  ])("%s is no path", async (_what, path, message) => {
    await expect(load(path)).rejects.toMatchObject({ code: "invalid_input", message: expect.stringMatching(message) });
  });

  test("an address is answered with what to do instead", async () => {
    await expect(load("https://example.com/a.jpg")).rejects.toMatchObject({ next: expect.stringContaining("Save") });
  });

  test("names that Windows takes for devices, hosts, drives' streams are no path there, and names elsewhere", async () => {
    const foreign = [
      "//host/share/a.jpg",
      "\\\\?\\C:\\a.jpg",
      "/\\host/a.jpg",
      "C:\\a.jpg:stream",
      "photos/a.jpg:stream",
      "con",
      "C:\\photos\\NUL",
      "photos/aux .jpg",
      "prn.a.jpg",
      "com1.jpg",
      "lpt³",
      "conin$",
      "x/CONOUT$/y",
    ];
    const own = [
      "/photos/a.jpg",
      "C:\\photos\\a.jpg",
      "a//b.jpg",
      "xcon",
      "conx",
      "com.jpg",
      "comx",
      "lptx",
      "a.con",
      "photos/con-1.jpg",
    ];
    const codes = (paths: readonly string[]) =>
      Promise.all(paths.map((path) => load(path).then(String, (error: CheckError) => `${path} ${error.code}`)));
    const as = (paths: readonly string[], code: string) => paths.map((path) => `${path} ${code}`);
    expect(await codes(foreign)).toEqual(as(foreign, "path_refused"));
    vi.stubGlobal("process", Object.create(process, { platform: { value: "win32" } }));
    onTestFinished(() => void vi.unstubAllGlobals());
    expect(await codes(foreign)).toEqual(as(foreign, "invalid_input"));
    expect(await codes(own)).toEqual(as(own, "path_refused"));
  });

  test("an allowed folder that is not there, or no longer, stands in no other's way", async () => {
    const link = join(outside, "allowed-too");
    symlinkSync(root, link);
    const folders = [join(outside, "gone"), link];
    expect(await load(join(link, "photo.jpg"), folders)).toMatchObject({ width: 40 });
    await expect(load(join(outside, "secret.jpg"), folders)).rejects.toMatchObject({ code: "path_refused" });
  });

  test("from anywhere, a missing file is said to be missing", async () => {
    expect(await load(join(outside, "secret.jpg"), "anywhere")).toMatchObject({ width: 40 });
    await expect(load(join(outside, "none.jpg"), "anywhere")).rejects.toMatchObject({
      message: expect.stringMatching(/no readable file at that path/),
    });
  });
});

describe("nothing of the data folder is read", () => {
  const allowed = temporaryFolder("allowed-");
  const keys = join(allowed, "sub", "data");
  const linked = join(allowed, "linked.jpg");
  const answer = (path: string, folders: Folders) =>
    load(path, folders, LIMITS, keys).then(
      () => "read",
      (error: CheckError) => error.code,
    );
  beforeAll(async () => {
    mkdirSync(join(keys, "deeper"), { recursive: true });
    const jpeg = await canvas().jpeg().toBuffer();
    for (const path of [join(keys, "a.jpg"), join(keys, "deeper", "a.jpg"), join(allowed, "sub", "data-not.jpg")]) {
      writeFileSync(path, jpeg);
    }
    linkSync(join(keys, "a.jpg"), linked);
    linkSync(join(allowed, "sub", "data-not.jpg"), join(allowed, "twice.jpg"));
    symlinkSync(keys, join(allowed, "link"));
    symlinkSync(join(keys, "a.jpg"), join(allowed, "link.jpg"));
    symlinkSync("gone", join(keys, "dangling"));
  });

  test.each<[string, string]>([
    ["by its path", join(keys, "a.jpg")],
    ["further down", join(keys, "deeper", "a.jpg")],
    ["by a link to it", join(allowed, "link.jpg")],
    ["by a link to the folder", join(allowed, "link", "a.jpg")],
    ["by a hard link", linked],
    ["the folder itself", keys],
  ])("%s", async (_what, path) => {
    expect(await answer(path, [allowed])).toBe("path_refused");
    expect(await answer(path, [keys, allowed])).toBe("path_refused");
    expect(await answer(path, "anywhere")).toBe("path_refused");
  });

  test("what lies beside it is", async () => {
    for (const name of ["sub/data-not.jpg", "twice.jpg"])
      expect(await answer(join(allowed, name), [allowed])).toBe("read");
  });
});

test("the audit log is not read either, under any of its names", async () => {
  const folder = temporaryFolder("log-");
  const auditLog = join(folder, "log.jpg");
  const answer = (name: string) =>
    loadImage(join(folder, name), { folders: [folder], dataFolder: data, auditLog }, LIMITS).then(
      () => "read",
      (error: CheckError) => error.code,
    );
  for (const name of ["log.jpg", "other.jpg"]) writeFileSync(join(folder, name), await canvas().jpeg().toBuffer());
  linkSync(auditLog, join(folder, "hard.jpg"));
  symlinkSync(auditLog, join(folder, "link.jpg"));
  for (const name of ["log.jpg", "hard.jpg", "link.jpg"]) expect(await answer(name), name).toBe("path_refused");
  expect(await answer("other.jpg")).toBe("read");
  rmSync(auditLog); // as before the first line is written
  expect(await answer("other.jpg")).toBe("read");
});

const numberOf = (path: string) => statSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
test.runIf(numberOf("/dev/shm") === numberOf("/sys"))(
  "a folder of the same number on another disk is another",
  async () => {
    const folder = mkdtempSync("/dev/shm/in-");
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, "photo.jpg"), await canvas().jpeg().toBuffer());
    expect(await load(join(folder, "photo.jpg"), [folder], LIMITS, "/sys")).toMatchObject({ width: 40 });
  },
);

describe("what is refused as an image", () => {
  test.each([
    ["folder.jpg", /folder/],
    ["fifo.jpg", /regular file/],
    ["socket.jpg", /regular file/],
    ["empty.jpg", /empty/],
    ["large.jpg", /is 5\.1 MB; the limit is 5 MB/],
    ["text.jpg", /^The file is not JPEG, PNG, WebP or TIFF\.$/],
    ["headless.jpg", /damaged.*header/],
    ["narrow.png", /damaged/],
    ["low.png", /damaged/],
    ["drawn-on.gif", /is GIF/],
    ["a.heic", /^The file is HEIC, not JPEG, PNG, WebP or TIFF\.$/],
    ["a.heif", /is HEIF/],
    ["a.avif", /is AVIF/],
    ["a.gif", /GIF/],
    ["a.bmp", /BMP/],
    ["a.pdf", /PDF/],
    ["a.jls", /is not JPEG/],
    ["a.cr2", /is not JPEG/],
    ["almost.png", /damaged/], // whose size could be read from the drawing behind it
    ["almost.webp", /damaged/],
    ["animated.png", /animated PNG/],
    ["hidden-animation.png", /animated PNG/],
    ["a.svg", /SVG/],
    ["xml.svg", /SVG/],
  ])(
    "%s",
    async (name, message) => {
      const refusal = { code: "image_rejected", message: expect.stringMatching(message) };
      await expect(load(join(root, name))).rejects.toMatchObject(refusal);
    },
    2000,
  );

  test.each<[readonly ImageMime[], RegExp]>([
    [["image/jpeg"], /not JPEG\.$/],
    [["image/jpeg", "image/png"], /not JPEG or PNG\.$/],
  ])("by a provider that takes %j alone", async (mimes, message) => {
    const refusal = { code: "image_rejected", message: expect.stringMatching(message) };
    await expect(load(join(root, "photo.webp"), [root], { ...LIMITS, mimes })).rejects.toMatchObject(refusal);
  });

  test.each<[string, Partial<ImageLimits>, boolean]>([
    ["photo.jpg", { maxBytes: 99 }, true],
    ["photo.jpg", { maxSide: 39 }, true],
    ["photo.jpg", { minSide: 31 }, false], // enlarging helps nobody
    ["photo.jpg", { minSide: 30, maxSide: 39 }, true],
    ["a.heic", {}, true],
    ["a.gif", {}, true],
    ["animated.png", {}, true],
    ["a.svg", {}, false],
    ["a.pdf", {}, false],
    ["text.jpg", {}, false],
  ])("%s within %j is offered to be converted: %s", async (name, limits, isOffered) => {
    const next = (convert?: boolean) =>
      load(join(root, name), [root], { ...LIMITS, ...limits, convert }).then(
        () => expect.unreachable(),
        (error: CheckError) => error.next,
      );
    expect((await next(false)).startsWith("Retry with convert: true, or ")).toBe(isOffered);
    expect(await next()).not.toContain("convert: true"); // where the caller cannot ask for it
    if (name === "photo.jpg") expect(await next()).toBe(FAILURES.image_rejected.next);
  });

  test("bytes that came from no file, and are too many", async () => {
    const bytes = new Uint8Array(readFileSync(join(root, "photo.jpg")));
    const refusal = { code: "image_rejected", message: expect.stringMatching(/limit is/) };
    await expect(toImage(bytes, { ...LIMITS, maxBytes: bytes.length - 1 })).rejects.toMatchObject(refusal);
    expect(await toImage(bytes, { ...LIMITS, maxBytes: bytes.length })).toMatchObject({ bytes });
  });

  test("a format that phones write, with the one step that helps", async () => {
    const next = "Export it as JPEG (iPhone: Settings > Camera > Formats > Most Compatible).";
    await expect(load(join(root, "a.heic"))).rejects.toMatchObject({ next });
  });

  test.skipIf(process.getuid?.() === 0)("a file without permission", async () => {
    const path = join(root, "locked.jpg");
    writeFileSync(path, "x");
    chmodSync(path, 0);
    await expect(load(path)).rejects.toMatchObject({
      code: "image_rejected",
      message: expect.stringMatching(/permission denied/),
    });
  });

  test("sides and pixels beyond the limits, from the header alone", async () => {
    const path = join(root, "photo.jpg");
    await expect(load(path, [root], { ...LIMITS, minSide: 31 })).rejects.toMatchObject({
      message: expect.stringMatching(/40x30/),
    });
    await expect(load(path, [root], { ...LIMITS, maxSide: 39 })).rejects.toMatchObject({
      message: expect.stringMatching(/40x30/),
    });
    await expect(load(path, [root], { ...LIMITS, maxPixels: 1199 })).rejects.toMatchObject({
      message: expect.stringMatching(/40x30/),
    });
    expect(await load(path, [root], { ...LIMITS, maxPixels: 1200 })).toMatchObject({ width: 40 });
  });
});

describe("at the limits themselves", () => {
  test("bytes, sides and pixels may be just that many", async () => {
    const path = join(root, "photo.jpg");
    const { size } = statSync(path);
    const limits = { ...LIMITS, maxBytes: size, minSide: 30, maxSide: 40, maxPixels: 1200 };
    expect(await load(path, [root], limits)).toMatchObject({ width: 40, height: 30 });
    await expect(load(path, [root], { ...limits, maxBytes: size - 1 })).rejects.toMatchObject({
      message: expect.stringMatching(/limit is/),
    });
    const million = { ...LIMITS, maxPixels: 1000 };
    await expect(load(path, [root], million)).rejects.toMatchObject({
      message: expect.stringMatching(/limit is 0\.001 million/),
    });
  });

  test.each([4, 5])("an orientation of %i", async (orientation) => {
    const path = join(root, `orientation-${orientation}.jpg`);
    writeFileSync(path, await canvas().jpeg().withMetadata({ orientation }).toBuffer());
    expect(await load(path)).toMatchObject(orientation < 5 ? { width: 40, height: 30 } : { width: 30, height: 40 });
  });

  test.each([2 ** 18 - 1, 2 ** 18, 2 ** 18 + 1])("%i bytes are read whole, at once or in the pool", async (size) => {
    const path = join(root, `size-${size}.jpg`);
    const jpeg = await canvas().jpeg().toBuffer();
    const bytes = Buffer.concat([jpeg, randomBytes(size - jpeg.length)]);
    writeFileSync(path, bytes);
    expect(Buffer.compare((await load(path)).bytes, bytes)).toBe(0);
  });
});

test("names with a colon or a scheme further on are names", async () => {
  mkdirSync(join(root, "http:"));
  for (const name of ["a:b.jpg", "http:/x.jpg", "xfile:y.jpg"]) {
    writeFileSync(join(root, name), await canvas().jpeg().toBuffer());
    expect(await load(join(root, name)), name).toMatchObject({ width: 40 });
  }
});

test("a file that is no image is read by the same rules, and a hidden one not at all", async () => {
  const read = (path: string) =>
    readLocalFile(path, { folders: [root], dataFolder: data }, { maxBytes: 9, noun: "data" });
  for (const name of ["plain.bin", "ends.", ".hidden"]) writeFileSync(join(root, name), "abc");
  expect(Buffer.from(await read(join(root, "plain.bin"))).toString()).toBe("abc");
  expect(Buffer.from(await read(join(root, "ends."))).toString()).toBe("abc");
  writeFileSync(join(root, "ten.bin"), "abcdefghij");
  const refusal = { code: "image_rejected", message: expect.stringMatching(/limit is/) };
  await expect(read(join(root, "ten.bin"))).rejects.toMatchObject(refusal);
  await expect(read(join(root, ".hidden"))).rejects.toMatchObject({
    code: "image_rejected",
    message: expect.stringMatching(/hidden/i),
  });
  await expect(read(join(outside, "secret.jpg"))).rejects.toMatchObject({ code: "path_refused" });
});

test.runIf(process.platform === "linux")("each file is closed, read or refused", async () => {
  const open = () => readdirSync("/proc/self/fd").length;
  const before = open();
  for (const name of ["photo.jpg", "text.jpg", "empty.jpg", "large.jpg", "headless.jpg"]) {
    for (let n = 0; n < 20; n++) await load(join(root, name)).catch(() => {});
  }
  expect(open()).toBeLessThan(before + 10);
});

test("what is said of a missing file depends on whether folders are limited", async () => {
  const limited = await load(join(root, "none.jpg")).catch((error: CheckError) => error);
  const anywhere = await load(join(root, "none.jpg"), "anywhere").catch((error: CheckError) => error);
  expect(limited).toMatchObject({ next: expect.stringContaining("BIOMETRICS_IMAGE_DIRS") });
  expect(anywhere).toMatchObject({ next: expect.not.stringContaining("BIOMETRICS_IMAGE_DIRS") });
});

describe("without metadata", () => {
  const strip = (...parts: Buffer[]) =>
    toImage(new Uint8Array(Buffer.concat(parts)), { ...LIMITS, stripMetadata: true });
  const isDamaged = { code: "image_rejected", message: expect.stringMatching(/damaged/) };
  const same = async (parts: Buffer[], expected: Buffer[]) =>
    expect(Buffer.from((await strip(...parts)).bytes).toString("hex")).toBe(Buffer.concat(expected).toString("hex"));
  const secret = Buffer.from("SECRET");

  test("of a BMP, which has none, nothing is left out", async () => {
    const bitmap = Buffer.concat([
      Buffer.from("BM"),
      Buffer.alloc(12),
      Buffer.from([40, 0, 0, 0, 40, 0, 0, 0, 30]),
      Buffer.alloc(35),
    ]);
    const limits: ImageLimits = { ...LIMITS, mimes: ["image/bmp"], stripMetadata: true };
    const image = await toImage(new Uint8Array(bitmap), limits);
    expect(image).toMatchObject({ width: 40, height: 30 });
    expect(image).not.toHaveProperty("prepared");
  });

  describe("a JPEG", () => {
    const start = Buffer.from("ffd8", "hex");
    const end = Buffer.from("ffd9", "hex");
    const frame = Buffer.concat([segment(0xdb, "abc"), segment(0xc0, Buffer.from("08001e00280101110000", "hex"))]);
    const scan = Buffer.concat([
      segment(0xda, Buffer.from("0101003f00", "hex")),
      Buffer.from("12ff0034ffd056ffd778", "hex"),
    ]);
    const exif = (tiff: Buffer) => segment(0xe1, "Exif\0\0", tiff);

    test("keeps what the pixels need, and that alone", async () => {
      const header = segment(0xe0, "JFIF\0", Buffer.alloc(9));
      const profile = segment(0xe2, "ICC_PROFILE\0\x01\x01abc");
      const colours = segment(0xee, "Adobe", Buffer.alloc(7));
      const [table, huffman, last] = [0xdb, 0xc4, 0xdf].map((marker) => segment(marker, "abc")) as [
        Buffer,
        Buffer,
        Buffer,
      ];
      const rest = [table, frame, huffman, last, segment(0xdd, "\0\x04")];
      const dropped = [
        segment(0xe0, "JFIF\0", Buffer.alloc(9), secret), // a small picture
        segment(0xe0, "JFXX\0", Buffer.alloc(9)),
        segment(0xe1, "http://ns.adobe.com/xap/1.0/\0", secret),
        segment(0xe2, "MPF\0", secret),
        segment(0xed, "Photoshop 3.0\0", secret),
        segment(0xee, secret),
        segment(0xe3, "ICC_PROFILE\0", secret),
        segment(0xfe, secret),
        segment(0xbf, secret),
        segment(0xe3, "JFIF\0", Buffer.alloc(9)),
        segment(0xe3, "Adobe", Buffer.alloc(7)),
        segment(0xe3, "Exif\0\0", bareExif(6)),
        segment(0xe1, "Other\0", bareExif(6)),
      ];
      const again = [segment(0xc4, "d"), scan];
      await same(
        [start, header, ...dropped, profile, colours, ...rest, scan, ...dropped, ...again, end, secret],
        [start, header, profile, colours, ...rest, scan, ...again, end],
      );
    });

    test("is left as it is where there is nothing to leave out", async () => {
      expect(await strip(start, frame, scan, end)).not.toHaveProperty("prepared");
      expect(await strip(start, frame, segment(0xfe, secret), scan, end)).toMatchObject({
        prepared: {
          how: "stripped of its metadata",
          isReencoded: false,
          sha256: createHash("sha256")
            .update(Buffer.concat([start, frame, segment(0xfe, secret), scan, end]))
            .digest("hex"),
        },
      });
    });

    test.each<[string, number, string]>([
      ["Intel's order", 6, "49492a0008000000 0100 1201 0300 01000000 06000000 00000000"],
      ["Motorola's order", 8, "4d4d002a00000008 0001 0112 0003 00000001 00080000 00000000"],
      [
        "behind another entry",
        3,
        "49492a0008000000 0200 0001 0300 01000000 09000000 1201 0300 01000000 03000000 00000000",
      ],
      ["further on", 2, "49492a000a000000 0000 0100 1201 0300 01000000 02000000 00000000"],
      ["mirrored", 5, "49492a0008000000 0100 1201 0300 01000000 05000000 00000000"],
    ])("keeps its orientation, written in %s", async (_how, orientation, hex) => {
      const tiff = Buffer.concat([Buffer.from(hex.replaceAll(" ", ""), "hex"), secret]);
      const kept = orientation === 1 ? [] : [exif(bareExif(orientation))];
      await same([start, exif(tiff), frame, scan, end], [start, ...kept, frame, scan, end]);
    });

    test.each([
      ["upright already", bareExif(1)],
      ["of none", bareExif(0)],
      ["of one too many", bareExif(9)],
      [
        "not there",
        Buffer.from("49492a0008000000 0100 0001 0300 01000000 06000000 00000000".replaceAll(" ", ""), "hex"),
      ],
      [
        "behind the last entry",
        Buffer.from(
          "49492a0008000000 0100 0001 0300 01000000 06000000 1201 0300 01000000 06000000".replaceAll(" ", ""),
          "hex",
        ),
      ],
    ])("with an orientation %s gets none", async (_what, tiff) => {
      await same([start, exif(tiff), frame, scan, end], [start, frame, scan, end]);
    });

    test("may have bytes of padding before a marker", async () => {
      const padding = Buffer.from("ffff", "hex");
      await same([start, frame, padding, segment(0xfe, secret), scan, end], [start, frame, scan, end]);
      // In a scan they stay: nobody says where it ends.
      await same([start, frame, scan, padding, end, secret], [start, frame, scan, padding, end]);
      await same([start, frame, scan, segment(0xbf, secret), end], [start, frame, scan, end]);
    });

    test("that ends in its scan is shown as far as it goes", async () => {
      await same([start, frame, scan], [start, frame, scan]);
      await same([start, frame, scan, Buffer.from("ff", "hex")], [start, frame, scan, Buffer.from("ff", "hex")]);
      await same([start, frame, scan.subarray(0, 9)], [start, frame, scan.subarray(0, 9)]);
    });

    test.each<[string, Buffer[]]>([
      ["ends in a segment", [start, frame, segment(0xfe, secret).subarray(0, -1)]],
      ["has a segment without a length", [start, frame, Buffer.from("fffe0001", "hex"), scan, end]],
      ["has something else between two segments", [start, frame, Buffer.from("00fe0004aabb", "hex"), scan, end]],
    ])("that %s is damaged", async (_what, parts) => {
      await expect(strip(...parts)).rejects.toMatchObject(isDamaged);
    });

    test("whose segment says nothing is whole", async () => {
      await same([start, segment(0xfe), frame, segment(0xfe), scan, end], [start, frame, scan, end]);
    });
  });

  describe("a PNG", () => {
    const start = Buffer.from("89504e470d0a1a0a", "hex");
    const header = chunk("IHDR", Buffer.from("000000280000001e0802000000", "hex"));
    const [pixels, end] = [chunk("IDAT", Buffer.from("xyz")), chunk("IEND", Buffer.alloc(0))];

    test("keeps what the pixels need, and that alone", async () => {
      const kept = "PLTE tRNS gAMA cHRM sRGB iCCP cICP sBIT mDCV cLLI"
        .split(" ")
        .map((type) => chunk(type, Buffer.from("a")));
      const dropped = "tEXt zTXt iTXt tIME pHYs caBX prVt".split(" ").map((type) => chunk(type, secret));
      await same(
        [start, header, ...dropped, ...kept, chunk("eXIf", Buffer.concat([bareExif(6), secret])), pixels, end, secret],
        [start, header, ...kept, chunk("eXIf", bareExif(6)), pixels, end],
      );
    });

    test("whose orientation is cut off counts as upright", async () => {
      const cut = chunk("eXIf", bareExif(6).subarray(0, 17));
      await same([start, header, cut, pixels, end], [start, header, chunk("eXIf", bareExif(1)), pixels, end]);
    });

    test.each<[string, Buffer[]]>([
      ["ends in a chunk", [start, header, pixels, end.subarray(0, -1)]],
      ["does not end", [start, header, pixels]],
    ])("that %s is damaged", async (_what, parts) => {
      await expect(strip(...parts)).rejects.toMatchObject(isDamaged);
    });
  });

  describe("a WebP", () => {
    const file = (...chunks: Buffer[]) => riff("RIFF", Buffer.from("WEBP"), ...chunks);
    const extended = (flags: number) => riff("VP8X", Buffer.from([flags, 0, 0, 0, 39, 0, 0, 29, 0, 0]));
    const pixels = riff("VP8L", Buffer.from("2f274007", "hex"), Buffer.from("odd"));

    test("keeps what the pixels need, and that alone", async () => {
      const kept = ["ICCP", "ALPH", "ANIM", "ANMF", "VP8 "].map((type) => riff(type, Buffer.from("abc")));
      await same(
        [
          file(
            extended(0x3e),
            riff("odd ", Buffer.from("SEC")),
            ...kept,
            pixels,
            riff("EXIF", bareExif(6), secret),
            riff("XMP ", secret),
          ),
          secret,
        ],
        [file(extended(0x3a), ...kept, pixels, riff("EXIF", bareExif(6)))],
      );
    });

    test("keeps its orientation, with the prefix that JPEG has, too", async () => {
      await same(
        [file(extended(0x08), pixels, riff("EXIF", Buffer.from("Exif\0\0"), bareExif(8)))],
        [file(extended(0x08), pixels, riff("EXIF", bareExif(8)))],
      );
    });

    test("ends where its header says, or where its last whole chunk does", async () => {
      const whole = file(extended(0), pixels);
      await same([whole, riff("EXIF", bareExif(6))], [whole]);
      const long = file(extended(0), pixels, Buffer.alloc(7));
      await same([long], [whole]);
      await same([long.subarray(0, -7)], [whole]);
    });

    test("may end in an empty chunk", async () => {
      const whole = file(extended(0), pixels, riff("ICCP"));
      await same([whole], [whole]);
    });

    test("that ends in a chunk is damaged", async () => {
      await expect(strip(file(extended(0), pixels).subarray(0, -1))).rejects.toMatchObject(isDamaged);
    });
  });
});

/** For two seconds: a file, then a link to the outside under the same name, as fast as it goes. */
const SWAPPER = `
  const fs = require("node:fs");
  const [target, inside, link, secret] = process.argv.slice(1);
  const photo = fs.readFileSync(inside);
  for (const until = Date.now() + 2000; Date.now() < until; ) {
    fs.writeFileSync(inside, photo);
    fs.renameSync(inside, target);
    fs.symlinkSync(secret, link);
    fs.renameSync(link, target);
  }`;

test("a file that is swapped for a link while it is read never gives a file from outside", async () => {
  const target = join(root, "race.jpg");
  const [inside, link] = [join(root, "race-inside"), join(root, "race-link")];
  const secret = await sharp({ create: { width: 99, height: 99, channels: 3, background: "#000" } })
    .jpeg()
    .toBuffer();
  writeFileSync(join(outside, "race-secret.jpg"), secret);
  writeFileSync(inside, await canvas().jpeg().toBuffer());
  writeFileSync(target, await canvas().jpeg().toBuffer());
  const swapper = spawn(process.execPath, ["-e", SWAPPER, target, inside, link, join(outside, "race-secret.jpg")]);
  let reads = 0;
  let leaks = 0;
  const reading = Array.from({ length: 8 }, async () => {
    while (swapper.exitCode === null) {
      const image = await load(target).catch(() => undefined);
      if (image === undefined) continue;
      reads += 1;
      if (image.width === 99) leaks += 1;
    }
  });
  await Promise.all(reading);
  expect(leaks).toBe(0);
  expect(reads).toBeGreaterThan(0);
});

describe("whatever is given", () => {
  test("a path is read from inside or refused", async () => {
    const part = fc.oneof(
      fc.constantFrom(
        "..",
        ".",
        "",
        "~",
        "photo.jpg",
        "folder-out",
        "secret.jpg",
        "link-out.jpg",
        "%2e%2e",
        "file:",
        "\0",
      ),
      fc.string({ maxLength: 12 }),
    );
    const path = fc.tuple(
      fc.constantFrom(root, `${root}/`, "", "/", "~/", "file://", "C:\\"),
      fc.array(part, { maxLength: 6 }),
    );
    await fc.assert(
      fc.asyncProperty(path, async ([start, parts]) => {
        const answer = await load(start + parts.join("/")).catch((thrown: unknown) => thrown);
        if (answer instanceof CheckError) return;
        // The only ways that lead to an image of this size.
        expect(answer).toMatchObject({ width: 40 });
        expect(`${start}${parts.join("/")}`).toContain("photo.jpg");
      }),
      { numRuns: 500 },
    );
  });

  test("bytes are an image or refused, and never take long", async () => {
    const seeds = await Promise.all([
      canvas().jpeg().toBuffer(),
      canvas().png().toBuffer(),
      canvas().webp().toBuffer(),
      canvas().tiff().toBuffer(),
    ]);
    const mutated = fc
      .tuple(fc.constantFrom(...seeds), fc.array(fc.tuple(fc.nat(2000), fc.nat(255)), { maxLength: 30 }), fc.nat(3000))
      .map(([seed, changes, length]) => {
        const bytes = new Uint8Array(seed.subarray(0, Math.max(1, length)));
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        return bytes;
      });
    const noise = fc.uint8Array({ minLength: 0, maxLength: 400 }).map((bytes) => new Uint8Array(bytes));
    await fc.assert(
      fc.asyncProperty(fc.oneof(mutated, noise), async (bytes) => {
        const started = performance.now();
        const answer = await toImage(bytes, LIMITS).catch((thrown: unknown) => thrown);
        expect(performance.now() - started).toBeLessThan(2000);
        if (answer instanceof CheckError) expect(answer.code).toBe("image_rejected");
        else expect(answer).toMatchObject({ bytes });
      }),
      { numRuns: 1000 },
    );
  });
});
