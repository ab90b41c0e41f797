import type { ModelName } from "../models.ts";
import { align } from "./align.ts";
import type { Decoded } from "./decode.ts";
import { type Face, facesIn, frameOf, MARGIN, toDetectorInput } from "./detect.ts";
import { lengthOf, toEmbeddingInput } from "./embed.ts";
import { fivePoints, squareAbout, toLandmarkInput } from "./landmarks.ts";
import { livenessCrop } from "./liveness.ts";
import { lightOf, sharpnessOf } from "./quality.ts";
import { ANGLES, type Angle, type Box, heightOf, type Raster, turn, turnBack } from "./raster.ts";

/** Runs one network; the outputs by name. Also where a cancelled reading stops: it throws. */
export type Run = (model: ModelName, input: Float32Array) => Promise<Readonly<Record<string, Float32Array>>>;

/** All that the checks need to know of the face that is judged. */
export interface MainFace {
  /** The face as the embedding network sees it, 112x112. */
  readonly aligned: Raster;
  /** The face with its surroundings as the liveness network sees it, 128x128. */
  readonly surroundings: Raster;
  /** How many times the face's box the surroundings show: 2.7, or less where the picture ends before. */
  readonly surroundingsScale: number;
  /** 512 components, not normalised. */
  readonly embedding: Float32Array;
  /** How high the face is, in pixels of the picture that was measured (at most 1600 a side). */
  readonly height: number;
  /** The length of `embedding`: how sure the network is that this is a face. Good ones have 3.5 to 4.0. */
  readonly norm: number;
  /** 0..100. */
  readonly luminance: number;
  /** 0..100; 0 is grey. */
  readonly colour: number;
  /** Variance of the Laplacian of the aligned face. */
  readonly sharpness: number;
}

export interface Reading {
  /** The size of the image as displayed; the boxes of the faces are in its pixels. */
  readonly width: number;
  readonly height: number;
  /** The clockwise turn by which the main face stands upright. */
  readonly angle: Angle;
  /** Largest first; the first is the main face. */
  readonly faces: readonly Face[];
  /** null: no face was found. */
  readonly main: MainFace | null;
}

/** Finds the faces of an image and measures the largest. `angles`: in which turns of the image to try. */
export async function read({ raster, width, height }: Decoded, run: Run, angles: readonly Angle[]): Promise<Reading> {
  let best: Found | undefined;
  for (const angle of angles) {
    const found = await findMainFace(turn(raster, angle), angle, run);
    // The length of the embedding tells upright from not, far better than the detector's confidence does.
    if (found !== undefined && (best === undefined || found.norm > best.norm)) best = found;
  }
  if (best === undefined) return { width, height, angle: 0, faces: [], main: null };
  const { upright, faces, box, aligned, embedding, norm, angle } = best;
  const { crop, scale } = livenessCrop(upright, box);
  const toImage = { x: width / raster.width, y: height / raster.height };
  return {
    width,
    height,
    angle,
    faces: faces.map((face) => ({ ...face, box: stretch(turnBack(face.box, angle, raster), toImage) })),
    main: {
      aligned,
      surroundings: crop,
      surroundingsScale: scale,
      embedding,
      height: heightOf(box),
      norm,
      ...lightOf(upright, box),
      sharpness: sharpnessOf(aligned),
    },
  };
}

export const anglesToTry = (rotate: boolean): readonly Angle[] => (rotate ? ANGLES : [0]);

interface Found {
  readonly angle: Angle;
  readonly upright: Raster;
  readonly faces: readonly Face[];
  readonly box: Box;
  readonly aligned: Raster;
  readonly embedding: Float32Array;
  readonly norm: number;
}

async function findMainFace(upright: Raster, angle: Angle, run: Run): Promise<Found | undefined> {
  const faces = await detect(upright, run);
  const main = faces[0];
  if (main === undefined) return undefined;
  const aligned = await alignFace(upright, main.box, run);
  const embedding = await embed(aligned, run);
  return { angle, upright, faces, box: main.box, aligned, embedding, norm: lengthOf(embedding) };
}

export async function alignFace(raster: Raster, face: Box, run: Run): Promise<Raster> {
  const square = squareAbout(face);
  const landmarks = await run("landmark", toLandmarkInput(raster, square));
  return align(raster, fivePoints(take(landmarks, "output"), square));
}

/** The face of an aligned crop as 512 components, not normalised. */
export async function embed(aligned: Raster, run: Run): Promise<Float32Array> {
  return take(await run("feature", toEmbeddingInput(aligned)), "output");
}

export async function detect(raster: Raster, run: Run): Promise<Face[]> {
  for (const margin of [0, MARGIN]) {
    const frame = frameOf(raster, margin);
    const found = await run("detect", toDetectorInput(raster, frame));
    const faces = facesIn(take(found, "scores"), take(found, "boxes"), frame);
    if (faces.length > 0) return faces;
  }
  return [];
}

export function take(outputs: Readonly<Record<string, Float32Array>>, name: string): Float32Array {
  const output = outputs[name];
  if (output === undefined) throw new Error(`the network has no output ${name}`);
  return output;
}

function stretch({ left, top, right, bottom }: Box, by: { x: number; y: number }): Box {
  return { left: left * by.x, top: top * by.y, right: right * by.x, bottom: bottom * by.y };
}
