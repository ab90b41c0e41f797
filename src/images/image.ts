import { createHash } from "node:crypto";
import { fileTypeFromBuffer } from "file-type";
import { imageSize } from "image-size";
import { CheckError, undecodable } from "../errors.ts";
import { type Access, bytesToRead, readFile, rejected, tooLarge, tooManyPixels } from "../file.ts";
import type { atMost } from "../turns.ts";

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
  /** Leave out what a camera wrote into the file, but for orientation and colours. */
  readonly stripMetadata?: boolean | undefined;
  /** Make a JPEG of a file that does not fit. Left out: the caller cannot ask for it. */
  readonly convert?: boolean | undefined;
  /** Ends a conversion. */
  readonly signal?: AbortSignal | undefined;
  /** Begins a conversion when there is room for it. Left out: at once. */
  readonly inTurn?: ReturnType<typeof atMost>;
}

declare const checked: unique symbol;
/** A file that starts like an image of an accepted type. Only this module makes one, so no other code checks again. */
export interface Image {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly mime: ImageMime;
  /** In pixels, from the header, as displayed (EXIF orientation applied). */
  readonly width: number;
  readonly height: number;
  /** Left out: these are the bytes of the file. */
  readonly prepared?: Prepared;
  readonly [checked]: true;
}

/** What was done to a file before the check. */
export interface Prepared {
  /** Continues "The selfie was ...". */
  readonly how: string;
  readonly isReencoded: boolean;
  /** Of the file as it was read, in hexadecimal. */
  readonly sha256: string;
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
  const reading = { maxBytes: bytesToRead(limits), noun: "an image", next: nextIfTooLarge(limits) };
  return toImage(await readFile(path, access, reading), limits);
}

/** Also for bytes that did not come from a path. What does not fit is converted, where that was asked for. */
export async function toImage(bytes: Uint8Array<ArrayBuffer>, limits: ImageLimits): Promise<Image> {
  const type = typeOf(bytes) ?? (await askFileType(bytes));
  const found = attempt(() => fit(bytes, type, limits));
  if (found instanceof CheckError) {
    if (limits.convert !== true || !isPhoto(type)) throw found;
    return toJpeg(bytes, type, limits);
  }
  if (limits.stripMetadata !== true) return found;
  const { withoutMetadata } = await import("./metadata.ts");
  const bare = attempt(() => withoutMetadata(found.mime, bytes));
  if (bare instanceof CheckError) throw bare;
  if (bare === undefined) return toJpeg(bytes, found.mime, limits);
  if (Buffer.compare(bare, bytes) === 0) return found;
  return { ...fit(bare, found.mime, limits), prepared: preparedFrom(bytes, false, "stripped of its metadata") };
}

async function toJpeg(bytes: Uint8Array<ArrayBuffer>, mime: PhotoMime, limits: ImageLimits): Promise<Image> {
  const { maxBytes, maxSide, maxPixels, signal, inTurn = (work) => work() } = limits;
  const { convert } = await import("./convert.ts");
  const job = { bytes, mime, limits: { maxBytes, maxSide, maxPixels } };
  const made = await inTurn(() => convert(job, { signal }), signal);
  const image = fit(made.bytes, "image/jpeg", limits);
  const [before, after] = [made, image].map(({ width, height }) => `${width}x${height}`);
  const size = before === after ? "" : `, and reduced from ${before} to ${after} pixels`;
  const how = `converted from ${nameOf(mime)} to JPEG without its metadata${size}`;
  return { ...image, prepared: preparedFrom(bytes, true, how) };
}

const preparedFrom = (bytes: Uint8Array, isReencoded: boolean, how: string): Prepared => ({
  how,
  isReencoded,
  sha256: createHash("sha256").update(bytes).digest("hex"),
});

/** What `work` gives, or why the image is rejected. */
function attempt<T>(work: () => T): T | CheckError {
  try {
    return work();
  } catch (thrown) {
    return thrown instanceof CheckError ? thrown : undecodable(thrown);
  }
}

function fit(bytes: Uint8Array<ArrayBuffer>, type: string | undefined, limits: ImageLimits): Image {
  const mime = acceptedType(type, limits);
  const { minSide = 1, maxSide = Number.POSITIVE_INFINITY, maxPixels = Number.POSITIVE_INFINITY } = limits;
  const next = nextIfTooLarge(limits);
  if (bytes.length > limits.maxBytes) throw rejected(tooLarge(bytes.length, limits.maxBytes), undefined, next);
  const { width, height } = readDimensions(bytes, mime);
  if (Math.min(width, height) < minSide || Math.max(width, height) > maxSide) {
    const why = `The image is ${width}x${height} pixels; each side must be from ${minSide} to ${maxSide}.`;
    throw rejected(why, undefined, Math.min(width, height) < minSide ? undefined : next);
  }
  if (width * height > maxPixels) throw tooManyPixels(width, height, maxPixels);
  return { bytes, mime, width, height } as Image;
}

/** undefined: the failure's own. */
export const nextIfTooLarge = (limits: ImageLimits) =>
  limits.convert === false ? nextStep("export a smaller JPEG", limits) : undefined;

function nextStep(alternative: string, { convert }: ImageLimits): string {
  const start = alternative.slice(0, 1);
  if (convert === false) return `Retry with convert: true, or ${alternative}.`;
  return `${start.toUpperCase()}${alternative.slice(1)}.`;
}

const EXPORT = "export it as JPEG";
const EXPORT_FROM_PHONE = "export it as JPEG (iPhone: Settings > Camera > Formats > Most Compatible)";

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
  "image/webp": { name: "WebP", next: EXPORT },
  "image/apng": { name: "an animated PNG", next: "export one frame of it as JPEG" },
  "application/pdf": { name: "PDF", next: "export the page with the photo as JPEG" },
  "image/svg+xml": { name: "an SVG drawing", next: "use a photo" },
};

/** What can be converted. Drawings and documents cannot. */
const isPhoto = (type: string | undefined): type is PhotoMime =>
  type !== undefined && (Object.hasOwn(IMAGE_TYPES, type) || /^image\/(apng|avif|hei[cf](-sequence)?)$/.test(type));
type PhotoMime = `image/${string}`;

const nameOf = (type: PhotoMime) =>
  IMAGE_TYPES[type as ImageMime]?.name ?? FOREIGN_TYPES[type]?.name ?? "another format";

/**
 * Types recognised by their first bytes, as file-type does, in a hundredth of the time. What may still be another type
 * (an animated PNG, raw camera pictures, which are TIFF) is left to file-type.
 */
const SIGNATURES: readonly (readonly [mime: ImageMime, starts: RegExp, unless?: string])[] = [
  ["image/jpeg", /^\xff\xd8\xff[^\xf7]/], // JPEG-LS
  ["image/png", /^\x89PNG\r\n.\n/, "acTL"],
  ["image/webp", /^RIFF.{4}WEBP/s],
];

function acceptedType(type: string | undefined, limits: ImageLimits): ImageMime {
  const match = limits.mimes.find((mime) => mime === type);
  if (match !== undefined) return match;
  const foreign = type === undefined ? undefined : FOREIGN_TYPES[type];
  const needed = `not ${namesOf(limits.mimes)}`;
  if (foreign === undefined) throw rejected(`The file is ${needed}.`);
  const next = nextStep(foreign.next, isPhoto(type) ? limits : { ...limits, convert: undefined });
  throw new CheckError("image_rejected", `The file is ${foreign.name}, ${needed}.`, { next });
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
