import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { CheckError } from "../../errors.ts";

interface Model {
  readonly file: string;
  readonly sha256: string;
  /** Shape of the one input, which all of these models call `input`. */
  readonly input: readonly number[];
}

/** The networks, from the npm package `faceplugin-face-recognition-js` 0.0.1. The build copies them beside the program. */
export const MODELS = {
  detect: {
    file: "fr_detect.onnx",
    sha256: "6c0256ccd3164f844736a401faf936ec2930764a87ae39442180887d0c5c8854",
    input: [1, 3, 240, 320],
  },
  landmark: {
    file: "fr_landmark.onnx",
    sha256: "f10b0ba1d2a8a099adefede1ebf3733e44fe370715e7303dbeb7f59c02142258",
    input: [1, 1, 64, 64],
  },
  feature: {
    file: "fr_feature.onnx",
    sha256: "87aacdfe57510db2af90c0251df680e8eec88f122ee94712121d09bcaaaf3581",
    input: [1, 3, 112, 112],
  },
  liveness: {
    file: "fr_liveness.onnx",
    sha256: "afa783b7e902fdfcf323a7240cac2a1c580c25314ea4161129dc1b0d100dc32d",
    input: [1, 3, 128, 128],
  },
} as const satisfies Record<string, Model>;

export type ModelName = keyof typeof MODELS;

/**
 * What embeddings may be compared with each other: the network and the way a face is laid into its input. A gallery
 * refuses those of another name, so it changes whenever alignment or preprocessing do.
 */
export const EMBEDDING_MODEL = `faceplugin-fr_feature-${MODELS.feature.sha256.slice(0, 8)}-5pt1`;

/** The network by its file and the start of its fingerprint, for `get_setup` and the raw answers. */
export function versionOf(name: ModelName): string {
  const { file, sha256 } = MODELS[name];
  return `${file.replace(".onnx", "")} ${sha256.slice(0, 8)}`;
}

export function isIntact(name: ModelName, bytes: Uint8Array): boolean {
  return createHash("sha256").update(bytes).digest("hex") === MODELS[name].sha256;
}

/** @throws CheckError `setup` where the file is not there, or is not the one that was measured. */
export async function loadModel(name: ModelName, folder: URL): Promise<Uint8Array> {
  const { file } = MODELS[name];
  const bytes = await readFile(new URL(file, folder)).catch((cause: unknown) => {
    throw new CheckError("setup", `The face model ${file} is missing.`, { cause, next: REINSTALL });
  });
  // A changed model would go on answering, with scores that mean something else.
  if (!isIntact(name, bytes)) {
    throw new CheckError("setup", `The face model ${file} is damaged: its checksum is wrong.`, { next: REINSTALL });
  }
  return bytes;
}

const REINSTALL = "Reinstall biometrics-mcp: one of its files is missing or was changed.";
