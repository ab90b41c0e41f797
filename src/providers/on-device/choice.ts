import { pathToFileURL } from "node:url";
import type { Config } from "../../config.ts";
import { type Pack, readPack } from "./models.ts";

/** Where the build put the pack that is part of the program. */
export const SHIPPED_FOLDER = new URL("./models/", import.meta.url);

/** The pack that is in use. @throws CheckError `setup` */
export function choosePack({ models }: Pick<Config, "models">): Promise<Pack> {
  return readPack(models === undefined ? SHIPPED_FOLDER : pathToFileURL(`${models}/`));
}
