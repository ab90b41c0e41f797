import sharp from "sharp";
import type { Decision } from "../src/decision/decision.ts";

type Face = NonNullable<Decision["detected_faces"]>[number];

/** A person who is not one: what the drawing differs in. */
export interface Drawn {
  readonly skin: string;
  readonly hair: string;
  readonly clothes: string;
  readonly wall: string;
}

/** A drawing in the place of a photograph of a person: of its size, with the face where that has it. A JPEG. */
export function standInFor(
  { width, height }: { readonly width: number; readonly height: number },
  box: NonNullable<Face["box"]>,
  { skin, hair, clothes, wall }: Drawn,
): Promise<Buffer> {
  const x = (box.left + box.right) / 2;
  const y = (box.top + box.bottom) / 2;
  const h = box.bottom - box.top;
  const w = Math.min(box.right - box.left, 0.82 * h);
  const eye = (side: 1 | -1) =>
    `<circle cx="${x + side * 0.2 * w}" cy="${y - 0.06 * h}" r="${0.045 * h}" fill="#2b2b33"/>` +
    `<path d="M${x + side * 0.31 * w} ${y - 0.17 * h}q${-side * 0.11 * w} ${-0.05 * h} ${-side * 0.22 * w} 0" stroke="${hair}" stroke-width="${0.03 * h}" fill="none" stroke-linecap="round"/>`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">
<rect width="100%" height="100%" fill="${wall}"/>
<circle cx="${x}" cy="${y}" r="${1.35 * h}" fill="#ffffff" opacity=".28"/>
<path d="M${x - 0.66 * w} ${y + 0.85 * h}V${y - 0.1 * h}a${0.66 * w} ${0.62 * h} 0 0 1 ${1.32 * w} 0V${y + 0.85 * h}z" fill="${hair}"/>
<path d="M${x - 1.5 * w} ${height}q0 ${-Math.max(height - y - 0.78 * h, 0.3 * h)} ${1.5 * w} ${-Math.max(height - y - 0.78 * h, 0.3 * h)}t${1.5 * w} ${Math.max(height - y - 0.78 * h, 0.3 * h)}z" fill="${clothes}"/>
<rect x="${x - 0.2 * w}" y="${y + 0.3 * h}" width="${0.4 * w}" height="${0.55 * h}" rx="${0.2 * w}" fill="${skin}"/>
<ellipse cx="${x}" cy="${y + 0.33 * h}" rx="${0.26 * w}" ry="${0.22 * h}" fill="#000000" opacity=".08"/>
<ellipse cx="${x}" cy="${y}" rx="${0.48 * w}" ry="${0.5 * h}" fill="${skin}"/>
<path d="M${x - 0.5 * w} ${y - 0.04 * h}q${0.02 * w} ${-0.46 * h} ${0.5 * w} ${-0.5 * h}t${0.5 * w} ${0.5 * h}q${-0.16 * w} ${-0.27 * h} ${-0.42 * w} ${-0.3 * h}t${-0.58 * w} ${0.3 * h}z" fill="${hair}"/>
${eye(1)}${eye(-1)}
<path d="M${x - 0.16 * w} ${y + 0.24 * h}q${0.16 * w} ${0.13 * h} ${0.32 * w} 0" stroke="#a3474b" stroke-width="${0.035 * h}" fill="none" stroke-linecap="round"/>
</svg>`;
  return sharp(Buffer.from(svg)).flatten({ background: wall }).jpeg({ quality: 92 }).toBuffer();
}
