import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import * as z from "zod";
import { CheckError } from "../../src/errors.ts";
import { verifyLivenessSelfie } from "../../src/tools/verify-liveness-selfie.ts";
import { temporaryFolder } from "../support/clients.ts";
import { LINKFACE_ID, LINKFACE_SECRET, linkfaceOk } from "../support/stand-in/linkface.ts";
import { type Format, LIVENESS_DATA, picture, put, refusal, setUp, told, toolOn } from "./setting.ts";

const folder = temporaryFolder("in-");
const outside = temporaryFolder("out-");
const recording = put(folder, "jane-doe.bin", LIVENESS_DATA);

const IDS = { selfie_image_id: "IMG-1", liveness_data_id: "LD-1" };

async function setUpTool(strict = true) {
  const { api, provider } = await setUp({}, strict);
  return { api, ...toolOn(folder, async () => provider) };
}

/** What a call is refused with before anything was sent. */
async function refusedUnsent(args: object) {
  const { api, call } = await setUpTool();
  const error = await refusal(call(args));
  expect(api.received).toEqual([]);
  expect(told(error)).not.toMatch(new RegExp(`jane-doe|${folder}|${outside}`));
  return error;
}

test("two files: one decision, with the selfie described and nothing personal in it", async () => {
  const { api, call, stages } = await setUpTool();
  const selfie_path = put(folder, "jane-doe.jpg", await picture("jpeg", 320, 240));
  const result = await call({ selfie_path, liveness_data_path: recording, auto_rotate: true, decline_threshold: 80 });
  expect(result).toMatchObject({
    check: "liveness_selfie",
    provider: "linkface",
    outcome: "approved",
    score: 93,
    threshold: 80,
    summary: expect.stringMatching(/^Liveness data against the selfie by Linkface: approved/),
    warnings: [],
    next_steps: [],
    reference: "TID8bf47ab6eda64476973cc5f5b6ebf57e",
    images: [{ name: "selfie", mime: "image/jpeg", width: 320, height: 240 }],
    raw: { image_id: "IMG_EXAMPLE", liveness_data_id: "LD_EXAMPLE" },
  });
  expect(stages).toEqual(["reading", "asking the provider"]);
  const [sent] = api.received;
  expect(sent?.fields).toMatchObject({ selfie_auto_rotate: "true" });
  expect(sent?.files["liveness_data_file"]?.bytes.equals(LIVENESS_DATA)).toBe(true);
  expect(`${sent?.body.toString("latin1")}${JSON.stringify(result)}`).not.toContain("jane-doe");
  expect(JSON.stringify(result)).not.toMatch(new RegExp(`${LINKFACE_ID}|${LINKFACE_SECRET}`));
});

test("addresses and ids are passed on, nothing is read, and no image is described", async () => {
  const { api, call, stages } = await setUpTool();
  const first = await call({ selfie_url: `${api.url}/自拍.jpg`, liveness_data_id: "LD-1" });
  const second = await call({ selfie_image_id: "IMG-1", liveness_data_url: "http://b.example/y" });
  expect([first, second]).toMatchObject([{ images: [] }, { images: [] }]);
  expect(api.received.map(({ path }) => path)).toHaveLength(2); // the address of the stand-in itself was not fetched
  expect(api.received[0]?.fields).toMatchObject({ selfie_url: `${api.url}/%E8%87%AA%E6%8B%8D.jpg` });
  expect(api.received[1]?.fields).toMatchObject({ liveness_data_url: "http://b.example/y" });
  expect(stages).toEqual(["asking the provider", "asking the provider"]);
});

describe("exactly one way for each input", () => {
  const selfie = "selfie_path or selfie_url or selfie_image_id";
  const data = "liveness_data_path or liveness_data_url or liveness_data_id";
  test.each<[object, string]>([
    [{}, `Pass the selfie in exactly one way, as ${selfie}: none was given.`],
    [{ liveness_data_id: "L" }, `Pass the selfie in exactly one way, as ${selfie}: none was given.`],
    [{ selfie_image_id: "I" }, `Pass the liveness data in exactly one way, as ${data}: none was given.`],
    [
      { ...IDS, selfie_path: "x.jpg" },
      `Pass the selfie in exactly one way, as ${selfie}: selfie_path and selfie_image_id were given.`,
    ],
    [
      { ...IDS, liveness_data_url: "https://a.example", liveness_data_path: "x.bin" },
      `Pass the liveness data in exactly one way, as ${data}: liveness_data_path and liveness_data_url and liveness_data_id were given.`,
    ],
  ])("%j", async (args, message) => {
    expect(await refusedUnsent(args)).toMatchObject({ code: "invalid_input", message });
  });

  test("it is said before the credentials are looked for", async () => {
    const { call } = toolOn(folder, async () => {
      throw new CheckError("unauthorized", "There are no credentials.");
    });
    expect(await refusal(call({}))).toMatchObject({ code: "invalid_input" });
    expect(await refusal(call(IDS))).toMatchObject({ code: "unauthorized" });
  });
});

