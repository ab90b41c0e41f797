import { createRequire } from "node:module";
import { DEFAULT_GALLERY } from "../../config.ts";
import { CheckError, stopIfCancelled } from "../../errors.ts";
import type { Image } from "../../images/image.ts";
import { MAX_PIXELS } from "../../images/sharp.ts";
import { once } from "../../once.ts";
import { about } from "../../warnings.ts";
import {
  type CallOptions,
  type CheckOptions,
  DEFAULT_THRESHOLDS,
  type Enrolment,
  type EnrolOptions,
  type ProviderWith,
  type Report,
  type SearchOptions,
  SIMILARITY,
} from "../provider.ts";
import { bboxOf, envelope, facesOf, livenessBlock, matchBlock, measured, modelsUsed, searchBlock } from "./answers.ts";
import { compareFaces, type Judgement, judgeMatch } from "./compare.ts";
import { type EngineOptions, startEngine } from "./engine.ts";
import { toStored } from "./gallery/embedding.ts";
import type { Galleries, Gallery } from "./gallery/gallery.ts";
import { embeddingModelOf, networksOf, readingNetworks } from "./models.ts";
import { hasSeveralFaces } from "./pipeline/detect.ts";
import { toEmbedding } from "./pipeline/embed.ts";
import type { MeasuredFace, Reading } from "./pipeline/read.ts";
import { isOfPhoto, remarksOn, spoilsLiveness, toWarnings } from "./remarks.ts";
import { shownScoreOn } from "./scores.ts";
import { findNeighbours, judgeNeighbours, toMatch } from "./search.ts";
import { templatesOf } from "./templates.ts";

export interface OnDeviceOptions extends EngineOptions {
  /** Called at the first search or enrolment, with the name of the model whose embeddings the galleries are to hold. */
  readonly openGalleries: (model: string) => Promise<Galleries>;
  /** Of calls that name none. Default: the default one. */
  readonly gallery?: string;
}

type OnDevice = ProviderWith<
  "checkLiveness" | "matchFaces" | "searchFace" | "enrollFace" | "hasFace" | "listFaces" | "removeFace"
>;

