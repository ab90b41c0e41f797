import { type Box, heightOf, type Raster, toPlanes, widthOf } from "./raster.ts";
import { resizeBilinear } from "./resample.ts";

const SIZE = 128;
/** How much of the surroundings the network was trained to see: the face's box, this many times. */
const SCALE = 2.7;
/** Blue first, and the values as they are. */
const NORMALISATION = { order: "bgr", mean: 0, scale: 1 } as const;

export interface LivenessCrop {
  readonly crop: Raster;
  /** How many times the box the crop shows: 2.7, or less where the picture ends before. */
  readonly scale: number;
}

/** The face with its surroundings: what betrays a print or a screen is mostly around the face. */
export function livenessCrop(raster: Raster, face: Box): LivenessCrop {
  const [width, height] = [widthOf(face), heightOf(face)];
  const scale = Math.min((raster.height - 1) / height, (raster.width - 1) / width, SCALE);
  const [left, right] = fit((face.left + face.right) / 2, width * scale, raster.width);
  const [top, bottom] = fit((face.top + face.bottom) / 2, height * scale, raster.height);
  return { crop: resizeBilinear(raster, { left, top, right, bottom }, SIZE), scale };
}

/** A span about `centre`, moved (not cut) until it lies inside 0..size, in whole pixels. */
function fit(centre: number, length: number, size: number): [from: number, to: number] {
  let from = centre - length / 2;
  let last = centre + length / 2;
  if (from < 0) [from, last] = [0, last - from];
  if (last > size - 1) [from, last] = [from - (last - size + 1), size - 1];
  const start = Math.max(0, Math.trunc(from));
  return [start, Math.max(start + 1, Math.min(size, Math.trunc(last) + 1))];
}

export function toLivenessInput(crop: Raster): Float32Array {
  return toPlanes(crop.data, NORMALISATION);
}

/** The probability 0..1 that the face is live. `logits`: live, print, screen. */
export function liveProbability(logits: Float32Array): number {
  const largest = Math.max(...logits);
  const [live = 0, ...attacks] = Array.from(logits, (logit) => Math.exp(logit - largest));
  return live / attacks.reduce((sum, attack) => sum + attack, live);
}
