import { type Box, grey, type Raster } from "./raster.ts";
import { toGrey } from "./resample.ts";

export interface Light {
  /** Mean brightness of the face, 0..100. */
  readonly luminance: number;
  /** Mean distance between the strongest and the weakest colour, 0..100: 0 is a picture in shades of grey. */
  readonly colour: number;
}

export function lightOf({ data, width, height }: Raster, face: Box): Light {
  const left = Math.max(0, Math.floor(face.left));
  const right = Math.min(width, Math.ceil(face.right));
  const top = Math.max(0, Math.floor(face.top));
  const bottom = Math.min(height, Math.ceil(face.bottom));
  let brightness = 0;
  let colour = 0;
  for (let y = top; y < bottom; y += 1) {
    for (let x = left, at = (y * width + left) * 3; x < right; x += 1, at += 3) {
      const red = data[at] ?? 0;
      const green = data[at + 1] ?? 0;
      const blue = data[at + 2] ?? 0;
      brightness += grey(red, green, blue);
      colour += Math.max(red, green, blue) - Math.min(red, green, blue);
    }
  }
  const toPercent = 100 / 255 / Math.max(1, (right - left) * (bottom - top));
  return { luminance: brightness * toPercent, colour: colour * toPercent };
}

/**
 * How sharp a picture is: the variance of its Laplacian (the difference of each pixel to its four neighbours), on
 * brightness 0..255. Taken of the aligned face, it does not depend on how large the face was in the photo, as long as
 * it was not smaller than the crop.
 */
export function sharpnessOf(picture: Raster): number {
  const { width, height } = picture;
  const light = toGrey(picture.data);
  let sum = 0;
  let squares = 0;
  for (let y = 1; y < height - 1; y += 1) {
    for (let x = 1; x < width - 1; x += 1) {
      const at = y * width + x;
      const neighbours =
        (light[at - 1] ?? 0) + (light[at + 1] ?? 0) + (light[at - width] ?? 0) + (light[at + width] ?? 0);
      const difference = neighbours - 4 * (light[at] ?? 0);
      sum += difference;
      squares += difference * difference;
    }
  }
  const count = Math.max(1, (width - 2) * (height - 2));
  return squares / count - (sum / count) ** 2;
}
