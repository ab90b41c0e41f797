import { beforeEach, describe, expect, test } from "vitest";
import type { Galleries, Gallery } from "../../src/providers/on-device/gallery/gallery.ts";
import type { EnrolledFace } from "../../src/providers/provider.ts";
import { FaceMaker, NEAREST, storedFace } from "./faces.ts";

/** What every store does alike. `open` gives an empty one that the test closes. */
export function galleryContract(store: string, open: () => Promise<Gallery>): void {
  describe(`every gallery: ${store}`, () => {
    let gallery: Gallery;
    let faces: FaceMaker;
    beforeEach(async () => {
      gallery = await open();
      faces = new FaceMaker(1);
      return () => gallery.close();
    });

    const enroll = (embedding: Float32Array, label = "someone", blocklisted = false): Promise<EnrolledFace> =>
      gallery.enroll(embedding, { label, vendorData: null, blocklisted });

    test("an enrolled face comes back from search and list as it was given", async () => {
      const before = new Date().toISOString();
      const ada = faces.face();
      const enrolled = await gallery.enroll(ada, { label: "Ada ♀ '; --", vendorData: "user-1", blocklisted: true });
      expect(enrolled).toEqual({
        id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
        label: "Ada ♀ '; --",
        vendorData: "user-1",
        blocklisted: true,
        enrolledAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      });
      expect(enrolled.enrolledAt >= before && enrolled.enrolledAt <= new Date().toISOString()).toBe(true);
      const found = await gallery.search(ada, NEAREST);
      expect(found).toEqual({ neighbours: [{ ...enrolled, cosine: expect.closeTo(1, 5) }], total: 1 });
      expect(await gallery.list({ limit: 5 })).toEqual({ faces: [enrolled], total: 1, nextCursor: null });
    });

    test("another photo of a face finds it among strangers, with its cosine", async () => {
      const people = Array.from({ length: 40 }, () => faces.face());
      for (const [i, person] of people.entries()) await enroll(person, `person ${i}`);
      const target = people[17] ?? faces.face();
      for (const cosine of [0.5, 0.67, 0.95]) {
        const photo = faces.photoOf(target, cosine);
        const { neighbours, total } = await gallery.search(photo, { ...NEAREST, minCosine: cosine - 0.1 });
        expect(neighbours.map(({ label }) => label)).toEqual(["person 17"]);
        expect(neighbours[0]?.cosine).toBeCloseTo(
          target.reduce((sum, x, i) => sum + x * (photo[i] ?? 0), 0),
          5,
        );
        expect(total).toBe(1);
      }
    });

    test("what is below the bar is left out; total counts beyond the limit; nearest first", async () => {
      const ada = faces.face();
      for (const cosine of [0.6, 0.9, 0.3, 0.7, 0.8]) await enroll(faces.photoOf(ada, cosine), String(cosine));
      const { neighbours, total } = await gallery.search(ada, { ...NEAREST, limit: 2 });
      expect(neighbours.map(({ label }) => label)).toEqual(["0.9", "0.8"]);
      expect(total).toBe(4);
      expect(await gallery.search(faces.face(), NEAREST)).toEqual({ neighbours: [], total: 0 });
    });

    test("a blocklisted face over the bar is always within the limit; blocklistedFirst puts all of them in front", async () => {
      const ada = faces.face();
      for (const cosine of [0.95, 0.9, 0.85]) await enroll(faces.photoOf(ada, cosine), String(cosine));
      for (const cosine of [0.6, 0.7]) await enroll(faces.photoOf(ada, cosine), `blocked ${cosine}`, true);
      await enroll(faces.photoOf(ada, 0.2), "blocked, below the bar", true);
      const labels = async (limit: number, blocklistedFirst: boolean): Promise<string[]> =>
        (await gallery.search(ada, { ...NEAREST, limit, blocklistedFirst })).neighbours.map(({ label }) => label);
      expect(await labels(10, false)).toEqual(["0.95", "0.9", "0.85", "blocked 0.7", "blocked 0.6"]);
      expect(await labels(2, false)).toEqual(["0.95", "blocked 0.7"]);
      expect(await labels(1, false)).toEqual(["blocked 0.7"]);
      expect(await labels(4, true)).toEqual(["blocked 0.7", "blocked 0.6", "0.95", "0.9"]);
      expect(await labels(1, true)).toEqual(["blocked 0.7"]);
    });

    test("pages go from the newest to the oldest, each face once, while others come and go", async () => {
      const enrolled: EnrolledFace[] = [];
      for (let i = 0; i < 14; i++) enrolled.unshift(await enroll(faces.face(), `face ${i}`));
      const first = await gallery.list({ limit: 3 });
      expect(first).toMatchObject({ faces: enrolled.slice(0, 3), total: 14, nextCursor: expect.any(String) });
      await enroll(faces.face(), "newcomer");
      await gallery.remove(enrolled[2]?.id ?? "");
      const second = await gallery.list({ limit: 3, cursor: first.nextCursor ?? "" });
      expect(second).toMatchObject({ faces: enrolled.slice(3, 6), total: 14 });
      const last = await gallery.list({ limit: 8, cursor: second.nextCursor ?? "" });
      expect(last).toEqual({ faces: enrolled.slice(6), total: 14, nextCursor: null });
      expect(await gallery.count()).toBe(14);
    });

    test("a full last page says that it is the last", async () => {
      for (let i = 0; i < 4; i++) await enroll(faces.face());
      const { nextCursor } = await gallery.list({ limit: 2 });
      expect(await gallery.list({ limit: 2, cursor: nextCursor ?? "" })).toMatchObject({ nextCursor: null });
    });

    test.each(["", "1", "c2VxOjU", "c2VxOjU=", "c2VxOi01", "c2VxOjk5OTk5OTk5OTk5OTk5OTk5OTk5", "' OR 1=1"])(
      "cursor %j is refused unless list made it",
      async (cursor) => {
        const listed = gallery.list({ limit: 2, cursor });
        if (cursor === "c2VxOjU") await expect(listed).resolves.toMatchObject({ faces: [] });
        else await expect(listed).rejects.toMatchObject({ name: "CheckError", code: "invalid_input" });
      },
    );

    test("a removed face is found no more; removing it again, or one that never was, says so", async () => {
      const ada = faces.face();
      const { id } = await enroll(ada);
      await enroll(faces.face(), "stays");
      expect(await gallery.remove(id)).toMatchObject({ removed: true });
      expect(await gallery.search(ada, NEAREST)).toEqual({ neighbours: [], total: 0 });
      expect(await gallery.list({ limit: 5 })).toMatchObject({ faces: [{ label: "stays" }], total: 1 });
      expect(await gallery.remove(id)).toEqual({ removed: false, erased: false });
      expect(await gallery.remove("no such face '")).toEqual({ removed: false, erased: false });
      expect(await gallery.count()).toBe(1);
    });

    test.each([
      ["too short", (face: Float32Array) => face.slice(1)],
      ["too long", (face: Float32Array) => Float32Array.of(...face, 0)],
      ["not of unit length", (face: Float32Array) => face.map((x) => x * 1.01)],
      ["all zero", (face: Float32Array) => face.map(() => 0)],
      ["with NaN", (face: Float32Array) => face.with(3, Number.NaN)],
      ["with Infinity", (face: Float32Array) => face.with(3, Number.POSITIVE_INFINITY)],
    ])("an embedding %s is neither stored nor searched", async (_, spoil) => {
      const spoilt = spoil(faces.face());
      const failure = { name: "CheckError", code: "internal" };
      await expect(enroll(spoilt)).rejects.toMatchObject(failure);
      await expect(gallery.search(spoilt, NEAREST)).rejects.toMatchObject(failure);
      expect(await gallery.count()).toBe(0);
    });

    test("calls at the same time all count", async () => {
      const people = Array.from({ length: 30 }, () => faces.face());
      const enrolled = await Promise.all(people.map((person) => enroll(person)));
      expect(new Set(enrolled.map(({ id }) => id)).size).toBe(30);
      const removals = await Promise.all(enrolled.slice(0, 10).map(({ id }) => gallery.remove(id)));
      expect(removals.every(({ removed }) => removed)).toBe(true);
      expect(await gallery.count()).toBe(20);
    });

    test("a part of a larger array is stored as what it is", async () => {
      const ada = faces.face();
      const buffer = new Float32Array(2000).fill(7);
      buffer.set(ada, 33);
      await enroll(buffer.subarray(33, 33 + ada.length), "Ada");
      const { neighbours } = await gallery.search(ada, NEAREST);
      expect(neighbours).toEqual([expect.objectContaining({ label: "Ada", cosine: expect.closeTo(1, 5) })]);
    });

    test("what is read is everything, in order, and stored elsewhere it is the same", async () => {
      const embeddings = Array.from({ length: 5 }, () => faces.face());
      for (const [i, embedding] of embeddings.entries()) {
        await gallery.enroll(embedding, {
          label: `face ${i}`,
          vendorData: i % 2 ? `u-${i}` : null,
          blocklisted: i === 3,
        });
      }
      const first = await gallery.read({ after: 0, limit: 3 });
      const rest = await gallery.read({ after: first.at(-1)?.seq ?? 0, limit: 3 });
      const all = [...first, ...rest];
      expect(all.map(({ label }) => label)).toEqual(["face 0", "face 1", "face 2", "face 3", "face 4"]);
      expect(all.map(({ embedding }) => [...embedding])).toEqual(embeddings.map((embedding) => [...embedding]));
      expect(await gallery.read({ after: rest.at(-1)?.seq ?? 0, limit: 3 })).toEqual([]);
      const listed = (await gallery.list({ limit: 9 })).faces;
      for (const { id } of listed.slice(0, 3)) await gallery.remove(id);
      const there = () => Promise.all(listed.map(({ id }) => gallery.has(id)));
      expect(await there()).toEqual([false, false, false, true, true]);
      expect(await gallery.store(all)).toBe(3);
      expect(await gallery.store(all)).toBe(0);
      expect(await there()).toEqual([true, true, true, true, true]);
      expect(await gallery.count()).toBe(5);
      expect((await gallery.list({ limit: 9 })).faces.toSorted((a, b) => (a.label < b.label ? 1 : -1))).toEqual(listed);
      for (const { id, embedding } of all) {
        expect((await gallery.search(embedding, NEAREST)).neighbours).toMatchObject([{ id }]);
      }
    });

    test("of faces to store, one that is none leaves all out", async () => {
      const spoilt = [storedFace("a", faces.face()), storedFace("b", faces.face().fill(0))];
      await expect(gallery.store(spoilt)).rejects.toMatchObject({ name: "CheckError" });
      expect(await gallery.count()).toBe(0);
    });

    test("close can be called twice, and a closed gallery answers with a failure", async () => {
      await gallery.close();
      await gallery.close();
      await expect(gallery.count()).rejects.toMatchObject({ name: "CheckError" });
    });
  });
}