/** Checks that are computed on this machine: no account, no network, and no image is kept. */
export function onDevice({
  openGalleries,
  gallery: ownGallery = DEFAULT_GALLERY,
  ...options
}: OnDeviceOptions): OnDevice {
  const { pack } = options;
  const engine = startEngine(options);
  const galleries = once(() =>
    openGalleries(embeddingModelOf(pack)).catch((thrown: unknown) => {
      throw CheckError.from(thrown);
    }),
  );

  /** The operator's own is made where there is none yet; another one only when somebody is enrolled in it. */
  async function open(name = ownGallery, create = name === ownGallery): Promise<Gallery> {
    return (await galleries.get()).open(name, { create });
  }

  async function read(image: Image, { signal, onStage, rotate = false, save }: SearchOptions): Promise<Reading> {
    if (save === true) {
      throw new CheckError("unsupported", "Checks on the device keep nothing, so save has no effect.", {
        next: "Retry without save. To keep a face, call enroll_face.",
      });
    }
    onStage("detecting");
    return engine.read(image, { rotate, signal });
  }

  return {
    name: "on-device",
    images: {
      maxBytes: 5 * 2 ** 20,
      mimes: ["image/jpeg", "image/png", "image/webp", "image/tiff"],
      maxPixels: MAX_PIXELS,
    },

    async checkLiveness(image: Image, options: CheckOptions) {
      const { declineThreshold: threshold = DEFAULT_THRESHOLDS.liveness, vendorData, signal, onStage } = options;
      const reading = await read(image, options);
      const face = reading.main;
      onStage("comparing");
      const score = face === null ? null : shownScoreOn(pack.curves.liveness, await engine.spoof(face, signal));
      const { verdict, remarks, notes } = judgeLiveness(score, threshold, reading);
      const raw = {
        ...envelope(vendorData),
        liveness: livenessBlock(reading, { verdict, score, remarks }),
        on_device: {
          models: modelsUsed(networksOf(pack)),
          threshold,
          user_image: measured(reading),
        },
      };
      const note = sentences([foundHow(reading), ...notes]);
      const faces = facesOf("user", reading);
      return {
        verdict,
        score,
        threshold,
        warnings: toWarnings(remarks),
        ...note,
        reference: raw.request_id,
        faces,
        raw,
      };
    },

    async matchFaces(user: Image, reference: Image, options: CheckOptions) {
      const { declineThreshold: threshold = DEFAULT_THRESHOLDS.match, vendorData, signal, onStage } = options;
      const { rotate = false, compareAll = true } = options;
      const [userReading, referenceReading] = await Promise.all([read(user, options), read(reference, options)]);
      onStage("comparing");
      const comparison = await compareFaces(
        engine,
        { image: user, reading: userReading },
        { image: reference, reading: referenceReading },
        { threshold, compareAll, rotate, signal },
      );
      const { verdict, score, remarks, notes } = judgeMatch(comparison, userReading, referenceReading, threshold);
      const raw = {
        ...envelope(vendorData),
        face_match: matchBlock(userReading, referenceReading, { verdict, score, remarks }),
        on_device: {
          models: modelsUsed(readingNetworks(pack)),
          threshold,
          cosine: comparison === null ? null : Number(comparison.cosine.toFixed(4)),
          user_image: measured(userReading, comparison?.user),
          ref_image: measured(referenceReading, comparison?.reference),
        },
      };
      const how = [foundHow(userReading, " in user_image"), foundHow(referenceReading, " in reference_image")];
      const note = sentences([...how, ...notes]);
      const faces = [...facesOf("user", userReading), ...facesOf("reference", referenceReading)];
      return {
        verdict,
        score,
        threshold,
        warnings: toWarnings(remarks),
        ...note,
        reference: raw.request_id,
        faces,
        raw,
      };
    },

    galleries: true,

    async searchFace(image: Image, options: SearchOptions) {
      const store = await open(options.gallery);
      const reading = await read(image, options);
      if (reading.main === null) {
        throw new CheckError("no_face", "No face was found in the image, so nothing was searched.");
      }
      options.onStage("comparing");
      const { rotate = false, signal, allFaces = false } = options;
      const faces =
        allFaces && reading.faces.length > 1 ? await engine.readEveryone(image, { rotate, signal }) : [reading.main];
      // Without the mirror images: over many faces they gain little, for half as much time again.
      const vectors = faces.map((face) => toEmbedding(face.embedding));
      const found = await findNeighbours(store, vectors, pack.curves.similarity, options.searchType);
      stopIfCancelled(options.signal);
      const { verdict, remarks: onPeople } = judgeNeighbours(found.judged, options.vendorData);
      // Where everybody was searched for, it no longer matters that there are several.
      const others = faces.length === reading.faces.length ? [] : reading.faces;
      const remarks = [
        ...onPeople,
        ...faces.flatMap((face, i) => remarksOn(face, i === 0 ? others : [], "comparison")),
      ];
      const notes = allFaces ? [`Faces searched for: ${faces.length} of ${reading.faces.length}.`] : [];
      const raw = {
        ...envelope(options.vendorData),
        face_search: searchBlock(reading, { verdict, remarks, ...found }),
        on_device: {
          models: modelsUsed(readingNetworks(pack)),
          cosines: found.neighbours.map((neighbour) => Number(neighbour.cosine.toFixed(4))),
          user_image: measured(reading),
          ...(allFaces && {
            searched: faces.map(({ box }, i) => ({ bbox: bboxOf(box, reading), found: found.byFace[i] ?? [] })),
          }),
        },
      };
      const matches = found.neighbours.map(toMatch).toSorted((a, b) => b.similarity - a.similarity);
      return {
        verdict,
        score: matches[0]?.similarity ?? null,
        threshold: SIMILARITY.possible,
        warnings: toWarnings(remarks),
        ...sentences([foundHow(reading), ...notes, searchedIn(options.gallery)]),
        reference: raw.request_id,
        faces: facesOf("user", reading),
        raw,
        matches,
        totalMatches: found.total,
        isEmpty: found.total === 0 && (await store.count()) === 0,
      };
    },

    async enrollFace(image: Image, enrolment: Enrolment, options: EnrolOptions) {
      const { id, gallery, signal } = options;
      const face = enrollable(await read(image, options));
      options.onStage("comparing");
      const [embedding, store] = await Promise.all([engine.embed(face, signal), open(gallery, true)]);
      stopIfCancelled(signal);
      if (id === undefined) return store.enroll(toStored(embedding), enrolment);
      const enrolled = { ...enrolment, id, enrolledAt: new Date().toISOString() };
      await store.store([{ ...enrolled, embedding: toStored(embedding) }]);
      return enrolled;
    },

    hasFace: async (id, { gallery }) => (await open(gallery, true)).has(id),

    templates: templatesOf(engine),

    preload(image, { rotate = false, signal }) {
      engine.read(image, { rotate, signal }).catch(() => {}); // whoever needs the reading is told
    },

    async listFaces(page, { gallery }) {
      const faces = await (await open(gallery)).list(page);
      return gallery === undefined ? faces : { ...faces, place: `enrolled in the gallery ${gallery}` };
    },
    removeFace: async (id, { gallery }) => (await open(gallery)).remove(id),

    async describe() {
      const notAvailable = (thrown: unknown) => `not available: ${CheckError.from(thrown).message}`;
      const faces = await open()
        .then((own) => own.count())
        .catch(notAvailable);
      const names = await galleries
        .get()
        .then((all) => all.names())
        .catch(notAvailable);
      return {
        runtime: expectedRuntime(),
        model_pack: pack.name,
        models: modelsUsed(networksOf(pack)).join(", "),
        gallery: ownGallery,
        gallery_faces: faces,
        galleries: typeof names === "string" ? names : names.join(", "),
      };
    },

    async test({ signal }: CallOptions) {
      const runtime = await engine.probe(signal);
      return `JPEG, PNG, WebP and TIFF can be decoded; the face models are intact and run on ${runtime}.`;
    },

    async close() {
      await engine.close();
      await (await galleries.peek()?.catch(() => undefined))?.close();
    },
  };
}

