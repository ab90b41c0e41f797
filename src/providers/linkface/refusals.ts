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
const SELFIE: Input = { noun: "the selfie", another: "Ask the user for another image as the selfie." };
const LIVENESS_DATA: Input = {
  noun: "the liveness data",
  another: "Ask the user for liveness data that Linkface's mobile SDK has recorded anew.",
};
/** Where the service does not say which, or says it in a way that is not known. */
const EITHER: Input = {
  noun: "the selfie or the liveness data",
  another: "Ask the user for another selfie, and for liveness data that Linkface's mobile SDK has recorded anew.",
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
      next: "Check the address or the id that was given, and call again.",
    }),
  ],
  [
    "DOWNLOAD_TIMEOUT",
    ({ noun }) => ({
      code: "invalid_input",
      message: `Linkface took too long to download ${noun} from the address that was given.`,
      next: "Nothing was decided. Check that the address answers the whole internet within 5 seconds, or give the file itself.",
    }),
  ],
  [
    "DOWNLOAD_ERROR",
    ({ noun }) => ({
      code: "invalid_input",
      message: `Linkface could not download ${noun} from the address that was given.`,
      next: "Nothing was decided. Check that the address is right and open to the whole internet, or give the file itself.",
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
      message: `Linkface does not know the id that was given for ${noun}.`,
      next: "Use an id from raw of an earlier result (image_id, liveness_data_id), or give the file itself.",
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
      next: "Check the file, address or id that was given, and call again.",
    }),
  ],
  [
    "UNAUTHORIZED",
    () => ({
      code: "unauthorized",
      message: "Linkface does not accept the API id and secret.",
      next: `Ask the user to check ${CREDENTIALS}.`,
    }),
  ],
  [
    "KEY_EXPIRED",
    () => ({
      code: "unauthorized",
      message: "The API id and secret of Linkface have expired.",
      next: `Ask the user to renew them with Linkface, and to set the new ${CREDENTIALS}.`,
    }),
  ],
  [
    "NO_PERMISSION",
    () => ({
      code: "unauthorized",
      message: "The Linkface account may not make this check.",
      next: "Ask the user to have liveness_selfie_verification enabled for the account by Linkface.",
    }),
  ],
  // The one 403 that passes by itself.
  [
    "RATE_LIMIT_EXCEEDED",
    () => ({ code: "rate_limited", message: "Linkface answers no more calls of this account for now." }),
  ],
  [
    "OUT_OF_QUOTA",
    () => ({
      code: "no_credit",
      message: "The quota of the Linkface account is used up: the check was not made.",
      next: "Tell the user that the account needs more quota from Linkface, then repeat the check.",
    }),
  ],
  [
    "NOT_FOUND",
    () => ({
      code: "setup",
      message: "There is no such call at the address that is set for Linkface.",
      next: "Ask the user to check LINKFACE_API_BASE_URL (by default https://cloudapi.linkface.cn), then to restart this server.",
    }),
  ],
  [
    "INTERNAL_ERROR",
    () => ({ code: "unavailable", message: "Linkface failed to make the check; nothing was decided." }),
  ],
]);

/** What an HTTP status means by itself, where the code is missing or new. */
const BY_STATUS = new Map<number, Refusal>([
  [400, { code: "invalid_input", message: "Linkface refused the request as invalid (HTTP 400)." }],
  [
    401,
    {
      code: "unauthorized",
      message: "Linkface does not accept the API id and secret (HTTP 401).",
      next: `Ask the user to check ${CREDENTIALS}.`,
    },
  ],
  [
    403,
    {
      code: "unauthorized",
      message: "Linkface refused the call, and did not say whether for its rate, the quota or a permission (HTTP 403).",
      next: `Ask the user to check the Linkface account and ${CREDENTIALS}.`,
    },
  ],
  [
    404,
    {
      code: "setup",
      message: "There is no such call at the address that is set for Linkface (HTTP 404).",
      next: "Ask the user to check LINKFACE_API_BASE_URL (by default https://cloudapi.linkface.cn), then to restart this server.",
    },
  ],
  [413, { code: "image_rejected", message: "Linkface did not accept the files: they are too large (HTTP 413)." }],
  [500, { code: "unavailable", message: "Linkface failed to make the check (HTTP 500); nothing was decided." }],
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
  return text === "" ? "" : ` Linkface gives as its reason: ${quoted(text, MAX_REASON_CHARS)}.`;
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
