import type { Image } from "../../images/image.ts";
import type { Pack } from "./models.ts";
import { toEmbedding } from "./pipeline/embed.ts";
import type { MeasuredFace, Reading } from "./pipeline/read.ts";
import { Shared } from "./shared.ts";
import { workerClient } from "./worker-client.ts";

export interface EngineOptions {
  /** The worker's program. Default: beside this one, where the build puts it. */
  readonly worker?: URL | undefined;
  /** The networks, and what their outputs mean. */
  readonly pack: Pack;
}

export interface ReadOptions {
  readonly rotate: boolean;
  readonly signal: AbortSignal;
}

/** Where the faces of images are found and measured: a thread of its own behind promises. */
export interface Engine {
  readonly pack: Pack;
  /** Once per image, however many checks ask. */
  read(image: Image, options: ReadOptions): Promise<Reading>;
  /** Every face of an image, largest first, at most ten: for images that show several people. */
  readEveryone(image: Image, options: ReadOptions): Promise<readonly MeasuredFace[]>;
  /** The unit vector of a face and its mirror image together: surer than that of the face alone, at twice the cost. */
  embed(face: MeasuredFace, signal: AbortSignal): Promise<Float32Array>;
  /** The probability 0..1 that the face is live. */
  spoof(face: MeasuredFace, signal: AbortSignal): Promise<number>;
  /** Loads and tries all networks; the name of the runtime. */
  probe(signal: AbortSignal): Promise<string>;
  close(): Promise<void>;
}

export function startEngine({ pack, worker = new URL("./worker.js", import.meta.url) }: EngineOptions): Engine {
  const client = workerClient(worker, { pack });
  const readings = perTurn<Reading>();
  const people = perTurn<readonly MeasuredFace[]>();
  const embeddings = new Shared<MeasuredFace, Float32Array>();
  const spoofs = new Shared<MeasuredFace, number>();
  return {
    pack,
    read: (image, { rotate, signal }) =>
      readings(rotate).get(image, signal, (stop) => client.call("read", { bytes: image.bytes, rotate }, stop)),
    readEveryone: (image, { rotate, signal }) =>
      people(rotate).get(image, signal, (stop) => client.call("readEveryone", { bytes: image.bytes, rotate }, stop)),
    embed: (face, signal) =>
      embeddings.get(face, signal, async (stop) =>
        toEmbedding(face.embedding, await client.call("embedMirrored", face.aligned, stop)),
      ),
    spoof: (face, signal) => spoofs.get(face, signal, (stop) => client.call("spoof", face.surroundings, stop)),
    probe: (signal) => client.call("probe", null, signal),
    close: () => client.close(),
  };
}

/** What is worked out of an image once, apart for each way of reading it. */
function perTurn<T>() {
  const [upright, turned] = [new Shared<Image, T>(), new Shared<Image, T>()];
  return (rotate: boolean) => (rotate ? turned : upright);
}
