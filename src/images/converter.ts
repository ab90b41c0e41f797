import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { inspect } from "node:util";
import { parentPort, workerData } from "node:worker_threads";
import { decode as decodeBmp } from "bmp-ts";
import { CheckError, undecodable } from "../errors.ts";
import { rejected, tooManyPixels } from "../file.ts";
import type { Answer, Converted, Job } from "./convert.ts";
import { loadSharp, MAX_PIXELS } from "./sharp.ts";

// A thread of its own for one picture, which ends with it: decoding does not hold up the protocol, can be cut short,
// and leaves no memory behind.

/** For decoders that hold the whole picture, several times. An iPhone's largest has 48 million. */
const MAX_WHOLE_PIXELS = 50e6;
/** As good as a camera's own. */
const JPEG_QUALITY = 95;
/** A picture that is still too large is made smaller. Each try brings it near the limit; three suffice. */
const MAX_TRIES = 6;
/** sharp decodes more than we accept, drawings and documents among it. */
const FORMATS: readonly string[] = ["jpeg", "png", "webp", "tiff", "gif", "heif"];

type Sharp = Awaited<ReturnType<typeof loadSharp>>;
type Picture = ReturnType<Sharp>;
interface Pixels {
  readonly data: Buffer;
  readonly width: number;
  readonly height: number;
  readonly channels: 3 | 4;
}

async function open(sharp: Sharp, { bytes, mime }: Job): Promise<Picture> {
  if (/^image\/hei[cf]/.test(mime)) return fromPixels(sharp, decodeHeic(bytes));
  if (mime === "image/bmp") return fromPixels(sharp, decodeBitmap(bytes));
  const picture = sharp(bytes, { failOn: "error", limitInputPixels: MAX_PIXELS });
  const { format } = await picture.metadata();
  if (!FORMATS.includes(format)) throw undecodable({ format });
  return picture.autoOrient();
}

const fromPixels = (sharp: Sharp, { data, ...raw }: Pixels) => sharp(data, { raw });

/** What is used of libheif-js, whose own types say "any" of these. */
interface Heif {
  readonly heif_error_code: { readonly heif_error_Ok: object };
  readonly heif_colorspace: { readonly heif_colorspace_RGB: object };
  readonly heif_chroma: { readonly heif_chroma_interleaved_RGB: object };
  heif_context_alloc(): object;
  heif_context_read_from_memory(context: object, bytes: Uint8Array): { readonly code: object };
  /** An error has a `code`, in both. */
  heif_js_context_get_primary_image_handle(context: object): { readonly code?: object };
  heif_js_decode_image2(handle: object, colours: object, layout: object): HeifImage | { readonly code: object };
  heif_image_handle_get_width(handle: object): number;
  heif_image_handle_get_height(handle: object): number;
}
interface HeifImage {
  readonly channels: readonly { width: number; height: number; stride: number; data: Uint8Array }[];
}

/** As displayed: libheif turns and cuts it as the file says. */
function decodeHeic(bytes: Uint8Array): Pixels {
  const folder = new URL("./libheif/", import.meta.url);
  const wasmBinary = readFileSync(new URL("libheif.wasm", folder));
  const load = createRequire(folder)("./libheif.cjs") as (options: object) => Heif;
  const heif = load({ wasmBinary });
  const context = heif.heif_context_alloc();
  const { code } = heif.heif_context_read_from_memory(context, bytes);
  if (code !== heif.heif_error_code.heif_error_Ok) throw undecodable({ code });
  const handle = heif.heif_js_context_get_primary_image_handle(context);
  if (handle.code !== undefined) throw undecodable(handle);
  const [width, height] = [heif.heif_image_handle_get_width(handle), heif.heif_image_handle_get_height(handle)];
  if (width * height > MAX_WHOLE_PIXELS) throw tooManyPixels(width, height, MAX_WHOLE_PIXELS);
  const { heif_colorspace_RGB: rgb } = heif.heif_colorspace;
  const image = heif.heif_js_decode_image2(handle, rgb, heif.heif_chroma.heif_chroma_interleaved_RGB);
  const [channel] = "channels" in image ? image.channels : [];
  if (channel === undefined) throw undecodable(image);
  return { data: withoutPadding(channel), width: channel.width, height: channel.height, channels: 3 };
}

/** Rows can end in bytes that are no pixels. */
function withoutPadding({ width, height, stride, data }: HeifImage["channels"][number]): Buffer {
  const row = width * 3;
  const pixels = Buffer.allocUnsafe(row * height);
  for (let y = 0; y < height; y += 1) pixels.set(data.subarray(y * stride, y * stride + row), y * row);
  return pixels;
}

function decodeBitmap(bytes: Uint8Array): Pixels {
  const file = Buffer.from(bytes);
  const [across, down] = [file.readUInt32LE(18), Math.abs(file.readInt32LE(22))];
  if (across * down > MAX_WHOLE_PIXELS) throw tooManyPixels(across, down, MAX_WHOLE_PIXELS);
  const { data, width, height } = decodeBmp(file, { toRGBA: true });
  // Where a pixel has four bytes, most programs write nothing into the fourth.
  for (let alpha = 3; alpha < data.length; alpha += 4) data[alpha] = 255;
  return { data, width, height, channels: 4 };
}

/** As large as the limits allow. */
async function toJpeg(sharp: Sharp, job: Job): Promise<Converted> {
  const { maxBytes, maxSide = 65_535, maxPixels = MAX_PIXELS } = job.limits;
  const picture = (await open(sharp, job)).flatten({ background: "#ffffff" }).toColourspace("srgb");
  const { data, info } = await picture.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  let scale = Math.min(1, maxSide / Math.max(width, height), Math.sqrt(maxPixels / (width * height)));
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const small = sharp(data, { raw: { width, height, channels } });
    if (scale < 1) small.resize(Math.floor(width * scale), Math.floor(height * scale), { fit: "fill" });
    const jpeg = await small.jpeg({ quality: JPEG_QUALITY }).toBuffer();
    if (jpeg.length <= maxBytes) return { bytes: new Uint8Array(jpeg), width, height };
    scale *= Math.sqrt(maxBytes / jpeg.length) * 0.97;
  }
  throw rejected("The image does not fit as a JPEG, however small.");
}

async function answer(job: Job): Promise<Answer> {
  try {
    return { converted: await toJpeg(await loadSharp(), job) };
  } catch (thrown) {
    const { code, message, next, cause } = thrown instanceof CheckError ? thrown : undecodable(thrown);
    return { failure: { code, message, next, ...(cause === undefined ? {} : { cause: inspect(cause) }) } };
  }
}

parentPort?.postMessage(await answer(workerData as Job));