describe("addresses that are not passed on", () => {
  test.each([
    ["file:///etc/passwd"],
    ["ftp://a.example/x"],
    ["data:image/png;base64,AAAA"],
    ["javascript:alert(1)"],
    ["a.example/x"],
    ["/home/x.jpg"],
    ["https://"],
    ["http:a.example"],
    ["https://name:password@a.example/x"],
    ["https://name@a.example/x"],
    ["https://:password@a.example/x"],
    ["https://a.example/x\r\nhost: b"],
    ["https://a.exa\tmple/x"],
    ["https://a.example/\u202ex"],
    [" https://a.example/x"],
    [`https://a.example/${"x".repeat(2048)}`],
    [""],
  ])("%j", async (url) => {
    for (const [name, args] of [
      ["selfie_url", { selfie_url: url, liveness_data_id: "L" }],
      ["liveness_data_url", { selfie_image_id: "I", liveness_data_url: url }],
    ] as const) {
      const error = await refusedUnsent(args);
      expect(error.code).toBe("invalid_input");
      expect(error.message).toContain(`${name} must be `);
      expect(told(error)).not.toContain("password@");
    }
  });
});

test.each([[""], ["a b"], ["a\nb"], ["ä"], ["\u202e"], ["x".repeat(257)]])("an id of %j is refused", async (id) => {
  for (const args of [
    { ...IDS, selfie_image_id: id },
    { ...IDS, liveness_data_id: id },
  ]) {
    expect(await refusedUnsent(args)).toMatchObject({ code: "invalid_input" });
  }
});

test.each([
  [{ ...IDS, decline_threshold: 101 }],
  [{ ...IDS, decline_threshold: -1 }],
  [{ ...IDS, decline_threshold: "70" }],
  [{ ...IDS, auto_rotate: "yes" }],
  [{ ...IDS, treshold: 70 }],
])("%j is refused", async (args) => {
  expect(await refusedUnsent(args)).toMatchObject({ code: "invalid_input" });
});

describe("what a selfie may be", () => {
  const MB5 = 5 * 2 ** 20;
  const ask = (selfie_path: string) => ({ selfie_path, liveness_data_id: "LD-1" });
  const grown = (bytes: Uint8Array, size: number) => {
    const larger = new Uint8Array(size);
    larger.set(bytes);
    return larger;
  };

  test.each<[Format, number, number]>([
    ["jpeg", 9, 9],
    ["png", 4000, 9],
    ["png", 9, 4000],
    ["gif", 64, 48],
    ["tiff", 64, 48],
    ["bmp", 64, 48],
  ])("a %s of %d x %d", async (format, width, height) => {
    const { call } = await setUpTool(false); // the server's own look at files knows neither GIF nor BMP
    const path = put(folder, `selfie-${width}-${height}.${format}`, await picture(format, width, height));
    expect(await call(ask(path))).toMatchObject({ outcome: "approved", images: [{ width, height }] });
  });

  test.each<[Format, number, number]>([
    ["jpeg", 8, 64],
    ["png", 64, 8],
    ["gif", 8, 8],
    ["bmp", 8, 8],
    ["tiff", 64, 8],
    ["png", 4001, 9],
    ["jpeg", 9, 4001],
  ])("not a %s of %d x %d", async (format, width, height) => {
    const path = put(folder, `selfie-${width}-${height}.${format}`, await picture(format, width, height));
    const error = await refusedUnsent(ask(path));
    expect(error).toMatchObject({ code: "image_rejected" });
    expect(error.message).toContain(`${width}x${height} pixels; each side must be from 9 to 4000`);
  });

  test("5 MB, and not a byte more", async () => {
    const { call } = await setUpTool();
    const jpeg = await picture("jpeg");
    expect(await call(ask(put(folder, "5mb.jpg", grown(jpeg, MB5))))).toMatchObject({ outcome: "approved" });
    const error = await refusedUnsent(ask(put(folder, "more.jpg", grown(jpeg, MB5 + 1))));
    expect(error).toMatchObject({ code: "image_rejected", message: "The file is 5.1 MB; the limit is 5 MB." });
  });

  test.each<[string, () => Promise<Uint8Array>]>([
    ["a WebP", () => picture("webp")],
    ["a WebP that is called a JPEG", () => picture("webp")],
    ["text", async () => Buffer.from("hello")],
    ["a PDF", async () => Buffer.from("%PDF-1.7\n%%EOF")],
    ["an empty file", async () => Buffer.alloc(0)],
    ["liveness data", async () => LIVENESS_DATA],
  ])("not %s", async (_what, make) => {
    const error = await refusedUnsent(ask(put(folder, "selfie.jpg", await make())));
    expect(error.code).toBe("image_rejected");
  });
});

