import { CheckError } from "../../../errors.ts";
import type { Detector } from "../models.ts";
import { areaOf, type Box, type Point } from "./raster.ts";

/** The outputs of a network by their names. */
export type Outputs = Readonly<Record<string, Float32Array>>;

/** What a detector takes for a face, in pixels of its input. */
export interface Candidate {
  readonly box: Box;
  /** 0..1. */
  readonly confidence: number;
  /** Eyes, nose, corners of the mouth, as seen in the picture from left to right; undefined: it gives none. */
  readonly points?: readonly Point[];
}

/** All candidates from the least confidence on. */
export function candidatesOf(detector: Detector, outputs: Outputs): Candidate[] {
  return everyCandidateOf(detector, outputs).filter(({ box }) => areaOf(box) > 0);
}

function everyCandidateOf(detector: Detector, outputs: Outputs): Candidate[] {
  switch (detector.decoding) {
    case "ultraface":
      return ultraface(detector, outputs);
    case "yunet":
      return yunet(detector, outputs);
    case "scrfd":
      return scrfd(detector, outputs);
  }
}

/** Ultra-Light-Fast-Generic-Face-Detector: per candidate background and face (probabilities), and x1 y1 x2 y2, 0..1. */
function ultraface({ input, outputs: names, minConfidence }: Detector<"ultraface">, outputs: Outputs): Candidate[] {
  const scores = take(outputs, names.scores);
  const boxes = take(outputs, names.boxes, 2 * scores.length);
  const candidates: Candidate[] = [];
  for (let i = 0; i < scores.length / 2; i += 1) {
    const confidence = scores[2 * i + 1] ?? 0;
    if (confidence < minConfidence) continue;
    const box = {
      left: (boxes[4 * i] ?? 0) * input.width,
      top: (boxes[4 * i + 1] ?? 0) * input.height,
      right: (boxes[4 * i + 2] ?? 0) * input.width,
      bottom: (boxes[4 * i + 3] ?? 0) * input.height,
    };
    candidates.push({ box, confidence });
  }
  return candidates;
}

/** YuNet: one candidate a cell; its centre from the corner of the cell, its size as logarithms, both in strides. */
function yunet({ input, outputs: strides, minConfidence }: Detector<"yunet">, outputs: Outputs): Candidate[] {
  return strides.flatMap(({ stride, ...names }) => {
    const cells = cellsOf(input, stride);
    const scores = take(outputs, names.scores, cells.length);
    const objectness = take(outputs, names.objectness, cells.length);
    const boxes = take(outputs, names.boxes, 4 * cells.length);
    const points = take(outputs, names.points, 10 * cells.length);
    return cells.flatMap(({ x, y }, i) => {
      const confidence = Math.sqrt(probability(scores[i]) * probability(objectness[i]));
      if (confidence < minConfidence) return [];
      const centre = { x: x + (boxes[4 * i] ?? 0) * stride, y: y + (boxes[4 * i + 1] ?? 0) * stride };
      const halfWidth = (Math.exp(boxes[4 * i + 2] ?? 0) * stride) / 2;
      const halfHeight = (Math.exp(boxes[4 * i + 3] ?? 0) * stride) / 2;
      const box = {
        left: centre.x - halfWidth,
        top: centre.y - halfHeight,
        right: centre.x + halfWidth,
        bottom: centre.y + halfHeight,
      };
      return [{ box, confidence, points: pointsFrom(points, i, { x, y }, stride) }];
    });
  });
}

const SCRFD_ANCHORS = 2;

/** SCRFD: two candidates a cell, each as the distances of its four sides from the corner of the cell, in strides. */
function scrfd({ input, outputs: strides, minConfidence }: Detector<"scrfd">, outputs: Outputs): Candidate[] {
  return strides.flatMap(({ stride, ...names }) => {
    const anchors = cellsOf(input, stride).flatMap((cell) => Array.from({ length: SCRFD_ANCHORS }, () => cell));
    const scores = take(outputs, names.scores, anchors.length);
    const boxes = take(outputs, names.boxes, 4 * anchors.length);
    const points = take(outputs, names.points, 10 * anchors.length);
    return anchors.flatMap(({ x, y }, i) => {
      const confidence = probability(scores[i]);
      if (confidence < minConfidence) return [];
      const box = {
        left: x - (boxes[4 * i] ?? 0) * stride,
        top: y - (boxes[4 * i + 1] ?? 0) * stride,
        right: x + (boxes[4 * i + 2] ?? 0) * stride,
        bottom: y + (boxes[4 * i + 3] ?? 0) * stride,
      };
      return [{ box, confidence, points: pointsFrom(points, i, { x, y }, stride) }];
    });
  });
}

/** The top-left corners of a grid's cells, row by row. */
function cellsOf({ width, height }: Detector["input"], stride: number): Point[] {
  const columns = width / stride;
  const count = columns * (height / stride);
  return Array.from({ length: count }, (_, i) => ({ x: (i % columns) * stride, y: Math.floor(i / columns) * stride }));
}

function pointsFrom(points: Float32Array, i: number, { x, y }: Point, stride: number): Point[] {
  return [0, 2, 4, 6, 8].map((at) => ({
    x: x + (points[10 * i + at] ?? 0) * stride,
    y: y + (points[10 * i + at + 1] ?? 0) * stride,
  }));
}

const probability = (value = 0) => Math.min(1, Math.max(0, value));

/** An output by its name. `length`: what it must have; another network than the pack means has another. */
export function take(outputs: Outputs, name: string, length?: number): Float32Array {
  const output = outputs[name];
  if (output === undefined) throw new Error(`the network has no output ${name}`);
  if (length !== undefined && output.length !== length) {
    throw new CheckError(
      "setup",
      `A face model is not what its pack says: ${name} has ${output.length} values, not ${length}.`,
    );
  }
  return output;
}
