import { BANDS, COLOURS, PICTURE, showBeside } from "../appearance.ts";
import type { Image } from "../images/image.ts";
import { loadSharp, MAX_PIXELS } from "../images/sharp.ts";
import { type Decision, PROVIDER_TITLE } from "./decision.ts";
import STROKES from "./strokes.json" with { type: "json" };

/** As base64 this is 300 KB. */
const MAX_BYTES = 225_000;
const QUALITIES = [85, 70, 50, 30];

/** In pixels. One photo is shown larger than two. */
const SIDES = [640, 420] as const;
const MARGIN = PICTURE.margin;
/** It is drawn on white. */
const [GREY] = COLOURS.soft;

type Box = NonNullable<NonNullable<Decision["detected_faces"]>[number]["box"]>;
type Sharp = Awaited<ReturnType<typeof loadSharp>>;
interface Pane {
  readonly jpeg: Buffer;
  readonly width: number;
  readonly height: number;
  /** Of the photo and on the pane, the face that was judged first. */
  readonly boxes: readonly Box[];
}

/**
 * The photos of a check with its outcome, as a small JPEG without metadata: boxes around the faces, and the score beside
 * its threshold.
 *
 * @param wasTurned the provider may have turned a photo, and did not say where the faces are before that
 */
export async function draw(
  decision: Pick<Decision, "check" | "provider" | "outcome" | "score" | "threshold" | "detected_faces">,
  images: readonly Image[],
  wasTurned: boolean,
): Promise<Uint8Array> {
  const sharp = await loadSharp();
  const side = images.length > 1 ? SIDES[1] : SIDES[0];
  const panes = await Promise.all(
    images.map((image, at) => {
      const faces = (decision.detected_faces ?? []).filter((face) => face.image === (at === 0 ? "user" : "reference"));
      const boxes = wasTurned ? [] : faces.flatMap(({ box }) => box ?? []);
      return paneOf(sharp, image, { side, boxes, isAsStored: decision.provider !== "on-device" });
    }),
  );
  const width = MARGIN + panes.length * (side + MARGIN);
  const top = Math.max(...panes.map(({ height }) => height)) + 2 * MARGIN;
  const height = top + PICTURE.words + (decision.score === null ? 0 : PICTURE.scale);
  const lefts = panes.map((pane, at) => MARGIN + at * (side + MARGIN) + Math.floor((side - pane.width) / 2));
  const [colour] = COLOURS[decision.outcome];
  const marks = [
    ...panes.flatMap(({ boxes }, at) => boxes.map((box, i) => frame(box, lefts[at] ?? 0, i === 0 ? colour : GREY))),
    ...foot(decision, { top, left: MARGIN, width: width - 2 * MARGIN }),
  ];
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" fill="none">${marks.join("")}</svg>`;
  const drawn = await sharp({ create: { width, height, channels: 3, background: "#ffffff" } })
    .composite([
      ...panes.map(({ jpeg }, at) => ({ input: jpeg, left: lefts[at] ?? 0, top: MARGIN })),
      { input: Buffer.from(svg) },
    ])
    .png()
    .toBuffer();
  for (const quality of QUALITIES) {
    const jpeg = await sharp(drawn).jpeg({ quality }).toBuffer();
    if (jpeg.length <= MAX_BYTES) return new Uint8Array(jpeg);
  }
  throw new Error("the picture is too large");
}

interface PaneOptions {
  readonly side: number;
  readonly boxes: readonly Box[];
  /** The boxes are of the picture as it was uploaded, before EXIF turns it; else as it is displayed. */
  readonly isAsStored: boolean;
}

async function paneOf(sharp: Sharp, image: Image, { side, boxes, isAsStored }: PaneOptions): Promise<Pane> {
  const picture = sharp(image.bytes, { limitInputPixels: MAX_PIXELS });
  const { orientation = 1 } = await picture.metadata();
  const { data, info } = await picture
    .autoOrient()
    .resize(side, side, { fit: "inside" })
    .flatten({ background: "#ffffff" })
    .jpeg({ quality: 95 })
    .toBuffer({ resolveWithObject: true });
  const scale = info.width / image.width;
  const displayed = isAsStored ? boxes.map((box) => asDisplayed(box, orientation, image)) : boxes;
  const isInside = ({ left, top, right, bottom }: Box) =>
    left >= 0 && top >= 0 && right <= image.width && bottom <= image.height;
  const shown = displayed.every(isInside) ? displayed : [];
  return {
    jpeg: data,
    width: info.width,
    height: info.height,
    boxes: shown.map(({ left, top, right, bottom }) => ({
      left: left * scale,
      top: top * scale,
      right: right * scale,
      bottom: bottom * scale,
    })),
  };
}

