import type { NeighbourQuery, StoredFace } from "../../src/providers/on-device/gallery/gallery.ts";

export const MODEL = "test-model-1";
export const COMPONENTS = 512;
export const NEAREST: NeighbourQuery = { minCosine: 0.49, limit: 10, blocklistedFirst: false };

/** Made-up faces that are the same in every run. */
export class FaceMaker {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** Mulberry32, then Box-Muller. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  uniform(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  face(): Float32Array {
    return unit(new Float32Array(COMPONENTS).map(() => this.normal()));
  }

  /** Another photo of the same face, at about that cosine. */
  photoOf(face: Float32Array, cosine: number): Float32Array {
    const other = this.face();
    const aside = Math.sqrt(1 - cosine * cosine);
    return unit(face.map((component, i) => cosine * component + aside * (other[i] ?? 0)));
  }
}

export function cosineOf(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, component, i) => sum + component * (b[i] ?? 0), 0);
}

export function bytesOf(face: Float32Array): Buffer {
  return Buffer.from(face.buffer, face.byteOffset, face.byteLength);
}

export function bitsOf(face: Float32Array): Buffer {
  const bits = Buffer.alloc(COMPONENTS / 8);
  for (const [i, component] of face.entries())
    if (component > 0) bits.writeUInt8(bits.readUInt8(i >> 3) | (1 << (i & 7)), i >> 3);
  return bits;
}

/** As one gallery gives it to another. */
export function storedFace(id: string, embedding: Float32Array): StoredFace {
  return { id, label: id, vendorData: null, blocklisted: false, enrolledAt: "2026-01-02T03:04:05.000Z", embedding };
}

function unit(vector: Float32Array): Float32Array {
  const length = Math.sqrt(cosineOf(vector, vector));
  return vector.map((component) => component / length);
}
