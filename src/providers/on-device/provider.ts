import { createRequire } from "node:module";
import { CheckError } from "../../errors.ts";
import type { Image } from "../../image.ts";
import {
  type CallOptions,
  type CheckOptions,
  type Enrolment,
  type ProviderWith,
  type SearchOptions,
  SIMILARITY,
} from "../../provider.ts";
import { envelope, facesOf, livenessBlock, matchBlock, measured, modelsUsed, searchBlock } from "./answers.ts";
import { stopIfCancelled } from "./cancelled.ts";
import { type EngineOptions, startEngine } from "./engine.ts";
import type { Gallery } from "./gallery/gallery.ts";
import { EMBEDDING_MODEL } from "./models.ts";
import { once } from "./once.ts";
import { MAX_PIXELS } from "./pipeline/decode.ts";
import { hasRival } from "./pipeline/detect.ts";
import { cosine, toEmbedding } from "./pipeline/embed.ts";
import type { MainFace, Reading } from "./pipeline/read.ts";
import { faceOf, MIN_FACE_HEIGHT, type Remark, remarksOn, toWarnings } from "./remarks.ts";
import { livenessOf, similarityOf } from "./scores.ts";
import { findNeighbours, judgeNeighbours, toMatch } from "./search.ts";

export interface OnDeviceOptions extends EngineOptions {
  /** Called at the first search or enrolment, with the name of the model whose embeddings the gallery is to hold. */
  readonly openGallery: (model: string) => Promise<Gallery>;
}

/** What declines at or below it when the caller names no threshold; the same as Didit's. */
const DEFAULT_THRESHOLD = 30;

type OnDevice = ProviderWith<"checkLiveness" | "matchFaces" | "searchFace" | "enrollFace" | "listFaces" | "removeFace">;

