import { DEFAULT_GALLERY } from "../../src/config.ts";
import type { Gallery } from "../../src/providers/on-device/gallery/gallery.ts";
import { type Location, openGalleries } from "../../src/providers/on-device/gallery/open.ts";
import { openSqliteGallery } from "../../src/providers/on-device/gallery/sqlite.ts";

/** One gallery, which closes all that was opened for it. */
export async function openGallery({
  location,
  model,
  name = DEFAULT_GALLERY,
}: {
  location: Location | { readonly file: string };
  model: string;
  name?: string;
}): Promise<Gallery> {
  if ("file" in location) return openSqliteGallery({ ...location, model });
  const galleries = await openGalleries({ location, model });
  try {
    const gallery = await galleries.open(name, { create: true });
    return { ...gallery, close: () => galleries.close() };
  } catch (thrown) {
    await galleries.close();
    throw thrown;
  }
}