function judgeLiveness(score: number | null, threshold: number, reading: Reading): Judgement {
  if (score === null) {
    return { verdict: "declined", score, remarks: [{ tag: "NO_FACE_DETECTED", severity: "error" }], notes: [] };
  }
  const remarks = remarksOn(reading.main, reading.faces, "liveness");
  // The best that this check can come to is `review`, whatever the score: the network lets paper masks, cut-outs and
  // some prints pass. It can tell that something is wrong, and not that nothing is.
  if (score > threshold) return { verdict: "review", score, remarks, notes: [] };
  if (remarks.some(spoilsLiveness)) {
    return { verdict: "review", score, remarks, notes: ["The score is low, but for such a photo it means little."] };
  }
  return {
    verdict: "declined",
    score,
    remarks: [{ tag: "LOW_LIVENESS_SCORE", severity: "error" }, ...remarks],
    notes: [],
  };
}

/** Later searches rest on what is enrolled, so it has to be one face, certainly, and a good one. */
function enrollable({ main, faces }: Reading): MeasuredFace {
  if (main === null) throw new CheckError("no_face", "No face was found in the image, so none was enrolled.");
  const tags = remarksOn(main, faces, "comparison")
    .filter(isOfPhoto)
    .map(({ tag }) => tag);
  const [first] = tags;
  if (first !== undefined) {
    const faults = tags.map((tag) => tag.toLowerCase().replaceAll("_", " ")).join(", ");
    throw new CheckError(
      "image_rejected",
      `The photo is too poor to enroll, as searches would not find the person again: ${faults}.`,
      { next: about(first).advice },
    );
  }
  if (hasSeveralFaces(faces)) {
    throw new CheckError("image_rejected", "The image shows more than one person, so it is unclear whom to enroll.", {
      next: "Use a photo, or a crop of this one, that shows only the person to enroll.",
    });
  }
  return main;
}

const IN_VIEW = { whole: "", padded: " with a margin around the image", parts: " in an enlarged part of the image" };

/** What it took to find the face, where that was not the usual, or what was tried; a sentence. */
function foundHow({ main, view, angle }: Reading, where = ""): string | undefined {
  if (main === null) {
    return `No face was found${where}: not in the whole image, nor in enlarged parts of it, nor in any rotation.`;
  }
  if (view === "whole" && angle === 0) return undefined;
  const turned = angle === 0 ? "" : ` after a clockwise rotation by ${angle} degrees`;
  return `The face${where} was found${IN_VIEW[view]}${turned}.`;
}

/** Whoever was not found there may be in another one. */
function searchedIn(gallery: string | undefined): string | undefined {
  return gallery === undefined ? undefined : `Only the gallery ${gallery} was searched.`;
}

function sentences(all: readonly (string | undefined)[]): Pick<Report, "note"> {
  const present = all.filter((sentence) => sentence !== undefined);
  return present.length === 0 ? {} : { note: present.join(" ") };
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