/** Checks that are computed on this machine: no account, no network, and no image is kept. */
export function onDevice({ openGallery, ...options }: OnDeviceOptions): OnDevice {
  const engine = startEngine(options);
  const gallery = once(() =>
    openGallery(EMBEDDING_MODEL).catch((thrown: unknown) => {
      throw CheckError.from(thrown);
    }),
  );

  async function read(image: Image, { signal, onStage, rotate = false, save }: SearchOptions): Promise<Reading> {
    if (save === true) {
      throw new CheckError("unsupported", "A check on the device keeps nothing, so there is nothing to save.", {
        next: "Repeat the call without save. To remember a face, call enroll_face.",
      });
    }
    onStage("detecting");
    return engine.read(image, { rotate, signal });
  }

  /**
   * Cosine of the two faces, -1..1; null without two faces. Only the reference is taken together with its mirror image:
   * doing so on both sides moved the cosines of 231 pairs by 0.01 on average, for a quarter more time.
   */
  async function compare(user: MainFace | null, reference: MainFace | null, signal: AbortSignal) {
    if (user === null || reference === null) return null;
    return cosine(toEmbedding(user.embedding), await engine.embed(reference, signal));
  }

  const countFaces = async () => (await gallery.get()).count();

  return {
    name: "on-device",
    images: {
      maxBytes: 5 * 2 ** 20,
      mimes: ["image/jpeg", "image/png", "image/webp", "image/tiff"],
      maxPixels: MAX_PIXELS,
    },

    async checkLiveness(image: Image, options: CheckOptions) {
      const { declineThreshold: threshold = DEFAULT_THRESHOLD, vendorData, signal, onStage } = options;
      const reading = await read(image, options);
      const face = faceOf(reading);
      onStage("comparing");
      const score = face === null ? null : livenessOf(await engine.spoof(face, signal));
      const remarks = [...livenessErrors(score, threshold), ...remarksOn(reading, "liveness")];
      // The best that this check can come to is `review`, whatever the score. On public samples the network let 31 % of
      // the spoofs pass (paper masks, held prints, a generated portrait): it can tell that something is wrong, and
      // not that nothing is.
      const verdict = score === null || score <= threshold ? "declined" : "review";
      const raw = {
        ...envelope(vendorData),
        liveness: livenessBlock(reading, { verdict, score, remarks }),
        on_device: {
          models: modelsUsed("detect", "landmark", "feature", "liveness"),
          threshold,
          user_image: measured(reading),
        },
      };
      const faces = facesOf("user", reading);
      return { verdict, score, threshold, warnings: toWarnings(remarks), reference: raw.request_id, faces, raw };
    },

    async matchFaces(user: Image, reference: Image, options: CheckOptions) {
      const { declineThreshold: threshold = DEFAULT_THRESHOLD, vendorData, signal, onStage } = options;
      const [userReading, referenceReading] = await Promise.all([read(user, options), read(reference, options)]);
      onStage("comparing");
      const alike = await compare(faceOf(userReading), faceOf(referenceReading), signal);
      const score = alike === null ? null : similarityOf(alike);
      const remarks = [
        ...matchErrors(score, threshold),
        ...remarksOn(userReading, "comparison", { image: "user_image" }),
        ...remarksOn(referenceReading, "comparison", { image: "ref_image" }),
      ];
      // Between the threshold and a similarity that is a possible match at best, a person looks.
      const verdict =
        score === null || score <= threshold ? "declined" : score > SIMILARITY.possible ? "approved" : "review";
      const raw = {
        ...envelope(vendorData),
        face_match: matchBlock(userReading, referenceReading, { verdict, score, remarks }),
        on_device: {
          models: modelsUsed("detect", "landmark", "feature"),
          threshold,
          cosine: alike === null ? null : Number(alike.toFixed(4)),
          user_image: measured(userReading),
          ref_image: measured(referenceReading),
        },
      };
      const faces = [...facesOf("user", userReading), ...facesOf("reference", referenceReading)];
      return { verdict, score, threshold, warnings: toWarnings(remarks), reference: raw.request_id, faces, raw };
    },

    async searchFace(image: Image, options: SearchOptions) {
      const reading = await read(image, options);
      const face = faceOf(reading);
      if (face === null) throw new CheckError("no_face", "No face was found in the image, so none was searched for.");
      options.onStage("comparing");
      // Without the mirror image: over many faces it gains little, for half as much time again.
      const store = await gallery.get();
      const found = await findNeighbours(store, toEmbedding(face.embedding), options.searchType);
      stopIfCancelled(options.signal);
      const { verdict, remarks: onPeople } = judgeNeighbours(found.judged, options.vendorData);
      const remarks = [...onPeople, ...remarksOn(reading, "comparison")];
      const raw = {
        ...envelope(options.vendorData),
        face_search: searchBlock(reading, { verdict, remarks, ...found }),
        on_device: {
          models: modelsUsed("detect", "landmark", "feature"),
          cosines: found.neighbours.map((neighbour) => Number(neighbour.cosine.toFixed(4))),
          user_image: measured(reading),
        },
      };
      const matches = found.neighbours.map(toMatch).toSorted((a, b) => b.similarity - a.similarity);
      return {
        verdict,
        score: matches[0]?.similarity ?? null,
        threshold: SIMILARITY.possible,
        warnings: toWarnings(remarks),
        reference: raw.request_id,
        faces: facesOf("user", reading),
        raw,
        matches,
        totalMatches: found.total,
        isEmpty: found.total === 0 && (await store.count()) === 0,
      };
    },

    async enrollFace(image: Image, enrolment: Enrolment, options: CallOptions) {
      const face = enrollable(await read(image, options));
      options.onStage("comparing");
      const [embedding, store] = await Promise.all([engine.embed(face, options.signal), gallery.get()]);
      stopIfCancelled(options.signal);
      return store.enroll(embedding, enrolment);
    },

    prepare(image, { rotate = false, signal }) {
      engine.read(image, { rotate, signal }).catch(() => {}); // whoever needs the reading is told
    },

    listFaces: async (page) => (await gallery.get()).list(page),
    removeFace: async (id) => (await gallery.get()).remove(id),

    async describe() {
      const faces = await countFaces().catch((thrown: unknown) => `not available: ${CheckError.from(thrown).message}`);
      return {
        runtime: expectedRuntime(),
        models: modelsUsed("detect", "landmark", "feature", "liveness").join(", "),
        gallery_faces: faces,
      };
    },

    async test({ signal }: CallOptions) {
      const runtime = await engine.probe(signal);
      const faces = await countFaces().catch((thrown: unknown) => {
        // Without a store for faces the other checks work; with one that is broken something has to be done.
        if (CheckError.from(thrown).code === "unsupported") return null;
        throw thrown;
      });
      const kept = faces === null ? "there is no face gallery in this setup" : `faces in the gallery: ${faces}`;
      return `the face models are intact and run on ${runtime}; ${kept}.`;
    },

    async close() {
      await engine.close();
      await (await gallery.peek()?.catch(() => undefined))?.close();
    },
  };
}

function livenessErrors(score: number | null, threshold: number): Remark[] {
  if (score === null) return [{ tag: "NO_FACE_DETECTED", severity: "error" }];
  return score <= threshold ? [{ tag: "LOW_LIVENESS_SCORE", severity: "error" }] : [];
}

function matchErrors(score: number | null, threshold: number): Remark[] {
  if (score === null) return [{ tag: "NO_REFERENCE_IMAGE", severity: "error" }];
  return score <= threshold ? [{ tag: "LOW_FACE_MATCH_SIMILARITY", severity: "error" }] : [];
}

/** Later searches rest on what is enrolled, so it has to be one face, certainly, and a good one. */
function enrollable(reading: Reading): MainFace {
  const face = faceOf(reading);
  if (face === null) throw new CheckError("no_face", "No face was found in the image, so none was enrolled.");
  if (face.height < MIN_FACE_HEIGHT) {
    throw new CheckError("image_rejected", "The face is too small in the image to be enrolled.", {
      next: "Ask the user for a photo taken from closer by.",
    });
  }
  if (hasRival(reading.faces)) {
    throw new CheckError("image_rejected", "The image shows more than one person, so it is not clear whom to enroll.", {
      next: "Ask the user for a photo, or a cutting of this one, that shows only the person to enroll.",
    });
  }
  return face;
}

/** The runtime that the first check will load: knowing it for certain would take loading it now. */
function expectedRuntime(): string {
  try {
    createRequire(import.meta.url).resolve("onnxruntime-node");
    return "onnxruntime-node";
  } catch {
    return "onnxruntime-web (WebAssembly)";
  }
}
