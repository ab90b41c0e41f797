import { CheckError } from "../../errors.ts";

/** As many bytes as the signatures of file-type look at. */
const SIGNATURE_BYTES = 4100;

/**
 * Bytes that could be liveness data. The format is Linkface's own and may be encrypted, so nothing can be asked of it
 * but that it is not the picture that was meant to stand beside it.
 *
 * @throws CheckError `invalid_input`
 */
export async function checkLivenessData(bytes: Uint8Array<ArrayBuffer>, maxBytes: number): Promise<void> {
  if (bytes.length === 0) throw refused("is empty");
  if (bytes.length > maxBytes) throw refused(`is larger than ${maxBytes / 2 ** 20} MB`);
  const { fileTypeFromBuffer } = await import("file-type");
  const found = await fileTypeFromBuffer(bytes.subarray(0, SIGNATURE_BYTES)).catch(() => undefined);
  if (found === undefined || !/^(image|video)\//.test(found.mime)) return;
  if (found.mime === "image/bmp" && !isSizedLikeBitmap(bytes)) return;
  throw refused(found.mime.startsWith("video/") ? "is a video" : "is an image");
}

/** Two letters alone mark a bitmap, which chance writes too; behind them stands the size of the file. */
function isSizedLikeBitmap(bytes: Uint8Array): boolean {
  return bytes.length >= 6 && new DataView(bytes.buffer, bytes.byteOffset).getUint32(2, true) === bytes.length;
}

const refused = (why: string) =>
  new CheckError("invalid_input", `The file that was given as liveness data ${why}.`, {
    next: "Give the file that Linkface's mobile SDK recorded; no photo or video can stand in for it.",
  });
