import { closeSync, constants, fstatSync, openSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { CheckError, errnoOf } from "../errors.ts";
import { diskTrouble, makeDataFolder, refuseIrregular, refuseShared, shellQuoted, writeWhole } from "./folder.ts";

// Settings that a command saved, by the names and in the words that the environment has for them. Where the environment
// names one as well, it wins.

/** A few settings take some hundred bytes. */
const MAX_BYTES = 2 ** 16;

const saved = z.strictObject({
  BIOMETRICS_LIVENESS_THRESHOLD: z.string().optional(),
  BIOMETRICS_MATCH_THRESHOLD: z.string().optional(),
  BIOMETRICS_MODELS: z.string().optional(),
});
export type SavedSettings = z.infer<typeof saved>;

export const settingsFileOf = (folder: string) => join(folder, "settings.json");

/**
 * What is saved in the data folder; nothing where there is no file. Waits for the disk: it is read once, at the start.
 *
 * @throws CheckError `setup` for a file that is damaged, that others may read or that holds what this version lacks.
 */
export function readSettings(folder: string): SavedSettings {
  const path = settingsFileOf(folder);
  let file: number | undefined;
  try {
    refuseIrregular(path, statSync(path, { bigint: true })); // a device can act on being opened
    file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const found = fstatSync(file, { bigint: true });
    refuseIrregular(path, found);
    refuseShared({ [folder]: statSync(folder, { bigint: true }), [path]: found });
    if (found.size > MAX_BYTES) throw damaged(path, "it is far too large");
    return parse(path, readFileSync(file, "utf8"));
  } catch (thrown) {
    // ENOTDIR: the data folder is none, which whoever needs it says.
    if (["ENOENT", "ENOTDIR"].includes(errnoOf(thrown) ?? "")) return {};
    throw thrown instanceof CheckError ? thrown : unusable(thrown);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** Lays `changed` over what is saved; it is on the disk when this settles. @throws CheckError */
export async function saveSettings(folder: string, changed: SavedSettings): Promise<void> {
  try {
    await makeDataFolder(folder);
    const settings = saved.parse({ ...readSettings(folder), ...changed });
    await writeWhole(settingsFileOf(folder), `${JSON.stringify(settings, undefined, 2)}\n`);
  } catch (thrown) {
    throw thrown instanceof CheckError ? thrown : unusable(thrown);
  }
}

function parse(path: string, json: string): SavedSettings {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw damaged(path, "it is not JSON");
  }
  const parsed = saved.safeParse(value);
  // A setting that is not known may be one that was to make checks stricter.
  if (!parsed.success) throw damaged(path, z.prettifyError(parsed.error));
  return parsed.data;
}

const damaged = (path: string, cause: string) =>
  new CheckError("setup", "The settings file in the data folder is damaged, or from another version.", {
    cause,
    next: `Correct ${shellQuoted(path)} or move it away, then restart the server.`,
  });

const unusable = (cause: unknown) =>
  diskTrouble(cause) ??
  new CheckError("setup", "The settings file in the data folder cannot be read or written.", {
    cause,
    next: "Check that you own the data folder (BIOMETRICS_DATA_DIR) and can write to it, then retry.",
  });
