import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { DEFAULT_GALLERY, GALLERY_NAME } from "../../../../config.ts";
import { onceEach } from "../../../../once.ts";
import { statIfThere, undefinedIfMissing } from "../../../../storage/folder.ts";
import type { Galleries, Gallery } from "../gallery.ts";
import { unknownGallery } from "../refusal.ts";
import { openSqliteGallery } from "../sqlite.ts";
import { fileFailure } from "./failure.ts";

export const fileOf = (folder: string, name: string) =>
  join(folder, name === DEFAULT_GALLERY ? "gallery.sqlite" : `gallery-${name}.sqlite`);

const FILE = /^gallery(?:-(.+))?\.sqlite(?:\.mark)?$/;

/** One file for each gallery. */
export function openSqliteGalleries(folder: string, model: string): Galleries {
  const galleries = onceEach<Gallery>();
  return {
    async open(name, { create }) {
      const file = fileOf(folder, name);
      if (!create && !(await hasBeen(file))) throw unknownGallery(name, await namesIn(folder));
      return galleries.get(name, () => openSqliteGallery({ file, model }));
    },
    names: () => namesIn(folder),
    close: () => galleries.close(),
  };
}

/** A file that was lost has left its mark: opening it says so. */
async function hasBeen(file: string): Promise<boolean> {
  const found = await Promise.all([file, `${file}.mark`].map(statIfThere)).catch((thrown: unknown) => {
    throw fileFailure(thrown);
  });
  return found.some((it) => it !== undefined);
}

async function namesIn(folder: string): Promise<string[]> {
  const files = await readdir(folder)
    .catch(undefinedIfMissing)
    .catch((thrown: unknown) => {
      throw fileFailure(thrown);
    });
  const names = (files ?? []).flatMap((file) => {
    const found = FILE.exec(file);
    const name = found === null ? undefined : (found[1] ?? DEFAULT_GALLERY);
    return name !== undefined && GALLERY_NAME.test(name) && fileOf("", name) === file.replace(/\.mark$/, "")
      ? [name]
      : [];
  });
  return [...new Set(names)].sort();
}
