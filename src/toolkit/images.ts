import type { ImageFacts } from "../decision/decision.ts";
import type { Image, ImageLimits } from "../images/image.ts";
import type { ToolContext } from "./context.ts";

/**
 * Reads all images of a call before anything is sent. The keys of `paths` are their names in the result. `args` are
 * those of a tool that can convert images.
 */
export async function readImages<K extends string>(
  context: ToolContext,
  limits: ImageLimits,
  paths: Readonly<Record<K, string>>,
  args?: { readonly convert?: boolean | undefined },
): Promise<{ images: Readonly<Record<K, Image>>; facts: ImageFacts[] }> {
  context.onStage("reading");
  const convert = args && (args.convert ?? false);
  const own = { ...limits, convert, signal: context.signal };
  const load = async ([name, path]: [string, string]) => [name, await context.loadImage(path, own)] as const;
  const loaded: (readonly [string, Image])[] = [];
  // One conversion after the other: no call takes the places of all.
  if (convert === true) for (const named of Object.entries<string>(paths)) loaded.push(await load(named));
  else loaded.push(...(await Promise.all(Object.entries<string>(paths).map(load))));
  context.signal.throwIfAborted();
  return {
    images: Object.fromEntries(loaded) as Record<K, Image>,
    facts: loaded.map(([name, { bytes, mime, width, height, prepared }]) => ({
      name,
      mime,
      bytes: bytes.length,
      width,
      height,
      ...(prepared === undefined ? {} : { prepared: prepared.how }),
    })),
  };
}
