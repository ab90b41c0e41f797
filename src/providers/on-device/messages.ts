import type { FailureCode } from "../../errors.ts";
import type { Pack } from "./models.ts";
import type { Raster } from "./pipeline/raster.ts";
import type { MeasuredFace, Reading } from "./pipeline/read.ts";

/** What the worker can do; it keeps nothing between two jobs but the loaded networks. */
export interface Operations {
  /** Decodes an image file and reads it, in all four turns if `rotate`. */
  read(input: { readonly bytes: Uint8Array; readonly rotate: boolean }): Promise<Reading>;
  /** The same for every face of it, largest first. */
  readEveryone(input: { readonly bytes: Uint8Array; readonly rotate: boolean }): Promise<MeasuredFace[]>;
  /** The mirror image of an aligned face as an embedding, not normalised. */
  embedMirrored(aligned: Raster): Promise<Float32Array>;
  /** The probability 0..1 that the face in its surroundings is live. */
  spoof(surroundings: readonly Raster[]): Promise<number>;
  /** Decodes a picture of each format, loads and tries every network; the name of the runtime. */
  probe(input: null): Promise<string>;
}

/** What a worker is started with. */
export interface WorkerData {
  readonly pack: Pack;
  /** How many threads compute one network. */
  readonly threads: number;
}

export type OperationName = keyof Operations;
export type Input<N extends OperationName> = Parameters<Operations[N]>[0];
export type Output<N extends OperationName> = Awaited<ReturnType<Operations[N]>>;

/** To the worker. */
export type Job = {
  [N in OperationName]: {
    readonly id: number;
    readonly operation: N;
    readonly input: Input<N>;
    /** Shared memory, so that it is seen in the middle of a job: 1 in its first element says stop. */
    readonly stop: Int32Array<SharedArrayBuffer>;
  };
}[OperationName];

/** From the worker. A CheckError does not survive the way between threads, its parts do. */
export type Answer =
  | { readonly id: number; readonly output: unknown }
  | {
      readonly id: number;
      readonly failure: {
        readonly code: FailureCode;
        readonly message: string;
        readonly next: string;
        readonly cause: string;
      };
    };
