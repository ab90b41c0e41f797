import { createHash, randomUUID } from "node:crypto";
import type { Answer, Received, Route } from "../stand-in.ts";
import { sniff } from "./multipart.ts";

const BLOCKLIST = "0b10c000-0000-4000-8000-000000000001";
const PAGE = 2;

export interface ListedFace {
  readonly uuid: string;
  readonly comment: string;
  readonly created_at: string;
  readonly bytes: Buffer;
}

/** The lists of one application, with the face blocklist among them. `faces` is what it holds. */
export function listRoutes(faces: ListedFace[]): Route[] {
  const entries = `/v3/lists/${BLOCKLIST}/entries/`;
  return [
    {
      method: "GET",
      path: "/v3/lists/",
      answer: () => ({
        status: 200,
        body: {
          count: 2,
          next: null,
          results: [
            { uuid: randomUUID(), name: "Friends", list_type: "allowlist", entry_type: "face" },
            { uuid: BLOCKLIST, name: "Face blocklist", list_type: "blocklist", entry_type: "face" },
          ],
        },
      }),
    },
    { method: "POST", path: `${entries}face-upload/`, answer: (request) => upload(request, faces) },
    {
      method: "GET",
      path: entries,
      answer: ({ path }) => {
        const offset = Number(new URL(path, "http://stand.in").searchParams.get("offset") ?? 0);
        const next =
          offset + PAGE < faces.length ? `http://stand.in${entries}?limit=${PAGE}&offset=${offset + PAGE}` : null;
        const results = faces.slice(offset, offset + PAGE).map(({ bytes, ...entry }) => ({
          ...entry,
          value: createHash("sha256").update(bytes).digest("hex"),
          display_label: "",
          added_by: "api",
        }));
        return { status: 200, body: { count: faces.length, next, results } };
      },
    },
    {
      method: "DELETE",
      path: `${entries}{uuid}/`,
      answer: ({ path }) => {
        const at = faces.findIndex(({ uuid }) => path === `${entries}${uuid}/`);
        if (at < 0) return { status: 404, body: { detail: "SECRET-PROSE Not found." } };
        faces.splice(at, 1);
        return { status: 204, text: "" };
      },
    },
  ];
}

function upload({ body, headers }: Received, faces: ListedFace[]): Answer {
  if (headers["content-type"] !== "application/json") return { status: 415, body: { detail: "SECRET-PROSE" } };
  const { image, comment } = JSON.parse(body.toString()) as { image: string; comment: string };
  if (!/^[A-Za-z0-9+/]+=*$/.test(image)) return { status: 400, body: { image: "Invalid base64." } };
  const bytes = Buffer.from(image, "base64");
  if (bytes.length > 2 * 2 ** 20) return { status: 400, body: { image: "Image exceeds maximum size of 2 MB." } };
  if (!["image/jpeg", "image/png", "image/webp"].includes(sniff(bytes)?.mime ?? "")) {
    return { status: 400, body: { image: "SECRET-PROSE unsupported type" } };
  }
  const face = { uuid: randomUUID(), comment, created_at: new Date().toISOString(), bytes };
  faces.push(face);
  return { status: 201, body: { ...face, bytes: undefined, value: randomUUID(), metadata: {}, added_by: "api" } };
}
