import { opendir } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { CheckError } from "../errors.ts";

/** Subfolders that hold no person. */
const LIVE = "live";
const SPOOF = "spoof";

/** What is not named like an image is not opened. What is, and is none, is left out with a reason. */
const IMAGE = /\.(jpe?g|png|webp|tiff?|heic|heif|avif|gif|bmp)$/i;

/** Photographs of one person, or of one kind of attack. */
export interface Group {
  readonly name: string;
  /** Absolute, in the order of their names. */
  readonly files: readonly string[];
}

export interface ImageFolder {
  /** One subfolder each. */
  readonly persons: readonly Group[];
  /** Of `live/`. */
  readonly live: readonly string[];
  /** Of `spoof/`, by its own subfolders: kinds of attack differ in how often they get through. */
  readonly attacks: readonly Group[];
}

/**
 * The images below a folder, by the subfolders in which they lie. Links are not followed.
 *
 * @throws CheckError `invalid_input` where there is nothing to compare
 */
export async function scanFolder(folder: string): Promise<ImageFolder> {
  const groups = new Map<string, string[]>();
  await collect(folder, (file) => {
    const [top = "", second, ...rest] = relative(folder, file).split(sep);
    if (second === undefined) return; // beside the subfolders: nobody's
    const key = top === SPOOF && rest.length > 0 ? join(top, second) : top;
    groups.set(key, [...(groups.get(key) ?? []), file]);
  });
  const all = [...groups].map(([name, files]) => ({ name, files: files.sort() }));
  all.sort((a, b) => (a.name < b.name ? -1 : 1));
  const isAttack = ({ name }: Group) => name === SPOOF || name.startsWith(SPOOF + sep);
  const found = {
    persons: all.filter((group) => group.name !== LIVE && !isAttack(group)),
    live: all.find(({ name }) => name === LIVE)?.files ?? [],
    attacks: all.filter(isAttack).map(({ name, files }) => ({ name: name.slice(SPOOF.length + 1) || SPOOF, files })),
  };
  if (all.length > 0) return found;
  throw new CheckError("invalid_input", "That folder has no subfolder with images.", {
    next: "Make one subfolder for each person, and live/ and spoof/ for liveness; docs/evaluation.md shows an example.",
  });
}

/** Every image below a folder, in no order. Links are not followed. @throws CheckError `invalid_input` */
export async function collect(folder: string, add: (file: string) => void): Promise<void> {
  const entries = await opendir(folder).catch((cause: unknown) => {
    throw new CheckError("invalid_input", "The folder, or one in it, cannot be read.", {
      cause,
      next: "Check the path and its permissions.",
    });
  });
  for await (const entry of entries) {
    if (entry.name.startsWith(".")) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await collect(path, add);
    else if (entry.isFile() && IMAGE.test(entry.name)) add(path);
  }
}
