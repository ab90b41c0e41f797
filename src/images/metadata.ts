import { crc32 } from "node:zlib";

/** What a reader needs beside the pixels: 1 is upright. */
const UPRIGHT = 1;
const ORIENTATION_TAG = 0x0112;

/** The containers of whose parts some can be left out without a change to any pixel. */
const CONTAINERS: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
  "image/jpeg": bareJpeg,
  "image/png": barePng,
  "image/webp": bareWebp,
  "image/bmp": (bytes) => bytes, // has none
};

/**
 * The same picture without what a camera, a phone or a program wrote into the file, and without what follows the
 * picture. Orientation and colour profile stay. No pixel is encoded anew.
 *
 * @returns undefined where that takes a new file.
 * @throws RangeError where the file ends too soon or is not built as its type should be.
 */
export function withoutMetadata(mime: string, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | undefined {
  const bare = CONTAINERS[mime]?.(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  return bare && new Uint8Array(bare);
}

const SCAN = 0xda;
const END = 0xd9;
const EXIF = "Exif\0\0";

/** Application segments that say how the pixels are to be read. A JFIF header can hold a small picture. */
const isForPixels = (marker: number, data: Buffer) =>
  (marker === 0xe0 && data.length === 14 && startsWith(data, "JFIF\0")) ||
  (marker === 0xe2 && startsWith(data, "ICC_PROFILE\0")) ||
  (marker === 0xee && startsWith(data, "Adobe"));

function bareJpeg(bytes: Buffer): Buffer {
  const kept: Buffer[] = [];
  let orientation = UPRIGHT;
  let at = 2;
  for (;;) {
    while (bytes[at + 1] === 0xff) at += 1; // padding
    const marker = bytes[at + 1];
    if (marker === undefined) break; // cut off in a scan, which decoders show as far as it goes
    if (bytes[at] !== 0xff) throw new RangeError("no marker");
    if (marker === END) {
      kept.push(bytes.subarray(at, at + 2));
      break;
    }
    const end = at + 2 + bytes.readUInt16BE(at + 2);
    if (end > bytes.length || end < at + 4) throw new RangeError("a segment is cut off");
    const data = bytes.subarray(at + 4, end);
    if ((marker >= 0xc0 && marker < 0xe0) || isForPixels(marker, data)) kept.push(bytes.subarray(at, end));
    if (marker === 0xe1 && startsWith(data, EXIF)) orientation = orientationOf(data.subarray(EXIF.length));
    at = end;
    if (marker === SCAN) {
      at = endOfScan(bytes, at);
      kept.push(bytes.subarray(end, at));
    }
  }
  const payload = Buffer.concat([Buffer.from(EXIF), exifOf(orientation)]);
  const exif = Buffer.from([0xff, 0xe1, 0, payload.length + 2]);
  return Buffer.concat([bytes.subarray(0, 2), ...(orientation === UPRIGHT ? [] : [exif, payload]), ...kept]);
}

/** Where the next marker is that is neither a restart nor a byte of the scan. */
function endOfScan(bytes: Buffer, start: number): number {
  for (let at = start; ; at += 2) {
    at = bytes.indexOf(0xff, at);
    if (at < 0) return bytes.length;
    const next = bytes[at + 1] ?? 0;
    if (next === 0xff) at -= 1;
    else if (next !== 0 && (next < 0xd0 || next > 0xd7)) return at;
  }
}

const PNG_CHUNKS = "IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP cICP sBIT mDCV cLLI".split(" ");
const PNG_HEADER_BYTES = 8;

function barePng(bytes: Buffer): Buffer {
  const kept: Buffer[] = [bytes.subarray(0, PNG_HEADER_BYTES)];
  for (let at = PNG_HEADER_BYTES; ; ) {
    const end = at + 12 + bytes.readUInt32BE(at);
    const type = bytes.toString("latin1", at + 4, at + 8);
    if (end > bytes.length) throw new RangeError("a chunk is cut off");
    if (PNG_CHUNKS.includes(type)) kept.push(bytes.subarray(at, end));
    if (type === "eXIf") kept.push(pngChunk(type, exifOf(orientationOf(bytes.subarray(at + 8, end - 4)))));
    if (type === "IEND") return Buffer.concat(kept);
    at = end;
  }
}

function pngChunk(type: string, data: Buffer): Buffer {
  const chunk = Buffer.concat([Buffer.alloc(4), Buffer.from(type), data, Buffer.alloc(4)]);
  chunk.writeUInt32BE(data.length);
  chunk.writeUInt32BE(crc32(chunk.subarray(4, -4)), chunk.length - 4);
  return chunk;
}

const WEBP_CHUNKS = ["VP8 ", "VP8L", "VP8X", "ALPH", "ICCP", "ANIM", "ANMF"];
const WEBP_HEADER_BYTES = 12;
const XMP_FLAG = 0x04;

function bareWebp(bytes: Buffer): Buffer {
  const kept: Buffer[] = [bytes.subarray(0, WEBP_HEADER_BYTES)];
  const over = Math.min(bytes.length, 8 + bytes.readUInt32LE(4));
  for (let at = WEBP_HEADER_BYTES; at + 8 <= over; ) {
    const length = bytes.readUInt32LE(at + 4);
    const end = at + 8 + length + (length % 2);
    if (end > bytes.length) throw new RangeError("a chunk is cut off");
    const type = bytes.toString("latin1", at, at + 4);
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (WEBP_CHUNKS.includes(type)) {
      const chunk = Buffer.from(bytes.subarray(at, end));
      if (type === "VP8X") chunk.writeUInt8(chunk.readUInt8(8) & ~XMP_FLAG, 8);
      kept.push(chunk);
    }
    if (type === "EXIF") {
      const exif = exifOf(orientationOf(startsWith(data, EXIF) ? data.subarray(EXIF.length) : data));
      const header = Buffer.from("EXIF\0\0\0\0");
      header.writeUInt32LE(exif.length, 4);
      kept.push(header, exif);
    }
    at = end;
  }
  const bare = Buffer.concat(kept);
  bare.writeUInt32LE(bare.length - 8, 4);
  return bare;
}

const startsWith = (data: Buffer, start: string) => data.toString("latin1", 0, start.length) === start;

/** From an EXIF block without its prefix, which is a small TIFF file. What cannot be read counts as upright. */
function orientationOf(exif: Buffer): number {
  try {
    const isLittle = startsWith(exif, "II");
    const short = (at: number) => (isLittle ? exif.readUInt16LE(at) : exif.readUInt16BE(at));
    const directory = isLittle ? exif.readUInt32LE(4) : exif.readUInt32BE(4);
    for (let i = 0; i < short(directory); i += 1) {
      const entry = directory + 2 + 12 * i;
      const value = short(entry + 8);
      if (short(entry) === ORIENTATION_TAG) return value >= 1 && value <= 8 ? value : UPRIGHT;
    }
  } catch {
    // It ends too soon.
  }
  return UPRIGHT;
}

/** An EXIF block that says nothing else. Of even length, as WebP wants it. */
function exifOf(orientation: number): Buffer {
  const exif = Buffer.alloc(26);
  exif.write("II*\0", "latin1");
  exif.writeUInt32LE(8, 4);
  exif.writeUInt16LE(1, 8);
  exif.writeUInt16LE(ORIENTATION_TAG, 10);
  exif.writeUInt16LE(3, 12); // a short
  exif.writeUInt32LE(1, 14);
  exif.writeUInt16LE(orientation, 18);
  return exif;
}
