import type { Gallery } from "./gallery.ts";
import { openSqliteGallery } from "./sqlite.ts";

/** A file on this machine, or a `postgres://` database that several machines share. */
export type GalleryLocation = { readonly file: string } | { readonly url: string };

/** Each store is loaded when it is chosen; neither is needed by a check without a gallery. */
export async function openGallery({ location, model }: { location: GalleryLocation; model: string }): Promise<Gallery> {
  if ("file" in location) return openSqliteGallery({ file: location.file, model });
  const { openPostgresGallery } = await import("./postgres.ts");
  return openPostgresGallery({ url: location.url, model });
}
