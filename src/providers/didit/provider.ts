import type * as z from "zod";
import { CheckError } from "../../errors.ts";
import { type Image, uploadName } from "../../images/image.ts";
import { endOf } from "../../secret.ts";
import { dollars, isSpent } from "../account.ts";
import { httpClient, type ProxySettings } from "../http/client.ts";
import type { FormPart } from "../http/form.ts";
import {
  type CallOptions,
  type CheckOptions,
  DEFAULT_THRESHOLDS,
  type ProviderWith,
  type SearchOptions,
} from "../provider.ts";
import { LivenessAnswer, MatchAnswer, SearchAnswer, toReport, toSearchReport } from "./answers.ts";
import { errorWith } from "./attempt.ts";
import { BalanceAnswer } from "./billing.ts";
import { faceBlocklist } from "./blocklist.ts";
import { DIDIT_REFUSALS, refuseKey } from "./refusals.ts";

const BASE_URL = "https://verification.didit.me";
/** Didit's pages disagree about liveness (2026). */
const PRICES = { matchFaces: [0.05, 0.05], checkLiveness: [0.05, 0.1], searchFace: [0.05, 0.05] } as const;
/** For a key, all its writing calls together. */
const CALLS_PER_MINUTE = 300;

export interface DiditOptions {
  readonly apiKey: string;
  readonly baseUrl?: string | undefined;
  /** For one call with its repeats, in milliseconds. Default 60,000. */
  readonly timeoutMs?: number | undefined;
  /** Whether Didit may keep images and results when a call does not say. Left out: Didit's own default, which is yes. */
  readonly saveRequests?: boolean | undefined;
  /** Whether images are sent without metadata. Default false. */
  readonly stripMetadata?: boolean | undefined;
  readonly proxy?: ProxySettings | undefined;
}

type Didit = ProviderWith<"checkLiveness" | "matchFaces" | "searchFace" | "enrollFace" | "listFaces" | "removeFace">;

/** The standalone checks of Didit's cloud. Each answer is billed. */
export function didit({
  apiKey,
  baseUrl = BASE_URL,
  timeoutMs,
  saveRequests,
  stripMetadata,
  proxy,
}: DiditOptions): Didit {
  const http = httpClient({
    provider: "Didit",
    baseUrl,
    headers: { "x-api-key": apiKey },
    secrets: [apiKey],
    timeoutMs,
    proxy,
    refusals: DIDIT_REFUSALS,
  });

  function ask<T>(
    path: string,
    images: Readonly<Record<string, Image>>,
    fields: Readonly<Record<string, string | number | undefined>>,
    schema: z.ZodType<T>,
    { signal, onStage, rotate, save = saveRequests, vendorData }: SearchOptions,
  ) {
    onStage("asking the provider");
    const values = { ...fields, rotate_image: rotate, save_api_request: save, vendor_data: vendorData };
    const form = [...filesOf(images), ...valuesOf(values)];
    return http
      .request({ method: "POST", path, form, billed: true, schema, signal })
      .catch(async (thrown: unknown) => Promise.reject(await withBalance(thrown, signal)));
  }

  /** Free of charge, and refused without a good key. */
  async function balance(signal: AbortSignal): Promise<string> {
    const call = { method: "GET", path: "/v3/billing/balance/", refusals: { 403: refuseKey } } as const;
    return (await http.request({ ...call, schema: BalanceAnswer, signal })).data.balance;
  }

  /** A failure for want of credits, with the balance; any other as it is. A balance that cannot be had hides nothing. */
  async function withBalance(thrown: unknown, signal: AbortSignal): Promise<unknown> {
    if (!(thrown instanceof CheckError) || thrown.code !== "no_credit") return thrown;
    return balance(signal).then(
      (amount) => errorWith(thrown, { message: `${thrown.message} The balance is ${dollars(amount)}.` }),
      () => thrown,
    );
  }

  return {
    name: "didit",
    images: { maxBytes: 5 * 2 ** 20, mimes: ["image/jpeg", "image/png", "image/webp", "image/tiff"], stripMetadata },

    async checkLiveness(image: Image, options: CheckOptions) {
      const fields = { face_liveness_score_decline_threshold: options.declineThreshold };
      const { json, data } = await ask("/v3/passive-liveness/", { user_image: image }, fields, LivenessAnswer, options);
      return toReport(data.liveness, {
        threshold: options.declineThreshold ?? DEFAULT_THRESHOLDS.liveness,
        reference: data.request_id,
        raw: json,
      });
    },

    async matchFaces(user: Image, reference: Image, options: CheckOptions) {
      refuse("compare_all", options.compareAll);
      const images = { user_image: user, ref_image: reference };
      const fields = { face_match_score_decline_threshold: options.declineThreshold };
      const { json, data } = await ask("/v3/face-match/", images, fields, MatchAnswer, options);
      return toReport(data.face_match, {
        threshold: options.declineThreshold ?? DEFAULT_THRESHOLDS.match,
        reference: data.request_id,
        raw: json,
      });
    },

    async searchFace(image: Image, options: SearchOptions) {
      refuse("all_faces", options.allFaces);
      const fields = { search_type: options.searchType };
      const { json, data } = await ask("/v3/face-search/", { user_image: image }, fields, SearchAnswer, options);
      return toSearchReport(data.face_search, { threshold: null, reference: data.request_id, raw: json });
    },

    ...faceBlocklist(http),

    prices: PRICES,
    callsPerMinute: CALLS_PER_MINUTE,

    async test({ signal, onStage }: CallOptions) {
      onStage("asking the provider");
      const amount = await balance(signal);
      const advice = isSpent(amount) ? "; checks will be refused until it is topped up" : "";
      return `Didit accepts the key; the balance is ${dollars(amount)}${advice}`;
    },

    async describe() {
      return {
        host: new URL(baseUrl).host,
        api_key: endOf(apiKey),
        save_requests: saveRequests ?? "provider default (true)",
      };
    },

    close: () => http.close(),
  };
}

/** An option that Didit does not have: nothing is sent, since it would be paid for and not do what was asked. */
function refuse(argument: string, value: boolean | undefined): void {
  if (value === undefined) return;
  throw new CheckError("unsupported", `Didit has no option ${argument}: it chooses the face itself.`, {
    next: `Retry without ${argument}, or set BIOMETRICS_PROVIDER=on-device, which has it, then restart the server.`,
  });
}

function filesOf(images: Readonly<Record<string, Image>>): FormPart[] {
  return Object.entries(images).map(([name, image]) => ({
    name,
    fileName: uploadName(name, image),
    mime: image.mime,
    bytes: image.bytes,
  }));
}

/** What was left out is not sent: Didit's default applies. */
function valuesOf(fields: Readonly<Record<string, string | number | boolean | undefined>>): FormPart[] {
  return Object.entries(fields).flatMap(([name, value]) =>
    value === undefined ? [] : [{ name, value: String(value) }],
  );
}
