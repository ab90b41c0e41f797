import { writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp, { type Sharp } from "sharp";
import { describe, expect, onTestFinished, test } from "vitest";
import { closing, ERAS, temporaryFolder } from "../support/clients.ts";
import { type ListedFace, listRoutes } from "../support/stand-in/lists.ts";
import { API_KEY, standIn } from "../support/stand-in.ts";

/** Noise, which does not compress: its size in bytes is that of its pixels. */
const noise = (side: number) =>
  sharp({
    create: {
      width: side,
      height: side,
      channels: 3,
      background: "#888",
      noise: { type: "gaussian", mean: 128, sigma: 60 },
    },
  });

describe.each(ERAS)("the face blocklist of Didit, $era", ({ connect }) => {
  async function setUp() {
    const faces: ListedFace[] = [];
    const api = await standIn({ routes: listRoutes(faces) });
    onTestFinished(() => api.close());
    const folder = temporaryFolder("photos-");
    const env = { DIDIT_API_KEY: API_KEY, DIDIT_API_BASE_URL: api.url, BIOMETRICS_IMAGE_DIRS: folder };
    const server = closing(await connect({ env }));
    const photo = async (name: string, image: Sharp) => {
      writeFileSync(join(folder, name), await image.toBuffer());
      return join(folder, name);
    };
    return { faces, api, server, photo };
  }

  test("a face is put on it, listed and taken off again", async () => {
    const { faces, api, server, photo } = await setUp();
    const image_path = await photo("known.jpg", noise(64).jpeg());
    const enrolled = await server.call("enroll_face", {
      image_path,
      label: "Known fraudster",
      vendor_data: "u9",
      blocklisted: true,
    });
    expect(enrolled.structuredContent).toMatchObject({ provider: "didit", blocklisted: true, face_id: faces[0]?.uuid });
    expect(faces).toMatchObject([{ comment: "Known fraudster (u9)" }]);
    expect(enrolled.text).not.toContain("re-encoded");
    for (const { headers, faults } of api.received) {
      expect(headers["x-api-key"]).toBe(API_KEY);
      expect(faults).toEqual([]);
    }
    const face_id = faces[0]?.uuid ?? "";
    const listed = await server.call("list_faces");
    expect(listed.structuredContent).toMatchObject({
      faces: [{ face_id, label: "Known fraudster (u9)", blocklisted: true }],
      total: 1,
      next_cursor: null,
    });
    expect(listed.text).toContain("1 face is on Didit's face blocklist, which declines them; 1 shown.");
    const removed = await server.call("remove_face", { face_id });
    expect(removed.structuredContent).toMatchObject({ removed: true, erased: false });
    expect(removed.text).toContain("it is not known whether Didit keeps the image elsewhere");
    expect(faces).toEqual([]);
    const again = await server.call("remove_face", { face_id });
    expect(again.text).toMatch(/^Error \[not_found\]/);
    expect(again.everything).not.toContain("SECRET-PROSE");
  });

  test("pages are followed by the cursor", async () => {
    const { faces, server } = await setUp();
    for (const comment of ["a", "b", "c"]) {
      faces.push({
        uuid: `00000000-0000-4000-8000-00000000000${comment}`,
        comment,
        created_at: "2026-01-01T00:00:00Z",
        bytes: Buffer.from(comment),
      });
    }
    const first = await server.call("list_faces");
    expect(first.structuredContent).toMatchObject({ faces: [{ label: "a" }, { label: "b" }], total: 3 });
    const cursor = first.structuredContent?.["next_cursor"];
    const second = await server.call("list_faces", { cursor });
    expect(second.structuredContent).toMatchObject({ faces: [{ label: "c" }], next_cursor: null });
    expect((await server.call("list_faces", { cursor: "../../x?y" })).text).toMatch(/^Error \[invalid_input\]/);
  });

  test("a larger image and another type are re-encoded, and it is said", async () => {
    const { faces, server, photo } = await setUp();
    const large = await noise(1500).jpeg({ quality: 100 }).toBuffer();
    expect(large.length).toBeGreaterThan(2 * 2 ** 20);
    expect(large.length).toBeLessThan(5 * 2 ** 20);
    for (const image_path of [
      await photo("large.jpg", sharp(large).keepMetadata().jpeg({ quality: 100 })),
      await photo("scan.tiff", noise(64).tiff()),
    ]) {
      const enrolled = await server.call("enroll_face", { image_path, label: "x", blocklisted: true });
      expect(enrolled.text).toContain("re-encoded as JPEG");
    }
    expect(faces.map(({ bytes }) => bytes.length <= 2 * 2 ** 20)).toEqual([true, true]);
  });

  test("without blocklisted nothing is sent, and the answer names save", async () => {
    const { api, server, photo } = await setUp();
    const image_path = await photo("ann.jpg", noise(64).jpeg());
    const answer = await server.call("enroll_face", { image_path, label: "Ann" });
    expect(answer.text).toMatch(/^Error \[unsupported\]: .*approved checks fill its index\.\nNext: .*save: true/);
    expect(answer.text).not.toMatch(/block/i); // nobody is to be blocked for want of another way
    expect(api.received).toEqual([]);
  });

  test("no face, no analysis, no list: each says so, and nothing was blocked", async () => {
    const { api, server, photo } = await setUp();
    const image_path = await photo("ann.jpg", noise(64).jpeg());
    const lists = { status: 200, body: [{ uuid: "u", list_type: "blocklist", entry_type: "face" }] };
    const enrol = () => server.call("enroll_face", { image_path, label: "Ann", blocklisted: true });
    api.next(lists, { status: 400, body: { image: "No face detected in the image. SECRET-PROSE" } });
    const noFace = await enrol();
    expect(noFace.text).toMatch(/^Error \[no_face\]: .*Nothing was added to the blocklist/);
    expect(noFace.everything).not.toContain("SECRET-PROSE");
    api.next(lists, { status: 503, body: { detail: "SECRET-PROSE" } });
    expect((await enrol()).text).toMatch(/^Error \[unavailable\]: .*face analysis is down/);
    api.next({ status: 200, body: [] });
    expect((await enrol()).text).toMatch(/^Error \[unsupported\]: .*no face blocklist/);
  });
});
