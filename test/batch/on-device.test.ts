import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parse } from "csv-parse/sync";
import { beforeAll, expect, test, vi } from "vitest";
import { newPlace, run } from "../evaluation/setting.ts";
import { temporaryFolder } from "../support/clients.ts";
import { makePhotos, type Photos } from "../support/photos.ts";

vi.setConfig({ testTimeout: 180_000 });

const place = newPlace();
const known = join(temporaryFolder("faces-"), "known");
const unknown = join(temporaryFolder("faces-"), "unknown");
let photos: Photos;

beforeAll(async () => {
  photos = await makePhotos();
  const into = (folder: string, ...files: readonly string[]) => {
    mkdirSync(folder, { recursive: true });
    for (const file of files) copyFileSync(file, join(folder, basename(file)));
  };
  into(known, photos.womanA, photos.otherWoman);
  into(unknown, photos.womanB, photos.noFace);
});

test("needs no file and no consent; prints a line for each image, in order", async () => {
  const { code, out } = await run(place, ["check-liveness", photos.womanA, unknown]);
  expect(code).toBe(4);
  expect(out.split("\n")).toEqual([
    expect.stringMatching(/woman-a\.jpg: review \(score \d+\.\d\)$/),
    expect.stringMatching(/no-face\.jpg: declined$/),
    expect.stringMatching(/woman-b\.jpg: review \(score \d+\.\d\)$/),
    "3 images: 2 review, 1 declined.",
    "",
  ]);
});

test("says who is known", async () => {
  const { code } = await run(place, ["match-faces", known, unknown, "--out", "r.csv", "--fail-on", "failed"]);
  expect(code).toBe(0);
  const rows: Record<string, string>[] = parse(readFileSync(join(place.home, "r.csv"), "utf8"), { columns: true });
  const shown = rows.map(({ user_image = "", reference_image = "", outcome }) => [
    basename(user_image),
    basename(reference_image),
    outcome,
  ]);
  expect(shown).toEqual([
    ["no-face.jpg", "other-woman.jpg", "declined"],
    ["no-face.jpg", "woman-a.jpg", "declined"],
    ["woman-b.jpg", "other-woman.jpg", "declined"],
    ["woman-b.jpg", "woman-a.jpg", "approved"],
  ]);
});

test("searches for each image of a folder; one with no face is a failure and no decision", async () => {
  expect(await run(place, ["enroll-face", photos.womanA, "A\tWoman"])).toMatchObject({ code: 2 });
  expect(await run(place, ["enroll-face", photos.womanA, "=A Woman"])).toMatchObject({ code: 0 });
  const { code, out } = await run(place, ["search-face", unknown, "--out", "s.csv"]);
  expect({ code, out }).toMatchObject({ code: 1, out: expect.stringContaining("2 images: 1 review, 1 failed.") });
  const rows: Record<string, string>[] = parse(readFileSync(join(place.home, "s.csv"), "utf8"), { columns: true });
  expect(rows.find(({ error }) => error === "no_face")).toMatchObject({ outcome: "", score: "" });
  expect(rows.find(({ error }) => error === "")).toMatchObject({
    nearest_label: "'=A Woman",
    nearest_blocklisted: "false",
  });
});

test("one image with --out is a batch, since a pattern may match only one", async () => {
  const { code, out } = await run(place, ["check-liveness", photos.womanA, "--out", "one.jsonl", "--json"]);
  expect(code).toBe(3);
  expect(JSON.parse(out)).toMatchObject({ images: 1, review: 1, out: join(place.home, "one.jsonl") });
});
