import { fileTypeFromBuffer } from "file-type";
import { imageSize } from "image-size";
import { CheckError } from "./errors.ts";
import { type Access, readFile, rejected } from "./file.ts";

/** The types that a provider can accept: display name, and file extension for uploads. */
const IMAGE_TYPES = {
  "image/jpeg": { name: "JPEG", extension: "jpg" },
  "image/png": { name: "PNG", extension: "png" },
  "image/webp": { name: "WebP", extension: "webp" },
  "image/tiff": { name: "TIFF", extension: "tiff" },
  "image/bmp": { name: "BMP", extension: "bmp" },
  "image/gif": { name: "GIF", extension: "gif" },
} as const;

export type ImageMime = keyof typeof IMAGE_TYPES;

/** What a provider accepts. */
export interface ImageLimits {
  readonly maxBytes: number;
  readonly mimes: readonly ImageMime[];
  /** Shortest and longest side, in pixels, both included. */
  readonly minSide?: number;
  readonly maxSide?: number;
  /** Width times height: what a decoder is prepared to unpack. */
  readonly maxPixels?: number;
}

declare const checked: unique symbol;
/** A file that starts like an image of an accepted type. Only this module makes one, so no other code checks again. */
export interface Image {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly mime: ImageMime;
  /** In pixels, from the header, as displayed (EXIF orientation applied). */
  readonly width: number;
  readonly height: number;
  readonly [checked]: true;
}

/** A neutral file name for uploads: the user's own may be personal. */
export function uploadName(field: string, { mime }: Pick<Image, "mime">): string {
  return `${field}.${IMAGE_TYPES[mime].extension}`;
}

/** "JPEG, PNG or WebP" */
export function namesOf(mimes: readonly ImageMime[]): string {
  const names = mimes.map((mime) => IMAGE_TYPES[mime].name);
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
}

/**
 * Reads one local image: inside `folders`, a regular file, within the limits, of an accepted type by content.
 *
 * @throws CheckError `path_refused` for a file that is outside or does not exist (the same error for both: existence
 *   must not leak), `image_rejected` for a file that is not a usable image, `invalid_input` for an invalid path,
 *   `unavailable` where the machine is out of descriptors or memory.
 */
export async function loadImage(path: string, access: Access, limits: ImageLimits): Promise<Image> {
  return toImage(await readFile(path, access, { maxBytes: limits.maxBytes, noun: "an image" }), limits);
}

/** The last check, also for bytes that did not come from a path. */
export async function toImage(bytes: Uint8Array<ArrayBuffer>, limits: ImageLimits): Promise<Image> {
  const mime = await detectType(bytes, limits.mimes);
  const { width, height } = readDimensions(bytes, mime);
  const { minSide = 1, maxSide = Number.POSITIVE_INFINITY, maxPixels = Number.POSITIVE_INFINITY } = limits;
  if (Math.min(width, height) < minSide || Math.max(width, height) > maxSide) {
    throw rejected(`The image is ${width}x${height} pixels; each side must be from ${minSide} to ${maxSide}.`);
  }
  if (width * height > maxPixels) {
    throw rejected(`The image is ${width}x${height} pixels; the limit is ${maxPixels / 1e6} million pixels.`);
  }
  return { bytes, mime, width, height } as Image;
}

const EXPORT = "Export it as JPEG.";
const EXPORT_FROM_PHONE = "Export it as JPEG (iPhone: Settings > Camera > Formats > Most Compatible).";

/** Formats that people have, and how to get an accepted image from each. */
const FOREIGN_TYPES: Readonly<Record<string, { readonly name: string; readonly next: string }>> = {
  "image/heic": { name: "HEIC", next: EXPORT_FROM_PHONE },
  "image/heic-sequence": { name: "HEIC", next: EXPORT_FROM_PHONE },
  "image/heif": { name: "HEIF", next: EXPORT_FROM_PHONE },
  "image/heif-sequence": { name: "HEIF", next: EXPORT_FROM_PHONE },
  "image/avif": { name: "AVIF", next: EXPORT },
  "image/gif": { name: "GIF", next: EXPORT },
  "image/bmp": { name: "BMP", next: EXPORT },
  "image/tiff": { name: "TIFF", next: EXPORT },
  "image/apng": { name: "an animated PNG", next: "Export one frame of it as JPEG." },
  "application/pdf": { name: "PDF", next: "Export the page with the photo as JPEG." },
  "image/svg+xml": { name: "an SVG drawing", next: "Use a photo." },
};

/**
 * Types recognised by their first bytes, as file-type does, in a hundredth of the time. What may still be another type
 * (an animated PNG, raw camera pictures, which are TIFF) is left to file-type.
 */
const SIGNATURES: readonly (readonly [mime: ImageMime, starts: RegExp, unless?: string])[] = [
  ["image/jpeg", /^\xff\xd8\xff[^\xf7]/], // JPEG-LS
  ["image/png", /^\x89PNG\r\n.\n/, "acTL"],
  ["image/webp", /^RIFF.{4}WEBP/s],
];

async function detectType(bytes: Uint8Array<ArrayBuffer>, accepted: readonly ImageMime[]): Promise<ImageMime> {
  const mime = typeOf(bytes) ?? (await askFileType(bytes));
  const match = accepted.find((type) => type === mime);
  if (match !== undefined) return match;
  const foreign = mime === undefined ? undefined : FOREIGN_TYPES[mime];
  const needed = `not ${namesOf(accepted)}`;
  if (foreign === undefined) throw rejected(`The file is ${needed}.`);
  throw new CheckError("image_rejected", `The file is ${foreign.name}, ${needed}.`, { next: foreign.next });
}

function typeOf({ buffer, byteOffset, length }: Uint8Array<ArrayBuffer>): ImageMime | undefined {
  const all = Buffer.from(buffer, byteOffset, length);
  const start = all.toString("latin1", 0, 12);
  const [mime, , unless] = SIGNATURES.find(([, starts]) => starts.test(start)) ?? [];
  return unless !== undefined && all.includes(unless) ? undefined : mime;
}

async function askFileType(bytes: Uint8Array<ArrayBuffer>): Promise<string | undefined> {
  // All of it: a TIFF may be identified by its end.
  const found = await fileTypeFromBuffer(bytes).catch(() => undefined);
  const isSvg = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 4096)).includes("<svg");
  return isSvg && (found === undefined || found.mime === "application/xml") ? "image/svg+xml" : found?.mime;
}

function readDimensions(bytes: Uint8Array<ArrayBuffer>, mime: ImageMime): { width: number; height: number } {
  const damaged = (cause?: unknown) => rejected("The image is damaged: its header does not give its size.", cause);
  try {
    const { width, height, orientation = 1, type } = imageSize(bytes);
    // What is no whole header of one type may hold the header of another further on.
    if (type !== IMAGE_TYPES[mime].extension) throw damaged({ type });
    if (!(width > 0 && height > 0)) throw damaged({ width, height });
    // EXIF orientations from 5 on lie on their side.
    return orientation >= 5 ? { width: height, height: width } : { width, height };
  } catch (cause) {
    throw damaged(cause);
  }
}
