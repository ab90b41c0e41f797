import { existsSync, readdirSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { CheckError } from "../../errors.ts";
import { imagesIn } from "../../evaluation/folder.ts";

/** The images of one call, by its arguments: paths as the user gave them. */
export type Item = Readonly<Record<string, string>>;

export function isFolder(path: string | undefined): boolean {
  return path !== undefined && statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** The shells of Windows leave patterns to the program. */
export const isPattern = (path: string) => /[*?]/.test(basename(path)) && !existsSync(path);

/** What a pattern stands for: * and ? in the last part of a path, as on Windows. */
function expanded(path: string): string[] {
  if (!isPattern(path)) return [path];
  const source = basename(path).replace(/[.+^${}()|[\]\\]/g, "\\$&");
  const pattern = new RegExp(`^${source.replaceAll("*", ".*").replaceAll("?", ".")}$`, "i");
  const names = existsSync(dirname(path)) ? readdirSync(dirname(path)) : [];
  const found = names.filter((name) => !name.startsWith(".") && pattern.test(name)).sort();
  return found.map((name) => join(dirname(path), name));
}

/** Each file once; of a folder all images in it, and below. */
export async function filesOf(paths: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const path of paths.flatMap(expanded)) files.push(...(isFolder(path) ? await imagesIn(path) : [path]));
  if (files.length > 0) return [...new Set(files)];
  throw new CheckError("invalid_input", "No image was found there.", { next: "Check the path." });
}

/** Every unknown photograph with every known one. */
export async function crossed(known: string, unknown: string): Promise<Item[]> {
  const [references, users] = await Promise.all([filesOf([known]), filesOf([unknown])]);
  return users.flatMap((user) =>
    references.map((reference) => ({ user_image_path: user, reference_image_path: reference })),
  );
}

const COLUMNS = ["user_image", "reference_image"] as const;

/** The folder from which the paths in a list count. @throws CheckError `invalid_input` where there is no such list */
export function folderOfList(path: string): string {
  try {
    return dirname(realpathSync(resolve(path)));
  } catch (cause) {
    throw new CheckError("invalid_input", "No list of pairs was found at that path.", {
      cause,
      next: "Check the path.",
    });
  }
}

/** @throws CheckError `invalid_input` where it is no list of pairs */
export async function pairsIn(text: string, folder: string): Promise<Item[]> {
  const { parse } = await import("csv-parse/sync");
  const invalid = (why: string, cause?: unknown) =>
    new CheckError("invalid_input", `The list of pairs cannot be used: ${why}.`, {
      cause,
      next: `It must be a CSV file whose first line is ${COLUMNS.join(",")}, with the paths of one pair on each line.`,
    });
  let rows: Record<string, string | undefined>[];
  try {
    const delimiter = [",", ";", "\t"];
    rows = parse(text, { columns: true, bom: true, trim: true, skip_empty_lines: true, delimiter });
  } catch (cause) {
    throw invalid("it is not a CSV file", cause);
  }
  if (rows.length === 0) throw invalid("it is empty");
  return rows.map((row, at) => {
    const { user_image: user, reference_image: reference } = row;
    if (user === undefined || reference === undefined) throw invalid(`it has no columns ${COLUMNS.join(" and ")}`);
    if (user === "" || reference === "") throw invalid(`pair ${at + 1} names only one image`);
    return { user_image_path: resolve(folder, user), reference_image_path: resolve(folder, reference) };
  });
}
