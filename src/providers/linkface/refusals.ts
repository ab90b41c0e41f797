import * as z from "zod";
import { plain, quoted } from "../../untrusted.ts";
import type { Refusal, Refusals } from "../http/client.ts";
import { excerpt } from "../http/faults.ts";

/** Prose in which field names are looked for. */
const MAX_SEARCHED_CHARS = 1000;

const ErrorBody = z.object({
  status: z.string().catch(""),
  /** The field that was wrong. */
  image: z.string().catch(""),
  reason: z
    .string()
    .transform((prose) => prose.slice(0, MAX_SEARCHED_CHARS))
    .catch(""),
});
type ErrorBody = z.infer<typeof ErrorBody>;
const NO_BODY: ErrorBody = { status: "", image: "", reason: "" };

/** One of the two things that are compared, as sentences speak of it. */
interface Input {
  readonly noun: string;
  /** How to get another. */
  readonly another: string;
}
const SELFIE: Input = { noun: "the selfie", another: "Use another image as the selfie." };
const LIVENESS_DATA: Input = {
  noun: "the liveness data",
  another: "Record the liveness data again with Linkface's mobile SDK.",
};
/** Where the service does not say which, or says it in a way that is not known. */
const EITHER: Input = {
  noun: "the selfie or the liveness data",
  another: "Use another selfie, and record the liveness data again with Linkface's mobile SDK.",
};

/** Linkface's field -> what it belongs to. */
const INPUTS: ReadonlyMap<string, Input> = new Map([
  ["selfie", SELFIE],
  ["selfie_file", SELFIE],
  ["selfie_url", SELFIE],
  ["selfie_image_id", SELFIE],
  ["selfie_auto_rotate", SELFIE],
  ["liveness_data", LIVENESS_DATA],
  ["liveness_data_file", LIVENESS_DATA],
  ["liveness_data_url", LIVENESS_DATA],
  ["liveness_data_id", LIVENESS_DATA],
]);

const CREDENTIALS = "LINKFACE_API_ID and LINKFACE_API_SECRET";

/** Every code that is documented -> what it means, given the input that it speaks of. */
const CODES = new Map<string, (input: Input) => Refusal>([
  [
    "ENCODING_ERROR",
    () => ({
      code: "invalid_input",
      message: "Linkface could not read the text of the request as UTF-8.",
      next: "Correct the URL or the id, then retry.",
    }),
  ],
  [
    "DOWNLOAD_TIMEOUT",
    ({ noun }) => ({
      code: "invalid_input",
      message: `Linkface took too long to download ${noun} from its URL.`,
      next: "Nothing was decided. Check that the URL can be reached from the internet and answers within 5 seconds, or pass the file.",
    }),
  ],
  [
    "DOWNLOAD_ERROR",
    ({ noun }) => ({
      code: "invalid_input",
      message: `Linkface could not download ${noun} from its URL.`,
      next: "Nothing was decided. Check that the URL can be reached from the internet, or pass the file.",
    }),
  ],
  [
    "IMAGE_FILE_SIZE_TOO_BIG",
    ({ noun, another }) => ({
      code: "image_rejected",
      message: `Linkface did not accept ${noun}: it is larger than 5 MB.`,
      next: another,
    }),
  ],
  [
    "IMAGE_ID_NOT_EXIST",
    ({ noun }) => ({
      code: "not_found",
      message: `Linkface does not know the id of ${noun}.`,
      next: "Use an id from raw of an earlier result (image_id, liveness_data_id), or pass the file.",
    }),
  ],
  [
    "NO_FACE_DETECTED",
    ({ noun, another }) => ({
      code: "no_face",
      message: `Linkface found no face in ${noun}.`,
      next: `${another} The whole face must be in view. This is not a sign of fraud.`,
    }),
  ],
  [
    "CORRUPT_IMAGE",
    ({ noun, another }) => ({
      code: "image_rejected",
      message: `Linkface could not decode ${noun}: it is damaged.`,
      next: another,
    }),
  ],
  [
    "INVALID_IMAGE_FORMAT_OR_SIZE",
    ({ noun, another }) => ({
      code: "image_rejected",
      message: `Linkface did not accept ${noun}: images are JPEG, PNG, BMP, GIF or TIFF, with sides of 9 to 4000 pixels.`,
      next: another,
    }),
  ],
  [
    "WRONG_LIVENESS_DATA",
    () => ({
      code: "invalid_input",
      message: "Linkface did not accept the liveness data: it is not what its mobile SDK records.",
      next: LIVENESS_DATA.another,
    }),
  ],
  [
    "INVALID_ARGUMENT",
    (input) => ({
      code: "invalid_input",
      message: `Linkface refused ${input === EITHER ? "an argument" : `the argument for ${input.noun}`} as invalid.`,
      next: "Correct the file, URL or id, then retry.",
    }),
  ],
  [
    "UNAUTHORIZED",
    () => ({
      code: "unauthorized",
      message: "Linkface does not accept the API id and secret.",
      next: `Check ${CREDENTIALS}.`,
    }),
  ],
  [
    "KEY_EXPIRED",
    () => ({
      code: "unauthorized",
      message: "The Linkface API id and secret have expired.",
      next: `Renew them with Linkface, set the new ${CREDENTIALS}, then restart the server.`,
    }),
  ],
  [
    "NO_PERMISSION",
    () => ({
      code: "unauthorized",
      message: "The Linkface account is not allowed to run this check.",
      next: "Have Linkface enable liveness_selfie_verification for the account.",
    }),
  ],
  // The one 403 that passes by itself.
  [
    "RATE_LIMIT_EXCEEDED",
    () => ({ code: "rate_limited", message: "Linkface accepts no more calls from this account for now." }),
  ],
  [
    "OUT_OF_QUOTA",
    () => ({
      code: "no_credit",
      message: "The Linkface account has no quota left: the check was not run.",
      next: "Get more quota from Linkface, then retry.",
    }),
  ],
  [
    "NOT_FOUND",
    () => ({
      code: "setup",
      message: "The URL configured for Linkface has no such endpoint.",
      next: "Correct LINKFACE_API_BASE_URL (default: https://cloudapi.linkface.cn), then restart the server.",
    }),
  ],
  ["INTERNAL_ERROR", () => ({ code: "unavailable", message: "Linkface failed to run the check." })],
]);

