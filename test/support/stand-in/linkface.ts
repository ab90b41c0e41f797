import type { Answer, Received, Route } from "../stand-in.ts";
import type { UploadedFile } from "./multipart.ts";

/** The credentials that a stand-in accepts. */
export const LINKFACE_ID = "linkface-id-abcdef-123456";
export const LINKFACE_SECRET = "linkface-secret-uvwxyz-987654";

export const LINKFACE_PATH = "/identity/liveness_selfie_verification";

const REQUEST_ID = "TID8bf47ab6eda64476973cc5f5b6ebf57e";

/** A good answer, whatever its scores. */
export function linkfaceOk(scores: object = { verify_score: 0.93, hack_score: 0.02 }): Answer {
  return { status: 200, body: { request_id: REQUEST_ID, status: "OK", ...scores } };
}

export function linkfaceError(httpStatus: number, code: string, more: object = {}): Answer {
  return { status: httpStatus, body: { status: code, request_id: REQUEST_ID, ...more } };
}

/** Field -> what makes its value acceptable. */
const TEXTS: Readonly<Record<string, RegExp>> = {
  selfie_url: /^https?:\/\/[\w\-.~:/?#[\]@!$&'()*+,;=%]+$/,
  selfie_image_id: /^[\x21-\x7e]+$/,
  selfie_auto_rotate: /^(true|false)$/,
  liveness_data_url: /^https?:\/\/[\w\-.~:/?#[\]@!$&'()*+,;=%]+$/,
  liveness_data_id: /^[\x21-\x7e]+$/,
};

const MAX_BYTES = 5 * 2 ** 20;

const IMAGES = [
  { mime: "image/jpeg", extension: "jpg", hex: /^ffd8ff/ },
  { mime: "image/png", extension: "png", hex: /^89504e470d0a1a0a/ },
  { mime: "image/tiff", extension: "tiff", hex: /^(49492a00|4d4d002a)/ },
  { mime: "image/bmp", extension: "bmp", hex: /^424d/ },
  { mime: "image/gif", extension: "gif", hex: /^474946383[79]61/ },
] as const;

/** Each of the two comes in one of three ways. */
const WAYS = [
  ["selfie_file", "selfie_url", "selfie_image_id"],
  ["liveness_data_file", "liveness_data_url", "liveness_data_id"],
] as const;

function refuse(request: Received): Answer | undefined {
  const { fields, files } = request;
  const invalid = (reason: string) => linkfaceError(400, "INVALID_ARGUMENT", { reason: `SECRET-PROSE ${reason}` });
  if (request.path !== LINKFACE_PATH) return invalid("the credentials belong into the body");
  if (fields["api_id"] !== LINKFACE_ID || fields["api_secret"] !== LINKFACE_SECRET) {
    return linkfaceError(401, "UNAUTHORIZED");
  }
  for (const ways of WAYS) {
    const given = ways.filter((name) => Object.hasOwn(fields, name) || Object.hasOwn(files, name));
    if (given.length !== 1) return invalid(`exactly one of ${ways.join(", ")}`);
  }
  for (const [name, value] of Object.entries(fields)) {
    if (name === "api_id" || name === "api_secret") continue;
    if (!(Object.hasOwn(TEXTS, name) && TEXTS[name]?.test(value))) return invalid(name);
  }
  for (const file of Object.values(files)) {
    const refusal = refuseFile(file);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function refuseFile({ field, fileName, mime, bytes }: UploadedFile): Answer | undefined {
  const isNamed = (extension: string, type: string) => fileName === `${field}.${extension}` && mime === type;
  if (field === "liveness_data_file") {
    const isGood = bytes.length > 0 && isNamed("bin", "application/octet-stream");
    return isGood ? undefined : linkfaceError(400, "WRONG_LIVENESS_DATA");
  }
  if (field !== "selfie_file") return linkfaceError(400, "INVALID_ARGUMENT", { reason: `SECRET-PROSE ${field}` });
  if (bytes.length > MAX_BYTES) return linkfaceError(400, "IMAGE_FILE_SIZE_TOO_BIG", { image: field });
  const type = IMAGES.find(({ hex }) => hex.test(bytes.toString("hex", 0, 16)));
  const isGood = type !== undefined && isNamed(type.extension, type.mime);
  return isGood ? undefined : linkfaceError(400, "INVALID_IMAGE_FORMAT_OR_SIZE", { image: field });
}

/** Ids are given for what was not given by id itself. */
function withIds({ fields }: Received): object {
  return {
    ...(Object.hasOwn(fields, "selfie_image_id") ? {} : { image_id: "IMG_EXAMPLE" }),
    ...(Object.hasOwn(fields, "liveness_data_id") ? {} : { liveness_data_id: "LD_EXAMPLE" }),
  };
}

/** The one call of Linkface's API that is made. */
export function linkfaceRoutes(): Route[] {
  return [
    {
      method: "POST",
      path: LINKFACE_PATH,
      form: true,
      answer: (request) => refuse(request) ?? linkfaceOk({ verify_score: 0.93, hack_score: 0.02, ...withIds(request) }),
    },
  ];
}
