import { randomUUID } from "node:crypto";
import type { Answer, Received, Route } from "../stand-in.ts";
import { sniff, type UploadedFile } from "./multipart.ts";

/** Bodies that Didit documents, and statuses whose bodies nobody has published. */
export const DIDIT = {
  badKey401: { status: 401, body: { detail: "SECRET-PROSE the key is wrong, revoked or expired" } },
  badKey403: { status: 403, body: { detail: "You do not have permission to perform this action." } },
  noCredit403: {
    status: 403,
    body: {
      error: "You don't have enough credits to perform this request. Please top up at https://business.didit.me",
    },
  },
  noCredit402: { status: 402, body: { detail: "SECRET-PROSE the check could not be paid" } },
  rateLimited: (retryAfter?: string): Answer => ({
    status: 429,
    headers: { ...(retryAfter === undefined ? {} : { "retry-after": retryAfter }), "x-ratelimit-limit": "300" },
    body: { detail: "Write request rate limit exceeded. You can make up to 300 requests per minute." },
  }),
  overloaded: (retryAfter?: string): Answer => ({
    status: 503,
    headers: retryAfter === undefined ? {} : { "retry-after": retryAfter },
    text: "<html><body>SECRET-PROSE Service Unavailable</body></html>",
  }),
  broken: { status: 500, headers: { "content-type": "text/html" }, text: "<html><body>SECRET-PROSE</body></html>" },
  invalidImage: { status: 400, body: { error: "Invalid user image format." } },
  noFace: { status: 400, body: { error: "No face detected in the image" } },
} as const satisfies Record<string, Answer | ((retryAfter?: string) => Answer)>;

const MAX_BYTES = 5 * 2 ** 20;
const EXTENSIONS = "tiff, jpg, jpeg, png, webp";

/** A field's value -> what Didit says against it. */
type Rule = (value: string) => string | undefined;
const oneOf =
  (...values: string[]): Rule =>
  (value) =>
    values.includes(value) ? undefined : `"${value}" is not a valid choice.`;
const threshold: Rule = (value) => {
  if (!/^\d+(\.\d+)?$/.test(value)) return "A valid number is required.";
  return Number(value) > 100 ? "Ensure this value is less than or equal to 100." : undefined;
};
const flag = oneOf("true", "false");
const COMMON: Readonly<Record<string, Rule>> = {
  rotate_image: flag,
  save_api_request: flag,
  vendor_data: () => undefined,
};

interface Check {
  readonly images: readonly string[];
  readonly fields: Readonly<Record<string, Rule>>;
  readonly block: string;
  /** The block of an answer that approves, or what is refused by its content. */
  readonly find: (request: Received) => unknown;
}

const face = { bbox: [661, 728, 1688, 2188], confidence: 0.732973, age: 26.91, gender: "male", race: null };
const image = { entities: [face], best_angle: 0 };

/** Above the threshold, as far as one was sent; else as Didit declines. */
function scored(score: number, sent: string | undefined, risk: string, feature: string) {
  const isLow = score <= Number(sent ?? 30);
  const texts = { short_description: "SECRET-PROSE short", long_description: "SECRET-PROSE long" };
  return {
    status: isLow ? "Declined" : "Approved",
    score,
    warnings: isLow ? [{ risk, feature, additional_data: null, log_type: "error", ...texts }] : [],
  };
}

const CHECKS: Readonly<Record<string, Check>> = {
  "/v3/passive-liveness/": {
    images: ["user_image"],
    fields: { ...COMMON, face_liveness_score_decline_threshold: threshold },
    block: "liveness",
    find: ({ fields: { face_liveness_score_decline_threshold: sent } }) => ({
      ...scored(95.5, sent, "LOW_LIVENESS_SCORE", "LIVENESS"),
      method: "PASSIVE",
      user_image: image,
      face_quality: 84.21,
      face_luminance: 50.33,
    }),
  },
  "/v3/face-match/": {
    images: ["user_image", "ref_image"],
    fields: { ...COMMON, face_match_score_decline_threshold: threshold },
    block: "face_match",
    find: ({ fields: { face_match_score_decline_threshold: sent } }) => ({
      ...scored(88.25, sent, "LOW_FACE_MATCH_SIMILARITY", "FACEMATCH"),
      user_image: image,
      ref_image: image,
    }),
  },
  "/v3/face-search/": {
    images: ["user_image"],
    fields: { ...COMMON, search_type: oneOf("most_similar", "blocklisted_or_approved") },
    block: "face_search",
    find: () => ({ status: "Approved", total_matches: 0, matches: [], user_image: image, warnings: [] }),
  },
};

/** What is off about a request, in the way that Didit would refuse it. */
function refuse(request: Received, { images, fields }: Check): Answer | undefined {
  if (request.faults.length > 0) return { status: 400, body: { user_image: ["No file was submitted."] } };
  const errors: Record<string, string[]> = {};
  for (const name of images) {
    const file = request.files[name];
    const said = file === undefined ? "No file was submitted." : refuseFile(file);
    if (said !== undefined) errors[name] = [said];
  }
  const unknown = Object.keys(request.files).filter((name) => !images.includes(name));
  for (const [name, value] of Object.entries(request.fields)) {
    const rule = Object.hasOwn(fields, name) ? fields[name] : undefined;
    const said = rule === undefined ? "Unexpected field." : rule(value);
    if (said !== undefined) errors[name] = [said];
  }
  for (const name of unknown) errors[name] = ["Unexpected file."];
  if (Object.keys(errors).length > 0) return { status: 400, body: errors };
  const isDecodable = Object.values(request.files).every(({ bytes }) => sniff(bytes) !== undefined);
  return isDecodable ? undefined : DIDIT.invalidImage;
}

function refuseFile({ fileName, bytes }: UploadedFile): string | undefined {
  const extension = fileName.split(".").at(-1) ?? "";
  if (!EXTENSIONS.split(", ").includes(extension)) {
    return `File extension “${extension}” is not allowed. Allowed extensions are: ${EXTENSIONS}.`;
  }
  if (bytes.length === 0) return "The submitted file is empty.";
  return bytes.length > MAX_BYTES ? "File size should not exceed 5 MB" : undefined;
}

function toRoute([path, check]: readonly [string, Check]): Route {
  return { method: "POST", path, form: true, answer: (request) => refuse(request, check) ?? envelope(request, check) };
}

function envelope(request: Received, { block, find }: Check): Answer {
  const { vendor_data = null } = request.fields;
  const body = { request_id: randomUUID(), [block]: find(request), vendor_data, metadata: null };
  return { status: 200, body: { ...body, created_at: new Date().toISOString().replace("Z", "000+00:00") } };
}

/** Didit's verification API. */
export function diditRoutes(apiKey: string): Route[] {
  const isKnown = (request: Received) => request.headers["x-api-key"] === apiKey;
  const routes: Route[] = [
    ...Object.entries(CHECKS).map(toRoute),
    {
      method: "GET",
      path: "/v3/billing/balance/",
      answer: () => ({
        status: 200,
        body: {
          balance: "1234.5600",
          auto_refill_enabled: false,
          auto_refill_amount: null,
          auto_refill_threshold: null,
        },
      }),
    },
  ];
  return routes.map((route) => ({
    ...route,
    answer: (request) => (isKnown(request) ? route.answer(request) : DIDIT.badKey403),
  }));
}
