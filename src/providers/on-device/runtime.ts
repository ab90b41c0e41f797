import { readFile } from "node:fs/promises";
import { setFlagsFromString } from "node:v8";
import type { InferenceSession } from "onnxruntime-web";
import { CheckError } from "../../errors.ts";
import { type Once, once } from "../../once.ts";
import { loadNetwork, type Network, outputsOf, type Pack, shapeOf } from "./models.ts";

type Ort = typeof import("onnxruntime-web");

/**
 * How much of a WebAssembly function has run, about in bytes, before V8 compiles it anew and better. With V8's own
 * (1.8 million in Node 20, 13 million in 22) hundreds of functions are compiled during the first check that are hardly
 * used again: it takes 950 instead of 1550 ms of processor time, and later ones are as fast.
 */
const TIERING_BUDGET = 30_000_000;

/** The networks, and where the build put what they run on. */
export interface EngineFiles {
  readonly pack: Pack;
  /** What starts it, also in each further thread, lies beside it: the same name with `.mjs`. */
  readonly wasm: URL;
  /** How many threads compute one network in WebAssembly: at most as many as there are cores. Default 1. */
  readonly threads?: number;
}

export interface Runtime {
  readonly pack: Pack;
  /** Runs a network, which is loaded on its first use. */
  run(network: Network, input: Float32Array): Promise<Record<string, Float32Array>>;
  /** Loads networks that will be needed, so that they need not be waited for one after the other. */
  load(...networks: readonly Network[]): Promise<void>;
  /** Name and version of the runtime. */
  name(): Promise<string>;
}

/** The only place that makes sessions; the rest sees arrays of numbers. */
export function openRuntime({ pack, wasm, threads = 1 }: EngineFiles): Runtime {
  const ort = once(() => loadOrt(wasm, threads));
  /** By the file, which may be used in several ways. */
  const sessions = new Map<string, Once<InferenceSession>>();

  function sessionOf(network: Network): Promise<InferenceSession> {
    const session = sessions.get(network.file) ?? once(() => createSession(network));
    sessions.set(network.file, session);
    return session.get();
  }

  async function createSession(network: Network): Promise<InferenceSession> {
    const [{ api, levelOf }, bytes] = await Promise.all([ort.get(), loadNetwork(network, pack)]);
    const options = {
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      logSeverityLevel: 4,
      graphOptimizationLevel: levelOf(network),
    } as const;
    const made = await api.InferenceSession.create(bytes, options).catch((cause: unknown) => {
      throw misfit(network, "cannot be loaded", cause);
    });
    if (made.inputNames.length !== 1) throw misfit(network, "has more than one input");
    delete api.env.wasm.wasmBinary; // compiled by now: 14 MB less to hold
    return made;
  }

  return {
    pack,
    async run(network, input) {
      const [{ api }, session] = await Promise.all([ort.get(), sessionOf(network)]);
      const [inputName = ""] = session.inputNames;
      const feeds = { [inputName]: new api.Tensor("float32", input, shapeOf(network)) };
      const outputs = await session.run(feeds).catch((cause: unknown) => {
        throw misfit(network, "does not take what it is given", cause);
      });
      return Object.fromEntries(
        outputsOf(network).map((name) => {
          const data = outputs[name]?.data;
          if (!(data instanceof Float32Array)) throw misfit(network, `has no output ${name} of numbers`);
          return [name, finite(data, network)];
        }),
      );
    },
    async load(...networks) {
      await Promise.all(networks.map(sessionOf));
    },
    name: async () => (await ort.get()).name,
  };
}

/** The file is the one that the pack means, but it is not as the pack says. */
function misfit({ file }: Network, how: string, cause?: unknown): CheckError {
  return new CheckError("setup", `The face model ${file} ${how}: it is not what its pack says.`, {
    cause,
    next: "Correct pack.json, or choose another model pack.",
  });
}

/** A number that is none would pass every comparison with a threshold. */
function finite(output: Float32Array, { file }: Network): Float32Array {
  if (output.every(Number.isFinite)) return output;
  throw new CheckError("internal", "The face model returned a result that is not a number.", { cause: file });
}

interface LoadedOrt {
  readonly api: Ort;
  readonly name: string;
  /** How far the graph of a network is optimised when it is loaded. */
  levelOf(network: Network): "disabled" | "basic" | "all";
}

/** The native runtime where the user installed it beside this program; else WebAssembly, two to three times slower. */
async function loadOrt(wasm: URL, threads: number): Promise<LoadedOrt> {
  // A name that the compiler cannot see through: the package need not be there.
  const native: string = "onnxruntime-node";
  const installed: Ort | undefined = await import(native).catch(() => undefined);
  if (installed !== undefined) {
    const name = `onnxruntime-node ${installed.env.versions.node ?? ""}`.trim();
    return { api: installed, name, levelOf: () => "all" };
  }
  const [api, wasmBinary] = await Promise.all([
    import("onnxruntime-web"),
    readFile(wasm).catch((cause: unknown) => {
      throw new CheckError("setup", "The WebAssembly runtime of the face models is missing.", {
        cause,
        next: "Reinstall biometrics-mcp: one of its files is missing.",
      });
    }),
  ]);
  setFlagsFromString(`--wasm-tiering-budget=${TIERING_BUDGET}`);
  api.env.logLevel = "fatal";
  api.env.wasm.proxy = false;
  api.env.wasm.numThreads = threads;
  api.env.wasm.wasmPaths = { mjs: wasm.href.replace(/wasm$/, "mjs") };
  // Given as bytes: its own loading by fetch does not take file: addresses.
  api.env.wasm.wasmBinary = wasmBinary;
  const name = `onnxruntime-web ${api.env.versions.web ?? ""}`.trim();
  // In WebAssembly "all" takes 0.25 s more at the first check, and gains nothing but what the build does beforehand.
  return { api, name, levelOf: ({ optimised }) => (optimised ? "disabled" : "basic") };
}
