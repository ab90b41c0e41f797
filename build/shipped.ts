import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as z from "zod";
import { bundle } from "./bundle.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Of these the build copies files and bundles none. */
const COPIED = ["node_modules/faceplugin-face-recognition-js", "node_modules/libheif-js"];

/** A package of others, of which the published one holds a part. */
export interface Held {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  /** undefined: the package has none. */
  readonly text: string | undefined;
  /** Packages that its authors have compiled into it, by their names. */
  readonly within: readonly string[];
}

const described = z.object({ name: z.string(), version: z.string(), license: z.string() });

/** What stands in dist and prebuilds: found in what the bundler says that it used. */
export async function held(): Promise<Held[]> {
  const { metafile } = await bundle({ write: false });
  const files = new Map<string, string[]>(COPIED.map((folder) => [folder, []]));
  for (const { inputs } of Object.values(metafile.outputs)) {
    for (const [file, { bytesInOutput }] of Object.entries(inputs)) {
      const [folder] = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file) ?? [];
      if (folder !== undefined && bytesInOutput > 0) files.set(folder, [...(files.get(folder) ?? []), file]);
    }
  }
  const found = await Promise.all([...files].map(([folder, used]) => describe(join(root, folder), used)));
  // One version can lie in several folders; what is used of it may differ.
  const once = new Map<string, Held>();
  for (const it of found) {
    const known = once.get(`${it.name}@${it.version}`)?.within ?? [];
    once.set(`${it.name}@${it.version}`, { ...it, within: [...new Set([...known, ...it.within])].sort() });
  }
  return [...once.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function describe(folder: string, used: readonly string[]): Promise<Held> {
  const json: unknown = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  const sources = await Promise.all(used.map((file) => readFile(join(root, file), "utf8")));
  // As bundlers mark where a file of another package begins.
  const marks = sources.flatMap((source) => [
    ...source.matchAll(/^\/\/(?:#region)? .*node_modules\/((?:@[^/\s]+\/)?[^/\s]+)/gm),
  ]);
  const within = [...new Set(marks.map(([, name = ""]) => name))].sort();
  return { ...described.parse(json), text: await licenceOf(folder), within };
}

/** The file, else the section of the README. */
async function licenceOf(folder: string): Promise<string | undefined> {
  const names = await readdir(folder);
  const file = names.find((name) => /^licen[cs]e/i.test(name));
  if (file !== undefined) return readFile(join(folder, file), "utf8");
  const readme = names.find((name) => /^readme/i.test(name));
  const text = readme === undefined ? "" : await readFile(join(folder, readme), "utf8");
  const section = /^#+ licen[cs]e\s*$(.*)/ims.exec(text)?.[1];
  return section?.includes("Permission is hereby granted") ? section : undefined;
}

/** A package that npm installs beside ours, where the platform wants it. */
export interface Installed {
  readonly name: string;
  readonly version: string;
  readonly license: string;
}

const lock = z.object({
  packages: z.record(
    z.string(),
    z.object({
      version: z.string(),
      license: z.string().default("not stated"),
      dev: z.literal(true).optional(),
      peer: z.literal(true).optional(),
    }),
  ),
});

/** As the lock file has them; whoever installs the package may get newer ones within its ranges. */
export async function installed(): Promise<Installed[]> {
  const { packages } = lock.parse(JSON.parse(await readFile(join(root, "package-lock.json"), "utf8")));
  return Object.entries(packages).flatMap(([path, { version, license, dev, peer }]) => {
    const name = path.split("node_modules/").at(-1) ?? "";
    return name === "" || dev === true || peer === true ? [] : [{ name, version, license }];
  });
}
