import * as z from "zod";
import { CheckError, undecodable } from "../../errors.ts";
import type { Image, ImageMime } from "../../images/image.ts";
import { clean } from "../../untrusted.ts";
import type { HttpClient, Refusals } from "../http/client.ts";
import {
  type CallOptions,
  type EnrolledFace,
  type Enrolment,
  type FacePage,
  type Removal,
  unknownCursor,
} from "../provider.ts";

/** Decoded, and of these types: what the upload of a list takes, which is less than what the checks take. */
const MAX_BYTES = 2 * 2 ** 20;
const MIMES: readonly ImageMime[] = ["image/jpeg", "image/png", "image/webp"];
/** Side and quality of a picture that is made smaller: well below the limit, well above what a face needs. */
const SMALLER = { side: 1600, quality: 88 } as const;
/** Pages of lists to look through; an application has a handful of lists. */
const MAX_LIST_PAGES = 10;

/** A page as one array, or as an object with `results` and the address of the next. */
const pageOf = <T extends z.ZodType>(item: T) =>
  z.union([
    z.array(item).transform((results) => ({ results, next: null, count: results.length })),
    z.object({ results: z.array(item), next: z.string().nullish(), count: z.int().min(0).nullish() }),
  ]);

const Lists = pageOf(z.object({ uuid: z.string(), list_type: z.string(), entry_type: z.string() }));

const Entry = z.object({
  uuid: z.string().regex(/^[\w.:-]{1,100}$/),
  comment: z.string().nullish(),
  display_label: z.string().nullish(),
  created_at: z.string().transform((date) => clean(date, 40)),
});
const Entries = pageOf(Entry);

const UPLOAD_REFUSALS: Refusals = {
  400: (body) =>
    /no face/i.test(JSON.stringify(body ?? null))
      ? { code: "no_face", message: "Didit found no face in the image. Nothing was added to the blocklist." }
      : { code: "image_rejected", message: "Didit did not accept the image. Nothing was added to the blocklist." },
  503: {
    code: "unavailable",
    message: "Didit's face analysis is down. Nothing was added to the blocklist.",
    next: "Retry later.",
  },
};

/** The face blocklist of the application that a key belongs to: whoever is on it is declined by later checks. */
export function faceBlocklist(http: HttpClient) {
  /** Every application has one, made by Didit; nobody can make another. */
  async function find({ signal }: CallOptions): Promise<string> {
    let path: string | undefined = "/v3/lists/";
    for (let page = 0; page < MAX_LIST_PAGES && path !== undefined; page += 1) {
      const { data }: { data: z.output<typeof Lists> } = await http.request({
        method: "GET",
        path,
        schema: Lists,
        signal,
      });
      const list = data.results.find((it) => it.list_type === "blocklist" && it.entry_type === "face");
      if (list !== undefined) return encodeURIComponent(list.uuid);
      const query = queryOf(data.next);
      path = query === null ? undefined : `/v3/lists/?${query}`;
    }
    throw new CheckError("unsupported", "Didit shows no face blocklist to this API key.", {
      next: "Check in Didit's console that the application has a face blocklist and that the key can read lists.",
    });
  }

  return {
    async enrollFace(image: Image, enrolment: Enrolment, options: CallOptions): Promise<EnrolledFace> {
      if (!enrolment.blocklisted) {
        throw new CheckError("unsupported", "Didit cannot enroll a face by itself: approved checks fill its index.", {
          next: "Call check_liveness or search_face with save: true; later searches then find the face.",
        });
      }
      options.onStage("asking the provider");
      const list = await find(options);
      const { bytes, note } = await fit(image);
      options.signal.throwIfAborted();
      const { data } = await http.request({
        method: "POST",
        path: `/v3/lists/${list}/entries/face-upload/`,
        json: { image: Buffer.from(bytes).toString("base64"), comment: commentOf(enrolment) },
        schema: Entry,
        refusals: UPLOAD_REFUSALS,
        signal: options.signal,
      });
      return { ...enrolment, id: data.uuid, enrolledAt: data.created_at, ...(note === undefined ? {} : { note }) };
    },

    async listFaces(
      { limit, cursor }: { readonly limit: number; readonly cursor?: string | undefined },
      options: CallOptions,
    ): Promise<FacePage> {
      if (cursor !== undefined && queryOf(`?${cursor}`) !== cursor) {
        throw unknownCursor();
      }
      options.onStage("asking the provider");
      const list = await find(options);
      const path = `/v3/lists/${list}/entries/?${cursor ?? `limit=${limit}`}`;
      const { data } = await http.request({ method: "GET", path, schema: Entries, signal: options.signal });
      return {
        faces: data.results.map(({ uuid, comment, display_label, created_at }) => ({
          id: uuid,
          label: comment || display_label || "without a comment",
          vendorData: null,
          blocklisted: true,
          enrolledAt: created_at,
        })),
        total: data.count ?? data.results.length,
        place: "on Didit's face blocklist, which declines them",
        nextCursor: queryOf(data.next),
      };
    },

    async removeFace(id: string, options: CallOptions): Promise<Removal> {
      options.onStage("asking the provider");
      const list = await find(options);
      const { status } = await http.request({
        method: "DELETE",
        path: `/v3/lists/${list}/entries/${encodeURIComponent(id)}/`,
        schema: z.unknown().optional(),
        refusals: { 404: { code: "not_found", message: "Didit's blocklist has no such face." } },
        signal: options.signal,
      });
      return {
        removed: status < 300,
        erased: false,
        remains: "it is not known whether Didit keeps the image elsewhere",
      };
    },
  };
}

/** The query of the next page's address. Nothing but numbers and words: it becomes part of a path of ours. */
function queryOf(address: string | null | undefined): string | null {
  const query = address?.split("?")[1];
  return query !== undefined && /^[\w.~=&%-]{1,200}$/.test(query) ? query : null;
}

/** The list has one field for words. */
function commentOf({ label, vendorData }: Enrolment): string {
  return vendorData === null ? label : `${label} (${vendorData})`;
}

/** The image as the list takes it; what had to be done is said. */
async function fit({ bytes, mime }: Image): Promise<{ bytes: Uint8Array; note?: string }> {
  if (bytes.length <= MAX_BYTES && MIMES.includes(mime)) return { bytes };
  const { default: sharp } = await import("sharp");
  const smaller = await sharp(bytes, { failOn: "error", limitInputPixels: 100e6 })
    .rotate()
    .resize({ width: SMALLER.side, height: SMALLER.side, fit: "inside", withoutEnlargement: true })
    .jpeg({ quality: SMALLER.quality })
    .toBuffer()
    .catch((cause: unknown) => {
      throw undecodable(cause);
    });
  return {
    bytes: smaller,
    note: "The image was re-encoded as JPEG: the blocklist accepts JPEG, PNG and WebP up to 2 MB.",
  };
}
