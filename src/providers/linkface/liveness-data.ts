import { CheckError } from "../../errors.ts";
import { tooLarge } from "../../file.ts";

/**
 * Bytes that can be liveness data. Its messages are not published, so this asks what every file of Linkface's SDK is:
 * protobuf from its first byte to its last. Whatever else was named by mistake, or by an attacker, stays here.
 *
 * @throws CheckError `invalid_input`
 */
export async function checkLivenessData(bytes: Uint8Array<ArrayBuffer>, maxBytes: number): Promise<void> {
  if (bytes.length === 0) throw refused("The file is empty.");
  if (bytes.length > maxBytes) throw refused(tooLarge(bytes.length, maxBytes));
  const { fileTypeFromBuffer } = await import("file-type");
  const found = await fileTypeFromBuffer(bytes).catch(() => undefined);
  const [kind] = found?.mime.split("/") ?? [];
  if (kind !== undefined) throw refused(KINDS[kind] ?? "It is a file of another type.");
  if (isText(bytes)) throw refused("It is text.");
  if (!isProtobuf(bytes)) throw refused("It is not protobuf.");
}

const KINDS: Readonly<Record<string, string>> = { image: "It is an image.", video: "It is a video." };

function isText(bytes: Uint8Array): boolean {
  try {
    return !/[^\P{Cc}\t\n\f\r]/u.test(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return false;
  }
}

const LONGEST_VARINT = 10;
const LARGEST_FIELD = 2 ** 29 - 1;
/** Wire type -> bytes of the value. The groups of the earliest protobuf, 3 and 4, are not among them. */
const FIXED_BYTES: Readonly<Record<number, number>> = { 1: 8, 5: 4 };
const VARINT = 0;
const DELIMITED = 2;

/** protobuf.dev/programming-guides/encoding: fields one after the other, each with a number, a wire type and a value. */
function isProtobuf(bytes: Uint8Array): boolean {
  let at = 0;
  /** NaN for none. */
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < LONGEST_VARINT; shift += 1) {
      const byte = bytes[at++];
      if (byte === undefined) return Number.NaN;
      value += (byte & 0x7f) * 2 ** (7 * shift);
      if (byte < 0x80) return value;
    }
    return Number.NaN;
  };
  while (at < bytes.length) {
    const tag = varint();
    const field = Math.floor(tag / 8);
    if (!(field >= 1 && field <= LARGEST_FIELD)) return false;
    const wire = tag % 8;
    const value = wire === VARINT || wire === DELIMITED ? varint() : FIXED_BYTES[wire];
    if (wire !== VARINT) at += value ?? Number.NaN;
    else if (Number.isNaN(value)) return false;
    // NaN too: whatever follows it is not at a place of the file.
    if (!(at <= bytes.length)) return false;
  }
  return true;
}

const refused = (why: string) =>
  new CheckError("invalid_input", `The file is not liveness data. ${why}`, {
    next: "Pass the file that Linkface's mobile SDK recorded; a photo, video or other file cannot replace it.",
  });
