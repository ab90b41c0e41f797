import { createCipheriv, createDecipheriv, createHash, randomBytes, scrypt } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { promisify } from "node:util";
import * as z from "zod";
import { CheckError } from "../../../errors.ts";
import { bytesOf, COMPONENTS, embeddingOf } from "./embedding.ts";
import type { StoredFace } from "./gallery.ts";

/*
 * A file of JSON lines: a header, which says which model made the faces, a line for each face, and a last line with
 * their number. Where it is encrypted, each line after the header is sealed for its place in this file: lines that were
 * changed, moved, removed or taken from another file do not open.
 */

const FORMAT = "biometrics-mcp gallery";
/** A face takes 3 KB, sealed 4 KB. */
const MAX_LINE_BYTES = 16_384;
const READ_BYTES = 2 ** 18;
/** What one guess of the passphrase costs: 128 MB and about half a second. */
const COST = { N: 2 ** 17, r: 8, p: 1 } as const;
const CIPHER = "aes-256-gcm";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

const headerSchema = z.strictObject({
  format: z.literal(FORMAT),
  version: z.literal(1),
  model: z.string().min(1).max(1000),
  components: z.literal(COMPONENTS),
  encryption: z
    .strictObject({
      cipher: z.literal(CIPHER),
      kdf: z.literal("scrypt"),
      // As we write it, and nothing that would take all memory.
      N: z.literal(COST.N),
      r: z.literal(COST.r),
      p: z.literal(COST.p),
      salt: z.base64().length(24),
    })
    .nullable(),
});
export type Header = z.infer<typeof headerSchema>;

const visible = (maxChars: number) =>
  z
    .string()
    .min(1)
    .max(maxChars)
    .refine((text) => !/\p{C}/u.test(text));

const faceSchema = z.strictObject({
  seq: z.int().min(1),
  id: z.string().regex(/^[\w.:-]{1,100}$/),
  label: visible(100),
  vendor_data: visible(256).nullable(),
  blocklisted: z.boolean(),
  enrolled_at: z.iso.datetime(),
  embedding: z.base64(),
});
const endSchema = z.strictObject({ faces: z.int().min(0) });

/** A face with its place in the gallery that it comes from. */
export type ExportedFace = StoredFace & { readonly seq: number };
export type Entry = { readonly face: ExportedFace } | { readonly faces: number };

export function headerFor(model: string, isEncrypted: boolean): Header {
  const salt = randomBytes(16).toString("base64");
  const encryption = isEncrypted ? { cipher: CIPHER, kdf: "scrypt", ...COST, salt } : null;
  return headerSchema.parse({ format: FORMAT, version: 1, model, components: COMPONENTS, encryption });
}

/** Turns entries into lines and back; `at` counts the lines after the header from 0. */
export interface Codec {
  write(entry: Entry, at: number): string;
  /** @throws CheckError `invalid_input` */
  read(line: string, at: number): Entry;
}

/** @throws CheckError `invalid_input` where the header asks for a passphrase and there is none */
export async function codecFor(header: Header, passphrase: string | undefined): Promise<Codec> {
  if (header.encryption === null) {
    return { write: (entry) => textOf(entry), read: (line) => entryIn(line) };
  }
  if (passphrase === undefined) {
    throw new CheckError("invalid_input", "The file is encrypted, and there is no passphrase.", {
      next: "Set BIOMETRICS_PASSPHRASE to the passphrase that it was written with.",
    });
  }
  const { N, r, p, salt } = header.encryption;
  const key = await derive(passphrase.normalize("NFC"), Buffer.from(salt, "base64"), { N, r, p });
  const bound = createHash("sha256").update(JSON.stringify(header)).digest("hex");
  const place = (at: number) => Buffer.from(`${bound} ${at}`);
  return {
    write(entry, at) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv(CIPHER, key, nonce).setAAD(place(at));
      const sealed = Buffer.concat([cipher.update(textOf(entry), "utf8"), cipher.final()]);
      return JSON.stringify(Buffer.concat([nonce, sealed, cipher.getAuthTag()]).toString("base64"));
    },
    read(line, at) {
      const sealed = Buffer.from(line, "base64"); // the quotes around it are skipped
      if (sealed.length < NONCE_BYTES + TAG_BYTES) throw damagedFile(`line ${at + 2} is too short`);
      const decipher = createDecipheriv(CIPHER, key, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
      decipher.setAAD(place(at)).setAuthTag(sealed.subarray(-TAG_BYTES));
      let text: string;
      try {
        text = Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]).toString();
      } catch (cause) {
        throw at === 0 ? wrongPassphrase(cause) : damagedFile(cause);
      }
      return entryIn(text);
    },
  };
}

