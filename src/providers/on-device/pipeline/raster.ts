/** A picture in memory: red, green and blue interleaved, 8 bits each, rows without padding. */
export interface Raster {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** In pixels; the right and the bottom edge no longer belong to it. May be fractional, and reach outside the picture. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

export const widthOf = (box: Box) => box.right - box.left;
export const heightOf = (box: Box) => box.bottom - box.top;
export const areaOf = (box: Box) => Math.max(0, widthOf(box)) * Math.max(0, heightOf(box));

/** A quarter turn is 90 degrees, clockwise. */
export type Angle = 0 | 90 | 180 | 270;
export const ANGLES: readonly Angle[] = [0, 90, 180, 270];

export function turn(raster: Raster, angle: Angle): Raster {
  if (angle === 0) return raster;
  const { data, width, height } = raster;
  const isUpended = angle !== 180;
  const [turnedWidth, turnedHeight] = isUpended ? [height, width] : [width, height];
  const turned = new Uint8Array(data.length);
  // Where the first pixel comes from, and how far apart in the source two neighbours of a row and of a column are.
  const [first, right, down] = {
    90: [(height - 1) * width, -width, 1],
    180: [width * height - 1, -1, -width],
    270: [width - 1, width, -1],
  }[angle] as [number, number, number];
  let to = 0;
  for (let y = 0; y < turnedHeight; y += 1) {
    for (let x = 0; x < turnedWidth; x += 1) {
      const from = (first + x * right + y * down) * 3;
      turned[to] = data[from] ?? 0;
      turned[to + 1] = data[from + 1] ?? 0;
      turned[to + 2] = data[from + 2] ?? 0;
      to += 3;
    }
  }
  return { data: turned, width: turnedWidth, height: turnedHeight };
}

/** Where a box of the turned picture lies in the picture before the turn, whose size is given. */
export function turnBack(box: Box, angle: Angle, { width, height }: Pick<Raster, "width" | "height">): Box {
  const { left, top, right, bottom } = box;
  if (angle === 90) return { left: top, top: height - right, right: bottom, bottom: height - left };
  if (angle === 180) return { left: width - right, top: height - bottom, right: width - left, bottom: height - top };
  if (angle === 270) return { left: width - bottom, top: left, right: width - top, bottom: right };
  return box;
}

/** The part of a picture that a box of whole pixels shows. */
export function cut({ data, width }: Raster, { left, top, right, bottom }: Box): Raster {
  const part = new Uint8Array((right - left) * (bottom - top) * 3);
  for (let y = top; y < bottom; y += 1) {
    const row = data.subarray((y * width + left) * 3, (y * width + right) * 3);
    part.set(row, (y - top) * row.length);
  }
  return { data: part, width: right - left, height: bottom - top };
}

export function mirror({ data, width, height }: Raster): Raster {
  const mirrored = new Uint8Array(data.length);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const from = (y * width + x) * 3;
      const to = (y * width + width - 1 - x) * 3;
      for (let channel = 0; channel < 3; channel += 1) mirrored[to + channel] = data[from + channel] ?? 0;
    }
  }
  return { data: mirrored, width, height };
}

/** Brightness as the eye weighs the colours (ITU-R BT.601), 0..255. */
export const grey = (red: number, green: number, blue: number) => 0.299 * red + 0.587 * green + 0.114 * blue;

/** Of red, green and blue. */
type PerChannel = readonly [number, number, number];

interface Normalisation {
  readonly order: "rgb" | "bgr";
  readonly mean: PerChannel;
  readonly scale: PerChannel;
}

/** Interleaved colours to one plane per colour, as the networks read them, each (value - mean) / scale. */
export function toPlanes(
  pixels: Uint8Array | Float32Array,
  { order, mean, scale }: Normalisation,
): Float32Array<ArrayBuffer> {
  const size = pixels.length / 3;
  const planes = new Float32Array(pixels.length);
  const [red, green, blue] = order === "rgb" ? [0, size, 2 * size] : [2 * size, size, 0];
  const [redMean, greenMean, blueMean] = mean;
  const [redScale, greenScale, blueScale] = scale;
  for (let i = 0, from = 0; i < size; i += 1, from += 3) {
    planes[red + i] = ((pixels[from] ?? 0) - redMean) / redScale;
    planes[green + i] = ((pixels[from + 1] ?? 0) - greenMean) / greenScale;
    planes[blue + i] = ((pixels[from + 2] ?? 0) - blueMean) / blueScale;
  }
  return planes;
}
