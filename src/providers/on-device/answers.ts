import { randomUUID } from "node:crypto";
import { about, type Outcome } from "../../warnings.ts";
import type { DetectedFace } from "../provider.ts";
import { type Network, versionOf } from "./models.ts";
import type { Box } from "./pipeline/raster.ts";
import type { MeasuredFace, Reading } from "./pipeline/read.ts";
import type { Remark } from "./remarks.ts";
import { roundScore } from "./scores.ts";
import type { Resembling } from "./search.ts";

// The raw answers have the shape of Didit's, so that one reader understands both. What Didit does not have stands in
// `on_device`; what we do not compute (age, gender) is null.

export const STATUS = { approved: "Approved", review: "In Review", declined: "Declined" } as const satisfies Record<
  Outcome,
  string
>;

interface Envelope {
  readonly request_id: string;
  readonly vendor_data: string | null;
  readonly metadata: null;
  readonly created_at: string;
}

/** A call without a service: the id only tells two answers apart. */
export function envelope(vendorData: string | undefined): Envelope {
  return {
    request_id: randomUUID(),
    vendor_data: vendorData ?? null,
    metadata: null,
    created_at: new Date().toISOString(),
  };
}

export function livenessBlock(
  reading: Reading,
  { verdict, score, remarks }: { verdict: Outcome; score: number | null; remarks: readonly Remark[] },
) {
  const face = reading.main;
  return {
    status: STATUS[verdict],
    method: "PASSIVE",
    score,
    user_image: imageBlock(reading),
    warnings: remarks.map((remark) => warningBlock(remark, "LIVENESS")),
    face_quality: face === null ? null : roundScore(face.quality),
    face_luminance: face === null ? null : round(face.luminance, 2),
  };
}

export function matchBlock(
  user: Reading,
  reference: Reading,
  { verdict, score, remarks }: { verdict: Outcome; score: number | null; remarks: readonly Remark[] },
) {
  return {
    status: STATUS[verdict],
    score,
    user_image: imageBlock(user),
    ref_image: imageBlock(reference),
    warnings: remarks.map((remark) => warningBlock(remark, "FACEMATCH")),
  };
}

export function searchBlock(
  reading: Reading,
  {
    verdict,
    total,
    neighbours,
    remarks,
  }: { verdict: Outcome; total: number; neighbours: readonly Resembling[]; remarks: readonly Remark[] },
) {
  return {
    status: STATUS[verdict],
    total_matches: total,
    matches: neighbours.map((neighbour) => ({
      session_id: null,
      session_number: null,
      similarity_percentage: neighbour.similarity,
      source: "imported",
      vendor_data: neighbour.vendorData,
      verification_date: neighbour.enrolledAt,
      user_details: null,
      match_image_url: null,
      status: null,
      is_blocklisted: neighbour.blocklisted,
      is_allowlisted: false,
      api_service: null,
      biometric_template_id: neighbour.id,
      label: neighbour.label,
    })),
    user_image: imageBlock(reading),
    warnings: remarks.map((remark) => warningBlock(remark, "LIVENESS")),
  };
}

/** The same for `detected_faces`. */
export function facesOf(image: DetectedFace["image"], reading: Reading): DetectedFace[] {
  const { main } = reading;
  return imageBlock(reading).entities.map(({ bbox: [left, top, right, bottom] }, at) => ({
    image,
    box: { left, top, right, bottom },
    quality: at === 0 && main !== null ? roundScore(main.quality) : null,
    luminance: at === 0 && main !== null ? round(main.luminance, 2) : null,
  }));
}

/** What was measured of one image, for whoever wants to know why; `face`: the one that was judged. */
export function measured(reading: Reading, face = reading.main) {
  return {
    width: reading.width,
    height: reading.height,
    faces: reading.faces.length,
    found_in: face === null ? null : reading.view,
    face: face === null ? null : { bbox: bboxOf(face.box, reading), ...measuredFace(face) },
  };
}

/** Each file once, however often it is used. */
export const modelsUsed = (networks: readonly Network[]) => [...new Set(networks.map(versionOf))];

function measuredFace({ norm, height, tilt, sharpness, colour, surroundingsScale, maskedness }: MeasuredFace) {
  return {
    embedding_norm: round(norm, 3),
    height_px: Math.round(height),
    tilt: Math.round(tilt),
    maskedness: maskedness === null ? null : round(maskedness, 4),
    sharpness: round(sharpness, 1),
    colour: round(colour, 2),
    surroundings_scale: round(surroundingsScale, 2),
  };
}

function imageBlock(reading: Reading) {
  return {
    entities: reading.faces.map(({ box, confidence }) => ({
      bbox: bboxOf(box, reading),
      confidence: round(confidence, 6),
      age: null,
      gender: null,
      race: null,
    })),
    best_angle: reading.angle,
  };
}

/** Whole pixels inside the image: left, top, right, bottom. */
export function bboxOf({ left, top, right, bottom }: Box, { width, height }: { width: number; height: number }) {
  return [
    Math.max(0, Math.round(left)),
    Math.max(0, Math.round(top)),
    Math.min(width, Math.round(right)),
    Math.min(height, Math.round(bottom)),
  ] as const;
}

function warningBlock({ tag, severity, image, detail }: Remark, feature: "LIVENESS" | "FACEMATCH") {
  const { meaning } = about(tag);
  const words = tag.toLowerCase().replaceAll("_", " ");
  return {
    risk: tag,
    feature,
    additional_data: image === undefined && detail === undefined ? null : { ...(image && { image }), ...detail },
    log_type: severity,
    short_description: words.charAt(0).toUpperCase() + words.slice(1),
    long_description: meaning, // what to do is for the decision to say
  };
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
