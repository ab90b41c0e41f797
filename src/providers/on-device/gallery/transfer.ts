import { constants } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { CheckError, errnoOf } from "../../../errors.ts";
import { syncFolder } from "../../../storage/folder.ts";
import { bytesOf } from "./embedding.ts";
import {
  type Codec,
  codecFor,
  damagedFile,
  type ExportedFace,
  type Header,
  headerFor,
  headerIn,
  linesOf,
} from "./export-file.ts";
import type { Gallery, StoredFace } from "./gallery.ts";
import { otherModel } from "./refusal.ts";

/** With an index to be kept, Postgres stores about 100 in a second, and gives a statement 20. */
const BATCH = 200;
/** Searched for at the end, all over the gallery. */
const SAMPLES = 100;
/** Of a face with itself: 32 bits, or 16 in an index, leave no more than this. */
const SAME_FACE = 0.999;

export interface Transfer {
  readonly gallery: Gallery;
  /** Of its embeddings. */
  readonly model: string;
  readonly onProgress: (what: string, done: number, total: number) => void;
  readonly signal: AbortSignal;
}

export interface FileTransfer extends Transfer {
  readonly file: string;
  /** For an encrypted file; asked when it is known to be one. */
  readonly passphrase: () => Promise<string | undefined>;
}

export interface Transferred {
  readonly faces: number;
  /** Of them, what this run added. */
  readonly added: number;
  /** Found by a search at the end, each with its own embedding. */
  readonly searched: number;
}

/**
 * Writes the gallery to a new file. An export that was interrupted is continued from `FILE.part`.
 *
 * @throws CheckError `invalid_input` where there is a file already, or it cannot be written; `unavailable` where the
 *   gallery changed meanwhile
 */
export async function exportGallery({
  isEncrypted,
  ...transfer
}: FileTransfer & { readonly isEncrypted: boolean }): Promise<Transferred> {
  const { gallery, file, onProgress, signal } = transfer;
  const part = `${file}.part`;
  if (await isThere(file)) throw taken();
  const handle = await openPart(part);
  try {
    const { codec, at, last, end } = await begin(handle, transfer, isEncrypted);
    await handle.truncate(end);
    const total = await gallery.count();
    let [position, line, after] = [end, at, last];
    for (;;) {
      onProgress("faces", line, total);
      signal.throwIfAborted();
      const faces = await gallery.read({ after, limit: BATCH });
      if (faces.length === 0) break;
      const text = faces.map((face, i) => `${codec.write({ face }, line + i)}\n`).join("");
      await handle.write(text, position);
      position += Buffer.byteLength(text);
      line += faces.length;
      after = faces.at(-1)?.seq ?? after;
    }
    await handle.write(`${codec.write({ faces: line }, line)}\n`, position);
    await handle.sync();
    const samples = await compare(handle, codec, line, transfer);
    if (samples === undefined) throw await changed(part);
    const searched = await searchFor(samples, transfer);
    await rename(part, file);
    await syncFolder(dirname(file));
    return { faces: line, added: line - at, searched };
  } catch (thrown) {
    throw onFile(thrown);
  } finally {
    await handle.close();
  }
}

/** Where an earlier run stopped, or at the first line. */
async function begin(handle: FileHandle, { model, passphrase }: FileTransfer, isEncrypted: boolean) {
  let header: Header | undefined;
  let codec: Codec | undefined;
  let [at, last, end] = [0, 0, 0];
  for await (const line of linesOf(handle)) {
    if (codec === undefined) {
      header = headerIn(line.text);
      if (header.model !== model || (header.encryption !== null) !== isEncrypted) throw otherPart();
      codec = await codecFor(header, isEncrypted ? await passphrase() : undefined);
    } else {
      const entry = codec.read(line.text, at);
      if ("faces" in entry) break; // the last line is written again
      at += 1;
      last = entry.face.seq;
    }
    end = line.end;
  }
  if (codec !== undefined) return { codec, at, last, end };
  const made = headerFor(model, isEncrypted);
  const text = `${JSON.stringify(made)}\n`;
  const own = await codecFor(made, isEncrypted ? await passphrase() : undefined);
  await handle.write(text, 0);
  return { codec: own, at, last, end: Buffer.byteLength(text) };
}

