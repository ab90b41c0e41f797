import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { CheckError, cancelled, type FailureCode } from "../errors.ts";

export interface Job {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** By content. */
  readonly mime: string;
  readonly limits: {
    readonly maxBytes: number;
    readonly maxSide: number | undefined;
    readonly maxPixels: number | undefined;
  };
}

export interface Converted {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** In pixels, of the picture as displayed, before it was made to fit. */
  readonly width: number;
  readonly height: number;
}

export type Answer =
  | { readonly converted: Converted }
  | { readonly failure: { code: FailureCode; message: string; next: string; cause?: string } };

interface Options {
  readonly signal?: AbortSignal | undefined;
  /** Default: 48 million pixels take about 15 s on a slow machine. */
  readonly maxMs?: number;
  /** The program of its thread. Default: beside this one, where the build puts it. */
  readonly program?: URL;
}

const PROGRAM = new URL("./converter.js", import.meta.url);

/**
 * A JPEG of an image, upright, without metadata, within the limits.
 *
 * @throws CheckError `image_rejected` where it cannot be decoded, or not in time, `cancelled`.
 */
export async function convert(
  job: Job,
  { signal, maxMs = 60_000, program = PROGRAM }: Options = {},
): Promise<Converted> {
  const late = AbortSignal.timeout(maxMs);
  const ended = AbortSignal.any([late, ...(signal === undefined ? [] : [signal])]);
  // Standard output belongs to the protocol: what a decoder writes there goes nowhere.
  const worker = new Worker(program, {
    workerData: job,
    name: "image converter",
    stdout: true,
  });
  try {
    const [answer] = (await Promise.race([
      once(worker, "message", { signal: ended }),
      once(worker, "exit", { signal: ended }).then(([code]) => Promise.reject(new Error(`exit code ${code}`))),
    ])) as [Answer];
    if ("converted" in answer) return answer.converted;
    const { code, message, ...options } = answer.failure;
    throw new CheckError(code, message, options);
  } catch (thrown) {
    if (thrown instanceof CheckError) throw thrown;
    if (signal?.aborted === true) throw cancelled(thrown);
    const why = late.aborted ? "The image takes too long to convert." : "The image cannot be converted.";
    throw new CheckError("image_rejected", why, { cause: thrown });
  } finally {
    void worker.terminate();
  }
}
