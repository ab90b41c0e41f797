import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { openSqliteGallery } from "../../src/providers/on-device/gallery/sqlite.ts";
import type { Curve } from "../../src/providers/on-device/models.ts";
import { findNeighbours, judgeNeighbours, type Resembling, toMatch } from "../../src/providers/on-device/search.ts";
import type { Outcome } from "../../src/warnings.ts";
import { COMPONENTS, MODEL } from "./faces.ts";
import { emptyFolder } from "./folders.ts";

/** A similarity of 70 is a cosine of 0.7. */
const CURVE: Curve = [
  [0, 0],
  [1, 100],
];

/** Towards which component a made-up face points, and how far it is off towards another. */
function face(towards: number, cosine = 1, aside = towards + 1, length = COMPONENTS): Float32Array {
  const made = new Float32Array(length);
  made[aside] = Math.sqrt(1 - cosine * cosine);
  made[towards] = cosine;
  return made;
}

describe("the neighbours of a face", () => {
  let enroll: (label: string, embedding: Float32Array, blocklisted?: boolean) => Promise<string>;
  let find: (
    embeddings: readonly Float32Array[],
    type?: "blocklisted_or_approved",
  ) => ReturnType<typeof findNeighbours>;
  beforeEach(async () => {
    const gallery = await openSqliteGallery({ file: join(await emptyFolder(), "gallery.db"), model: MODEL });
    enroll = async (label, embedding, blocklisted = false) =>
      (await gallery.enroll(embedding, { label, vendorData: null, blocklisted })).id;
    find = (embeddings, type) => findNeighbours(gallery, embeddings, CURVE, type);
    return () => gallery.close();
  });
  const labelsOf = (found: readonly Resembling[]) => found.map(({ label }) => label);

  test("are those from a similarity of 50 on, the nearest first, five of them shown and all of them counted", async () => {
    for (const percent of [62, 91, 49.9, 50.1, 77, 66, 83, 58]) await enroll(`${percent}`, face(0, percent / 100));
    const { judged, neighbours, total, byFace } = await find([face(0)]);
    expect(labelsOf(judged)).toEqual(["91", "83", "77", "66", "62", "58", "50.1"]);
    expect(judged.map(({ similarity }) => similarity)).toEqual([91, 83, 77, 66, 62, 58, 50.1]);
    expect(neighbours).toEqual(judged.slice(0, 5));
    expect(total).toBe(7);
    expect(byFace).toEqual([judged.map(({ id }) => id)]);
  });

  test("of several faces stand once each, with the best that any of them found", async () => {
    const both = new Float32Array(COMPONENTS).fill(0);
    [both[0], both[10]] = [0.8, 0.6];
    const [shared, second] = [await enroll("both", both), await enroll("second", face(10, 0.9))];
    const { judged, total, byFace } = await find([face(10), face(0)]);
    expect(judged.map(({ label, similarity }) => [label, similarity])).toEqual([
      ["second", 90],
      ["both", 80],
    ]);
    expect(total).toBe(2);
    expect(byFace).toEqual([[second, shared], [shared]]);
  });

  test("are judged up to a hundred, and counted beyond", async () => {
    for (let n = 0; n < 102; n++) await enroll(`${n}`, face(0, 0.9, n + 1));
    const { judged, total } = await find([face(0)]);
    expect([judged.length, total]).toEqual([100, 102]);
  });

  test("who decline are shown, however many others are nearer", async () => {
    for (let n = 0; n < 6; n++) await enroll(`near ${n}`, face(0, 0.99 - n / 100));
    await enroll("blocked, weak", face(0, 0.69), true);
    await enroll("blocked, possible", face(0, 0.71), true);
    expect(labelsOf((await find([face(0)])).neighbours)).toEqual([
      "near 0",
      "near 1",
      "near 2",
      "near 3",
      "blocked, possible",
    ]);
    expect(labelsOf((await find([face(0)], "blocklisted_or_approved")).neighbours)).toEqual([
      "blocked, possible",
      "blocked, weak",
      "near 0",
      "near 1",
      "near 2",
    ]);
  });

  test("stand once each, also those who decline", async () => {
    await enroll("blocked", face(0, 0.9), true);
    await enroll("other", face(0, 0.8));
    for (const type of [undefined, "blocklisted_or_approved"] as const) {
      expect(labelsOf((await find([face(0)], type)).neighbours)).toEqual(["blocked", "other"]);
    }
  });

  test("of a shorter embedding are those of the same one", async () => {
    await enroll("long", face(0));
    expect((await find([face(0, 0.8, 1, 128)])).judged).toMatchObject([{ label: "long", similarity: 80 }]);
  });
});

const NEIGHBOUR: Resembling = {
  id: "f-1",
  label: "Ann",
  vendorData: "u1",
  blocklisted: false,
  enrolledAt: "2026-01-02T03:04:05.000Z",
  cosine: 0.9,
  similarity: 90,
};

describe("what a neighbour means", () => {
  test.each<[similarity: number, more: Partial<Resembling>, of: string | undefined, Outcome, readonly string[]]>([
    [90, {}, undefined, "review", ["DUPLICATED_FACE"]],
    [89.99, {}, undefined, "review", ["POSSIBLE_DUPLICATED_FACE"]],
    [70, {}, "u2", "review", ["POSSIBLE_DUPLICATED_FACE"]],
    [69.99, {}, "u2", "approved", []],
    [90, {}, "u1", "approved", []],
    [90, { vendorData: null }, undefined, "review", ["DUPLICATED_FACE"]],
    [90, { blocklisted: true }, "u1", "declined", ["FACE_IN_BLOCKLIST"]],
    [70, { blocklisted: true }, undefined, "declined", ["POSSIBLE_FACE_IN_BLOCKLIST"]],
    [69.99, { blocklisted: true }, undefined, "approved", []],
  ])("a similarity of %d, %j, for %s is %s", (similarity, more, vendorData, verdict, tags) => {
    const judged = judgeNeighbours([{ ...NEIGHBOUR, ...more, similarity }], vendorData);
    expect(judged.verdict).toBe(verdict);
    expect(judged.remarks.map(({ tag }) => tag)).toEqual(tags);
  });

  test("is named in a remark, whose severity is that of an error on the blocklist alone", () => {
    const weak = { ...NEIGHBOUR, similarity: 60 };
    const { verdict, remarks } = judgeNeighbours(
      [weak, NEIGHBOUR, { ...NEIGHBOUR, id: "f-2", blocklisted: true }],
      "u2",
    );
    expect(verdict).toBe("declined");
    const nothing = { api_service: null };
    expect(remarks).toEqual([
      {
        tag: "DUPLICATED_FACE",
        severity: "information",
        detail: {
          ...nothing,
          duplicated_session_id: null,
          duplicated_session_number: null,
          biometric_template_id: "f-1",
        },
      },
      {
        tag: "FACE_IN_BLOCKLIST",
        severity: "error",
        detail: {
          ...nothing,
          blocklisted_session_id: null,
          blocklisted_session_number: null,
          biometric_template_id: "f-2",
        },
      },
    ]);
  });

  test("is a match that nobody has cleared", () => {
    expect(toMatch({ ...NEIGHBOUR, blocklisted: true })).toEqual({
      id: "f-1",
      similarity: 90,
      label: "Ann",
      vendorData: "u1",
      blocklisted: true,
      allowlisted: false,
      status: null,
      date: NEIGHBOUR.enrolledAt,
    });
  });
});
