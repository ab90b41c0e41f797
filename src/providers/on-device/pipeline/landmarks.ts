import type { LandmarkNetwork } from "../models.ts";
import { type Box, heightOf, type Point, type Raster } from "./raster.ts";
import { resizeByArea, toGrey } from "./resample.ts";

/** x and y of 68 points. */
export const LANDMARK_VALUES = 136;

/** Which of the 68 landmarks (iBUG order, from 0) are averaged into each of the five points that alignment uses. */
const FIVE_POINTS: readonly (readonly number[])[] = [
  [37, 38, 40, 41], // left eye, as seen in the picture
  [43, 44, 46, 47], // right eye
  [30], // tip of the nose
  [48, 60], // left corner of the mouth
  [54, 64], // right corner of the mouth
];

/** The square that the landmark network is shown: as high as the face, about its centre; may reach outside. */
export function squareAbout(box: Box): Box {
  const half = heightOf(box) / 2;
  const x = (box.left + box.right) / 2;
  const y = (box.top + box.bottom) / 2;
  return { left: x - half, top: y - half, right: x + half, bottom: y + half };
}

export function toLandmarkInput(raster: Raster, square: Box, { input }: LandmarkNetwork): Float32Array {
  const { width, height, mean, scale } = input;
  const brightness = toGrey(resizeByArea(raster, square, { width, height, border: "edge" }));
  return brightness.map((value) => (value - mean) / scale);
}

/** Eyes, nose and corners of the mouth, in pixels of the picture. `output`: 68 times x y, 0..1 of the square. */
export function fivePoints(output: Float32Array, square: Box): Point[] {
  const side = heightOf(square);
  return FIVE_POINTS.map((landmarks) => {
    let x = 0;
    let y = 0;
    for (const landmark of landmarks) {
      x += output[2 * landmark] ?? 0;
      y += output[2 * landmark + 1] ?? 0;
    }
    return { x: square.left + (x / landmarks.length) * side, y: square.top + (y / landmarks.length) * side };
  });
}

/** How far a head leans to one side, 0..180 degrees: 180 stands on its head. */
export function tiltOf([leftEye, rightEye]: readonly Point[]): number {
  if (leftEye === undefined || rightEye === undefined) return 0;
  return Math.abs(Math.atan2(rightEye.y - leftEye.y, rightEye.x - leftEye.x)) * (180 / Math.PI);
}
