import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { LivenessData, Selfie } from "../../src/providers/liveness-selfie.ts";
import { LINKFACE_ID, LINKFACE_PATH, LINKFACE_SECRET } from "../support/stand-in/linkface.ts";
import { callOptions, type Format, LIVENESS_DATA, photo, picture, refusal, setUp, told } from "./setting.ts";

const CREDENTIALS = { api_id: LINKFACE_ID, api_secret: LINKFACE_SECRET };
const address = (text: string) => ({ url: new URL(text) });

describe("each way of each input is sent as that and nothing else", () => {
  const selfies: [string, () => Promise<Selfie>, object, string[]][] = [
    ["a file", async () => ({ image: await photo() }), {}, ["selfie_file"]],
    ["an address", async () => address("https://a.example/x"), { selfie_url: "https://a.example/x" }, []],
    ["an id", async () => ({ id: "IMG-1" }), { selfie_image_id: "IMG-1" }, []],
  ];
  const recordings: [string, LivenessData, object, string[]][] = [
    ["a file", { bytes: LIVENESS_DATA }, {}, ["liveness_data_file"]],
    ["an address", address("http://b.example/y?z=1"), { liveness_data_url: "http://b.example/y?z=1" }, []],
    ["an id", { id: "LD-1" }, { liveness_data_id: "LD-1" }, []],
  ];
  const pairs = selfies.flatMap((selfie) => recordings.map((recording) => [selfie, recording] as const));

  test.each(pairs.map(([selfie, recording]) => [selfie[0], recording[0], selfie, recording] as const))(
    "the selfie as %s, the liveness data as %s",
    async (_selfie, _data, [, makeSelfie, selfieFields, selfieFiles], [, recording, dataFields, dataFiles]) => {
      const { api, provider } = await setUp();
      const report = await provider.verifyLivenessSelfie(await makeSelfie(), recording, callOptions);
      expect(report).toMatchObject({ verdict: "approved", score: 93 });
      const [sent] = api.received;
      expect(sent?.fields).toEqual({ ...CREDENTIALS, ...selfieFields, ...dataFields });
      expect(Object.keys(sent?.files ?? {}).sort()).toEqual([...dataFiles, ...selfieFiles].sort());
    },
  );
});

test.each<[Format, string, string]>([
  ["jpeg", "image/jpeg", "selfie_file.jpg"],
  ["png", "image/png", "selfie_file.png"],
  ["tiff", "image/tiff", "selfie_file.tiff"],
  ["gif", "image/gif", "selfie_file.gif"],
  ["bmp", "image/bmp", "selfie_file.bmp"],
])("a %s is sent byte for byte, as what it is and under a neutral name", async (format, mime, fileName) => {
  const { api, provider } = await setUp({}, false); // the server's own look at files knows neither GIF nor BMP
  await provider.verifyLivenessSelfie({ image: await photo(format) }, { bytes: LIVENESS_DATA }, callOptions);
  const { selfie_file, liveness_data_file } = api.received[0]?.files ?? {};
  expect(selfie_file).toMatchObject({ mime, fileName });
  expect(selfie_file?.bytes.equals(await picture(format))).toBe(true);
  expect(liveness_data_file).toMatchObject({ mime: "application/octet-stream", fileName: "liveness_data_file.bin" });
  expect(liveness_data_file?.bytes.equals(LIVENESS_DATA)).toBe(true);
});

test.each([
  [undefined, undefined],
  [true, "true"],
  [false, "false"],
])("to rotate: %s", async (autoRotate, sent) => {
  const { api, provider } = await setUp();
  await provider.verifyLivenessSelfie({ id: "I" }, { id: "L" }, { ...callOptions, autoRotate });
  expect(api.received[0]?.fields["selfie_auto_rotate"]).toBe(sent);
});

test("the credentials travel in the body, never in the address or a header", async () => {
  const { api, provider } = await setUp();
  await provider.verifyLivenessSelfie({ id: "I" }, { id: "L" }, callOptions);
  const [sent] = api.received;
  expect(sent?.path).toBe(LINKFACE_PATH);
  expect(sent?.fields).toMatchObject(CREDENTIALS);
  expect(JSON.stringify([sent?.path, sent?.headers])).not.toMatch(new RegExp(`${LINKFACE_ID}|${LINKFACE_SECRET}`));
});