/** What every place with galleries does alike. `open` gives an empty one that the test closes. */
export function galleriesContract(store: string, open: () => Promise<Galleries>): void {
  describe(`galleries with names: ${store}`, () => {
    let galleries: Galleries;
    beforeEach(async () => {
      galleries = await open();
      return () => galleries.close();
    });
    const someone = (label: string) => ({ label, vendorData: null, blocklisted: false });

    test("are apart: nobody is found, listed or removed in another one", async () => {
      const faces = new FaceMaker(1);
      const ada = faces.face();
      const [staff, guests] = await Promise.all(
        ["staff", "guests-2026"].map((name) => galleries.open(name, { create: true })),
      );
      const { id } = (await staff?.enroll(ada, { ...someone("Ada"), blocklisted: true })) ?? { id: "" };
      await guests?.enroll(faces.face(), someone("Bob"));
      expect(await guests?.search(ada, NEAREST)).toEqual({ neighbours: [], total: 0 });
      expect(await guests?.list({ limit: 9 })).toMatchObject({ faces: [{ label: "Bob" }], total: 1 });
      expect(await guests?.remove(id)).toMatchObject({ removed: false });
      expect(await staff?.search(ada, NEAREST)).toMatchObject({ neighbours: [{ label: "Ada" }], total: 1 });
      expect(await Promise.all([staff?.count(), guests?.count()])).toEqual([1, 1]);
      expect(await galleries.names()).toEqual(["guests-2026", "staff"]);
    });

    test("are not made by looking for one, and its name is not taken for an empty one", async () => {
      const unknown = { name: "CheckError", code: "not_found" };
      await expect(galleries.open("stuff", { create: false })).rejects.toMatchObject(unknown);
      expect(await galleries.names()).toEqual([]);
      await galleries.open("staff", { create: true });
      await expect(galleries.open("stuff", { create: false })).rejects.toMatchObject({
        ...unknown,
        next: expect.stringContaining("staff"),
      });
      expect(await (await galleries.open("staff", { create: false })).count()).toBe(0);
      expect(await galleries.names()).toEqual(["staff"]);
    });

    test("have the longest name, and one that is all hyphens and digits", async () => {
      for (const name of ["a".repeat(40), "0--9", "seq"]) {
        const gallery = await galleries.open(name, { create: true });
        await gallery.enroll(new FaceMaker(1).face(), someone(name));
        expect(await gallery.count()).toBe(1);
      }
      expect(await galleries.names()).toEqual(["0--9", "a".repeat(40), "seq"]);
    });

    test("made by many at once are one", async () => {
      const same = await Promise.all(Array.from({ length: 5 }, () => galleries.open("staff", { create: true })));
      const faces = new FaceMaker(1);
      await Promise.all(same.map((gallery) => gallery.enroll(faces.face(), someone("x"))));
      expect(await same[0]?.count()).toBe(5);
    });
  });
}
