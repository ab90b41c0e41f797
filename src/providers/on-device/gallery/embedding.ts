import { CheckError } from "../../../errors.ts";

export const COMPONENTS = 512;

/** Shorter embeddings are filled up with zeros, which changes neither cosines nor how many signs differ. */
export function toStored(embedding: Float32Array): Float32Array {
  if (embedding.length >= COMPONENTS) return embedding;
  const filled = new Float32Array(COMPONENTS);
  filled.set(embedding);
  return filled;
}

/** float32 rounding over 512 components stays below 1e-5; a vector that was never normalised is far outside. */
export const LENGTH_TOLERANCE = 1e-3;

export function lengthOf(embedding: Float32Array): number {
  let squares = 0;
  for (const component of embedding) squares += component * component;
  return Math.sqrt(squares);
}

/** Written so that NaN is none. */
export function isUnit(embedding: Float32Array): boolean {
  return Math.abs(lengthOf(embedding) - 1) <= LENGTH_TOLERANCE;
}

/** A face stored wrong is found by no later search, so what is not an embedding never gets in. */
export function assertEmbedding(embedding: Float32Array): void {
  if (embedding.length !== COMPONENTS || !isUnit(embedding)) {
    throw new CheckError("internal", "The face model returned no usable embedding.", {
      cause: `embedding of ${embedding.length} components and length ${lengthOf(embedding)}`,
    });
  }
}

export function bytesOf(embedding: Float32Array): Uint8Array {
  return new Uint8Array(embedding.buffer, embedding.byteOffset, embedding.byteLength);
}

/** @throws CheckError where the bytes are no embedding */
export function embeddingOf(bytes: Uint8Array): Float32Array {
  const embedding = new Float32Array(new Uint8Array(bytes).buffer, 0, bytes.byteLength >> 2);
  assertEmbedding(embedding);
  return embedding;
}

/** Bit i is set when component i is positive: 64 bytes whose Hamming distance grows with the angle. */
export function signBits(embedding: Float32Array): Uint8Array {
  const bits = new Uint8Array(embedding.length / 8);
  embedding.forEach((component, i) => {
    if (component > 0) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
  });
  return bits;
}
