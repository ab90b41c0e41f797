import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Galleries } from "./gallery.ts";
import type { Inspection } from "./inspect.ts";
import { fileOf, openSqliteGalleries } from "./sqlite/folder.ts";

/** Files in a folder of this machine, or a `postgres://` database that several machines share. */
export type Location =
  | { readonly folder: string }
  | {
      readonly url: string;
      /** The file that says on this machine that there are galleries. */
      readonly mark: string;
    };

export function locateGalleries({
  dataFolder,
  galleryUrl,
}: {
  readonly dataFolder: string;
  readonly galleryUrl: string | undefined;
}): Location {
  if (galleryUrl === undefined) return { folder: dataFolder };
  const name = createHash("sha256").update(addressOf(galleryUrl)).digest("hex").slice(0, 12);
  return { url: galleryUrl, mark: join(dataFolder, `gallery-${name}.mark`) };
}

/** Where a gallery is, in words. */
export function placeOf(location: Location, name: string): string {
  if ("folder" in location) return fileOf(location.folder, name);
  if (!URL.canParse(location.url)) return `BIOMETRICS_GALLERY_URL, gallery ${name}`;
  const { host, pathname } = new URL(location.url); // without the user name and the password
  return `postgres://${host}${pathname}, gallery ${name}`;
}

/** Host and database: what stays when a password is changed. */
function addressOf(url: string): string {
  if (!URL.canParse(url)) return url;
  const { hostname, port, pathname, searchParams } = new URL(url);
  return JSON.stringify([searchParams.get("host") ?? hostname, searchParams.get("port") ?? port, pathname]);
}

/** Each store is loaded when it is chosen; neither is needed by a check without a gallery. */
export async function openGalleries({ location, model }: { location: Location; model: string }): Promise<Galleries> {
  if ("folder" in location) return openSqliteGalleries(location.folder, model);
  const { openPostgresGalleries } = await import("./postgres.ts");
  return openPostgresGalleries({ ...location, model });
}

/**
 * Looks at a gallery without changing it, also at one that would not be opened.
 *
 * @throws CheckError where there is none that could be looked at: `unsupported` without SQLite, `unavailable` where the
 *   database does not answer, `setup` where a gallery was lost.
 */
export async function inspectGallery(options: {
  location: Location;
  name: string;
  model: string;
}): Promise<Inspection> {
  const { location, name, model } = options;
  if ("folder" in location) {
    const { inspectSqlite } = await import("./sqlite/inspect.ts");
    return inspectSqlite(fileOf(location.folder, name), model);
  }
  const { inspectPostgres } = await import("./postgres/inspect.ts");
  return inspectPostgres({ ...location, name }, model);
}
