import { inspect } from "node:util";
import { CheckError, cancelled } from "../../errors.ts";
import type { Answer, Job, Operations } from "./messages.ts";
import { networksOf, readingNetworks, shapeOf } from "./models.ts";
import { type Decoded, decode } from "./pipeline/decode.ts";
import { liveLogitOf, liveProbability, toLivenessInput } from "./pipeline/liveness.ts";
import { mirror } from "./pipeline/raster.ts";
import { embed, type Models, read, readEveryone } from "./pipeline/read.ts";
import { SAMPLES } from "./pipeline/samples.ts";
import { type EngineFiles, openRuntime } from "./runtime.ts";

/** The worker's side: takes a job, answers it. */
export function createJobHandler(files: EngineFiles): (job: Job) => Promise<Answer> {
  const { pack } = files;
  const runtime = openRuntime(files);
  const inTurn = queue();

  /** The operations for one job, which stop before their next step once it is cancelled. */
  function operations(stop: Job["stop"]): Operations {
    const goOn = () => {
      if (Atomics.load(stop, 0) !== 0) throw cancelled();
    };
    const models: Models = {
      pack,
      run(network, input) {
        goOn();
        return runtime.run(network, input);
      },
    };
    async function decoded<T>(bytes: Uint8Array, work: (decoded: Decoded) => Promise<T>): Promise<T> {
      goOn();
      // Decoding uses a thread of its own, so it goes on while the job before this one uses the networks.
      const loading = runtime.load(...readingNetworks(pack));
      loading.catch(() => {}); // told below
      const picture = await decode(bytes);
      await loading;
      return inTurn(() => work(picture));
    }
    return {
      read: ({ bytes, rotate }) => decoded(bytes, (it) => read(it, models, rotate)),
      readEveryone: ({ bytes, rotate }) => decoded(bytes, (it) => readEveryone(it, models, rotate)),
      embedMirrored: (aligned) => inTurn(() => embed(mirror(aligned), models)),
      spoof: (surroundings) =>
        inTurn(async () => {
          const logits: number[] = [];
          for (const [i, network] of pack.liveness.networks.entries()) {
            const crop = surroundings[i];
            if (crop === undefined) throw new Error("a liveness network has no crop");
            logits.push(liveLogitOf(await models.run(network, toLivenessInput(crop, network)), network));
          }
          return liveProbability(...logits);
        }),
      probe: async () => {
        for (const sample of SAMPLES) await readSample(sample, models);
        return inTurn(async () => {
          for (const network of networksOf(pack)) {
            await models.run(network, new Float32Array(shapeOf(network).reduce((size, side) => size * side)));
          }
          return runtime.name();
        });
      },
    };
  }

  return async ({ id, operation, input, stop }) => {
    try {
      const work = operations(stop)[operation] as (input: Job["input"]) => Promise<unknown>;
      return { id, output: await work(input) };
    } catch (thrown) {
      const { code, message, next, cause } = CheckError.from(thrown);
      return { id, failure: { code, message, next, cause: inspect(cause) } };
    }
  };
}

/** A whole check up to the search for a face, of which there is none. */
async function readSample({ format, bytes }: (typeof SAMPLES)[number], models: Models): Promise<void> {
  try {
    await read(await decode(bytes), models, false);
  } catch (thrown) {
    if (!(thrown instanceof CheckError && thrown.code === "image_rejected")) throw thrown;
    throw new CheckError("setup", `${format} images cannot be decoded on this machine.`, {
      cause: thrown,
      next: "Reinstall biometrics-mcp on this platform, with its optional packages.",
    });
  }
}

/** One piece of work after the other, in the order in which they came. */
function queue(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = last.then(work);
    last = result.catch(() => {});
    return result;
  };
}
