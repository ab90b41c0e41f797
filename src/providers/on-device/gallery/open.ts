import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Gallery } from "./gallery.ts";
import type { Inspection } from "./inspect.ts";
import { openSqliteGallery } from "./sqlite.ts";

/** A file on this machine, or a `postgres://` database that several machines share. */
export type GalleryLocation =
  | { readonly file: string }
  | {
      readonly url: string;
      /** The file that says on this machine that there is a gallery. */
      readonly mark: string;
    };

export function locateGallery({
  dataFolder,
  galleryUrl,
}: {
  readonly dataFolder: string;
  readonly galleryUrl: string | undefined;
}): GalleryLocation {
  if (galleryUrl === undefined) return { file: join(dataFolder, "gallery.sqlite") };
  const name = createHash("sha256").update(addressOf(galleryUrl)).digest("hex").slice(0, 12);
  return { url: galleryUrl, mark: join(dataFolder, `gallery-${name}.mark`) };
}

/** Host and database: what stays when a password is changed. */
function addressOf(url: string): string {
  if (!URL.canParse(url)) return url;
  const { hostname, port, pathname, searchParams } = new URL(url);
  return JSON.stringify([searchParams.get("host") ?? hostname, searchParams.get("port") ?? port, pathname]);
}

/** Each store is loaded when it is chosen; neither is needed by a check without a gallery. */
export async function openGallery({ location, model }: { location: GalleryLocation; model: string }): Promise<Gallery> {
  if ("file" in location) return openSqliteGallery({ file: location.file, model });
  const { openPostgresGallery } = await import("./postgres.ts");
  return openPostgresGallery({ ...location, model });
}

/**
 * Looks at a gallery without changing it, also at one that would not be opened.
 *
 * @throws CheckError where there is none that could be looked at: `unsupported` without SQLite, `unavailable` where the
 *   database does not answer, `setup` where a gallery was lost.
 */
export async function inspectGallery(options: { location: GalleryLocation; model: string }): Promise<Inspection> {
  const { location, model } = options;
  if ("file" in location) {
    const { inspectSqlite } = await import("./sqlite/inspect.ts");
    return inspectSqlite(location.file, model);
  }
  const { inspectPostgres } = await import("./postgres/inspect.ts");
  return inspectPostgres(location, model);
}
