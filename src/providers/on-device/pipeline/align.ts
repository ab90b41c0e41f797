import type { Point, Raster } from "./raster.ts";
import { type Similarity, warp } from "./resample.ts";

const SIZE = 112;

/** Where ArcFace, and the embedding network trained after it, want the five points in a crop of 112 pixels. */
const TEMPLATE: readonly Point[] = [
  { x: 38.2946, y: 51.6963 },
  { x: 73.5318, y: 51.5014 },
  { x: 56.0252, y: 71.7366 },
  { x: 41.5493, y: 92.3655 },
  { x: 70.7299, y: 92.2041 },
];

/** The face of the five points, turned and scaled into the crop that the embedding network knows. */
export function align(raster: Raster, points: readonly Point[]): Raster {
  // From the template to the picture: the crop asks for each of its pixels where it comes from.
  return warp(raster, inverse(similarity(points, TEMPLATE)), SIZE);
}

/**
 * The move, turn and scale that bring `from` closest to `to`, by least squares (Umeyama 1991). In the plane, and
 * without reflection, its singular value decomposition comes down to two sums.
 */
export function similarity(from: readonly Point[], to: readonly Point[]): Similarity {
  const p = centre(from);
  const q = centre(to);
  let along = 0;
  let across = 0;
  let spread = 0;
  from.forEach((point, i) => {
    const target = to[i] ?? q;
    const [px, py, qx, qy] = [point.x - p.x, point.y - p.y, target.x - q.x, target.y - q.y];
    along += px * qx + py * qy;
    across += px * qy - py * qx;
    spread += px * px + py * py;
  });
  const [a, b] = spread === 0 ? [1, 0] : [along / spread, across / spread];
  return { a, b, dx: q.x - (a * p.x - b * p.y), dy: q.y - (b * p.x + a * p.y) };
}

export function inverse({ a, b, dx, dy }: Similarity): Similarity {
  const square = a * a + b * b || 1;
  const [c, d] = [a / square, -b / square];
  return { a: c, b: d, dx: -(c * dx - d * dy), dy: -(d * dx + c * dy) };
}

function centre(points: readonly Point[]): Point {
  const sum = points.reduce((a, b) => ({ x: a.x + b.x, y: a.y + b.y }), { x: 0, y: 0 });
  return { x: sum.x / points.length, y: sum.y / points.length };
}
