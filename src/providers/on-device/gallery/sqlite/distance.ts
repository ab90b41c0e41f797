import { COMPONENTS, isUnit, LENGTH_TOLERANCE } from "../embedding.ts";
import type { Database } from "./driver.ts";

/** SQL expressions over the columns `b` and `embedding` and the parameters `:bits` and `:query`. */
export interface DistanceSql {
  /** How many of the 512 signs differ. */
  readonly hamming: string;
  /** Cosine of the two embeddings, -1..1, where the stored one is a unit vector; else anything, or an error. */
  readonly cosine: string;
  /** Is the stored one a unit vector, and so an embedding? Takes as long as a cosine. NULL is none. */
  readonly isUnit: string;
}

const BYTES = COMPONENTS * Float32Array.BYTES_PER_ELEMENT;

/** The sqlite-vec extension where this platform has one, else the same two distances in JavaScript: slower, same answers. */
export async function installDistances(database: Database, extension: boolean): Promise<DistanceSql> {
  if (extension && (await loadExtension(database))) {
    const length = `CASE WHEN length(embedding) = ${BYTES} THEN vec_distance_l2(embedding, zeroblob(${BYTES})) END`;
    return {
      hamming: "vec_distance_hamming(vec_bit(b), vec_bit(:bits))",
      // Of unit vectors; the extension computes the Euclidean distance with vector instructions, and the cosine without.
      cosine: "1 - power(vec_distance_l2(embedding, :query), 2) / 2",
      isUnit: `abs(${length} - 1) <= ${LENGTH_TOLERANCE}`,
    };
  }
  database.function("js_hamming", { deterministic: true }, hammingDistance);
  database.function("js_cosine", { deterministic: true }, cosine);
  database.function("js_is_unit", { deterministic: true }, isUnitVector);
  return {
    hamming: "js_hamming(b, :bits)",
    cosine: "js_cosine(embedding, :query)",
    isUnit: "js_is_unit(embedding)",
  };
}

async function loadExtension(database: Database): Promise<boolean> {
  try {
    const { load } = await import("sqlite-vec");
    database.enableLoadExtension(true);
    load(database);
    return true;
  } catch {
    // No package for this platform, or Node was told to load no native code.
    return false;
  } finally {
    database.enableLoadExtension(false); // for SQL, too
  }
}

function hammingDistance(a: Uint8Array, b: Uint8Array): number {
  let distance = 0;
  for (let i = 0; i < a.length; i++) {
    let differing = (a[i] ?? 0) ^ (b[i] ?? 0);
    for (; differing !== 0; differing &= differing - 1) distance++;
  }
  return distance;
}

function isUnitVector(stored: Uint8Array): number {
  return Number(stored.byteLength === BYTES && isUnit(floatsOf(stored)));
}

function cosine(stored: Uint8Array, query: Uint8Array): number {
  const x = floatsOf(stored);
  const y = floatsOf(query);
  let dot = 0;
  for (let i = 0; i < COMPONENTS; i++) dot += (x[i] ?? 0) * (y[i] ?? 0);
  return dot;
}

function floatsOf(blob: Uint8Array): Float32Array {
  const aligned = blob.byteOffset % Float32Array.BYTES_PER_ELEMENT === 0 ? blob : blob.slice();
  return new Float32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / Float32Array.BYTES_PER_ELEMENT);
}