/** Of each EXIF orientation: whether rows are shown as columns, and what is mirrored then. */
const ORIENTATIONS: Readonly<Record<number, readonly [isTransposed: boolean, isAcross: boolean, isDown: boolean]>> = {
  2: [false, true, false],
  3: [false, true, true],
  4: [false, false, true],
  5: [true, false, false],
  6: [true, true, false],
  7: [true, true, true],
  8: [true, false, true],
};

/** Where a box of the picture as stored is seen. `width` and `height` are of the picture as displayed. */
function asDisplayed(box: Box, orientation: number, { width, height }: Pick<Image, "width" | "height">): Box {
  const [isTransposed, isAcross, isDown] = ORIENTATIONS[orientation] ?? [false, false, false];
  const { left, top, right, bottom } = isTransposed
    ? { left: box.top, top: box.left, right: box.bottom, bottom: box.right }
    : box;
  return {
    ...(isAcross ? { left: width - right, right: width - left } : { left, right }),
    ...(isDown ? { top: height - bottom, bottom: height - top } : { top, bottom }),
  };
}

/** White below, so that it is seen on every photo. */
function frame({ left, top, right, bottom }: Box, from: number, colour: string): string {
  const size = `x="${from + left}" y="${MARGIN + top}" width="${right - left}" height="${bottom - top}" rx="3"`;
  return `<rect ${size} stroke="#ffffff" stroke-width="6"/><rect ${size} stroke="${colour}" stroke-width="3"/>`;
}

function foot(
  { check, provider, outcome, score, threshold }: Parameters<typeof draw>[0],
  { top, left, width }: { readonly top: number; readonly left: number; readonly width: number },
): string[] {
  const [colour] = COLOURS[outcome];
  const by = `by ${PROVIDER_TITLE[provider]}`;
  const word = `${outcome}${check === "face_search" && outcome === "approved" ? ": nothing found" : ""}`;
  const name = check === "face_search" ? "nearest" : "score";
  const facts = [
    ...(check === "verify_person"
      ? []
      : [score === null ? "no score" : `${name} ${showBeside(score, [threshold])} of 100`]),
    ...(threshold === null ? [] : [`declines at ${threshold}`]),
    by,
  ].join(", ");
  const at = (value: number) => left + (width * value) / 100;
  const bar = top + 92;
  const tick = (value: number, length: number, of: string) =>
    `<path d="M${at(value)} ${bar - length}v${2 * length}" stroke="${of}" stroke-width="2"/>`;
  const scale = [
    `<path d="M${left} ${bar}h${width}" stroke="${COLOURS.track[0]}" stroke-width="6"/>`,
    ...(check === "face_match" ? BANDS.face_match.map((value) => tick(value, 6, GREY)) : []),
    ...(threshold === null
      ? []
      : [tick(threshold, 12, COLOURS.declined[0]), text(String(threshold), at(threshold) + 4, bar + 26, 15, GREY)]),
    ...(score === null
      ? []
      : [`<circle cx="${at(score)}" cy="${bar}" r="9" fill="${colour}" stroke="#ffffff" stroke-width="2"/>`]),
  ];
  return [
    text(word, left, top + 30, 36, colour),
    text(facts, left, top + 62, 19, GREY),
    ...(score === null ? [] : scale),
  ];
}

type Stroke = readonly [advance: number, path: string];
const GLYPHS = STROKES as unknown as Readonly<Record<string, Stroke>>;
const EM = 1000;
/** Where a letter begins on its place. */
const BEARING = 189;

/** Drawn by strokes of our own: not every build of sharp, and not every machine, has a font. */
function text(words: string, x: number, y: number, size: number, colour: string): string {
  let at = -BEARING;
  const letters = [...words].map((letter) => {
    const [advance, path] = GLYPHS[letter] ?? [0, ""];
    const drawn = `<path transform="translate(${at} 0)" d="${path}"/>`;
    at += advance - BEARING / 3;
    return drawn;
  });
  const scale = size / EM;
  const width = Math.max(1.4, size / 12) / scale;
  return `<g transform="translate(${x} ${y}) scale(${scale} ${-scale})" stroke="${colour}" stroke-width="${width}" stroke-linecap="round" stroke-linejoin="round">${letters.join("")}</g>`;
}
