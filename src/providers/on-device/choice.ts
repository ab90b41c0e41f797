import { pathToFileURL } from "node:url";
import * as z from "zod";
import type { Config } from "../../config.ts";
import { CheckError } from "../../errors.ts";
import { CHOOSE, type Pack, type PackFile, readInside, SHIPPED, verifyPack } from "./models.ts";
import { packSchema } from "./pack.ts";

/** Two networks take 1 KB each. */
export const MAX_PACK_BYTES = 2 ** 18;
/** Of many faults the first tell enough. */
const MAX_FAULTS = 5;

/** Where the build put the pack that is part of the program. */
const SHIPPED_FOLDER = new URL("./models/", import.meta.url);

export const readShipped = () => readPack(SHIPPED_FOLDER);

/**
 * The pack that is in use. One that a user brought is looked at as a whole before the first check; the files of the
 * shipped one, as those of any, when they are loaded.
 *
 * @throws CheckError `setup`
 */
export function choosePack({ models }: Pick<Config, "models">): Promise<Pack> {
  return models === undefined ? readShipped() : readOwn(models);
}

/** @throws CheckError `setup` for a pack that cannot be used, or that has the name of the shipped one. */
export async function readOwn(folder: string): Promise<Pack> {
  const pack = await readPack(pathToFileURL(`${folder}/`));
  if (pack.name === SHIPPED) {
    throw new CheckError("setup", `The model pack is called ${SHIPPED}, which is the name of the built-in one.`, {
      next: CHOOSE,
    });
  }
  await verifyPack(pack);
  return pack;
}

/** @throws CheckError `setup` where the folder holds no pack, or one that is wrong; it names every fault. */
export async function readPack(folder: URL): Promise<Pack> {
  return { ...parsePack(await readPackFile(folder)), folder: folder.href };
}

/** The bytes of its pack.json. @throws CheckError `setup` */
export async function readPackFile(folder: URL): Promise<Uint8Array> {
  return readInside("pack.json", folder, MAX_PACK_BYTES).catch((thrown: unknown) => {
    if (thrown instanceof CheckError) throw thrown;
    throw new CheckError("setup", "There is no model pack: its pack.json cannot be read.", {
      cause: thrown,
      next: CHOOSE,
    });
  });
}

/** @throws CheckError `setup` */
export function parsePack(bytes: Uint8Array): PackFile {
  const parsed = packSchema.safeParse(jsonOf(bytes));
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.slice(0, MAX_FAULTS).map(({ code, path, message }) => {
    // Names that are not known are no words of ours.
    return `${path.join(".") || "it"}: ${code === "unrecognized_keys" ? "has a field that is not known" : message}`;
  });
  throw new CheckError("setup", `The model pack's pack.json is wrong: ${faults.join("; ")}.`, {
    cause: z.prettifyError(parsed.error),
    next: CHOOSE,
  });
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new CheckError("setup", "The model pack's pack.json is not JSON.", { cause, next: CHOOSE });
  }
}