/** What an HTTP status means by itself, where the code is missing or new. */
const BY_STATUS = new Map<number, Refusal>([
  [400, { code: "invalid_input", message: "Linkface refused the request as invalid (HTTP 400)." }],
  [
    401,
    {
      code: "unauthorized",
      message: "Linkface does not accept the API id and secret (HTTP 401).",
      next: `Check ${CREDENTIALS}.`,
    },
  ],
  [
    403,
    {
      code: "unauthorized",
      message:
        "Linkface refused the call (HTTP 403) without saying whether the rate, the quota or a permission was the reason.",
      next: `Check the Linkface account and ${CREDENTIALS}.`,
    },
  ],
  [
    404,
    {
      code: "setup",
      message: "The URL configured for Linkface has no such endpoint (HTTP 404).",
      next: "Correct LINKFACE_API_BASE_URL (default: https://cloudapi.linkface.cn), then restart the server.",
    },
  ],
  [413, { code: "image_rejected", message: "Linkface did not accept the files: they are too large (HTTP 413)." }],
  [500, { code: "unavailable", message: "Linkface failed to run the check (HTTP 500)." }],
]);

/** What Linkface means by a status; the rest is as everywhere. None of `secrets` is in what is quoted. */
export function linkfaceRefusals(secrets: readonly string[]): Refusals {
  const refuse = (body: unknown, fallback: Refusal): Refusal => {
    const answer = ErrorBody.safeParse(body).data ?? NO_BODY;
    const refusal = CODES.get(answer.status)?.(inputOf(answer)) ?? fallback;
    if (answer.status !== REASONED) return refusal;
    return { ...refusal, message: `${refusal.message}${quote(excerpt(answer.reason, secrets))}` };
  };
  return Object.fromEntries(
    [...BY_STATUS].map(([status, fallback]) => [status, (body: unknown) => refuse(body, fallback)]),
  );
}

/** The code whose reason says what nothing else does: which argument was wrong, and how. */
const REASONED = "INVALID_ARGUMENT";
const MAX_REASON_CHARS = 120;

/** Somebody else's words, as a quotation: no address, no markup. */
function quote(reason: string): string {
  const words = reason.replace(/\S*:\/\/\S*/g, " ").replace(/[^\p{L}\p{N}\s.,:;()_'/-]+/gu, " ");
  const text = plain(words, MAX_REASON_CHARS);
  return text === "" ? "" : ` Linkface's reason: ${quoted(text, MAX_REASON_CHARS)}.`;
}

/** Which input is meant: `image` names its field, `reason` is prose, where our own field names are looked for. */
function inputOf({ image, reason }: ErrorBody): Input {
  const named = INPUTS.get(image);
  if (named !== undefined) return named;
  const found = new Set(reason.match(/[a-z_]+/g)?.map((word) => INPUTS.get(word)));
  found.delete(undefined);
  const [only = EITHER, ...more] = found;
  return more.length === 0 ? only : EITHER;
}
