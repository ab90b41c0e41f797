export { refusal } from "../support/refusal.ts";

import { setMaxListeners } from "node:events";
import sharp from "sharp";
import { expect, onTestFinished } from "vitest";
import type { CheckError } from "../../src/errors.ts";
import { type Image, toImage } from "../../src/images/image.ts";
import { type DiditOptions, didit } from "../../src/providers/didit/provider.ts";
import { API_KEY, type StandIn, standIn } from "../support/stand-in.ts";

type Didit = ReturnType<typeof didit>;

interface Setting {
  readonly api: StandIn;
  readonly provider: Didit;
}

interface Expected {
  /** The requests are meant to be wrong. */
  readonly faulty?: boolean;
}

/** The provider before its stand-in, both closed at the end of the test, and no malformed request among those sent. */
export async function setUp(options: Partial<DiditOptions> = {}, { faulty = false }: Expected = {}): Promise<Setting> {
  const api = await standIn();
  const provider = didit({ apiKey: API_KEY, baseUrl: api.url, ...options });
  onTestFinished(async () => {
    await provider.close();
    await api.close();
    if (!faulty) expect(api.received.flatMap(({ faults }) => faults)).toEqual([]);
  });
  return { api, provider };
}

/** What every call takes, with a signal that nobody aborts. */
export const callOptions = { signal: new AbortController().signal, onStage: () => {} };
// Hundreds of calls share it.
setMaxListeners(0, callOptions.signal);

export type Format = "jpeg" | "png" | "webp" | "tiff";

/** A real image of 64 x 48 pixels. */
export async function photo(format: Format = "jpeg", background = "#a08070"): Promise<Image> {
  const canvas = sharp({ create: { width: 64, height: 48, channels: 3, background } });
  return toImage(new Uint8Array(await canvas[format]().toBuffer()), {
    maxBytes: 5 * 2 ** 20,
    mimes: ["image/jpeg", "image/png", "image/webp", "image/tiff"],
  });
}

/** Everything that a failure tells a model. */
export const told = ({ message, next }: CheckError) => `${message} ${next}`;
