import { createHash, randomBytes } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { pathToFileURL } from "node:url";
import { type Config, isLoopback } from "../config.ts";
import { CheckError, errnoOf } from "../errors.ts";
import { CATALOGUE } from "../providers/on-device/catalogue.ts";
import {
  choosePack,
  MAX_PACK_BYTES,
  parsePack,
  readOwn,
  readPackFile,
  readShipped,
} from "../providers/on-device/choice.ts";
import {
  embeddingModelOf,
  loadNetwork,
  type Network,
  networksOf,
  type PackFile,
  SHIPPED,
} from "../providers/on-device/models.ts";
import { packName } from "../providers/on-device/pack.ts";
import { diskTrouble, makeDataFolder } from "../storage/folder.ts";
import { saveSettings } from "../storage/settings.ts";
import type { Diagnosis } from "./doctor.ts";
import { openDownloads } from "./download.ts";

const foldersOf = ({ dataFolder }: Pick<Config, "dataFolder">) => join(dataFolder, "models");

/** The packs that are there, and those of the catalogue that could be added. */
export async function listPacks(config: Config): Promise<Diagnosis> {
  const { models: used } = config;
  const shipped = { name: SHIPPED, is_added: true, in_use: used === undefined, ...describe(await readShipped()) };
  const packs: Listed[] = [shipped];
  const added = await addedTo(config);
  for (const name of added) {
    const folder = join(foldersOf(config), name);
    packs.push({ name, is_added: true, in_use: used === folder, ...(await describeOwn(folder)) });
  }
  if (used !== undefined && packs.every(({ in_use }) => !in_use)) {
    packs.push({ name: used, is_added: true, in_use: true, ...(await describeOwn(used)) });
  }
  for (const entry of CATALOGUE.filter(({ name }) => !added.includes(name))) {
    packs.push({ name: entry.name, is_added: false, in_use: false, ...describe(parsePack(bytesOf(entry))) });
  }
  return { findings: { packs }, text: packs.map(textOf).join("\n\n"), ok: true };
}

/**
 * Copies a pack into the data folder, from a folder or an address, or by the name that it has in the catalogue. What the
 * program has itself is not fetched. It gets its name when it is complete.
 *
 * @throws CheckError
 */
export async function addPack(what: string, config: Config, signal: AbortSignal): Promise<Diagnosis> {
  const downloads = openDownloads(config);
  try {
    const source = await sourceOf(what);
    const { name } = source.pack;
    if (name === SHIPPED || (await addedTo(config)).includes(name)) {
      throw new CheckError("invalid_input", `There is a model pack called ${name} already.`, {
        next: "Nothing was added. To replace the one that is there, remove its folder from `models` in the data folder first.",
      });
    }
    const fetched = await keep(source, config);
    const pack = { name, is_added: true, in_use: false, ...describe(source.pack) };
    const text = `Added ${name}; ${megabytes(fetched)} of it are not part of the program.\n\n${textOf(pack)}\n\nTo use it: biometrics-mcp models use ${name}`;
    return { findings: { added: pack }, text, ok: true };
  } finally {
    await downloads.close();
  }

  async function sourceOf(given: string): Promise<Source> {
    const entry = CATALOGUE.find(({ name }) => name === given);
    if (entry !== undefined) return fromNetwork(bytesOf(entry), undefined);
    if (/^https?:/i.test(given) && URL.canParse(given)) {
      const address = new URL(given);
      const wanted = { address, mayBeLocal: isLoopback(address), name: "pack.json", maxBytes: MAX_PACK_BYTES };
      const json = downloads.read(wanted, signal);
      return fromNetwork(await whole(json), address);
    }
    const folder = pathToFileURL(`${resolve(given)}/`);
    const json = await readPackFile(folder);
    const pack = { ...parsePack(json), folder: folder.href };
    return {
      json,
      pack,
      async *read(network) {
        yield await loadNetwork(network, pack);
      },
    };
  }

  function fromNetwork(json: Uint8Array, base: URL | undefined): Source {
    return {
      json,
      pack: parsePack(json),
      read({ file, source, bytes: maxBytes }) {
        if (source === undefined && base === undefined) throw new Error(`the catalogue has no source of ${file}`);
        const mayBeLocal = base !== undefined && isLoopback(base);
        return downloads.read({ address: new URL(source ?? file, base), mayBeLocal, name: file, maxBytes }, signal);
      },
    };
  }
}

/**
 * Saves which pack the checks use from now on: one that was added, or the built-in one.
 *
 * @throws CheckError for one that cannot be used; then nothing changes
 */
export async function usePack(name: string, config: Config): Promise<Diagnosis> {
  const isOwn = name !== SHIPPED;
  if (isOwn && !(await addedTo(config)).includes(name)) {
    throw new CheckError("not_found", "No model pack of that name has been added.", {
      next: "`biometrics-mcp models list` shows which packs there are, and which can be added.",
    });
  }
  const models = isOwn ? join(foldersOf(config), name) : undefined;
  const [chosen, former] = await Promise.all([choosePack({ models }), choosePack(config).catch(() => undefined)]);
  await saveSettings(config.dataFolder, { BIOMETRICS_MODELS: models });
  const isOverruled = config.models !== undefined && !config.saved.includes("BIOMETRICS_MODELS");
  const isOtherGallery = former !== undefined && embeddingModelOf(former) !== embeddingModelOf(chosen);
  const notes = [
    `The checks on this machine use ${name} from now on; a running server, once it is restarted.`,
    ...(isOverruled ? ["BIOMETRICS_MODELS is set as well, and overrules it: unset it."] : []),
    ...(isOtherGallery ? ["Its embeddings are of another kind: it refuses a gallery of the former pack."] : []),
  ];
  return {
    findings: { used: name, is_overruled: isOverruled, refuses_gallery: isOtherGallery },
    text: notes.join("\n"),
    ok: true,
  };
}

