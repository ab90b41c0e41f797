import { readFile } from "node:fs/promises";
import type { InferenceSession } from "onnxruntime-web/wasm";
import { CheckError } from "../../errors.ts";
import { loadModel, MODELS, type ModelName } from "./models.ts";
import { type Once, once } from "./once.ts";

type Ort = typeof import("onnxruntime-web/wasm");

/** Where the build put what the networks need. */
export interface EngineFiles {
  readonly models: URL;
  readonly wasm: URL;
}

export interface Runtime {
  /** Runs a network, which is loaded on its first use. */
  run(model: ModelName, input: Float32Array): Promise<Record<string, Float32Array>>;
  /** Loads networks that will be needed, so that they need not be waited for one after the other. */
  load(...models: readonly ModelName[]): Promise<void>;
  /** Name and version of the runtime. */
  name(): Promise<string>;
}

/** The only place that makes sessions; the rest sees arrays of numbers. */
export function openRuntime({ models, wasm }: EngineFiles): Runtime {
  const ort = once(() => loadOrt(wasm));
  const session = {
    detect: once(() => createSession("detect")),
    landmark: once(() => createSession("landmark")),
    feature: once(() => createSession("feature")),
    liveness: once(() => createSession("liveness")),
  } satisfies Record<ModelName, Once<InferenceSession>>;

  async function createSession(model: ModelName): Promise<InferenceSession> {
    const [{ api, graphOptimizationLevel }, bytes] = await Promise.all([ort.get(), loadModel(model, models)]);
    const made = await api.InferenceSession.create(bytes, {
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      logSeverityLevel: 4,
      graphOptimizationLevel,
    });
    delete api.env.wasm.wasmBinary; // compiled by now: 14 MB less to hold
    return made;
  }

  return {
    async run(model, input) {
      const [{ api }, loaded] = await Promise.all([ort.get(), session[model].get()]);
      const outputs = await loaded.run({ input: new api.Tensor("float32", input, MODELS[model].input) });
      return Object.fromEntries(
        Object.entries(outputs).map(([name, { data }]) => [name, finite(data as Float32Array, model)]),
      );
    },
    async load(...wanted) {
      await Promise.all(wanted.map((model) => session[model].get()));
    },
    name: async () => (await ort.get()).name,
  };
}

/** A number that is none would pass every comparison with a threshold. */
function finite(output: Float32Array, model: ModelName): Float32Array {
  if (output.every(Number.isFinite)) return output;
  throw new CheckError("internal", "The face model returned a result that is not a number.", { cause: model });
}

interface LoadedOrt {
  readonly api: Ort;
  readonly name: string;
  /** How far a graph is optimized when it is loaded. */
  readonly graphOptimizationLevel: "basic" | "all";
}

/** The native runtime where the user installed it beside this program; else WebAssembly, about three times slower. */
async function loadOrt(wasm: URL): Promise<LoadedOrt> {
  // A name that the compiler cannot see through: the package need not be there.
  const native: string = "onnxruntime-node";
  const installed: Ort | undefined = await import(native).catch(() => undefined);
  if (installed !== undefined) {
    const name = `onnxruntime-node ${installed.env.versions.node ?? ""}`.trim();
    return { api: installed, name, graphOptimizationLevel: "all" };
  }
  const [api, wasmBinary] = await Promise.all([
    import("onnxruntime-web/wasm"),
    readFile(wasm).catch((cause: unknown) => {
      throw new CheckError("setup", "The WebAssembly runtime of the face models is missing.", {
        cause,
        next: "Reinstall biometrics-mcp: one of its files is missing.",
      });
    }),
  ]);
  api.env.logLevel = "fatal";
  api.env.wasm.proxy = false;
  // More threads would each need a worker of their own, which the runtime cannot start from a bundle.
  api.env.wasm.numThreads = 1;
  // Given as bytes: its own loading by fetch does not take file: addresses.
  api.env.wasm.wasmBinary = wasmBinary;
  const name = `onnxruntime-web ${api.env.versions.web ?? ""}`.trim();
  // In WebAssembly "all" takes 0.25 s more at the first check, and saves 8 ms of 97 at each.
  return { api, name, graphOptimizationLevel: "basic" };
}
