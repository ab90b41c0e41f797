import type { Database } from "./driver.ts";

/** SQL expressions over the columns `b` and `embedding` and the parameters `:bits` and `:query`. */
export interface DistanceSql {
  /** How many of the 512 signs differ. */
  readonly hamming: string;
  /** Cosine of the two embeddings, -1..1. */
  readonly cosine: string;
}

/** The sqlite-vec extension where this platform has one, else the same two distances in JavaScript: slower, same answers. */
export async function installDistances(database: Database, extension: boolean): Promise<DistanceSql> {
  if (extension && (await loadExtension(database))) {
    return {
      hamming: "vec_distance_hamming(vec_bit(b), vec_bit(:bits))",
      // Of unit vectors; the extension computes the Euclidean distance with vector instructions, and the cosine without.
      cosine: "(1 - power(vec_distance_l2(embedding, :query), 2) / 2)",
    };
  }
  database.function("js_hamming", { deterministic: true }, hammingDistance);
  database.function("js_cosine", { deterministic: true }, cosine);
  return { hamming: "js_hamming(b, :bits)", cosine: "js_cosine(embedding, :query)" };
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

function cosine(a: Uint8Array, b: Uint8Array): number {
  const x = floatsOf(a);
  const y = floatsOf(b);
  let dot = 0;
  let xx = 0;
  let yy = 0;
  for (let i = 0; i < x.length; i++) {
    const xi = x[i] ?? 0;
    const yi = y[i] ?? 0;
    dot += xi * yi;
    xx += xi * xi;
    yy += yi * yi;
  }
  return dot / Math.sqrt(xx * yy);
}

function floatsOf(blob: Uint8Array): Float32Array {
  const aligned = blob.byteOffset % Float32Array.BYTES_PER_ELEMENT === 0 ? blob : blob.slice();
  return new Float32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / Float32Array.BYTES_PER_ELEMENT);
}
