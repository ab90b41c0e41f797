import type { Detector } from "../models.ts";
import { candidatesOf, type Outputs } from "./candidates.ts";
import { areaOf, type Box, heightOf, type Point, type Raster, toPlanes } from "./raster.ts";
import { resizeByArea } from "./resample.ts";

/** A face that fills the picture is found once there is something around it: added on each side, as a share of it. */
export const MARGIN = 0.3;

/** So many of what may be faces are measured until one is; in a texture the detector sees dozens. */
export const MAX_CANDIDATES = 8;

export interface Face {
  readonly box: Box;
  /** 0..1, of the detector. */
  readonly confidence: number;
}

/** A face with the five points that the detector gives, in pixels of the picture; undefined: it gives none. */
export interface Detection extends Face {
  readonly points?: readonly Point[] | undefined;
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

type Size = Pick<Raster, "width" | "height">;

/** The whole picture with `margin` around it, its proportions kept, as an input of the given size shows it. */
export function frameOf({ width, height }: Size, margin: number, input: Size): Frame {
  const whole = 1 + 2 * margin;
  return {
    left: -margin * width,
    top: -margin * height,
    scale: Math.max((whole * width) / input.width, (whole * height) / input.height),
  };
}

/** What lies outside the picture is black. */
export function toDetectorInput(
  raster: Raster,
  { left, top, scale }: Frame,
  { input }: Pick<Detector, "input">,
): Float32Array {
  const { width, height } = input;
  const region = { left, top, right: left + width * scale, bottom: top + height * scale };
  return toPlanes(resizeByArea(raster, region, { width, height, border: "black" }), input);
}

/** The faces among the detector's candidates, largest first, in pixels of the picture. */
export function facesIn(outputs: Outputs, { left, top, scale }: Frame, detector: Detector): Detection[] {
  const place = ({ x, y }: Point) => ({ x: left + x * scale, y: top + y * scale });
  const candidates = candidatesOf(detector, outputs).map(({ box, confidence, points }) => {
    const { x, y } = place({ x: box.left, y: box.top });
    const end = place({ x: box.right, y: box.bottom });
    return { box: { left: x, top: y, right: end.x, bottom: end.y }, confidence, points: points?.map(place) };
  });
  return largestFirst(suppress(candidates, detector.maxOverlap));
}

export const largestFirst = <F extends Face>(faces: readonly F[]) =>
  faces.toSorted((a, b) => areaOf(b.box) - areaOf(a.box));

/** Non-maximum suppression: of the candidates for one face the surest stays. */
export function suppress<F extends Face>(candidates: readonly F[], maxOverlap: number): F[] {
  const kept: F[] = [];
  for (const candidate of candidates.toSorted((a, b) => b.confidence - a.confidence)) {
    if (kept.every(({ box }) => overlap(box, candidate.box) <= maxOverlap)) kept.push(candidate);
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
