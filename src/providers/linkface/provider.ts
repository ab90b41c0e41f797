import { uploadName } from "../../images/image.ts";
import { httpClient, type ProxySettings } from "../http/client.ts";
import type { FormPart } from "../http/form.ts";
import type { LivenessData, LivenessSelfie, LivenessSelfieOptions, Selfie } from "../liveness-selfie.ts";
import { LivenessSelfieAnswer, SAME_PERSON_FROM, toReport } from "./answers.ts";
import { checkLivenessData } from "./liveness-data.ts";
import { linkfaceRefusals } from "./refusals.ts";

const BASE_URL = "https://cloudapi.linkface.cn";

/** Ours: no limit is published. It is that of the selfie, since liveness data holds a few pictures of the same camera. */
const MAX_LIVENESS_DATA_BYTES = 5 * 2 ** 20;

export interface LinkfaceOptions {
  readonly apiId: string;
  readonly apiSecret: string;
  readonly baseUrl?: string | undefined;
  /** For one call with its repeats, in milliseconds. Default 60,000. */
  readonly timeoutMs?: number | undefined;
  /** Whether images are sent without metadata. Default false. */
  readonly stripMetadata?: boolean | undefined;
  readonly proxy?: ProxySettings | undefined;
}

/** Linkface's comparison of liveness data with a selfie. */
export function linkface({
  apiId,
  apiSecret,
  baseUrl = BASE_URL,
  timeoutMs,
  stripMetadata,
  proxy,
}: LinkfaceOptions): LivenessSelfie {
  const http = httpClient({
    provider: "Linkface",
    baseUrl,
    secrets: [apiId, apiSecret],
    timeoutMs,
    proxy,
    refusals: linkfaceRefusals([apiId, apiSecret]),
  });

  return {
    name: "linkface",
    images: {
      maxBytes: 5 * 2 ** 20,
      mimes: ["image/jpeg", "image/png", "image/bmp", "image/gif", "image/tiff"],
      minSide: 9, // "more than 8 pixels"
      maxSide: 4000,
      stripMetadata,
    },
    maxLivenessDataBytes: MAX_LIVENESS_DATA_BYTES,

    async verifyLivenessSelfie(selfie: Selfie, livenessData: LivenessData, options: LivenessSelfieOptions) {
      const { signal, onStage, autoRotate, declineThreshold = SAME_PERSON_FROM } = options;
      if ("bytes" in livenessData) await checkLivenessData(livenessData.bytes, MAX_LIVENESS_DATA_BYTES);
      onStage("asking the provider");
      const { json, data } = await http.request({
        method: "POST",
        path: "/identity/liveness_selfie_verification",
        billed: true,
        form: [
          // Not in the query, where the service would take them too: addresses end up in logs.
          { name: "api_id", value: apiId },
          { name: "api_secret", value: apiSecret },
          toSelfiePart(selfie),
          ...(autoRotate === undefined ? [] : [{ name: "selfie_auto_rotate", value: String(autoRotate) }]),
          toLivenessDataPart(livenessData),
        ],
        // An address can be signed: whoever reads it in a log could open it.
        secrets: [selfie, livenessData].flatMap((input) => ("url" in input ? [toAscii(input.url)] : [])),
        schema: LivenessSelfieAnswer,
        signal,
      });
      return toReport(data, { threshold: declineThreshold, raw: json });
    },

    close: () => http.close(),
  };
}

function toSelfiePart(selfie: Selfie): FormPart {
  if ("id" in selfie) return { name: "selfie_image_id", value: selfie.id };
  if ("url" in selfie) return { name: "selfie_url", value: toAscii(selfie.url) };
  const { bytes, mime } = selfie.image;
  return { name: "selfie_file", fileName: uploadName("selfie_file", selfie.image), mime, bytes };
}

function toLivenessDataPart(data: LivenessData): FormPart {
  if ("id" in data) return { name: "liveness_data_id", value: data.id };
  if ("url" in data) return { name: "liveness_data_url", value: toAscii(data.url) };
  const fileName = "liveness_data_file.bin";
  return { name: "liveness_data_file", fileName, mime: "application/octet-stream", bytes: data.bytes };
}

/** With percent signs for whatever RFC 3986 does not allow, some of which URL leaves as it is. */
function toAscii({ href }: URL): string {
  return href.replace(/%(?![\da-f]{2})|[^\w.~:/?#[\]@!$&'()*+,;=%-]/gi, encodeURIComponent);
}
