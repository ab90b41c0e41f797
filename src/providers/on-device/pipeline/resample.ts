import { type Box, grey, heightOf, type Point, type Raster, widthOf } from "./raster.ts";

/** What stands in for the pixels outside the picture: black, or the nearest pixel of its edge. */
type Border = "black" | "edge";

/** For one axis: which source pixels each target pixel covers, from the first to the last, and how much of it they make up. */
interface Cover {
  readonly first: Int32Array;
  readonly last: Int32Array;
  readonly firstWeight: Float32Array;
  /** 0 where the first is the last. */
  readonly lastWeight: Float32Array;
  /** Of each pixel between the first and the last. */
  readonly innerWeight: number;
}

function cover(origin: number, step: number, count: number, size: number, border: Border): Cover {
  const first = new Int32Array(count);
  const last = new Int32Array(count);
  const firstWeight = new Float32Array(count);
  const lastWeight = new Float32Array(count);
  for (let i = 0; i < count; i += 1) {
    // Pixels outside are either left out or counted to the edge, which the clamped ends do.
    const from = origin + i * step;
    const to = from + step;
    const low = Math.min(Math.max(Math.floor(from), 0), size - 1);
    const high = Math.min(Math.max(Math.ceil(to) - 1, low), size - 1);
    const start = border === "edge" ? from : Math.max(from, 0);
    const end = border === "edge" ? to : Math.min(to, size);
    first[i] = low;
    last[i] = high;
    if (low === high) firstWeight[i] = Math.max(0, end - start) / step;
    else {
      firstWeight[i] = (low + 1 - start) / step;
      lastWeight[i] = (end - high) / step;
    }
  }
  return { first, last, firstWeight, lastWeight, innerWeight: 1 / step };
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
  const line = new Float32Array(width * 3);
  // A source row that two target rows share is summed up once.
  let summedRow = -1;
  for (let y = 0; y < height; y += 1) {
    const target = y * width * 3;
    const first = rows.first[y] ?? 0;
    const last = rows.last[y] ?? 0;
    for (let row = first; row <= last; row += 1) {
      if (row !== summedRow) sumRow(data, row * raster.width * 3, columns, line);
      summedRow = row;
      const weight = weightOf(rows, y, row);
      for (let i = 0; i < line.length; i += 1) result[target + i] = (result[target + i] ?? 0) + weight * (line[i] ?? 0);
    }
  }
  return result;
}

function weightOf(
  { first, last, firstWeight, lastWeight, innerWeight }: Cover,
  target: number,
  source: number,
): number {
  if (source === first[target]) return firstWeight[target] ?? 0;
  return source === last[target] ? (lastWeight[target] ?? 0) : innerWeight;
}

/** The inner loop of every check: it touches each pixel of the picture once. */
function sumRow(data: Uint8Array, start: number, columns: Cover, line: Float32Array): void {
  const { first, last, firstWeight, lastWeight, innerWeight } = columns;
  for (let x = 0, to = 0; to < line.length; x += 1, to += 3) {
    const low = start + (first[x] ?? 0) * 3;
    const high = start + (last[x] ?? 0) * 3;
    // Whole pixels are added up as integers and weighted once.
    let red = 0;
    let green = 0;
    let blue = 0;
    for (let at = low + 3; at < high; at += 3) {
      red += data[at] ?? 0;
      green += data[at + 1] ?? 0;
      blue += data[at + 2] ?? 0;
    }
    const before = firstWeight[x] ?? 0;
    const after = lastWeight[x] ?? 0;
    line[to] = red * innerWeight + (data[low] ?? 0) * before + (data[high] ?? 0) * after;
    line[to + 1] = green * innerWeight + (data[low + 1] ?? 0) * before + (data[high + 1] ?? 0) * after;
    line[to + 2] = blue * innerWeight + (data[low + 2] ?? 0) * before + (data[high + 2] ?? 0) * after;
  }
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
  const { data, width } = raster;
  const result = new Uint8Array(size * size * 3);
  const columns = places(region.left, widthOf(region), size);
  const rows = places(region.top, heightOf(region), size);
  let to = 0;
  for (const y of rows) {
    for (const x of columns) {
      const topLeft = (y.low * width + x.low) * 3;
      const topRight = (y.low * width + x.high) * 3;
      const bottomLeft = (y.high * width + x.low) * 3;
      const bottomRight = (y.high * width + x.high) * 3;
      for (let channel = 0; channel < 3; channel += 1) {
        const above = (data[topLeft + channel] ?? 0) * (1 - x.share) + (data[topRight + channel] ?? 0) * x.share;
        const below = (data[bottomLeft + channel] ?? 0) * (1 - x.share) + (data[bottomRight + channel] ?? 0) * x.share;
        result[to] = Math.round(above * (1 - y.share) + below * y.share);
        to += 1;
      }
    }
  }
  return { data: result, width: size, height: size };
}

