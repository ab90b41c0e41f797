import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeForm } from "../../src/providers/http/form.ts";
import { parseForm } from "../support/stand-in/multipart.ts";
import { API_KEY } from "../support/stand-in.ts";
import { callOptions, photo, setUp } from "./setting.ts";

test("liveness sends the image alone when nothing is asked for", async () => {
  const { api, provider } = await setUp();
  const image = await photo();
  await provider.checkLiveness(image, callOptions);
  expect(api.received).toHaveLength(1);
  expect(api.received[0]).toMatchObject({
    method: "POST",
    path: "/v3/passive-liveness/",
    fields: {},
    files: { user_image: { fileName: "user_image.jpg", mime: "image/jpeg", bytes: Buffer.from(image.bytes) } },
  });
  expect(api.received[0]?.headers).toMatchObject({ "x-api-key": API_KEY, accept: "application/json" });
});

test("liveness sends every option under Didit's name", async () => {
  const { api, provider } = await setUp();
  await provider.checkLiveness(await photo(), {
    ...callOptions,
    declineThreshold: 62.5,
    rotate: true,
    save: false,
    vendorData: "user-1",
  });
  expect(api.received[0]?.fields).toEqual({
    face_liveness_score_decline_threshold: "62.5",
    rotate_image: "true",
    save_api_request: "false",
    vendor_data: "user-1",
  });
});

test("a match sends both images, each under its own name, and every option", async () => {
  const { api, provider } = await setUp();
  const [user, reference] = [await photo("png", "red"), await photo("webp", "blue")];
  await provider.matchFaces(user, reference, {
    ...callOptions,
    declineThreshold: 0,
    rotate: false,
    save: true,
    vendorData: 'Zoë "Q"\r\n&=; 北',
  });
  expect(api.received[0]).toMatchObject({
    path: "/v3/face-match/",
    fields: {
      face_match_score_decline_threshold: "0",
      rotate_image: "false",
      save_api_request: "true",
      vendor_data: 'Zoë "Q"\r\n&=; 北',
    },
    files: {
      user_image: { fileName: "user_image.png", mime: "image/png", bytes: Buffer.from(user.bytes) },
      ref_image: { fileName: "ref_image.webp", mime: "image/webp", bytes: Buffer.from(reference.bytes) },
    },
  });
});

test("a search sends its type and every option", async () => {
  const { api, provider } = await setUp();
  await provider.searchFace(await photo("tiff"), {
    ...callOptions,
    searchType: "blocklisted_or_approved",
    rotate: true,
    save: false,
    vendorData: "user-1",
  });
  expect(api.received[0]).toMatchObject({
    path: "/v3/face-search/",
    fields: {
      search_type: "blocklisted_or_approved",
      rotate_image: "true",
      save_api_request: "false",
      vendor_data: "user-1",
    },
    files: { user_image: { fileName: "user_image.tiff", mime: "image/tiff" } },
  });
});

test.each([
  { operator: undefined, call: undefined, sent: undefined },
  { operator: false, call: undefined, sent: "false" },
  { operator: true, call: undefined, sent: "true" },
  { operator: false, call: true, sent: "true" },
  { operator: true, call: false, sent: "false" },
])("saving: the operator says $operator, the call $call, Didit hears $sent", async ({ operator, call, sent }) => {
  const { api, provider } = await setUp({ saveRequests: operator });
  await provider.checkLiveness(await photo(), { ...callOptions, save: call });
  expect(api.received[0]?.fields).toEqual(sent === undefined ? {} : { save_api_request: sent });
});

test.each([
  { given: undefined, sent: undefined, applied: 30 },
  { given: 80, sent: "80", applied: 80 },
])("threshold $given: $applied is reported as applied", async ({ given, sent, applied }) => {
  const { api, provider } = await setUp();
  const image = await photo();
  const reports = [
    await provider.checkLiveness(image, { ...callOptions, declineThreshold: given }),
    await provider.matchFaces(image, image, { ...callOptions, declineThreshold: given }),
  ];
  expect(reports.map(({ threshold }) => threshold)).toEqual([applied, applied]);
  expect(api.received.map(({ fields }) => Object.values(fields)[0])).toEqual([sent, sent]);
  expect((await provider.searchFace(image, callOptions)).threshold).toBeNull();
});

