import type { ImageFacts } from "../decision/decision.ts";
import type { Image, ImageLimits } from "../image.ts";
import type { ToolContext } from "./context.ts";

/** Reads all images of a call before anything is sent. The keys of `paths` are their names in the result. */
export async function readImages<K extends string>(
  context: ToolContext,
  limits: ImageLimits,
  paths: Readonly<Record<K, string>>,
): Promise<{ images: Readonly<Record<K, Image>>; facts: ImageFacts[] }> {
  context.onStage("reading");
  const loaded = await Promise.all(
    Object.entries<string>(paths).map(async ([name, path]) => [name, await context.loadImage(path, limits)] as const),
  );
  context.signal.throwIfAborted();
  return {
    images: Object.fromEntries(loaded) as Record<K, Image>,
    facts: loaded.map(([name, { bytes, mime, width, height }]) => ({ name, mime, bytes: bytes.length, width, height })),
  };
}
