import * as z from "zod";

// What `pack.json` may say, and nothing else: a field that is not known may be one that a score depends on.

/** A file of the pack's own folder: no path. */
const fileName = z.string().regex(/^[A-Za-z0-9][\w.-]{0,99}$/, { error: "must be the name of a file in the folder" });
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, { error: "must be a SHA-256: 64 hexadecimal digits" });
const outputName = z.string().min(1).max(200);
const side = z.int().min(16).max(2048);

/** One number for all channels, or one each for red, green and blue, whatever the order in the network's input. */
const perChannel = (one: z.ZodNumber) =>
  z
    .union([one, z.tuple([one, one, one])])
    .transform((it) => (typeof it === "number" ? ([it, it, it] satisfies [number, number, number]) : it));
const oneMean = z.number().min(-1000).max(1000);
const oneScale = z.number().min(1e-6).max(1e6);
const mean = perChannel(oneMean);
const scale = perChannel(oneScale);

/** The input, one picture of `order` planes: each value of 0..255 becomes (value - mean) / scale. */
const colours = z.strictObject({ width: side, height: side, order: z.enum(["rgb", "bgr"]), mean, scale });
const greys = z.strictObject({ width: side, height: side, order: z.literal("grey"), mean: oneMean, scale: oneScale });
const isSquare = ({ width, height }: { width: number; height: number }) => width === height;
const MUST_BE_SQUARE = { error: "must be as wide as high" };

/** The largest network in use elsewhere takes 250 MB. */
const MAX_NETWORK_BYTES = 2 ** 29;

const network = {
  file: fileName,
  bytes: z.int().min(1).max(MAX_NETWORK_BYTES),
  sha256,
  /** Nothing is left to do to the graph when it is loaded. */
  optimised: z.boolean().default(false),
  licence: z.string().min(1).max(500),
  /** What is known of them, and the terms that they came with. */
  trainingData: z.string().min(1).max(1000),
  /** Where it is to be had; not beside pack.json, then. */
  source: z
    .url({ protocol: /^https?$/ })
    .max(1000)
    .optional(),
};

const detector = {
  ...network,
  input: colours,
  /** From this probability on a candidate is a face. */
  minConfidence: z.number().gt(0).lt(1),
  /** Two candidates that share more of their union than this are the same face. */
  maxOverlap: z.number().gt(0).lt(1),
};
const stride = z.union([4, 8, 16, 32, 64, 128].map((it) => z.literal(it)));
const perStride = { stride, scores: outputName, boxes: outputName, points: outputName };

/** Measurement to score 0..100, as a line through points. */
const curve = z
  .array(z.tuple([z.number(), z.number().min(0).max(100)]))
  .min(2)
  .max(100)
  .refine((points) => points[0]?.[1] === 0, { error: "must begin with a score of 0" })
  .refine((points) => points.every(([at, score], i) => i === 0 || isAbove([at, score], points[i - 1])), {
    error: "must ascend",
  });
const isAbove = ([at, score]: readonly number[], before: readonly number[] = []) =>
  (at ?? 0) > (before[0] ?? 0) && (score ?? 0) >= (before[1] ?? 0);

/** Also the name of its folder. */
export const packName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,39}$/, { error: "must be 1 to 40 small letters, digits or -" });

export const packSchema = z
  .strictObject({
    version: z.literal(1),
    name: packName,
    about: z.string().max(2000).optional(),
    /** What was measured with it, and on what. */
    figures: z.array(z.string().max(500)).max(20).optional(),
    detector: z.discriminatedUnion("decoding", [
      z.strictObject({
        ...detector,
        decoding: z.literal("ultraface"),
        outputs: z.strictObject({ scores: outputName, boxes: outputName }),
      }),
      z.strictObject({
        ...detector,
        decoding: z.literal("yunet"),
        outputs: z
          .array(z.strictObject({ ...perStride, objectness: outputName }))
          .min(1)
          .max(6),
      }),
      z.strictObject({
        ...detector,
        decoding: z.literal("scrfd"),
        outputs: z.array(z.strictObject(perStride)).min(1).max(6),
      }),
    ]),
    /** The five points that alignment needs: out of 68 (iBUG order), or those of the detector. */
    landmarks: z.discriminatedUnion("points", [
      z.strictObject({
        points: z.literal(68),
        ...network,
        input: greys.refine(isSquare, MUST_BE_SQUARE),
        output: outputName,
      }),
      z.strictObject({ points: z.literal(5) }),
    ]),
    embedder: z.strictObject({
      ...network,
      input: colours.refine(({ width, height }) => width === 112 && height === 112, { error: "must be 112 by 112" }),
      output: outputName,
      alignment: z.literal("arcface112"),
      /** Components of an embedding; the gallery has room for 512. */
      size: z.int().min(32).max(512),
      /** What has a shorter raw embedding is no face. */
      minNorm: z.number().positive(),
    }),
    liveness: z.strictObject({
      fusion: z.literal("mean-logit"),
      networks: z
        .array(
          z.strictObject({
            ...network,
            /** What is shown: the face's box (`shift`) or a square about it (`square-reflect`), `factor` times. */
            crop: z.strictObject({ shape: z.enum(["shift", "square-reflect"]), factor: z.number().min(1).max(6) }),
            input: colours.refine(isSquare, MUST_BE_SQUARE),
            output: outputName,
            /** The index of "live" among the logits. */
            live: z.int().min(0).max(99),
          }),
        )
        .min(1)
        .max(8),
    }),
    curves: z.strictObject(
      { similarity: curve, quality: curve, liveness: curve },
      { error: ({ input }) => (input === undefined ? "are missing: without them there are no scores" : undefined) },
    ),
  })
  .refine(({ landmarks, detector: { decoding } }) => landmarks.points === 68 || decoding !== "ultraface", {
    path: ["landmarks"],
    error: "must have a network: a detector of the kind ultraface gives no points",
  })
  .refine(({ detector: { decoding, outputs, input } }) => decoding === "ultraface" || isDivided(input, outputs), {
    path: ["detector", "input"],
    error: "must be a multiple of every stride",
  })
  .refine(isUnambiguous, { error: "gives one file two sizes or two fingerprints" });

interface File {
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
}
interface Files {
  readonly detector: File;
  readonly landmarks: { readonly points: 5 } | (File & { readonly points: 68 });
  readonly embedder: File;
  readonly liveness: { readonly networks: readonly File[] };
}

/** A file can be used in several ways, but is loaded, and checked, once. */
function isUnambiguous({ detector, landmarks, embedder, liveness }: Files): boolean {
  const files = [detector, ...(landmarks.points === 68 ? [landmarks] : []), embedder, ...liveness.networks];
  const known = new Map(files.map((it) => [it.file, it]));
  return files.every(({ file, bytes, sha256: hash }) => {
    const other = known.get(file);
    return other?.bytes === bytes && other.sha256 === hash;
  });
}

function isDivided({ width, height }: { width: number; height: number }, outputs: unknown): boolean {
  const strides = Array.isArray(outputs) ? outputs.map(({ stride: it }: { stride: number }) => it) : [];
  return strides.every((it) => width % it === 0 && height % it === 0);
}