/** The written lines with the gallery as it is now; undefined where they differ: somebody was removed since, say. */
async function compare(
  handle: FileHandle,
  codec: Codec,
  total: number,
  { gallery, onProgress, signal }: FileTransfer,
): Promise<readonly StoredFace[] | undefined> {
  const samples = samplesOf(total);
  let present: readonly ExportedFace[] = [];
  let [at, after] = [-1, 0];
  for await (const { text } of linesOf(handle)) {
    at += 1;
    if (at === 0) continue; // the header
    const i = (at - 1) % BATCH;
    if (i === 0) {
      signal.throwIfAborted();
      onProgress("faces compared", at - 1, total);
      present = await gallery.read({ after, limit: BATCH });
      after = present.at(-1)?.seq ?? after;
    }
    const entry = codec.read(text, at - 1);
    if ("faces" in entry) return entry.faces === total && present[i] === undefined ? samples.faces : undefined;
    const face = present[i];
    if (face?.id !== entry.face.id || Buffer.compare(bytesOf(face.embedding), bytesOf(entry.face.embedding)) !== 0) {
      return undefined;
    }
    samples.add(face);
  }
  return undefined;
}

/**
 * Reads the whole file first, so that nothing is stored from one that is damaged, and no gallery made for it. Faces that
 * the gallery has already, from a run that was interrupted say, stay as they are.
 *
 * @throws CheckError `invalid_input` for a file that is none, is damaged or does not open with the passphrase; `setup`
 *   where another model made it
 */
export async function importGallery({
  open: openGallery,
  ...transfer
}: Omit<FileTransfer, "gallery"> & { readonly open: () => Promise<Gallery> }): Promise<Transferred> {
  const { file, model, onProgress, signal } = transfer;
  const handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch(onFileThrown);
  try {
    if (!(await handle.stat()).isFile())
      throw new CheckError("invalid_input", "An exported gallery is a regular file; that path is not.");
    const contents = await headOf(handle, model, transfer.passphrase);
    const { size } = await handle.stat();
    let checked = 0;
    for await (const { read } of contents()) {
      signal.throwIfAborted();
      checked += 1;
      onProgress("bytes checked", Math.min(read, size), size);
    }
    signal.throwIfAborted();
    const gallery = await openGallery();
    const samples = samplesOf(checked);
    let [done, added] = [0, 0];
    let batch: StoredFace[] = [];
    const flush = async () => {
      signal.throwIfAborted();
      added += await gallery.store(batch);
      done += batch.length;
      batch = [];
      onProgress("faces", done, checked);
    };
    for await (const { face } of contents()) {
      samples.add(face);
      batch.push(face);
      if (batch.length === BATCH) await flush();
    }
    if (batch.length > 0) await flush();
    const arrived = await gallery.count();
    if (done !== checked || arrived < done) throw unverified(`${checked} checked, ${done} stored, ${arrived} arrived`);
    return { faces: done, added, searched: await searchFor(samples.faces, { ...transfer, gallery }) };
  } catch (thrown) {
    throw onFile(thrown);
  } finally {
    await handle.close();
  }
}

/** Reads the header; what comes back goes through the faces, again at each call. */
async function headOf(handle: FileHandle, model: string, passphrase: () => Promise<string | undefined>) {
  let codec: Codec | undefined;
  for await (const { text } of linesOf(handle)) {
    const header = headerIn(text);
    if (header.model !== model) throw otherModel(`the file is of ${header.model}, the gallery of ${model}`);
    codec = await codecFor(header, header.encryption === null ? undefined : await passphrase());
    break;
  }
  if (codec === undefined) throw damagedFile("no first line");
  const { read } = codec;
  return async function* faces(): AsyncGenerator<{ face: ExportedFace; read: number }> {
    let at = -1;
    let isWhole = false;
    for await (const { text, end } of linesOf(handle)) {
      if (isWhole) throw damagedFile("lines after the last");
      if (at >= 0) {
        const entry = read(text, at);
        if ("face" in entry) yield { face: entry.face, read: end };
        else if (entry.faces === at) isWhole = true;
        else throw damagedFile(`${at} faces of ${entry.faces}`);
      }
      at += 1;
    }
    if (!isWhole) throw damagedFile("the last line is missing");
  };
}

