export interface UploadedFile {
  readonly field: string;
  readonly fileName: string;
  readonly mime: string;
  readonly bytes: Buffer;
}

export interface ParsedForm {
  readonly fields: Readonly<Record<string, string>>;
  readonly files: Readonly<Record<string, UploadedFile>>;
  /** All that a strict server could find wrong with the form. */
  readonly faults: readonly string[];
}

const DISPOSITION = /^form-data; name="([^"\r\n]+)"(?:; filename="([^"\r\n]*)")?$/;

/** Reads multipart/form-data by the letter of RFC 7578, and says what is off; a lenient library would hide it. */
export function parseForm(contentType: string | undefined, body: Buffer): ParsedForm {
  const faults: string[] = [];
  const fields: Record<string, string> = {};
  const files: Record<string, UploadedFile> = {};
  const boundary = /^multipart\/form-data; ?boundary=([\w'()+,./:=?-]{1,70})$/.exec(contentType ?? "")?.[1];
  if (boundary === undefined)
    return { fields, files, faults: ["content-type is not multipart/form-data with a boundary"] };

  const opening = Buffer.from(`--${boundary}\r\n`);
  const closing = Buffer.from(`\r\n--${boundary}--`);
  const end = body.lastIndexOf(closing);
  const rest = end < 0 ? "" : body.subarray(end + closing.length).toString("latin1");
  if (!body.subarray(0, opening.length).equals(opening)) faults.push("the body does not start with the boundary");
  if (end < 0) faults.push("the body does not end with the closing boundary");
  if (rest !== "" && rest !== "\r\n") faults.push("there is text after the closing boundary");

  for (const part of split(body.subarray(opening.length, end), Buffer.from(`\r\n--${boundary}\r\n`))) {
    const blank = part.indexOf("\r\n\r\n");
    if (blank < 0) {
      faults.push("a part has no blank line after its headers");
      continue;
    }
    const headers = new Map(
      part
        .subarray(0, blank)
        .toString("utf8")
        .split("\r\n")
        .map((line) => {
          const [name = "", ...value] = line.split(": ");
          return [name.toLowerCase(), value.join(": ")] as const;
        }),
    );
    const content = part.subarray(blank + 4);
    const [, name, fileName] = DISPOSITION.exec(headers.get("content-disposition") ?? "") ?? [];
    const mime = headers.get("content-type");
    if (name === undefined) faults.push("a part has no valid Content-Disposition with a name");
    else if (Object.hasOwn(fields, name) || Object.hasOwn(files, name)) faults.push(`${name} is sent twice`);
    else if (fileName === undefined) {
      if (mime !== undefined) faults.push(`${name} is a field with a Content-Type`);
      fields[name] = content.toString("utf8");
    } else {
      if (mime === undefined) faults.push(`${name} is a file without a Content-Type`);
      files[name] = { field: name, fileName, mime: mime ?? "", bytes: Buffer.from(content) };
    }
  }
  return { fields, files, faults };
}

function split(body: Buffer, separator: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  let from = 0;
  for (let at = body.indexOf(separator); at >= 0; at = body.indexOf(separator, from)) {
    parts.push(body.subarray(from, at));
    from = at + separator.length;
  }
  return [...parts, body.subarray(from)];
}

const SIGNATURES = [
  { mime: "image/jpeg", extension: "jpg", hex: /^ffd8ff/ },
  { mime: "image/png", extension: "png", hex: /^89504e470d0a1a0a/ },
  { mime: "image/webp", extension: "webp", hex: /^52494646.{8}57454250/ },
  { mime: "image/gif", extension: "gif", hex: /^47494638(37|39)61/ },
  { mime: "image/bmp", extension: "bmp", hex: /^424d/ },
  { mime: "image/tiff", extension: "tiff", hex: /^(49492a00|4d4d002a)/ },
] as const;

/** What the bytes are, whatever the sender says. */
export function sniff(bytes: Buffer): { mime: string; extension: string } | undefined {
  const head = bytes.toString("hex", 0, 16);
  const found = SIGNATURES.find(({ hex }) => hex.test(head));
  // Two letters can stand anywhere by chance; a bitmap also says how long it is.
  const isBitmap = bytes.length >= 6 && bytes.readUInt32LE(2) === bytes.length;
  return found?.mime === "image/bmp" && !isBitmap ? undefined : found;
}
