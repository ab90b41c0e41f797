import { grey, type Box, heightOf, type Point, type Raster, widthOf } from "./raster.ts";

/** What stands in for the pixels outside the picture: black, or the nearest pixel of its edge. */
type Border = "black" | "edge";

/** For one axis: the source pixels that each target pixel covers, and how much of it each of them makes up. */
interface Cover {
  /** Target pixel i has the entries from starts[i] to starts[i + 1]. */
  readonly starts: Int32Array;
  readonly sources: Int32Array;
  readonly weights: Float32Array;
}

function cover(origin: number, step: number, count: number, size: number, border: Border): Cover {
  const starts = new Int32Array(count + 1);
  const sources: number[] = [];
  const weights: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const from = origin + i * step;
    const to = from + step;
    for (let pixel = Math.floor(from); pixel < to; pixel += 1) {
      const isInside = pixel >= 0 && pixel < size;
      const share = (Math.min(pixel + 1, to) - Math.max(pixel, from)) / step;
      if (share <= 0 || (!isInside && border === "black")) continue;
      sources.push(Math.min(Math.max(pixel, 0), size - 1));
      weights.push(share);
    }
    starts[i + 1] = sources.length;
  }
  return { starts, sources: Int32Array.from(sources), weights: Float32Array.from(weights) };
}

/**
 * Resizes `region` to width x height, each target pixel the mean of the area that it covers. The result is interleaved
 * like the raster, 0..255, not rounded.
 */
export function resizeByArea(
  raster: Raster,
  region: Box,
  { width, height, border }: { width: number; height: number; border: Border },
): Float32Array<ArrayBuffer> {
  const { data } = raster;
  const columns = cover(region.left, widthOf(region) / width, width, raster.width, border);
  const rows = cover(region.top, heightOf(region) / height, height, raster.height, border);
  const result = new Float32Array(width * height * 3);
  if (columns.sources.length === 0 || rows.sources.length === 0) return result;
  // Only the columns in use are summed. They are ascending, so the first and the last bound them.
  const first = columns.sources[0] ?? 0;
  const last = columns.sources.at(-1) ?? 0;
  const line = new Float32Array((last - first + 1) * 3);
  for (let y = 0; y < height; y += 1) {
    line.fill(0);
    const endOfRows = rows.starts[y + 1] ?? 0;
    for (let entry = rows.starts[y] ?? 0; entry < endOfRows; entry += 1) {
      const weight = rows.weights[entry] ?? 0;
      const from = ((rows.sources[entry] ?? 0) * raster.width + first) * 3;
      for (let i = 0; i < line.length; i += 1) line[i] = (line[i] ?? 0) + weight * (data[from + i] ?? 0);
    }
    let to = y * width * 3;
    for (let x = 0; x < width; x += 1, to += 3) {
      let red = 0;
      let green = 0;
      let blue = 0;
      const endOfColumns = columns.starts[x + 1] ?? 0;
      for (let entry = columns.starts[x] ?? 0; entry < endOfColumns; entry += 1) {
        const weight = columns.weights[entry] ?? 0;
        const from = ((columns.sources[entry] ?? 0) - first) * 3;
        red += weight * (line[from] ?? 0);
        green += weight * (line[from + 1] ?? 0);
        blue += weight * (line[from + 2] ?? 0);
      }
      result[to] = red;
      result[to + 1] = green;
      result[to + 2] = blue;
    }
  }
  return result;
}

/** Interleaved colours to brightness, 0..255. */
export function toGrey(pixels: Uint8Array | Float32Array): Float32Array<ArrayBuffer> {
  const result = new Float32Array(pixels.length / 3);
  for (let i = 0, from = 0; i < result.length; i += 1, from += 3) {
    result[i] = grey(pixels[from] ?? 0, pixels[from + 1] ?? 0, pixels[from + 2] ?? 0);
  }
  return result;
}

/** Moves, turns and scales: (x, y) becomes (a x - b y + dx, b x + a y + dy). */
export interface Similarity {
  readonly a: number;
  readonly b: number;
  readonly dx: number;
  readonly dy: number;
}

export function apply({ a, b, dx, dy }: Similarity, { x, y }: Point): Point {
  return { x: a * x - b * y + dx, y: b * x + a * y + dy };
}

/** A square of `size` pixels, each read from where `toSource` says, bilinear; what lies outside is black. */
export function warp(raster: Raster, toSource: Similarity, size: number): Raster {
  const { data, width, height } = raster;
  const { a, b, dx, dy } = toSource;
  const result = new Uint8Array(size * size * 3);
  const at = (x: number, y: number, channel: number) =>
    x < 0 || y < 0 || x >= width || y >= height ? 0 : (data[(y * width + x) * 3 + channel] ?? 0);
  let to = 0;
  for (let v = 0; v < size; v += 1) {
    for (let u = 0; u < size; u += 1) {
      const x = a * u - b * v + dx;
      const y = b * u + a * v + dy;
      const left = Math.floor(x);
      const top = Math.floor(y);
      const fx = x - left;
      const fy = y - top;
      for (let channel = 0; channel < 3; channel += 1) {
        const above = at(left, top, channel) * (1 - fx) + at(left + 1, top, channel) * fx;
        const below = at(left, top + 1, channel) * (1 - fx) + at(left + 1, top + 1, channel) * fx;
        result[to] = Math.round(above * (1 - fy) + below * fy);
        to += 1;
      }
    }
  }
  return { data: result, width: size, height: size };
}

/**
 * Resizes whole pixels of a region to a square, bilinear between the centres of pixels and without smoothing, however
 * much smaller the target is.
 */
export function resizeBilinear(raster: Raster, region: Box, size: number): Raster {
  const { data } = raster;
  const result = new Uint8Array(size * size * 3);
  const place = (target: number, from: number, length: number) => {
    const at = Math.min(Math.max((target + 0.5) * (length / size) - 0.5, 0), length - 1);
    const low = Math.floor(at);
    return { low: from + low, high: from + Math.min(low + 1, length - 1), share: at - low };
  };
  let to = 0;
  for (let v = 0; v < size; v += 1) {
    const y = place(v, region.top, heightOf(region));
    for (let u = 0; u < size; u += 1) {
      const x = place(u, region.left, widthOf(region));
      for (let channel = 0; channel < 3; channel += 1) {
        const at = (row: number, column: number) => data[(row * raster.width + column) * 3 + channel] ?? 0;
        const above = at(y.low, x.low) * (1 - x.share) + at(y.low, x.high) * x.share;
        const below = at(y.high, x.low) * (1 - x.share) + at(y.high, x.high) * x.share;
        result[to] = Math.round(above * (1 - y.share) + below * y.share);
        to += 1;
      }
    }
  }
  return { data: result, width: size, height: size };
}
