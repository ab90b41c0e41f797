import { embeddingModelOf, type Network, type Pack } from "../models.ts";
import { scoreOn } from "../scores.ts";
import { align } from "./align.ts";
import { type Outputs, take } from "./candidates.ts";
import { maskednessOf } from "./covered.ts";
import type { Decoded } from "./decode.ts";
import {
  type Detection,
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
import { lengthOf } from "./embed.ts";
import { fivePoints, LANDMARK_VALUES, squareAbout, tiltOf, toLandmarkInput } from "./landmarks.ts";
import { livenessCrop } from "./liveness.ts";
import { lightOf, sharpnessOf } from "./quality.ts";
import {
  ANGLES,
  type Angle,
  type Box,
  cut,
  heightOf,
  type Point,
  type Raster,
  toPlanes,
  turn,
  turnBack,
} from "./raster.ts";

/** The networks of a pack, ready to run. */
export interface Models {
  readonly pack: Pack;
  /** The outputs by name. Also where a cancelled reading stops: it throws. */
  run(network: Network, input: Float32Array): Promise<Outputs>;
}

/** All that the checks need to know of a face that is judged. */
export interface MeasuredFace extends Face {
  /** The face as the embedding network sees it, 112x112. */
  readonly aligned: Raster;
  /** The face with its surroundings, as each of the liveness networks sees it. */
  readonly surroundings: readonly Raster[];
  /** How many times the face's box the largest surroundings show: less than is wanted where the picture ends before. */
  readonly surroundingsScale: number;
  /** How many times the box they are to show: 2.7 with the shipped pack. */
  readonly surroundingsWanted: number;
  /** Not normalised; 512 components with the shipped pack. */
  readonly embedding: Float32Array;
  /** How high the face is, in pixels of the picture that was measured (at most 1600 a side). */
  readonly height: number;
  /** The length of `embedding`: how sure the network is that this is a face. With the shipped pack good ones have 3.5 to 4.0. */
  readonly norm: number;
  /** The same as a score 0..100, not rounded. */
  readonly quality: number;
  /** How far it lies in the direction of masked faces, -1..1; null where that is not known. */
  readonly maskedness: number | null;
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
export async function read(decoded: Decoded, models: Models, rotate: boolean): Promise<Reading> {
  const { width, height } = decoded;
  const found = await find(decoded.raster, models, rotate);
  if (found === undefined) return { width, height, angle: 0, view: "whole", faces: [], main: null };
  const { angle, view, candidate, others } = found;
  const toImage = toImageOf(decoded, angle);
  return {
    width,
    height,
    angle,
    view,
    faces: [candidate.face, ...others].map(({ box, confidence }) => toImage({ box, confidence })),
    main: toImage(measure(found.upright, candidate, models)),
  };
}

/** As many people as are told apart in one image: the largest. */
const MAX_PEOPLE = 10;

/** The same faces as `read` finds, each of them measured; what is none is left out. At most ten, largest first. */
export async function readEveryone(decoded: Decoded, models: Models, rotate: boolean): Promise<MeasuredFace[]> {
  const found = await find(decoded.raster, models, rotate);
  if (found === undefined) return [];
  const { upright, angle, candidate, others } = found;
  const everyone = [candidate];
  for (const face of others.slice(0, MAX_PEOPLE - 1)) {
    const other = await embedFace(upright, face, models);
    if (isFace(other, models)) everyone.push(other);
  }
  return everyone.map((it) => toImageOf(decoded, angle)(measure(upright, it, models)));
}

/** What may be a face, seen by the embedding network. */
interface Candidate {
  readonly face: Detection;
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
  readonly others: readonly Detection[];
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

async function find(raster: Raster, models: Models, rotate: boolean): Promise<Found | undefined> {
  for (const [angles, views] of SEARCHES[rotate ? "turned" : "upright"]) {
    let best: Found | undefined;
    for (const angle of angles) {
      const found = await findUpright(turn(raster, angle), angle, views, models);
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
  models: Models,
): Promise<Found | undefined> {
  for (const view of views) {
    const faces = await detect(upright, models, view);
    for (const [i, face] of faces.slice(0, MAX_CANDIDATES).entries()) {
      const candidate = await embedFace(upright, face, models);
      if (isFace(candidate, models)) return { angle, view, upright, candidate, others: faces.slice(i + 1) };
    }
  }
  return undefined;
}

const isFace = ({ norm }: Candidate, { pack }: Models) => norm >= pack.embedder.minNorm;

export async function embedFace(upright: Raster, face: Detection, models: Models): Promise<Candidate> {
  const points = await pointsOf(upright, face, models);
  const aligned = align(upright, points);
  const embedding = await embed(aligned, models);
  return { face, points, aligned, embedding, norm: lengthOf(embedding) };
}

async function pointsOf(upright: Raster, face: Detection, { pack, run }: Models): Promise<readonly Point[]> {
  const { landmarks } = pack;
  if (landmarks.points === 5) {
    if (face.points === undefined) throw new Error("the detector gives no points");
    return face.points;
  }
  const square = squareAbout(face.box);
  const outputs = await run(landmarks, toLandmarkInput(upright, square, landmarks));
  return fivePoints(take(outputs, landmarks.output, LANDMARK_VALUES), square);
}

/** The box stays in pixels of `upright`. */
function measure(
  upright: Raster,
  { face: { box, confidence }, points, aligned, embedding, norm }: Candidate,
  { pack }: Models,
): MeasuredFace {
  const { networks } = pack.liveness;
  const crops = networks.map((network) => livenessCrop(upright, box, network));
  return {
    box,
    confidence,
    aligned,
    surroundings: crops.map(({ crop }) => crop),
    surroundingsScale: Math.max(...crops.map(({ scale }) => scale)),
    surroundingsWanted: Math.max(...networks.map(({ crop }) => crop.factor)),
    embedding,
    height: heightOf(box),
    norm,
    quality: scoreOn(pack.curves.quality, norm),
    maskedness: maskednessOf(embedding, embeddingModelOf(pack)),
    tilt: tiltOf(points),
    ...lightOf(upright, box),
    sharpness: sharpnessOf(aligned),
  };
}

/** A face of the turned raster as one of the image. */
function toImageOf({ raster, width, height }: Decoded, angle: Angle): <F extends Face>(face: F) => F {
  const by = { x: width / raster.width, y: height / raster.height };
  return (face) => ({ ...face, box: stretch(turnBack(face.box, angle, raster), by) });
}

/** The face of an aligned crop as an embedding, not normalised. */
export async function embed(aligned: Raster, { pack: { embedder }, run }: Models): Promise<Float32Array> {
  return take(await run(embedder, toPlanes(aligned.data, embedder.input)), embedder.output, embedder.size);
}

/** What may be faces, largest first. */
export async function detect(raster: Raster, models: Models, view: View = "whole"): Promise<readonly Detection[]> {
  const { detector } = models.pack;
  if (view !== "parts") {
    const frame = frameOf(raster, view === "padded" ? MARGIN : 0, detector.input);
    return facesIn(await models.run(detector, toDetectorInput(raster, frame, detector)), frame, detector);
  }
  const faces: Detection[] = [];
  for (const part of partsOf(raster)) {
    for (const { box, confidence, points } of await detect(cut(raster, part), models)) {
      const moved = points?.map(({ x, y }) => ({ x: x + part.left, y: y + part.top }));
      faces.push({ box: move(box, part), confidence, points: moved });
    }
  }
  return largestFirst(suppress(faces, detector.maxOverlap));
}

function stretch({ left, top, right, bottom }: Box, by: { x: number; y: number }): Box {
  return { left: left * by.x, top: top * by.y, right: right * by.x, bottom: bottom * by.y };
}

function move({ left, top, right, bottom }: Box, by: Pick<Box, "left" | "top">): Box {
  return { left: left + by.left, top: top + by.top, right: right + by.left, bottom: bottom + by.top };
}
