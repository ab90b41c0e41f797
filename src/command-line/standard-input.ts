import { addAbortSignal, type Readable } from "node:stream";
import type { App } from "../app.ts";
import { CheckError } from "../errors.ts";
import { bytesToRead } from "../file.ts";
import { type Image, type ImageLimits, nextIfTooLarge, toImage } from "../images/image.ts";

export type StandardInput = Readable & { readonly isTTY?: boolean };

/** Loads the images of one command; one of them, named `-`, may come from standard input. */
export function fromInputToo(
  { loadImage }: App,
  { input, signal }: { readonly input: StandardInput; readonly signal: AbortSignal },
): App["loadImage"] {
  let isRead = false;
  return async (path, limits) => {
    if (path !== "-") return loadImage(path, limits);
    if (isRead) throw new CheckError("invalid_input", "Only one image can be read from standard input.");
    isRead = true;
    return readImage(input, limits, signal);
  };
}

const PIPE = "Pipe an image into the command or pass its path: biometrics-mcp check-liveness - < selfie.jpg";

/** Checked like a file. Reading stops at the first byte beyond the limit. */
async function readImage(input: StandardInput, limits: ImageLimits, signal: AbortSignal): Promise<Image> {
  const rejected = (why: string, next = PIPE) => new CheckError("image_rejected", why, { next });
  const maxBytes = bytesToRead(limits);
  if (input.isTTY === true) throw rejected("Standard input is a terminal, not an image.");
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of addAbortSignal(signal, input) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      const why = `The image on standard input is too large; the limit is ${maxBytes / 2 ** 20} MB.`;
      throw rejected(why, nextIfTooLarge(limits));
    }
    chunks.push(chunk);
  }
  if (bytes === 0) throw rejected("Standard input is empty.");
  return toImage(new Uint8Array(Buffer.concat(chunks)), limits);
}
