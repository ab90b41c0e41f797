export { refusal } from "../support/refusal.ts";

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { expect, onTestFinished } from "vitest";
import { brokenApp } from "../../src/app.ts";
import type { CheckError } from "../../src/errors.ts";
import { readLocalFile } from "../../src/file.ts";
import { type ImageMime, loadImage, toImage } from "../../src/images/image.ts";
import { type LinkfaceOptions, linkface } from "../../src/providers/linkface/provider.ts";
import type { LivenessSelfie } from "../../src/providers/liveness-selfie.ts";
import { verifyLivenessSelfie } from "../../src/tools/verify-liveness-selfie.ts";
import { LINKFACE_ID, LINKFACE_SECRET, linkfaceRoutes } from "../support/stand-in/linkface.ts";
import { type StandIn, standIn } from "../support/stand-in.ts";

interface Setting {
  readonly api: StandIn;
  readonly provider: LivenessSelfie;
}

/** The provider before its stand-in, both closed at the end of the test; `strict`: no malformed request among those sent. */
export async function setUp(options: Partial<LinkfaceOptions> = {}, strict = true): Promise<Setting> {
  const api = await standIn({ routes: linkfaceRoutes() });
  const provider = linkface({ apiId: LINKFACE_ID, apiSecret: LINKFACE_SECRET, baseUrl: api.url, ...options });
  onTestFinished(async () => {
    await provider.close();
    await api.close();
    if (strict) expect(api.received.flatMap(({ faults }) => faults)).toEqual([]);
  });
  return { api, provider };
}

/** What every call takes. */
export const callOptions = { signal: new AbortController().signal, onStage: () => {} };

/** Like what the SDK writes: protobuf, with bytes in it that are no text. */
export const LIVENESS_DATA = new Uint8Array(Buffer.from("0a0a6c66616365207465737412050801ff00fe", "hex"));

/** 24 bits a pixel, all of them black. */
function bitmap(width: number, height: number): Uint8Array<ArrayBuffer> {
  const pixels = Math.ceil((width * 3) / 4) * 4 * height;
  const file = Buffer.alloc(54 + pixels);
  file.write("BM");
  file.writeUInt32LE(file.length, 2);
  file.writeUInt32LE(54, 10);
  file.writeUInt32LE(40, 14);
  file.writeInt32LE(width, 18);
  file.writeInt32LE(height, 22);
  file.writeUInt16LE(1, 26);
  file.writeUInt16LE(24, 28);
  return new Uint8Array(file);
}

export type Format = "jpeg" | "png" | "gif" | "tiff" | "webp" | "bmp";

export async function picture(format: Format, width = 64, height = 48): Promise<Uint8Array<ArrayBuffer>> {
  if (format === "bmp") return bitmap(width, height);
  const canvas = sharp({ create: { width, height, channels: 3, background: "#a08070" } });
  return new Uint8Array(await canvas[format]().toBuffer());
}

const MIMES: readonly ImageMime[] = ["image/jpeg", "image/png", "image/gif", "image/tiff", "image/bmp"];
export const photo = async (format: Format = "jpeg") =>
  toImage(await picture(format), { maxBytes: 5 * 2 ** 20, mimes: MIMES });

/** Writes a file and returns its path. */
export function put(folder: string, name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

/** The tool on real files below `folder`, with what it says of its progress. */
export function toolOn(folder: string, linkface: () => Promise<LivenessSelfie>) {
  const stages: string[] = [];
  const access = { folders: [folder], dataFolder: join(folder, "none") };
  const context = {
    ...brokenApp(new Error("not part of this test")),
    loadImage: (path: string, limits: Parameters<typeof loadImage>[2]) => loadImage(path, access, limits),
    loadFile: (path: string, limits: Parameters<typeof readLocalFile>[2]) => readLocalFile(path, access, limits),
    linkface,
    signal: callOptions.signal,
    onStage: (stage: string) => void stages.push(stage),
  };
  return { stages, call: (args: unknown) => verifyLivenessSelfie.call(args, context) };
}

/** Everything that a failure tells a model. */
export const told = ({ message, next }: CheckError) => `${message} ${next}`;
