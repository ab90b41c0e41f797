export function lengthOf(vector: Float32Array): number {
  let squares = 0;
  for (const component of vector) squares += component * component;
  return Math.sqrt(squares);
}

/** The sum of raw network outputs (one, or that of a face and that of its mirror image) as a unit vector. */
export function toEmbedding(...outputs: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const sum = new Float32Array(outputs[0]?.length ?? 0);
  for (const output of outputs) for (let i = 0; i < sum.length; i += 1) sum[i] = (sum[i] ?? 0) + (output[i] ?? 0);
  const length = lengthOf(sum);
  return length === 0 ? sum : sum.map((component) => component / length);
}

/** Of two unit vectors, -1..1. */
export function cosine(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}
