import { CheckError, undecodable } from "../../../errors.ts";
import { loadSharp, MAX_PIXELS } from "../../../images/sharp.ts";
import type { Raster } from "./raster.ts";

/** Faces are searched for and measured in pictures of at most this many pixels a side; larger ones gain nothing. */
const MAX_SIDE = 1600;
/** sharp decodes more than we accept, drawings and documents among it. */
const FORMATS: readonly string[] = ["jpeg", "png", "webp", "tiff"];

export interface Decoded {
  readonly raster: Raster;
  /** The image as displayed, before it was made to fit. */
  readonly width: number;
  readonly height: number;
}

/**
 * An image file as it is displayed: upright by its EXIF orientation, without transparency (on white), in sRGB, at most
 * 1600 pixels a side.
 *
 * @throws CheckError `image_rejected` where the file is damaged, incomplete or too large.
 */
export async function decode(bytes: Uint8Array): Promise<Decoded> {
  const sharp = await loadSharp();
  try {
    const picture = sharp(bytes, { failOn: "error", limitInputPixels: MAX_PIXELS });
    const { format, autoOrient, hasAlpha } = await picture.metadata();
    if (!FORMATS.includes(format)) throw undecodable({ format });
    picture.autoOrient().resize(MAX_SIDE, MAX_SIDE, { fit: "inside", withoutEnlargement: true });
    // Only where there is something to flatten: both take time even where there is not.
    if (hasAlpha) picture.flatten({ background: "#ffffff" }).removeAlpha();
    const { data, info } = await picture
      .toColourspace("srgb")
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    const raster = { data: toRgb(data, info.channels), width: info.width, height: info.height };
    return { raster, width: autoOrient.width, height: autoOrient.height };
  } catch (thrown) {
    throw thrown instanceof CheckError ? thrown : undecodable(thrown);
  }
}

/** A small JPEG of an image file, upright and without its metadata. @throws CheckError `image_rejected` */
export async function thumbnail(bytes: Uint8Array, maxSide: number): Promise<Uint8Array> {
  const sharp = await loadSharp();
  const picture = sharp(bytes, { failOn: "error", limitInputPixels: MAX_PIXELS }).autoOrient();
  const small = picture.resize(maxSide, maxSide, { fit: "inside", withoutEnlargement: true });
  return small
    .flatten({ background: "#ffffff" })
    .jpeg({ quality: 75 })
    .toBuffer()
    .catch((thrown: unknown) => {
      throw undecodable(thrown);
    });
}

function toRgb(data: Uint8Array, channels: number): Uint8Array {
  if (channels === 3) return data;
  const pixels = data.length / channels;
  const rgb = new Uint8Array(pixels * 3);
  for (let i = 0; i < pixels; i += 1) rgb.fill(data[i * channels] ?? 0, i * 3, i * 3 + 3);
  return rgb;
}
