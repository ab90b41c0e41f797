import { createHash } from "node:crypto";
import { readFile, realpath, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import type * as z from "zod";
import { CheckError } from "../../errors.ts";
import type { packSchema } from "./pack.ts";

/** What `pack.json` describes: the networks of all checks, how they are fed and read, and what their outputs mean. */
export type PackFile = z.output<typeof packSchema>;
export type Decoding = PackFile["detector"]["decoding"];
export type Detector<D extends Decoding = Decoding> = Extract<PackFile["detector"], { decoding: D }>;
export type Embedder = PackFile["embedder"];
export type LivenessNetwork = PackFile["liveness"]["networks"][number];
export type Landmarks = PackFile["landmarks"];
/** A line through points: [measurement, score 0..100]; flat before the first and after the last. */
export type Curve = PackFile["curves"]["similarity"];

export type LandmarkNetwork = Extract<Landmarks, { points: 68 }>;
export type Network = Detector | LandmarkNetwork | Embedder | LivenessNetwork;

/** What is known of the file of a network, whatever it is for. */
export type NetworkFile = Pick<Embedder, "file" | "bytes" | "sha256">;

/** A pack that was read, and where its files are. */
export interface Pack extends PackFile {
  /** A file: address that ends in a slash. */
  readonly folder: string;
}

/** The pack that the program is published with; no other may have its name. */
export const SHIPPED = "shipped";
/** Each network once for each way in which it is used; a file may be among them more than once. */
export function networksOf({ detector, landmarks, embedder, liveness }: PackFile): readonly Network[] {
  return [...readingNetworks({ detector, landmarks, embedder }), ...liveness.networks];
}

/** Those that find and embed a face. */
export function readingNetworks({
  detector,
  landmarks,
  embedder,
}: Pick<PackFile, "detector" | "landmarks" | "embedder">) {
  return landmarks.points === 68 ? [detector, landmarks, embedder] : [detector, embedder];
}

/** The shape of the one input. */
export function shapeOf({ input: { order, width, height } }: Network): readonly number[] {
  return [1, order === "grey" ? 1 : 3, height, width];
}

/** The names of the outputs that are read. */
export function outputsOf(network: Network): readonly string[] {
  if ("output" in network) return [network.output];
  const { outputs } = network;
  const perPlace: readonly Readonly<Record<string, string | number>>[] = Array.isArray(outputs) ? outputs : [outputs];
  return perPlace.flatMap((all) => Object.values(all).filter((it) => typeof it === "string"));
}

/** The network by its file and the start of its fingerprint, for `get_setup` and the raw answers. */
export const versionOf = ({ file, sha256 }: Network) => `${stemOf(file)} ${sha256.slice(0, 8)}`;

const stemOf = (file: string) => file.replace(/\.onnx$/, "");

/** The shipped embedder under the name that it had before there were packs, so that galleries of then go on. */
export const SHIPPED_EMBEDDINGS = "faceplugin-fr_feature-87aacdfe-5pt1";
const SHIPPED_BINDING = "34176e45";

/**
 * What embeddings may be compared with each other: the network, what it is fed with, and by which points a face is laid
 * into its input. A gallery refuses those of another name.
 */
export function embeddingModelOf({ detector, landmarks, embedder }: PackFile): string {
  const points =
    landmarks.points === 68
      ? [landmarks.sha256, landmarks.input, landmarks.output]
      : [detector.sha256, detector.decoding, detector.input, detector.outputs];
  const { sha256, file } = embedder;
  const bound = [sha256, embedder.input, embedder.output, embedder.alignment, embedder.size, points];
  const binding = sha256Of(Buffer.from(JSON.stringify(bound))).slice(0, 8);
  return binding === SHIPPED_BINDING ? SHIPPED_EMBEDDINGS : `${stemOf(file)}-${sha256.slice(0, 8)}-${binding}`;
}

/** @throws CheckError `setup` where a network is missing, or is not the one that the pack means. */
export async function verifyPack(pack: Pack): Promise<void> {
  for (const network of networksOf(pack)) await loadNetwork(network, pack);
}

/** @throws CheckError `setup` where the file is not there, lies elsewhere, or is not the one that the pack means. */
export async function loadNetwork({ file, bytes, sha256 }: NetworkFile, pack: Pack): Promise<Uint8Array> {
  const next = pack.name === SHIPPED ? REINSTALL : CHOOSE;
  const read = await readInside(file, new URL(pack.folder), bytes, next).catch((cause: unknown) => {
    if (cause instanceof CheckError) throw cause;
    throw new CheckError("setup", `The face model ${file} is missing.`, { cause, next });
  });
  // A changed model would go on answering, with scores that mean something else.
  if (sha256Of(read) !== sha256) {
    throw new CheckError("setup", `The face model ${file} is damaged: its checksum is wrong.`, { next });
  }
  return read;
}

export const sha256Of = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** A regular file of the folder itself, of at most so many bytes. A link is followed only where it stays in it. */
export async function readInside(file: string, folder: URL, maxBytes: number, next = CHOOSE): Promise<Uint8Array> {
  const [inside, path] = await Promise.all([
    realpath(fileURLToPath(folder)),
    realpath(fileURLToPath(new URL(file, folder))),
  ]);
  if (dirname(path) !== inside) {
    throw new CheckError("setup", `${file} of the model pack is a link to a place outside its folder.`, {
      next,
    });
  }
  const found = await stat(path);
  if (!found.isFile() || found.size > maxBytes) {
    throw new CheckError("setup", `${file} of the model pack is not a file of at most ${maxBytes} bytes.`, {
      next,
    });
  }
  return readFile(path);
}

const REINSTALL = "Reinstall biometrics-mcp: one of its files is missing or was changed.";
export const CHOOSE =
  "Correct the model pack (BIOMETRICS_MODELS names its folder), or go back to the built-in one: `biometrics-mcp models use shipped`.";
