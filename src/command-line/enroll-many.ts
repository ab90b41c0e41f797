import { createHash } from "node:crypto";
import { readFileSync, realpathSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, dirname, extname, isAbsolute, join, relative, resolve, sep } from "node:path";
import type { Command } from "commander";
import * as z from "zod";
import type { App } from "../app.ts";
import { CheckError, type FailureCode } from "../errors.ts";
import type { Image } from "../images/image.ts";
import type { Say } from "../language/say.ts";
import { each } from "../many.ts";
import { need } from "../toolkit/capability.ts";
import type { Tool } from "../toolkit/define.ts";
import { line } from "../toolkit/schemas.ts";
import type { Diagnosis } from "./doctor.ts";
import { openProgress } from "./progress.ts";

/** What `enroll-face` was given for many faces at once. */
export interface Many {
  /** The real folder of all images: nothing outside of it is read. */
  readonly folder: string;
  /** A table of them; undefined: every image in the folder. */
  readonly csv: string | undefined;
}

/** For each face whatever its row does not say. */
export interface Common {
  readonly vendor_data?: string | undefined;
  readonly blocklisted?: boolean | undefined;
  readonly gallery?: string | undefined;
  readonly convert?: boolean | undefined;
}

interface Place {
  readonly errors: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly say: Say;
  readonly signal: AbortSignal;
}

/** About a million rows. */
const MAX_CSV_BYTES = 2 ** 27;
/** As long as images are decoded, networks must not wait. */
const AT_ONCE = Math.min(32, 2 * availableParallelism() + 2);
/** Failures of one image; any other ends the command. */
const OF_IMAGE: readonly FailureCode[] = ["no_face", "image_rejected", "path_refused", "invalid_input"];
/** More would not be read. */
const MAX_SHOWN = 20;

const yesOrNo = z
  .enum(["true", "false", ""], { error: "must be true or false" })
  .transform((text) => (text === "" ? undefined : text === "true"));
const rowSchema = z.strictObject({
  image_path: z.string().min(1, { error: "must not be empty" }).max(4096),
  label: line(100),
  vendor_data: z.union([z.literal("").transform(() => undefined), line(256)]).optional(),
  blocklisted: yesOrNo.optional(),
});
type Row = z.infer<typeof rowSchema>;

export const isForMany = ({ name }: Pick<Tool, "name">) => name === "enroll_face";

export function declareMany(command: Command): void {
  command.option(
    "--csv <file>",
    "enroll the faces of a table with the columns image_path, label, vendor_data, blocklisted",
  );
  command.addHelpText(
    "after",
    "\nA folder in place of an image: all images in it, labelled by their subfolders or file names.",
  );
}

/** undefined: it is one image. @throws CheckError `invalid_input` where both are named, or a file is not there */
export function manyIn(path: string | undefined, csv: string | undefined): Many | undefined {
  if (csv !== undefined) {
    if (path !== undefined) throw invalid("Both an image and --csv were given.", "Pass one of them.");
    const real = realPath(csv);
    return { folder: dirname(real), csv: real };
  }
  if (path === undefined || path === "-" || !statSync(path, { throwIfNoEntry: false })?.isDirectory()) return undefined;
  return { folder: realPath(path), csv: undefined };
}

/**
 * Enrols each face that is not in the gallery yet: its id is made from the image and what is said about it, so that the
 * command can be repeated. An image that cannot be enrolled is reported, and the others go on.
 */
export async function enrollMany(app: App, { folder, csv }: Many, common: Common, { errors, say, signal }: Place) {
  const provider = await need(app, "hasFace");
  const enroll = await need(app, "enrollFace");
  const rows = csv === undefined ? await rowsOfFolder(folder) : await rowsOfCsv(csv);
  const failed: { image: string; code: FailureCode; message: string }[] = [];
  const options = { signal, onStage: () => {}, gallery: common.gallery };
  const limits = { ...enroll.images, convert: common.convert ?? false, signal };
  let [enrolled, present, done] = [0, 0, 0];
  const progress = await openProgress(errors, say);
  const step = async (row: Row) => {
    const image = await app.loadImage(resolve(folder, row.image_path), limits);
    const { vendor_data: vendorData = common.vendor_data ?? null, blocklisted = common.blocklisted ?? false } = row;
    const enrolment = { label: row.label, vendorData, blocklisted };
    const id = idOf(image, enrolment);
    if (await provider.hasFace(id, options)) present += 1;
    else {
      await enroll.enrollFace(image, enrolment, { ...options, id });
      enrolled += 1;
    }
  };
  try {
    await each(rows, AT_ONCE, async (row) => {
      signal.throwIfAborted();
      await step(row).catch((thrown: unknown) => {
        const { code, message, next } = CheckError.from(thrown);
        if (!OF_IMAGE.includes(code)) throw thrown;
        failed.push({ image: row.image_path, code, message: `${message} ${next}` });
      });
      done += 1;
      progress.update("faces", done, rows.length);
    });
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
    throw new CheckError("cancelled", `The command was interrupted; ${enrolled} new faces are enrolled.`, {
      cause: thrown,
      next: "Run it again to enroll the rest.",
    });
  } finally {
    progress.end();
  }
  return diagnosisOf({ enrolled, present, failed: failed.toSorted((a, b) => (a.image < b.image ? -1 : 1)) });
}

