import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Connection, closing, ERAS, temporaryFolder } from "../support/clients.ts";
import { makePhotos, type Photos } from "../support/photos.ts";

const folder = temporaryFolder("photos-");
let photos: Photos;
beforeAll(async () => {
  photos = await makePhotos(folder);
});

describe.each(ERAS)("on the device over stdio, $era", ({ connect }) => {
  let server: Connection;
  let data: string;
  beforeAll(async () => {
    data = join(temporaryFolder("data-"), "data");
    server = await connect({
      env: { BIOMETRICS_IMAGE_DIRS: folder, BIOMETRICS_DATA_DIR: data, BIOMETRICS_PROVIDER: "on-device" },
    });
  });
  afterAll(() => server.close());

  test("liveness is a screening: at best for review, and it says so", async () => {
    const { structuredContent, text } = await server.call("check_liveness", { image_path: photos.womanA });
    expect(structuredContent).toMatchObject({ provider: "on-device", outcome: "review", threshold: 30 });
    expect(structuredContent?.["score"]).toBeGreaterThan(30);
    expect(text).toContain("This is a screening");
    expect(text).not.toMatch(/: approved/);
  });

  test("the same woman in two photographs is approved, two women are declined", async () => {
    const same = await server.call("match_faces", {
      user_image_path: photos.womanA,
      reference_image_path: photos.womanB,
    });
    expect(same.structuredContent).toMatchObject({ outcome: "approved", warnings: [], threshold: 30 });
    expect(same.structuredContent?.["score"]).toBeGreaterThan(70);
    const two = await server.call("match_faces", {
      user_image_path: photos.womanA,
      reference_image_path: photos.otherWoman,
    });
    expect(two.structuredContent).toMatchObject({
      outcome: "declined",
      warnings: [{ tag: "LOW_FACE_MATCH_SIMILARITY", effect: "declined" }],
    });
    expect(two.structuredContent?.["score"]).toBeLessThan(30);
  });

  test("in an empty gallery nothing is compared, and nobody approved", async () => {
    const { structuredContent, text } = await server.call("search_face", { image_path: photos.womanB });
    expect(structuredContent).toMatchObject({ outcome: "review", matches: [], total_matches: 0 });
    expect(text).toMatch(/nothing was compared, as the gallery is empty/);
  });

  test("another face of a group is found by match and search, which say so; and not when they are not to", async () => {
    const args = { user_image_path: photos.womanB, reference_image_path: photos.group };
    const { structuredContent, text } = await server.call("match_faces", args);
    expect(structuredContent).toMatchObject({ outcome: "review", warnings: [{ tag: "OTHER_FACES_MATCHED" }] });
    expect(text).toMatch(/most similar are the faces at \[[\d,]+\] in user_image and \[[\d,]+\] in reference_image/);
    const main = await server.call("match_faces", { ...args, compare_all: false });
    expect(main.structuredContent).toMatchObject({ outcome: "declined" });
    const enrolled = await server.call("enroll_face", { image_path: photos.womanB, label: "Ann" });
    const one = await server.call("search_face", { image_path: photos.group });
    expect(one.structuredContent).toMatchObject({ matches: [] });
    const all = await server.call("search_face", { image_path: photos.group, all_faces: true });
    expect(all.structuredContent).toMatchObject({ outcome: "review", matches: [{ label: "Ann" }] });
    expect(all.text).toContain("Faces searched for: 3 of 3.");
    await server.call("remove_face", { face_id: enrolled.structuredContent?.["face_id"] });
  });

  test("a selfie without a face is named, and so is a reference photo", async () => {
    const call = async (user_image_path: string, reference_image_path: string) =>
      (await server.call("match_faces", { user_image_path, reference_image_path })).structuredContent?.["warnings"];
    expect(await call(photos.noFace, photos.womanA)).toMatchObject([
      { meaning: expect.stringMatching(/^In user_image: /) },
    ]);
    expect(await call(photos.womanA, photos.noFace)).toMatchObject([
      { meaning: expect.stringMatching(/^In reference_image: /) },
    ]);
  });

  test("a face is enrolled, found in another photograph, listed and erased", async () => {
    const enrolled = await server.call("enroll_face", { image_path: photos.womanA, label: "Ann", vendor_data: "u1" });
    const face_id = enrolled.structuredContent?.["face_id"];
    const found = await server.call("search_face", { image_path: photos.womanB });
    expect(found.structuredContent).toMatchObject({
      outcome: "review",
      matches: [{ id: face_id, label: "Ann", vendor_data: "u1", band: "strong" }],
      total_matches: 1,
    });
    expect(found.text).toMatch(/1 possible duplicate found/);
    const own = await server.call("search_face", { image_path: photos.womanB, vendor_data: "u1" });
    expect(own.structuredContent).toMatchObject({ outcome: "approved", warnings: [] });
    const stranger = await server.call("search_face", { image_path: photos.otherWoman });
    expect(stranger.structuredContent).toMatchObject({ outcome: "approved", matches: [] });
    expect((await server.call("list_faces")).structuredContent).toMatchObject({ faces: [{ face_id }], total: 1 });
    const removed = await server.call("remove_face", { face_id });
    expect(removed.structuredContent).toMatchObject({ removed: true, erased: true });
    expect((await server.call("search_face", { image_path: photos.womanB })).structuredContent).toMatchObject({
      matches: [],
    });
  });

  test("a face enrolled in one gallery is not found in another, and a name that does not exist is an error", async () => {
    const gallery = "staff-1";
    const args = { image_path: photos.womanA, label: "Ann", blocklisted: true, gallery };
    const { structuredContent, text } = await server.call("enroll_face", args);
    expect(text).toContain("in the gallery staff-1");
    const search = async (more: object) =>
      (await server.call("search_face", { image_path: photos.womanB, ...more })).structuredContent;
    expect(await search({ gallery })).toMatchObject({
      outcome: "declined",
      matches: [{ label: "Ann" }],
      summary: expect.stringContaining("Only the gallery staff-1 was searched."),
    });
    expect(await search({})).toMatchObject({ matches: [], total_matches: 0 });
    expect(await search({ gallery: "default" })).toMatchObject({ matches: [] });
    const verified = await server.call("verify_person", { selfie_path: photos.womanB, gallery });
    expect(verified.structuredContent).toMatchObject({ outcome: "declined" });
    const listed = await server.call("list_faces", { gallery });
    expect(listed.structuredContent).toMatchObject({ total: 1, faces: [{ label: "Ann" }] });
    for (const [tool, more] of [
      ["search_face", { image_path: photos.womanB }],
      ["list_faces", {}],
      ["remove_face", { face_id: "x" }],
    ] as const) {
      const unknown = await server.call(tool, { ...more, gallery: "staff-2" });
      expect(unknown).toMatchObject({ isError: true, text: expect.stringMatching(/not_found.*\n.*default, staff-1/) });
    }
    for (const name of ["", "../x", "Staff", "-x", "a".repeat(41), "a/b"]) {
      const refused = await server.call("enroll_face", { ...args, gallery: name });
      expect(refused).toMatchObject({ isError: true, text: expect.stringContaining("invalid_input") });
    }
    expect(readdirSync(data).filter((file) => /^gallery.*\.sqlite$/.test(file))).toEqual([
      "gallery-staff-1.sqlite",
      "gallery.sqlite",
    ]);
    const { face_id } = structuredContent ?? {};
    expect((await server.call("remove_face", { face_id })).text).toContain("not_found");
    const removed = await server.call("remove_face", { face_id, gallery });
    expect(removed.structuredContent).toMatchObject({ removed: true, erased: true });
  });

  test("a blocklisted face is declined", async () => {
    const enrolled = await server.call("enroll_face", {
      image_path: photos.womanA,
      label: "Banned",
      blocklisted: true,
    });
    const { structuredContent } = await server.call("search_face", { image_path: photos.womanB });
    expect(structuredContent).toMatchObject({ outcome: "declined", matches: [{ blocklisted: true }] });
    await server.call("remove_face", { face_id: enrolled.structuredContent?.["face_id"] });
  });

  describe("verify_person", () => {
    const verify = (args: object) =>
      server.call("verify_person", { selfie_path: photos.womanB, reference_image_path: photos.womanA, ...args });

    test("makes one decision of three steps", async () => {
      const { structuredContent } = await verify({ vendor_data: "u2" });
      expect(structuredContent).toMatchObject({
        check: "verify_person",
        outcome: "review", // the liveness of the device is never more
        steps: [
          { check: "liveness", outcome: "review" },
          { check: "face_search", outcome: "review", total_matches: 0 }, // in an empty gallery
          { check: "face_match", outcome: "approved", score: expect.any(Number) },
        ],
        images: [{ name: "selfie" }, { name: "reference_image" }],
      });
      expect(Object.keys(structuredContent?.["raw"] ?? {})).toEqual(["liveness", "face_search", "face_match"]);
    });

    test("gives each step the result of the check alone", async () => {
      const { structuredContent } = await verify({});
      const steps = structuredContent?.["steps"] as { check: string; score: number | null; outcome: string }[];
      const alone = await Promise.all([
        server.call("check_liveness", { image_path: photos.womanB }),
        server.call("search_face", { image_path: photos.womanB }),
        server.call("match_faces", { user_image_path: photos.womanB, reference_image_path: photos.womanA }),
      ]);
      expect(steps.map(({ score, outcome }) => ({ score, outcome }))).toEqual(
        alone.map(({ structuredContent: one }) => ({ score: one?.["score"], outcome: one?.["outcome"] })),
      );
    });

    test("stops at the first decline", async () => {
      const { structuredContent } = await server.call("enroll_face", {
        image_path: photos.womanA,
        label: "Banned",
        blocklisted: true,
      });
      const answer = await verify({});
      expect(answer.structuredContent).toMatchObject({ outcome: "declined", steps: [{}, { outcome: "declined" }] });
      expect(answer.text).toContain("1 further step not run");
      await server.call("remove_face", { face_id: structuredContent?.["face_id"] });
    });

    test("another woman's document is declined", async () => {
      const { structuredContent } = await verify({ reference_image_path: photos.otherWoman });
      expect(structuredContent).toMatchObject({ outcome: "declined", steps: [{}, {}, { outcome: "declined" }] });
    });

    test("a person's own record is no duplicate, another's is", async () => {
      const { structuredContent } = await server.call("enroll_face", {
        image_path: photos.womanA,
        label: "Ann",
        vendor_data: "u3",
      });
      const search = async (vendor_data: string) =>
        (await verify({ vendor_data })).structuredContent?.["steps"] as { outcome: string }[];
      expect((await search("u3"))[1]).toMatchObject({ outcome: "approved" });
      expect((await search("u4"))[1]).toMatchObject({ outcome: "review" });
      await server.call("remove_face", { face_id: structuredContent?.["face_id"] });
    });

    test("tells its progress by step, and makes no more than it is asked for", async () => {
      const stages: string[] = [];
      const parts: number[] = [];
      const onprogress = ({
        progress,
        total = 0,
        message = "",
      }: {
        progress: number;
        total?: number | undefined;
        message?: string | undefined;
      }) => {
        stages.push(message);
        parts.push(progress / total);
      };
      const args = { selfie_path: photos.womanB, search: false };
      const { structuredContent } = await server.call("verify_person", args, { onprogress });
      expect(structuredContent).toMatchObject({ steps: [{ check: "liveness" }] });
      expect(stages[0]).toBe("reading");
      expect(parts).toEqual(parts.toSorted((a, b) => a - b));
      expect(parts.every((part) => part > 0 && part <= 1)).toBe(true);
      expect(stages.slice(1).every((stage) => stage.startsWith("liveness: "))).toBe(true);
    });

    test("can be cancelled inside a step", async () => {
      const cancelled = new AbortController();
      const call = server.call(
        "verify_person",
        { selfie_path: photos.group, rotate: true },
        { signal: cancelled.signal, onprogress: () => cancelled.abort() },
      );
      await expect(call).rejects.toThrow();
      expect((await server.call("get_setup")).isError).toBeFalsy();
    });
  });

  test("the protocol answers while a check is computed", async () => {
    const started = performance.now();
    const calls = Array.from({ length: 6 }, () =>
      server.call("check_liveness", { image_path: photos.group, rotate: true }),
    );
    let isDone = false;
    const all = Promise.all(calls).finally(() => {
      isDone = true;
    });
    const waits: number[] = [];
    while (!isDone) {
      const asked = performance.now();
      await server.listTools();
      waits.push(performance.now() - asked);
      await new Promise((next) => setTimeout(next, 5));
    }
    await all;
    const perCheck = (performance.now() - started) / calls.length;
    waits.sort((a, b) => a - b);
    // As a share of a check, since a busy machine stretches both: in the same thread it would wait for a whole one. The
    // median, since one answer may be kept waiting by other things.
    expect(waits[waits.length >> 1]).toBeLessThan(perCheck / 3);
    expect(waits.length).toBeGreaterThan(3);
  });

  test("what is kept is readable by its owner alone", () => {
    for (const file of readdirSync(data)) expect(statSync(join(data, file)).mode & 0o077, file).toBe(0);
    expect(statSync(data).mode & 0o077).toBe(0);
  });

  test("no photograph is kept", () => {
    const photo = readFileSync(photos.womanA);
    for (const file of readdirSync(data)) {
      expect(readFileSync(join(data, file)).includes(photo.subarray(200, 260)), file).toBe(false);
    }
  });
});

