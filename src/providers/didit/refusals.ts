import * as z from "zod";
import type { Refusal, Refusals } from "../http/client.ts";

/** More than this of a text does not make it clearer. */
const MAX_CHARS = 1000;
const text = z
  .union([z.string(), z.array(z.string()).transform((lines) => lines.join(" "))])
  .transform((prose) => prose.slice(0, MAX_CHARS))
  .catch("");
/** `{"error": text}`, `{"detail": text, "code": word}`, `{"message": text}`; other shapes have none of the four. */
const ErrorBody = z.object({ error: text, detail: text, message: text, code: text });
const NO_BODY: z.infer<typeof ErrorBody> = { error: "", detail: "", message: "", code: "" };

const readBody = (body: unknown) => ErrorBody.safeParse(body).data ?? NO_BODY;

/** Didit's field -> what it is to the caller. */
const FIELDS: ReadonlyMap<string, { readonly noun: string; readonly isImage: boolean }> = new Map([
  ["user_image", { noun: "the user image", isImage: true }],
  ["ref_image", { noun: "the reference image", isImage: true }],
  ["face_liveness_score_decline_threshold", { noun: "the decline threshold", isImage: false }],
  ["face_match_score_decline_threshold", { noun: "the decline threshold", isImage: false }],
  ["search_type", { noun: "the search type", isImage: false }],
  ["rotate_image", { noun: "the choice to rotate", isImage: false }],
  ["save_api_request", { noun: "the choice to save", isImage: false }],
  ["vendor_data", { noun: "the vendor data", isImage: false }],
]);

/** What Didit says of a field -> what we say. The first row that fits. */
const COMPLAINTS: readonly { readonly says: RegExp; readonly code: Refusal["code"]; readonly what: string }[] = [
  { says: /file size|exceed/i, code: "image_rejected", what: "it is larger than 5 MB" },
  { says: /extension/i, code: "image_rejected", what: "its type is not accepted (JPEG, PNG, WebP and TIFF are)" },
  { says: /no file|required|not a file/i, code: "invalid_input", what: "it was not received" },
  { says: /empty/i, code: "image_rejected", what: "it is empty" },
  { says: /valid image|corrupt/i, code: "image_rejected", what: "it cannot be decoded" },
  { says: /less than|greater than|number/i, code: "invalid_input", what: "it must be a number from 0 to 100" },
  { says: /valid/i, code: "invalid_input", what: "its value is unknown" },
];

function refuseRequest(body: unknown): Refusal {
  const { error } = readBody(body);
  if (/no face/i.test(error)) return { code: "no_face", message: "Didit found no face in the image." };
  if (/image format/i.test(error)) {
    return {
      code: "image_rejected",
      message: "Didit could not decode the image: it is damaged or of another type than it seems.",
    };
  }
  return refuseField(body) ?? { code: "invalid_input", message: "Didit refused the request as invalid (HTTP 400)." };
}

/** `{field: [text, ...]}`, the first field that we know. */
function refuseField(body: unknown): Refusal | undefined {
  if (typeof body !== "object" || body === null) return undefined;
  for (const [name, prose] of Object.entries(body)) {
    const field = FIELDS.get(name);
    if (field === undefined) continue;
    const complaint = COMPLAINTS.find(({ says }) => says.test(text.parse(prose)));
    const fallback = {
      code: field.isImage ? "image_rejected" : "invalid_input",
      what: "it gave no known reason",
    } as const;
    const { code, what } = complaint ?? fallback;
    return { code, message: `Didit did not accept ${field.noun}: ${what}.` };
  }
  return undefined;
}

const BAD_KEY: Refusal = {
  code: "unauthorized",
  message: "Didit does not accept the API key, or the key lacks the permission.",
  next: "Check the API key in Didit's console: it must not be revoked or expired, must belong to this environment, and its scopes and IP allowlist must allow the call.",
};
const NO_CREDIT: Refusal = {
  code: "no_credit",
  message: "The Didit account has too few credits: the check was not run.",
  next: "Top up the account (top_up makes a link to pay), then retry.",
};

/** Stable codes of a 403, which say more than its text. */
const FORBIDDEN: ReadonlyMap<string, Refusal> = new Map([
  [
    "contract_billing_suspended",
    {
      code: "no_credit",
      message: "Didit has suspended the billing of this account: the check was not run.",
      next: "The account owner must settle the billing with Didit; neither a new key nor a retry helps.",
    },
  ],
  [
    "application_deleted",
    {
      code: "unauthorized",
      message: "The Didit application of this API key was deleted.",
      next: "Set DIDIT_API_KEY to the key of an existing application, then restart the server.",
    },
  ],
]);

/** For a 403 that does not say which of its two reasons it has. */
const NO_REASON: Refusal = {
  code: "unauthorized",
  message:
    "Didit refused the call without a reason (HTTP 403): the API key lacks the permission, or the account has too few credits.",
  next: "Call get_balance. If credits are left, check the API key in Didit's console; if not, top up the account (top_up makes a link to pay).",
};

function refuseAccess(body: unknown): Refusal {
  const { error, detail, message, code } = readBody(body);
  const known = FORBIDDEN.get(code);
  if (known !== undefined) return known;
  const prose = `${error} ${detail} ${message}`;
  // Not a key that lacks the right to see them.
  if (/credit|insufficient (balance|funds)/i.test(prose) && !/permission|scope/i.test(prose)) return NO_CREDIT;
  return prose.trim() === "" ? NO_REASON : BAD_KEY;
}

/** The same of a call that costs nothing: there it is the key. */
export function refuseKey(body: unknown): Refusal {
  const refusal = refuseAccess(body);
  return refusal === NO_REASON ? BAD_KEY : refusal;
}

const WRONG_ADDRESS: Refusal = {
  code: "setup",
  message: "The URL configured for Didit has no such endpoint.",
  next: "Correct DIDIT_API_BASE_URL (default: https://verification.didit.me), then restart the server.",
};

/** What Didit means by a status; the rest is as everywhere. */
export const DIDIT_REFUSALS: Refusals = {
  400: refuseRequest,
  401: BAD_KEY,
  402: NO_CREDIT,
  403: refuseAccess,
  404: WRONG_ADDRESS,
  405: WRONG_ADDRESS,
  413: { code: "image_rejected", message: "The image is too large for Didit (5 MB at most)." },
  429: { code: "rate_limited", message: "The Didit API key has reached its rate limit (300 calls a minute)." },
};