describe("an address is sent with percent signs for what it may not hold", () => {
  test.each([
    ["https://a.example/my photo.jpg", "https://a.example/my%20photo.jpg"],
    ["https://a.example/自拍.jpg", "https://a.example/%E8%87%AA%E6%8B%8D.jpg"],
    ["https://bücher.example/x", "https://xn--bcher-kva.example/x"],
    ["HTTPS://A.example/x", "https://a.example/x"],
    ["https://a.example/%E8%87%AA?a=%20", "https://a.example/%E8%87%AA?a=%20"],
    ["https://a.example/100%.jpg", "https://a.example/100%25.jpg"],
    ["https://a.example/?a=b|c^d`e{f}", "https://a.example/?a=b%7Cc%5Ed%60e%7Bf%7D"],
    ["https://a.example/?a=b+c&d=e/f=", "https://a.example/?a=b+c&d=e/f="],
  ])("%s", async (text, sent) => {
    const { api, provider } = await setUp();
    await provider.verifyLivenessSelfie(address(text), address(text), callOptions);
    expect(api.received[0]?.fields).toMatchObject({ selfie_url: sent, liveness_data_url: sent });
  });

  test("whatever it is", async () => {
    const { api, provider } = await setUp();
    const anyPath = fc.string({ unit: "binary", maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(anyPath, anyPath, async (path, query) => {
        const url = new URL("https://a.example/");
        url.pathname = path;
        url.search = query;
        await provider.verifyLivenessSelfie({ url }, { id: "L" }, callOptions);
        const sent = api.received.at(-1)?.fields["selfie_url"] ?? "";
        expect(sent).toMatch(/^https:\/\/a\.example\/(?:[\w\-.~:/?#[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*$/);
        expect(new URL(sent).host).toBe("a.example");
      }),
      { numRuns: 60 },
    );
  });
});

describe("what is no liveness data is not sent", () => {
  const bytesOf = (text: string) => new Uint8Array(Buffer.from(text, "latin1"));
  const heic = bytesOf("\0\0\0\x18ftypheic\0\0\0\0mif1heic");
  const mp4 = bytesOf("\0\0\0\x18ftypisom\0\0\0\0isommp42");

  test.each<[string, () => Promise<Uint8Array<ArrayBuffer>>, RegExp]>([
    ["an empty file", async () => new Uint8Array(0), /is empty/i],
    ["a JPEG", () => picture("jpeg"), /is an image/i],
    ["a PNG", () => picture("png"), /is an image/i],
    ["a WebP", () => picture("webp"), /is an image/i],
    ["a GIF", () => picture("gif"), /is an image/i],
    ["a TIFF", () => picture("tiff"), /is an image/i],
    ["a BMP", () => picture("bmp"), /is an image/i],
    ["a HEIC", async () => heic, /is an image/i],
    ["a video", async () => mp4, /is a video/i],
    ["more than 5 MB", async () => new Uint8Array(5 * 2 ** 20 + 1), /is 5\.1 MB; the limit is 5 MB/],
    ["a setting", async () => bytesOf("DIDIT_API_KEY=abcdef123456\n"), /is text/i],
    ["JSON", async () => bytesOf('{"version":1,"didit":{"api_key":"abcdef123456"}}'), /is text/i],
    ["text that is protobuf by chance", async () => bytesOf("\n\x09text here"), /is text/i],
    ["a PEM", async () => bytesOf("-----BEGIN PRIVATE KEY-----\nMIIE\n"), /is text/i],
    [
      "a DER",
      async () => new Uint8Array(generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "der" })),
      /not protobuf/i,
    ],
    ["a gallery", async () => bytesOf(`SQLite format 3\0${"\0".repeat(84)}`), /another type/],
    ["a zip", async () => bytesOf("PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0"), /another type/],
    ["what ends inside of a field", async () => LIVENESS_DATA.subarray(0, -1), /not protobuf/i],
    ["what goes on after its last field", async () => new Uint8Array([...LIVENESS_DATA, 0xfe]), /not protobuf/i],
    ["a field 0", async () => new Uint8Array([0x02, 0x01, 0xff]), /not protobuf/i],
    ["a wire type that there is not", async () => new Uint8Array([0x0f, 0x01, 0xff]), /not protobuf/i],
    ["a number without an end", async () => new Uint8Array([0x08, ...Array(11).fill(0xff), 0x01]), /not protobuf/i],
    ["5 MB of noise", async () => new Uint8Array(5 * 2 ** 20).fill(0xc3), /not protobuf/i],
  ])("%s", async (_what, make, says) => {
    const { api, provider } = await setUp();
    const error = await refusal(provider.verifyLivenessSelfie({ id: "I" }, { bytes: await make() }, callOptions));
    expect(error.code).toBe("invalid_input");
    expect(error.message).toMatch(says);
    expect(told(error)).toMatch(/liveness data.*mobile SDK/);
    expect(api.received).toEqual([]);
  });

  test.each<[string, Uint8Array<ArrayBuffer>]>([
    ["one field", new Uint8Array([8, 0x96, 1])],
    ["each wire type", new Uint8Array([8, 1, 17, ...Array(8).fill(255), 26, 2, 255, 254, 37, 1, 2, 3, 4])],
    ["5 MB", new Uint8Array(5 * 2 ** 20).fill(0x08)],
  ])("but %s is", async (_what, bytes) => {
    const { api, provider } = await setUp();
    await provider.verifyLivenessSelfie({ id: "I" }, { bytes }, callOptions);
    expect(api.received[0]?.files["liveness_data_file"]?.bytes.equals(bytes)).toBe(true);
  });

  test("a view into a larger buffer is judged by itself", async () => {
    const { provider } = await setUp();
    const file = await picture("bmp");
    const larger = new Uint8Array(file.length + 20);
    larger.set(file, 7);
    const bytes = larger.subarray(7, 7 + file.length);
    expect(await refusal(provider.verifyLivenessSelfie({ id: "I" }, { bytes }, callOptions))).toMatchObject({
      message: expect.stringMatching(/is an image/i),
    });
  });
});

test("the stage is told before anything is sent", async () => {
  const { api, provider } = await setUp();
  const stages: [string, number][] = [];
  const onStage = (stage: string) => void stages.push([stage, api.received.length]);
  await provider.verifyLivenessSelfie({ id: "I" }, { id: "L" }, { ...callOptions, onStage });
  expect(stages).toEqual([["asking the provider", 0]]);
});

test("the stand-in refuses what Linkface refuses", async () => {
  const { api } = await setUp({}, false);
  const good = { ...CREDENTIALS, selfie_image_id: "I", liveness_data_id: "L" };
  const post = async (
    fields: Record<string, string | readonly [name: string, mime: string, bytes: Uint8Array<ArrayBuffer>]>,
    query = "",
  ) => {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) {
      if (typeof value === "string") form.append(name, value);
      else form.append(name, new Blob([value[2]], { type: value[1] }), value[0]);
    }
    const response = await fetch(`${api.url}${LINKFACE_PATH}${query}`, { method: "POST", body: form });
    return ((await response.json()) as { status: string }).status;
  };
  const jpeg = await picture("jpeg");
  const { selfie_image_id: _selfie, ...withoutSelfie } = good;
  const { liveness_data_id: _data, ...withoutData } = good;
  expect(await post(good)).toBe("OK");
  expect(await post(good, "?api_secret=x")).toBe("INVALID_ARGUMENT");
  expect(await post({ ...good, api_secret: "wrong" })).toBe("UNAUTHORIZED");
  expect(await post(withoutSelfie)).toBe("INVALID_ARGUMENT");
  expect(await post(withoutData)).toBe("INVALID_ARGUMENT");
  expect(await post({ ...good, selfie_url: "https://a.example/x" })).toBe("INVALID_ARGUMENT");
  expect(await post({ ...withoutSelfie, selfie_url: "https://a.example/a b" })).toBe("INVALID_ARGUMENT");
  expect(await post({ ...withoutSelfie, selfie_url: "file:///etc/passwd" })).toBe("INVALID_ARGUMENT");
  expect(await post({ ...good, selfie_auto_rotate: "yes" })).toBe("INVALID_ARGUMENT");
  expect(await post({ ...good, surprise: "1" })).toBe("INVALID_ARGUMENT");
  const file = (name: string, mime: string, bytes = jpeg) =>
    ({ ...withoutSelfie, selfie_file: [name, mime, bytes] }) as const;
  expect(await post(file("selfie_file.jpg", "image/jpeg"))).toBe("OK");
  expect(await post(file("jane.jpg", "image/jpeg"))).toBe("INVALID_IMAGE_FORMAT_OR_SIZE");
  expect(await post(file("selfie_file.jpg", "image/png"))).toBe("INVALID_IMAGE_FORMAT_OR_SIZE");
  expect(await post(file("selfie_file.webp", "image/webp", await picture("webp")))).toBe(
    "INVALID_IMAGE_FORMAT_OR_SIZE",
  );
  const data: [string, string, Uint8Array<ArrayBuffer>] = ["liveness_data_file.bin", "text/plain", LIVENESS_DATA];
  expect(await post({ ...withoutData, liveness_data_file: data })).toBe("WRONG_LIVENESS_DATA");
});
