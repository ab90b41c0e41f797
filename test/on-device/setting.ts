import { readFile } from "node:fs/promises";
import { onTestFinished } from "vitest";
import { type Image, toImage } from "../../src/images/image.ts";
import { readPack } from "../../src/providers/on-device/choice.ts";
import { openGalleries } from "../../src/providers/on-device/gallery/open.ts";
import { type OnDeviceOptions, onDevice } from "../../src/providers/on-device/provider.ts";
import { temporaryFolder } from "../support/clients.ts";

const DIST = new URL("../../dist/", import.meta.url);

/** The engine's program and networks as the build made them. */
export const BUILT = {
  worker: new URL("worker.js", DIST),
  pack: await readPack(new URL("models/", DIST)),
  wasm: new URL("ort-wasm-simd-threaded.wasm", DIST),
} as const;

export const callOptions = { signal: new AbortController().signal, onStage: () => {} };

const ACCEPTED = { maxBytes: 20e6, mimes: ["image/jpeg", "image/png", "image/webp", "image/tiff"] } as const;

/** A new Image each time: the engine reads each once. */
export async function imageOf(source: string | Uint8Array): Promise<Image> {
  const bytes = typeof source === "string" ? await readFile(source) : source;
  return toImage(new Uint8Array(bytes), ACCEPTED);
}

/** The provider with a gallery of its own. */
export function openOnDevice(options: Partial<OnDeviceOptions> = {}) {
  const folder = temporaryFolder("gallery-");
  const provider = onDevice({
    openGalleries: (model) => openGalleries({ location: { folder }, model }),
    worker: BUILT.worker,
    pack: BUILT.pack,
    ...options,
  });
  return provider;
}

/** The same, closed when the test ends. */
export function useOnDevice(options: Partial<OnDeviceOptions> = {}) {
  const provider = openOnDevice(options);
  onTestFinished(() => provider.close());
  return provider;
}

export const tagsOf = ({ warnings }: { warnings: readonly { tag: string }[] }) => warnings.map(({ tag }) => tag);
