import { createHash } from "node:crypto";
import type { App } from "../../app.ts";
import { bytesToRead } from "../../file.ts";
import type { Image, ImageLimits } from "../../images/image.ts";
import type { Provider } from "../../providers/provider.ts";
import type { Item } from "./items.ts";

/** Of photographs that are part of several pairs, so that each is read once. */
const KEPT_BYTES = 256 * 2 ** 20;

type Loader = (path: string) => Promise<{ readonly image: Image; readonly hash: string }>;

/** Reads images; one that further items name stays in memory, where there is room. */
export function keeper(app: App, items: readonly Item[], limits: ImageLimits): Loader {
  const uses = new Map<string, number>();
  for (const path of items.flatMap((item) => Object.values(item))) uses.set(path, (uses.get(path) ?? 0) + 1);
  const kept = new Map<string, { readonly loading: ReturnType<Loader>; bytes: number }>();
  let total = 0;
  return (path) => {
    const there = kept.get(path);
    const left = (uses.get(path) ?? 1) - 1;
    uses.set(path, left);
    if (there !== undefined) {
      if (left <= 0 && kept.delete(path)) total -= there.bytes;
      return there.loading;
    }
    const loading = load(app, path, limits);
    if (left > 0 && total < KEPT_BYTES) {
      const entry = { loading, bytes: 0 };
      kept.set(path, entry);
      loading.then(
        ({ image }) => {
          if (kept.get(path) !== entry) return;
          entry.bytes = image.bytes.length;
          total += entry.bytes;
        },
        () => kept.delete(path),
      );
    }
    return loading;
  };
}

async function load(app: App, path: string, limits: ImageLimits): ReturnType<Loader> {
  const image = await app.loadImage(path, limits);
  return { image, hash: image.prepared?.sha256 ?? hashOf(image.bytes) };
}

export const limitsOf = (
  args: Readonly<Record<string, unknown>>,
  { images }: Pick<Provider, "images">,
): ImageLimits => ({ ...images, convert: args["convert"] === true });

const hashOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Of files, so that nothing is converted for it; undefined where one cannot be read. */
export function fileHashes(app: App, limits: ImageLimits): (path: string) => Promise<string | undefined> {
  const hashes = new Map<string, Promise<string | undefined>>();
  return (path) => {
    const known = hashes.get(path);
    if (known !== undefined) return known;
    const hash = app
      .loadFile(path, { maxBytes: bytesToRead(limits), noun: "an image" })
      // A file with a hidden name is read as an image alone.
      .then(hashOf, async () => (await load(app, path, limits)).hash)
      .catch(() => undefined);
    hashes.set(path, hash);
    return hash;
  };
}
