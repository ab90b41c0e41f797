import type { ModelName } from "../models.ts";
import { MIN_FACE_NORM } from "../scores.ts";
import { align } from "./align.ts";
import type { Decoded } from "./decode.ts";
import {
  type Face,
  facesIn,
  frameOf,
  largestFirst,
  MARGIN,
  MAX_CANDIDATES,
  partsOf,
  suppress,
  toDetectorInput,
} from "./detect.ts";
import { lengthOf, toEmbeddingInput } from "./embed.ts";
import { fivePoints, squareAbout, tiltOf, toLandmarkInput } from "./landmarks.ts";
import { LIVENESS_SCALES, livenessCrop } from "./liveness.ts";
import { lightOf, sharpnessOf } from "./quality.ts";
import { ANGLES, type Angle, type Box, cut, heightOf, type Point, type Raster, turn, turnBack } from "./raster.ts";

/** Runs one network; the outputs by name. Also where a cancelled reading stops: it throws. */
export type Run = (model: ModelName, input: Float32Array) => Promise<Readonly<Record<string, Float32Array>>>;

/** All that the checks need to know of a face that is judged. */
export interface MeasuredFace extends Face {
  /** The face as the embedding network sees it, 112x112. */
  readonly aligned: Raster;
  /** The face with its surroundings as the liveness network sees it, 128x128: less and more of them. */
  readonly surroundings: readonly Raster[];
  /** How many times the face's box the larger surroundings show: 2.7, or less where the picture ends before. */
  readonly surroundingsScale: number;
  /** 512 components, not normalised. */
  readonly embedding: Float32Array;
  /** How high the face is, in pixels of the picture that was measured (at most 1600 a side). */
  readonly height: number;
  /** The length of `embedding`: how sure the network is that this is a face. Good ones have 3.5 to 4.0. */
  readonly norm: number;
  /** How far the head leans to one side, in degrees: 0 is upright, 90 lies on its side. */
  readonly tilt: number;
  /** 0..100. */
  readonly luminance: number;
  /** 0..100; 0 is grey. */
  readonly colour: number;
  /** Variance of the Laplacian of the aligned face. */
  readonly sharpness: number;
}

/** How the picture was looked at; `parts`: four overlapping ones, each by itself. */
export type View = "whole" | "padded" | "parts";

export interface Reading {
  /** The size of the image as displayed; the boxes of the faces are in its pixels. */
  readonly width: number;
  readonly height: number;
  /** The clockwise turn by which the main face stands upright. */
  readonly angle: Angle;
  /** What it took to find the main face. */
  readonly view: View;
  /** Largest first; the first is the main face. What was measured and is none is not among them. */
  readonly faces: readonly Face[];
  /** The first, measured; null: no face was found. */
  readonly main: MeasuredFace | null;
}

/** Finds the faces of an image and measures the main one: the largest that is a face. `rotate`: in every turn at once. */
export async function read(decoded: Decoded, run: Run, rotate: boolean): Promise<Reading> {
  const { width, height } = decoded;
  const found = await find(decoded.raster, run, rotate);
  if (found === undefined) return { width, height, angle: 0, view: "whole", faces: [], main: null };
  const { angle, view, candidate, others } = found;
  const toImage = toImageOf(decoded, angle);
  return {
    width,
    height,
    angle,
    view,
    faces: [candidate.face, ...others].map(toImage),
    main: toImage(measure(found.upright, candidate)),
  };
}

/** As many people as are told apart in one image: the largest. */
const MAX_PEOPLE = 10;

/** The same faces as `read` finds, each of them measured; what is none is left out. At most ten, largest first. */
export async function readEveryone(decoded: Decoded, run: Run, rotate: boolean): Promise<MeasuredFace[]> {
  const found = await find(decoded.raster, run, rotate);
  if (found === undefined) return [];
  const { upright, angle, candidate, others } = found;
  const everyone = [candidate];
  for (const face of others.slice(0, MAX_PEOPLE - 1)) {
    const other = await embedFace(upright, face, run);
    if (isFace(other)) everyone.push(other);
  }
  return everyone.map((it) => toImageOf(decoded, angle)(measure(upright, it)));
}

/** What may be a face, seen by the embedding network. */
interface Candidate {
  readonly face: Face;
  readonly points: readonly Point[];
  readonly aligned: Raster;
  readonly embedding: Float32Array;
  readonly norm: number;
}

interface Found {
  readonly angle: Angle;
  readonly view: View;
  readonly upright: Raster;
  readonly candidate: Candidate;
  /** Smaller ones, not measured. */
  readonly others: readonly Face[];
}

