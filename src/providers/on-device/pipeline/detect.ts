import { areaOf, type Box, heightOf, type Raster, toPlanes } from "./raster.ts";
import { resizeByArea } from "./resample.ts";

// Ultra-Light-Fast-Generic-Face-Detector, the 320x240 version: its input size, its normalisation.
const WIDTH = 320;
const HEIGHT = 240;
const NORMALISATION = { order: "rgb", mean: 127, scale: 128 } as const;

/** From this probability on a candidate is a face. */
const MIN_CONFIDENCE = 0.65;
/** Two candidates that share more of their union than this are the same face. */
const MAX_OVERLAP = 0.3;
/** A face that fills the picture is found once there is something around it: added on each side, as a share of it. */
export const MARGIN = 0.3;

/** So many of what may be faces are measured until one is; in a texture the detector sees dozens. */
export const MAX_CANDIDATES = 8;

export interface Face {
  readonly box: Box;
  /** 0..1, of the detector. */
  readonly confidence: number;
}

/** The part of the picture that the detector's input shows, from its top-left corner on. */
export interface Frame {
  readonly left: number;
  readonly top: number;
  /** Pixels of the picture to one of the input. */
  readonly scale: number;
}

/** How large a part of the picture is looked at by itself, as a share of its sides: one in each corner, overlapping. */
const PART = 0.6;

/** Where the whole picture at once was too small for the detector to find a face: its four overlapping parts. */
export function partsOf({ width, height }: Pick<Raster, "width" | "height">): Box[] {
  const [w, h] = [Math.ceil(PART * width), Math.ceil(PART * height)];
  return [0, height - h].flatMap((top) =>
    [0, width - w].map((left) => ({ left, top, right: left + w, bottom: top + h })),
  );
}

/** The whole picture with `margin` around it, its proportions kept. */
export function frameOf({ width, height }: Pick<Raster, "width" | "height">, margin: number): Frame {
  const whole = 1 + 2 * margin;
  return {
    left: -margin * width,
    top: -margin * height,
    scale: Math.max((whole * width) / WIDTH, (whole * height) / HEIGHT),
  };
}

/** What lies outside the picture is black. */
export function toDetectorInput(raster: Raster, { left, top, scale }: Frame): Float32Array {
  const region = { left, top, right: left + WIDTH * scale, bottom: top + HEIGHT * scale };
  return toPlanes(resizeByArea(raster, region, { width: WIDTH, height: HEIGHT, border: "black" }), NORMALISATION);
}

/**
 * The faces among the detector's candidates, largest first, in pixels of the picture.
 *
 * @param scores per candidate: background, face (probabilities)
 * @param boxes per candidate: x1 y1 x2 y2, 0..1 of the input
 */
export function facesIn(scores: Float32Array, boxes: Float32Array, { left, top, scale }: Frame): Face[] {
  const candidates: Face[] = [];
  for (let i = 0; i < scores.length / 2; i += 1) {
    const confidence = scores[2 * i + 1] ?? 0;
    if (confidence < MIN_CONFIDENCE) continue;
    const box = {
      left: left + (boxes[4 * i] ?? 0) * WIDTH * scale,
      top: top + (boxes[4 * i + 1] ?? 0) * HEIGHT * scale,
      right: left + (boxes[4 * i + 2] ?? 0) * WIDTH * scale,
      bottom: top + (boxes[4 * i + 3] ?? 0) * HEIGHT * scale,
    };
    if (areaOf(box) > 0) candidates.push({ box, confidence });
  }
  return largestFirst(suppress(candidates));
}

export const largestFirst = (faces: readonly Face[]) => faces.toSorted((a, b) => areaOf(b.box) - areaOf(a.box));

/** Non-maximum suppression: of the candidates for one face the surest stays. */
export function suppress(candidates: readonly Face[]): Face[] {
  const kept: Face[] = [];
  for (const candidate of candidates.toSorted((a, b) => b.confidence - a.confidence)) {
    if (kept.every(({ box }) => overlap(box, candidate.box) <= MAX_OVERLAP)) kept.push(candidate);
  }
  return kept;
}

/** The share of their union that two boxes have in common, 0..1. */
export function overlap(a: Box, b: Box): number {
  const common = areaOf({
    left: Math.max(a.left, b.left),
    top: Math.max(a.top, b.top),
    right: Math.min(a.right, b.right),
    bottom: Math.min(a.bottom, b.bottom),
  });
  return common === 0 ? 0 : common / (areaOf(a) + areaOf(b) - common);
}

/** So high, as a share of the main face, that either of the two could be meant. */
const RIVAL_HEIGHT = 0.5;

/** Is there a second face that could as well be the one that is meant? Largest first, as `facesIn` gives them. */
export function hasSeveralFaces([main, ...others]: readonly Face[]): boolean {
  return main !== undefined && others.some(({ box }) => heightOf(box) >= RIVAL_HEIGHT * heightOf(main.box));
}