const derive = promisify(
  (passphrase: string, salt: Buffer, cost: typeof COST, done: (error: Error | null, key: Buffer) => void) =>
    scrypt(passphrase, salt, 32, { ...cost, maxmem: 2 ** 28 }, done),
);

function textOf(entry: Entry): string {
  if ("faces" in entry) return JSON.stringify(entry);
  const { seq, id, label, vendorData, blocklisted, enrolledAt, embedding } = entry.face;
  return JSON.stringify({
    seq,
    id,
    label,
    vendor_data: vendorData,
    blocklisted,
    enrolled_at: enrolledAt,
    embedding: Buffer.from(bytesOf(embedding)).toString("base64"),
  });
}

function entryIn(text: string): Entry {
  const json = parse(text);
  const end = endSchema.safeParse(json);
  if (end.success) return end.data;
  const parsed = faceSchema.safeParse(json);
  if (!parsed.success) throw damagedFile(z.prettifyError(parsed.error));
  const { vendor_data: vendorData, enrolled_at: enrolledAt, embedding, ...face } = parsed.data;
  try {
    return { face: { ...face, vendorData, enrolledAt, embedding: embeddingOf(Buffer.from(embedding, "base64")) } };
  } catch (cause) {
    throw damagedFile(cause);
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw damagedFile(cause);
  }
}

/** @throws CheckError `invalid_input` where the line is not the first of an exported gallery */
export function headerIn(line: string): Header {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch (cause) {
    throw foreignFile(cause);
  }
  const parsed = headerSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw foreignFile(z.prettifyError(parsed.error));
}

export interface Line {
  readonly text: string;
  /** Of the byte after it. */
  readonly end: number;
}

/** Whole lines only: what a write that was interrupted left at the end is none. */
export async function* linesOf(file: FileHandle): AsyncGenerator<Line> {
  const chunk = Buffer.alloc(READ_BYTES);
  let rest = Buffer.alloc(0);
  let end = 0;
  for (let position = 0; ; ) {
    const { bytesRead } = await file.read(chunk, 0, chunk.length, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    rest = Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
    let from = 0;
    for (let to = rest.indexOf(10); to >= 0; to = rest.indexOf(10, from)) {
      end += to + 1 - from;
      yield { text: rest.toString("utf8", from, to), end };
      from = to + 1;
    }
    rest = rest.subarray(from);
    if (rest.length > MAX_LINE_BYTES) throw foreignFile(`a line of more than ${MAX_LINE_BYTES} bytes`);
  }
}

const foreignFile = (cause: unknown) =>
  new CheckError("invalid_input", "The file is not an exported gallery, or is from a newer version.", {
    cause,
    next: "Name a file that `biometrics-mcp gallery export` wrote.",
  });

export const damagedFile = (cause: unknown) =>
  new CheckError("invalid_input", "The exported gallery is damaged; nothing was stored.", {
    cause,
    next: "Use another copy of the file, or export the gallery again.",
  });

const wrongPassphrase = (cause: unknown) =>
  new CheckError("invalid_input", "The passphrase is wrong, or the file was changed.", {
    cause,
    next: "Set BIOMETRICS_PASSPHRASE to the passphrase that the file was written with.",
  });
