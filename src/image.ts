import { fileTypeFromBuffer } from "file-type";
import { imageSize } from "image-size";
import { type Access, readFile, rejected } from "./file.ts";

/** The types that a provider can accept, with their names in a sentence and the extension of an upload. */
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
/** A file that starts like an image of an accepted type. Only this module makes one, so nobody downstream checks again. */
export interface Image {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly mime: ImageMime;
  /** In pixels, from the header, as displayed (EXIF orientation applied). */
  readonly width: number;
  readonly height: number;
  readonly [checked]: true;
}

/** The neutral name that an image is uploaded under: the user's own file name may be personal. */
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
 * @throws CheckError `path_refused` for whatever lies outside or does not exist (one answer for both: existence must
 *   not leak), `image_rejected` for a file that is there but is no image we can use, `invalid_input` for what is no
 *   path, `unavailable` where the machine is out of descriptors or memory.
 */
export async function loadImage(path: string, access: Access, limits: ImageLimits): Promise<Image> {
  return toImage(await readFile(path, access, { maxBytes: limits.maxBytes, noun: "an image" }), limits);
}

/** The last check, also for bytes that did not come from a path. */
export async function toImage(bytes: Uint8Array<ArrayBuffer>, limits: ImageLimits): Promise<Image> {
  const mime = await detectType(bytes, limits.mimes);
  const { width, height } = readDimensions(bytes);
  const { minSide = 1, maxSide = Number.POSITIVE_INFINITY, maxPixels = Number.POSITIVE_INFINITY } = limits;
  if (Math.min(width, height) < minSide || Math.max(width, height) > maxSide) {
    throw rejected(`The image is ${width}x${height} pixels; each side must be from ${minSide} to ${maxSide}.`);
  }
  if (width * height > maxPixels) {
    throw rejected(`The image is ${width}x${height} pixels; at most ${maxPixels / 1e6} million are unpacked.`);
  }
  return { bytes, mime, width, height } as Image;
}

/** Formats that people do have, with the way out. */
const FOREIGN_TYPES: Readonly<Record<string, string>> = {
  "image/heic": "The image is HEIC. Export it as JPEG (iPhone: Settings > Camera > Formats > Most Compatible).",
  "image/heic-sequence":
    "The image is HEIC. Export it as JPEG (iPhone: Settings > Camera > Formats > Most Compatible).",
  "image/heif": "The image is HEIF: convert it to JPEG first.",
  "image/heif-sequence": "The image is HEIF: convert it to JPEG first.",
  "image/avif": "The image is AVIF: convert it to JPEG first.",
  "image/gif": "The image is a GIF: convert it to JPEG or PNG first.",
  "image/bmp": "The image is a BMP: convert it to JPEG or PNG first.",
  "image/tiff": "The image is a TIFF: convert it to JPEG or PNG first.",
  "image/apng": "The image is an animated PNG: save one frame of it as JPEG or PNG first.",
  "application/pdf": "The file is a PDF: export the page as JPEG or PNG first.",
  "image/svg+xml": "The file is an SVG drawing, not a photo.",
};

/**
 * Types that are known by how they start, as file-type knows them, in a hundredth of its time. What may still be another
 * type (an animated PNG, raw pictures of cameras, which are TIFF) is left to it.
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
  throw rejected(`${foreign ?? "The file is not an image that is accepted."} Accepted: ${namesOf(accepted)}.`);
}

function typeOf({ buffer, byteOffset, length }: Uint8Array<ArrayBuffer>): ImageMime | undefined {
  const all = Buffer.from(buffer, byteOffset, length);
  const start = all.toString("latin1", 0, 12);
  const [mime, , unless] = SIGNATURES.find(([, starts]) => starts.test(start)) ?? [];
  return unless !== undefined && all.includes(unless) ? undefined : mime;
}

async function askFileType(bytes: Uint8Array<ArrayBuffer>): Promise<string | undefined> {
  // All of it: a TIFF may say at its end what it is.
  const found = await fileTypeFromBuffer(bytes).catch(() => undefined);
  const isSvg = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 4096)).includes("<svg");
  return isSvg && (found === undefined || found.mime === "application/xml") ? "image/svg+xml" : found?.mime;
}

function readDimensions(bytes: Uint8Array<ArrayBuffer>): { width: number; height: number } {
  const damaged = (cause?: unknown) =>
    rejected("The image is damaged: its size cannot be read from its header.", cause);
  try {
    const { width, height, orientation = 1 } = imageSize(bytes);
    if (!(width > 0 && height > 0)) throw damaged({ width, height });
    // EXIF orientations from 5 on lie on their side.
    return orientation >= 5 ? { width: height, height: width } : { width, height };
  } catch (cause) {
    throw damaged(cause);
  }
}