test("the wait is announced before anything is sent", async () => {
  const { api, provider } = await setUp();
  const stages: [string, number][] = [];
  const onStage = (stage: string) => stages.push([stage, api.received.length]);
  await provider.checkLiveness(await photo(), { ...callOptions, onStage });
  expect(stages).toEqual([["asking the provider", 0]]);
});

test.each(["", "/", "/didit", "/didit/"])("a base URL that ends in %j", async (end) => {
  const { api } = await setUp({}, { faulty: true });
  const { provider } = await setUp({ baseUrl: `${api.url}${end}` });
  api.always({ status: 403, body: {} });
  await provider.checkLiveness(await photo(), callOptions).catch(() => {});
  expect(api.received[0]?.path).toBe(`${end.replace(/\/$/, "")}/v3/passive-liveness/`);
});

test("what describes the provider gives away neither the key nor the credentials of its address", async () => {
  const { provider } = await setUp({ baseUrl: "https://name:password@didit.example/api?token=1", saveRequests: false });
  const said = await provider.describe();
  expect(said).toEqual({ host: "didit.example", api_key: "ends in 3456", save_requests: false });
  const { provider: other } = await setUp({ apiKey: "short" });
  expect(await other.describe()).toMatchObject({ api_key: "set", save_requests: "provider default (true)" });
});

test("any form is read back as it was written", () => {
  const bytes = fc.uint8Array({ maxLength: 400 });
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), bytes, (value, content) => {
      const { contentType, body } = encodeForm([
        { name: "vendor_data", value },
        { name: "user_image", fileName: "user_image.jpg", mime: "image/jpeg", bytes: content },
      ]);
      const form = parseForm(contentType, body);
      expect(form.faults).toEqual([]);
      expect(form.fields).toEqual({ vendor_data: Buffer.from(value).toString() });
      const { user_image } = form.files;
      expect(user_image?.bytes.equals(content)).toBe(true);
    }),
  );
});

test("no two forms share a boundary, and a form that names one cannot break out", () => {
  const first = encodeForm([{ name: "vendor_data", value: "x" }]);
  const value = `\r\n--${first.contentType.split("boundary=")[1]}--\r\n`;
  const second = encodeForm([{ name: "vendor_data", value }]);
  expect(second.contentType).not.toBe(first.contentType);
  expect(parseForm(second.contentType, second.body)).toMatchObject({ faults: [], fields: { vendor_data: value } });
});

test("the stand-in refuses what Didit refuses", async () => {
  const { api } = await setUp({}, { faulty: true });
  const headers = { "x-api-key": API_KEY };
  const post = (body: FormData | string, more: Record<string, string> = {}) =>
    fetch(`${api.url}/v3/passive-liveness/`, { method: "POST", body, headers: { ...headers, ...more } });
  const form = (name: string, content: string | Uint8Array<ArrayBuffer>, fields: Record<string, string> = {}) => {
    const made = new FormData();
    made.append("user_image", new Blob([content], { type: "image/jpeg" }), name);
    for (const [field, value] of Object.entries(fields)) made.append(field, value);
    return made;
  };
  const { bytes } = await photo();
  const answers = [
    await post("x", { "content-type": "multipart/form-data" }),
    await post(form("jane.txt", bytes)),
    await post(form("user_image.jpg", "not an image")),
    await post(form("user_image.jpg", bytes, { rotate_image: "yes" })),
    await post(form("user_image.jpg", bytes, { face_liveness_score_decline_threshold: "101" })),
    await post(form("user_image.jpg", bytes, { treshold: "1" })),
    await post(form("user_image.jpg", bytes), { "x-api-key": "other" }),
    await fetch(`${api.url}/v3/passive-liveness`, { method: "POST", headers }),
    await post(form("user_image.jpg", bytes)),
  ];
  expect(answers.map(({ status }) => status)).toEqual([400, 400, 400, 400, 400, 400, 403, 404, 200]);
  expect(api.received.map(({ faults }) => faults.length > 0)).toEqual(
    [true, true, true, false, false, false, false, true, false], // the name, then the form, then the address
  );
});

test("an option that Didit does not have is refused, and nothing is sent", async () => {
  const { api, provider } = await setUp();
  const image = await photo();
  for (const call of [
    provider.matchFaces(image, image, { ...callOptions, compareAll: true }),
    provider.matchFaces(image, image, { ...callOptions, compareAll: false }),
    provider.searchFace(image, { ...callOptions, allFaces: true }),
  ]) {
    await expect(call).rejects.toMatchObject({ name: "CheckError", code: "unsupported" });
  }
  expect(api.received).toEqual([]);
});
