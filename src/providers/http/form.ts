import { randomUUID } from "node:crypto";

export type FormPart =
  | { readonly name: string; readonly value: string }
  | { readonly name: string; readonly fileName: string; readonly mime: string; readonly bytes: Uint8Array };

/** multipart/form-data in one buffer: a FormData would be streamed in pieces, which doubles the time of a short call. */
export function encodeForm(parts: readonly FormPart[]): { contentType: string; body: Buffer } {
  const boundary = `biometrics-mcp-${randomUUID()}`;
  const pieces = parts.flatMap((part) => {
    const [more, content] =
      "bytes" in part
        ? [`; filename="${escaped(part.fileName)}"\r\nContent-Type: ${part.mime}`, part.bytes]
        : ["", Buffer.from(part.value)];
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="${escaped(part.name)}"${more}\r\n\r\n`;
    return [Buffer.from(head), content, Buffer.from("\r\n")];
  });
  return {
    contentType: `multipart/form-data; boundary=${boundary}`,
    body: Buffer.concat([...pieces, Buffer.from(`--${boundary}--\r\n`)]),
  };
}

/** The way browsers write a name. */
const escaped = (name: string) => name.replaceAll('"', "%22").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