function diagnosisOf(findings: {
  readonly enrolled: number;
  readonly present: number;
  readonly failed: readonly { image: string; message: string }[];
}): Diagnosis {
  const { enrolled, present, failed } = findings;
  const lines = [
    `Enrolled: ${enrolled}. There before: ${present}. Not enrolled: ${failed.length}.`,
    ...failed.slice(0, MAX_SHOWN).map(({ image, message }) => `${image}: ${message}`),
    ...(failed.length > MAX_SHOWN ? [`${failed.length - MAX_SHOWN} more; --json lists all.`] : []),
  ];
  return { findings, text: lines.join("\n"), ok: failed.length === 0 };
}

/** Says nothing to whoever has not got the image: a hash of it all, in the form of a UUID of version 8. */
function idOf({ bytes, prepared }: Image, enrolment: object): string {
  const image = prepared?.sha256 ?? createHash("sha256").update(bytes).digest("hex");
  const hash = createHash("sha256")
    .update(JSON.stringify([image, enrolment]))
    .digest();
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x80, 6);
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = hash.toString("hex", 0, 16);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** The label is the name of the subfolder that an image lies in, or of the file. */
async function rowsOfFolder(folder: string): Promise<Row[]> {
  const { imagesIn } = await import("../evaluation/folder.ts");
  const rows = (await imagesIn(folder)).map((file): Row => {
    const path = relative(folder, file);
    const [first = "", second] = path.split(sep);
    return { image_path: path, label: second === undefined ? basename(first, extname(first)) : first };
  });
  if (rows.length === 0) throw invalid("There are no images in that folder.", "Check the path.");
  const labels = line(100);
  const bad = rows.find(({ label }) => !labels.safeParse(label).success);
  if (bad !== undefined) {
    throw invalid(
      "A file or subfolder has a name that cannot be a label.",
      "Rename it, or pass labels with --csv.",
      bad,
    );
  }
  return rows;
}

async function rowsOfCsv(file: string): Promise<Row[]> {
  if (statSync(file).size > MAX_CSV_BYTES) throw invalid("The CSV file is too large.", "Split it.");
  const { parse } = await import("csv-parse/sync");
  let records: unknown;
  try {
    records = parse(readFileSync(file), { columns: true, bom: true, skip_empty_lines: true, trim: true });
  } catch (cause) {
    throw invalid("The CSV file cannot be read.", CSV_NEXT, cause);
  }
  const parsed = z.array(z.unknown()).parse(records);
  if (parsed.length === 0) throw invalid("The CSV file has no rows.", CSV_NEXT);
  return parsed.map((record, i) => {
    const row = rowSchema.safeParse(record);
    const isOutside = row.success && isAbsolute(row.data.image_path);
    if (row.success && !isOutside) return row.data;
    const why = row.success ? "image_path must be relative to the CSV file" : faultOf(row.error);
    throw invalid(`Row ${i + 1} of the CSV file is invalid: ${why}.`, CSV_NEXT, row.error);
  });
}

function faultOf({ issues }: z.ZodError): string {
  const [issue] = issues;
  if (issue?.code === "unrecognized_keys") return "there is an unknown column";
  const [name = "a column"] = issue?.path ?? [];
  return `${String(name)} ${issue?.code === "invalid_type" ? "is missing" : (issue?.message ?? "is wrong")}`;
}

const CSV_NEXT =
  "The first row must name the columns: image_path and label, and vendor_data and blocklisted (true or false) if there are any.";

const invalid = (message: string, next: string, cause?: unknown) =>
  new CheckError("invalid_input", message, { next, cause });

function realPath(path: string): string {
  try {
    return realpathSync(join(path));
  } catch (cause) {
    throw invalid("There is nothing at that path.", "Check it, then retry.", cause);
  }
}