describe("what liveness data may be", () => {
  const ask = (liveness_data_path: string) => ({ selfie_image_id: "IMG-1", liveness_data_path });

  test("not the selfie once more", async () => {
    const error = await refusedUnsent(ask(put(folder, "jane-doe.jpg", await picture("jpeg"))));
    expect(error).toMatchObject({ code: "invalid_input" });
    expect(error.message).toMatch(/is not liveness data\. It is an image/);
  });

  test.each<[string, (name: string) => string]>([
    ["by its own name", (name) => put(folder, name, LIVENESS_DATA)],
    [
      "by a link",
      (name) => {
        symlinkSync(put(folder, name, LIVENESS_DATA), join(folder, "visible.bin"));
        return join(folder, "visible.bin");
      },
    ],
  ])("not a hidden file, %s", async (_what, make) => {
    const error = await refusedUnsent(ask(make(".recording")));
    expect(error.message).toBe("Hidden files are not read as liveness data.");
  });

  test("not an empty file, nor one of more than 5 MB", async () => {
    const empty = await refusedUnsent(ask(put(folder, "empty.bin", new Uint8Array(0))));
    expect(empty.message).toMatch(/empty/);
    const large = await refusedUnsent(ask(put(folder, "large.bin", new Uint8Array(5 * 2 ** 20 + 1))));
    expect(large.message).toMatch(/is 5\.1 MB; the limit is 5 MB/);
  });
});

describe("a path outside of the allowed folders is refused, and is not told from one that does not exist", () => {
  const secret = put(outside, "secret.bin", LIVENESS_DATA);
  symlinkSync(secret, join(folder, "link.bin"));
  const paths = [secret, join(folder, "link.bin"), join(folder, "none.bin"), join(folder, "../none.bin")];

  test.each(paths)("%s", async (path) => {
    const errors = [
      await refusedUnsent({ selfie_path: path, liveness_data_path: recording }),
      await refusedUnsent({ selfie_image_id: "I", liveness_data_path: path }),
    ];
    expect(errors.map(told)).toEqual(Array(2).fill(expect.stringMatching(/^There is no readable file at that path/)));
    expect(errors).toMatchObject([{ code: "path_refused" }, { code: "path_refused" }]);
  });

  test.each(["https://a.example/x.jpg", "data:image/png;base64,AA"])("an address is no path: %s", async (path) => {
    expect(await refusedUnsent({ selfie_path: path, liveness_data_id: "L" })).toMatchObject({ code: "invalid_input" });
    expect(await refusedUnsent({ ...IDS, selfie_image_id: undefined, selfie_path: path })).toMatchObject({
      code: "invalid_input",
    });
  });
});

test("an attack is declined as one, however alike the faces are", async () => {
  const { api, call } = await setUpTool();
  api.next(linkfaceOk({ verify_score: "0.99", hack_score: "0.99" }));
  expect(await call(IDS)).toMatchObject({
    outcome: "declined",
    score: 99,
    warnings: [{ tag: "LIVENESS_FACE_ATTACK" }],
    next_steps: [expect.stringMatching(/^Treat as possible fraud/)],
  });
});

test("what clients see of it: flat, optional strings and all four hints", () => {
  const { properties, required } = z.toJSONSchema(verifyLivenessSelfie.input, { io: "input" });
  expect(required).toBeUndefined();
  expect(Object.entries(properties ?? {}).map(([name, schema]) => [name, (schema as { type: string }).type])).toEqual([
    ["selfie_path", "string"],
    ["selfie_url", "string"],
    ["selfie_image_id", "string"],
    ["liveness_data_path", "string"],
    ["liveness_data_url", "string"],
    ["liveness_data_id", "string"],
    ["convert", "boolean"],
    ["auto_rotate", "boolean"],
    ["decline_threshold", "number"],
  ]);
  expect(verifyLivenessSelfie.hints).toEqual({
    readOnlyHint: false,
    destructiveHint: false,
    idempotentHint: false,
    openWorldHint: true,
  });
  const { threshold } = z.toJSONSchema(verifyLivenessSelfie.output).properties ?? {};
  expect(threshold).toMatchObject({ description: "below it declines" });
});