/** Where a pack comes from. */
interface Source {
  readonly json: Uint8Array;
  readonly pack: PackFile;
  read(network: Network): AsyncIterable<Uint8Array>;
}

/** Files the pack under its name once it is complete. @returns how many bytes did not come from the program itself */
async function keep({ json, pack, read }: Source, config: Config): Promise<number> {
  const shipped = await readShipped();
  const own = new Map(networksOf(shipped).map((network) => [network.sha256, network]));
  const files = new Map(networksOf(pack).map((network) => [network.file, network]));
  const folders = foldersOf(config);
  const unfinished = join(folders, `.${pack.name}-${randomBytes(8).toString("hex")}.tmp`);
  let fetched = 0;
  try {
    await makeDataFolder(config.dataFolder);
    await mkdir(unfinished, { recursive: true, mode: 0o700 });
    for (const network of files.values()) {
      const shippedOne = own.get(network.sha256);
      if (shippedOne === undefined) fetched += network.bytes;
      await write(
        network,
        shippedOne === undefined ? read(network) : [await loadNetwork(shippedOne, shipped)],
        unfinished,
      );
    }
    await writeFile(join(unfinished, "pack.json"), json, { flag: "wx", mode: 0o600, flush: true });
    await rename(unfinished, join(folders, pack.name));
    return fetched;
  } catch (thrown) {
    await rm(unfinished, { recursive: true, force: true });
    throw thrown instanceof CheckError ? thrown : (diskTrouble(thrown) ?? thrown);
  }
}

async function write(
  { file, bytes, sha256 }: Network,
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  folder: string,
): Promise<void> {
  const hash = createHash("sha256");
  let size = 0;
  await pipeline(
    Readable.from(content),
    async function* (chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        size += chunk.length;
        yield chunk;
      }
    },
    createWriteStream(join(folder, file), { flags: "wx", mode: 0o600, flush: true }),
  );
  if (size === bytes && hash.digest("hex") === sha256) return;
  throw new CheckError("bad_response", `${file} is not the file that the model pack means: its checksum is wrong.`, {
    cause: `${size} bytes`,
    next: "Nothing was added. Do not use this source until its owner explains the difference.",
  });
}

async function whole(content: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of content) chunks.push(chunk);
  return Buffer.concat(chunks);
}

interface Listed {
  readonly name: string;
  readonly is_added: boolean;
  readonly in_use: boolean;
  /** What is wrong with it; then nothing else is told. */
  readonly fault?: string;
  readonly about?: string | undefined;
  readonly figures?: readonly string[] | undefined;
  readonly networks?: readonly ListedNetwork[];
}

interface ListedNetwork {
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly licence: string;
  readonly training_data: string;
  /** Where it is fetched from; null: it is part of the program, or lies with the pack. */
  readonly source: string | null;
}

function describe(pack: PackFile): Pick<Listed, "about" | "figures" | "networks"> {
  const files = new Map(networksOf(pack).map((network) => [network.file, network]));
  const networks = [...files.values()].map(({ file, bytes, sha256, licence, trainingData, source = null }) => {
    return { file, bytes, sha256, licence, training_data: trainingData, source };
  });
  return { about: pack.about, figures: pack.figures, networks };
}

async function describeOwn(folder: string): Promise<Pick<Listed, "fault" | "about" | "figures" | "networks">> {
  try {
    return describe(await readOwn(folder));
  } catch (thrown) {
    return { fault: CheckError.from(thrown).message };
  }
}

function textOf({
  name,
  is_added: isAdded,
  in_use: isInUse,
  fault,
  about,
  figures = [],
  networks = [],
}: Listed): string {
  const state = isInUse ? "in use" : isAdded ? "not in use" : `can be added: biometrics-mcp models add ${name}`;
  const lines = [
    fault === undefined ? about : `FAULT ${fault}`,
    ...networks.map(({ file, bytes, licence, training_data: trainingData }) => {
      return `${file}, ${megabytes(bytes)}. Licence: ${licence}. Training data: ${trainingData}.`;
    }),
    ...networks.flatMap(({ source }) => (source === null ? [] : [`From ${source}`])),
    ...figures,
  ];
  return [`${name} (${state})`, ...lines.filter((line) => line !== undefined).map((line) => `  ${line}`)].join("\n");
}

const megabytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MB`;

const bytesOf = (json: unknown) => Buffer.from(JSON.stringify(json, undefined, 2));

/** The names of the packs in the data folder. */
async function addedTo(config: Config): Promise<string[]> {
  const entries = await readdir(foldersOf(config), { withFileTypes: true }).catch((thrown: unknown) => {
    if (errnoOf(thrown) === "ENOENT") return [];
    throw diskTrouble(thrown) ?? thrown;
  });
  const names = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  return names.filter((name) => packName.safeParse(name).success).sort();
}