test("several copies share one data folder", async () => {
  const data = join(temporaryFolder("data-"), "data");
  const env = { BIOMETRICS_IMAGE_DIRS: folder, BIOMETRICS_DATA_DIR: data, BIOMETRICS_PROVIDER: "on-device" };
  const copies = await Promise.all([...ERAS, ...ERAS].map(async ({ connect }) => closing(await connect({ env }))));
  await Promise.all(
    copies.map((copy, n) => copy.call("enroll_face", { image_path: photos.womanA, label: `from copy ${n}` })),
  );
  for (const copy of copies) {
    const { structuredContent } = await copy.call("search_face", { image_path: photos.womanB });
    expect(structuredContent).toMatchObject({ total_matches: copies.length });
  }
});

test.each(ERAS)("verify_person without a gallery that works makes its other steps, $era", async ({ connect }) => {
  const data = join(temporaryFolder("data-"), "data");
  mkdirSync(data, { mode: 0o700 });
  writeFileSync(join(data, "gallery.sqlite"), "no database", { mode: 0o600 });
  const env = { BIOMETRICS_IMAGE_DIRS: folder, BIOMETRICS_DATA_DIR: data, BIOMETRICS_PROVIDER: "on-device" };
  const server = closing(await connect({ env }));
  const args = { selfie_path: photos.womanB, reference_image_path: photos.womanA };
  const answer = await server.call("verify_person", args);
  expect(answer.structuredContent).toMatchObject({
    outcome: "review",
    steps: [
      { check: "liveness", outcome: "review" },
      { check: "face_search", outcome: null, error: { code: "setup" } },
      { check: "face_match", outcome: "approved" },
    ],
  });
  expect(answer.text).toContain("The search failed [setup] and decided nothing");
  const saved = await server.call("verify_person", { ...args, save: true });
  expect(saved.text).toMatch(/^Error \[unsupported\]: Checks on the device keep nothing/);
});