/** Copies all faces of another gallery with the same model. May be repeated. */
export async function copyGallery({ from, ...to }: Transfer & { readonly from: Gallery }): Promise<Transferred> {
  const { gallery, onProgress, signal } = to;
  const total = await from.count();
  const samples = samplesOf(total);
  let [done, added, after] = [0, 0, 0];
  for (;;) {
    onProgress("faces", done, total);
    signal.throwIfAborted();
    const faces = await from.read({ after, limit: BATCH });
    if (faces.length === 0) break;
    added += await gallery.store(faces);
    for (const face of faces) samples.add(face);
    done += faces.length;
    after = faces.at(-1)?.seq ?? after;
  }
  const [left, arrived] = await Promise.all([from.count(), gallery.count()]);
  if (left !== done || arrived < done) throw unverified(`${left} in the source, ${done} copied, ${arrived} arrived`);
  return { faces: done, added, searched: await searchFor(samples.faces, to) };
}

/** The first of every so many, of about `total`. */
function samplesOf(total: number) {
  const every = Math.max(1, Math.ceil(total / SAMPLES));
  const faces: StoredFace[] = [];
  let seen = 0;
  return {
    faces: faces as readonly StoredFace[],
    add(face: StoredFace) {
      if (seen % every === 0) faces.push(face);
      seen += 1;
    },
  };
}

/** A copy counts once a search finds its faces. */
async function searchFor(faces: readonly StoredFace[], { gallery, onProgress, signal }: Transfer): Promise<number> {
  const limit = 100;
  for (const [i, { id, embedding }] of faces.entries()) {
    signal.throwIfAborted();
    onProgress("searches", i, faces.length);
    const query = { minCosine: SAME_FACE, limit, blocklistedFirst: false };
    const { neighbours, total } = await gallery.search(embedding, query);
    // Of more than `limit` copies of one photo it may be any.
    if (total <= limit && !neighbours.some((it) => it.id === id)) throw unverified(`face ${id} was not found`);
  }
  onProgress("searches", faces.length, faces.length);
  return faces.length;
}

async function openPart(part: string): Promise<FileHandle> {
  const flags = constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
  const handle = await open(part, flags, 0o600).catch(onFileThrown);
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  throw otherPart();
}

async function isThere(file: string): Promise<boolean> {
  const handle = await open(file, "r").catch((thrown: unknown) => {
    if (errnoOf(thrown) === "ENOENT") return undefined;
    throw taken();
  });
  await handle?.close();
  return handle !== undefined;
}

const taken = () =>
  new CheckError("invalid_input", "There is a file of that name already.", { next: "Name a new file, then retry." });

const otherPart = () =>
  new CheckError("invalid_input", "The .part file beside it is of another export.", {
    next: "Remove it, or name another file, then retry.",
  });

/** The next run starts from the beginning: what was removed must not be in the file. */
async function changed(part: string): Promise<CheckError> {
  await rm(part, { force: true });
  return new CheckError("unavailable", "The gallery changed while it was exported; no file was written.", {
    next: "Run the command again while nobody enrolls or removes faces.",
  });
}

const unverified = (cause: string) =>
  new CheckError("unavailable", "The copy could not be verified: it is not the same as the original.", {
    cause,
    next: "Run the command again while nobody enrolls or removes faces; if it fails again, run `biometrics-mcp gallery check`.",
  });

function onFile(thrown: unknown): unknown {
  const code = errnoOf(thrown);
  if (thrown instanceof CheckError || code === undefined || !/^E[A-Z]+$/.test(code)) return thrown;
  return new CheckError("invalid_input", "The file cannot be read or written.", {
    cause: thrown,
    next: "Check the path, its permissions and the space on its disk, then retry.",
  });
}

function onFileThrown(thrown: unknown): never {
  throw onFile(thrown);
}