/** Where a face is looked for, until one is found: the usual photo is done with after the first view. */
const SEARCHES: Readonly<Record<"upright" | "turned", readonly (readonly [readonly Angle[], readonly View[]])[]>> = {
  upright: [
    [[0], ["whole", "padded", "parts"]],
    [
      [90, 180, 270],
      ["whole", "padded"],
    ],
  ],
  turned: [
    [ANGLES, ["whole", "padded"]],
    [ANGLES, ["parts"]],
  ],
};

async function find(raster: Raster, run: Run, rotate: boolean): Promise<Found | undefined> {
  for (const [angles, views] of SEARCHES[rotate ? "turned" : "upright"]) {
    let best: Found | undefined;
    for (const angle of angles) {
      const found = await findUpright(turn(raster, angle), angle, views, run);
      // The length of the embedding tells upright from not, far better than the detector's confidence does.
      if (found !== undefined && (best === undefined || found.candidate.norm > best.candidate.norm)) best = found;
    }
    if (best !== undefined) return best;
  }
  return undefined;
}

async function findUpright(
  upright: Raster,
  angle: Angle,
  views: readonly View[],
  run: Run,
): Promise<Found | undefined> {
  for (const view of views) {
    const faces = await detect(upright, run, view);
    for (const [i, face] of faces.slice(0, MAX_CANDIDATES).entries()) {
      const candidate = await embedFace(upright, face, run);
      if (isFace(candidate)) return { angle, view, upright, candidate, others: faces.slice(i + 1) };
    }
  }
  return undefined;
}

const isFace = ({ norm }: Candidate) => norm >= MIN_FACE_NORM;

export async function embedFace(upright: Raster, face: Face, run: Run): Promise<Candidate> {
  const square = squareAbout(face.box);
  const points = fivePoints(take(await run("landmark", toLandmarkInput(upright, square)), "output"), square);
  const aligned = align(upright, points);
  const embedding = await embed(aligned, run);
  return { face, points, aligned, embedding, norm: lengthOf(embedding) };
}

/** The box stays in pixels of `upright`. */
function measure(upright: Raster, { face, points, aligned, embedding, norm }: Candidate): MeasuredFace {
  const crops = LIVENESS_SCALES.map((scale) => livenessCrop(upright, face.box, scale));
  return {
    ...face,
    aligned,
    surroundings: crops.map(({ crop }) => crop),
    surroundingsScale: Math.max(...crops.map(({ scale }) => scale)),
    embedding,
    height: heightOf(face.box),
    norm,
    tilt: tiltOf(points),
    ...lightOf(upright, face.box),
    sharpness: sharpnessOf(aligned),
  };
}

/** A face of the turned raster as one of the image. */
function toImageOf({ raster, width, height }: Decoded, angle: Angle): <F extends Face>(face: F) => F {
  const by = { x: width / raster.width, y: height / raster.height };
  return (face) => ({ ...face, box: stretch(turnBack(face.box, angle, raster), by) });
}

/** The face of an aligned crop as 512 components, not normalised. */
export async function embed(aligned: Raster, run: Run): Promise<Float32Array> {
  return take(await run("feature", toEmbeddingInput(aligned)), "output");
}

/** What may be faces, largest first. */
export async function detect(raster: Raster, run: Run, view: View = "whole"): Promise<readonly Face[]> {
  if (view !== "parts") {
    const frame = frameOf(raster, view === "padded" ? MARGIN : 0);
    const found = await run("detect", toDetectorInput(raster, frame));
    return facesIn(take(found, "scores"), take(found, "boxes"), frame);
  }
  const faces: Face[] = [];
  for (const part of partsOf(raster)) {
    for (const { box, confidence } of await detect(cut(raster, part), run)) {
      faces.push({ box: move(box, part), confidence });
    }
  }
  return largestFirst(suppress(faces));
}

export function take(outputs: Readonly<Record<string, Float32Array>>, name: string): Float32Array {
  const output = outputs[name];
  if (output === undefined) throw new Error(`the network has no output ${name}`);
  return output;
}

function stretch({ left, top, right, bottom }: Box, by: { x: number; y: number }): Box {
  return { left: left * by.x, top: top * by.y, right: right * by.x, bottom: bottom * by.y };
}

function move({ left, top, right, bottom }: Box, by: Pick<Box, "left" | "top">): Box {
  return { left: left + by.left, top: top + by.top, right: right + by.left, bottom: bottom + by.top };
}