/** For one axis: between which two source pixels the centre of each target pixel lies, and how near the second. */
function places(from: number, length: number, count: number): { low: number; high: number; share: number }[] {
  return Array.from({ length: count }, (_, target) => {
    const at = Math.min(Math.max((target + 0.5) * (length / count) - 0.5, 0), length - 1);
    const low = Math.floor(at);
    return { low: from + low, high: from + Math.min(low + 1, length - 1), share: at - low };
  });
}

/**
 * Resizes whole pixels of a square, which may reach outside the picture, to `size`: smaller by area, larger by Lanczos
 * (8 pixels), as OpenCV does. Outside, the picture is mirrored at its outermost pixels; where it is too small for that,
 * they are repeated.
 */
export function resizeReflected(raster: Raster, square: Box, size: number): Raster {
  const side = widthOf(square);
  const columns = reflected(square.left, side, raster.width);
  const rows = reflected(square.top, side, raster.height);
  const data = new Uint8Array(side * side * 3);
  let to = 0;
  for (const row of rows) {
    for (const column of columns) {
      const from = (row * raster.width + column) * 3;
      for (let channel = 0; channel < 3; channel += 1, to += 1) data[to] = raster.data[from + channel] ?? 0;
    }
  }
  const padded = { data, width: side, height: side };
  const whole = { left: 0, top: 0, right: side, bottom: side };
  const resized =
    size <= side ? resizeByArea(padded, whole, { width: size, height: size, border: "edge" }) : enlarge(padded, size);
  return {
    data: Uint8Array.from(resized, (value) => Math.min(255, Math.max(0, Math.round(value)))),
    width: size,
    height: size,
  };
}

/** For one axis: the pixel of the picture that each pixel of a span shows. */
function reflected(from: number, length: number, size: number): number[] {
  const places = Array.from({ length }, (_, i) => from + i);
  const mirrored = places.map((at) => (at < 0 ? -at : at >= size ? 2 * (size - 1) - at : at));
  const [first, last] = [Math.max(0, from), Math.min(size, from + length) - 1];
  const isEnough = mirrored.every((at) => at >= first && at <= last);
  return isEnough ? mirrored : places.map((at) => Math.min(size - 1, Math.max(0, at)));
}

/** Half the width of the Lanczos kernel. */
const LOBES = 4;

/** A square to a larger one, by a windowed sinc along each axis; beyond the edge the outermost pixel is repeated. */
function enlarge({ data, width: side }: Raster, size: number): Float32Array {
  const taps = Array.from({ length: size }, (_, target) => {
    const at = (target + 0.5) * (side / size) - 0.5;
    const low = Math.floor(at);
    const near = Array.from({ length: 2 * LOBES }, (_tap, i) => low - LOBES + 1 + i);
    const weights = near.map((place) => lanczos(at - place));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return near.map((place, i) => ({
      place: Math.min(side - 1, Math.max(0, place)),
      weight: (weights[i] ?? 0) / sum,
    }));
  });
  const wide = new Float32Array(size * side * 3);
  const result = new Float32Array(size * size * 3);
  for (let y = 0; y < side; y += 1) {
    for (const [x, near] of taps.entries()) {
      for (let channel = 0; channel < 3; channel += 1) {
        wide[(y * size + x) * 3 + channel] = near.reduce(
          (sum, { place, weight }) => sum + weight * (data[(y * side + place) * 3 + channel] ?? 0),
          0,
        );
      }
    }
  }
  for (const [y, near] of taps.entries()) {
    for (let x = 0; x < size * 3; x += 1) {
      result[y * size * 3 + x] = near.reduce(
        (sum, { place, weight }) => sum + weight * (wide[place * size * 3 + x] ?? 0),
        0,
      );
    }
  }
  return result;
}

function lanczos(distance: number): number {
  if (distance === 0) return 1;
  if (Math.abs(distance) >= LOBES) return 0;
  const angle = Math.PI * distance;
  return (LOBES * Math.sin(angle) * Math.sin(angle / LOBES)) / (angle * angle);
}
