import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { beforeAll, beforeEach, expect, test } from "vitest";
import * as z from "zod";
import { cleanEnvironment, MAIN, temporaryFolder } from "../support/clients.ts";
import { makePhotos, type Photos } from "../support/photos.ts";

let photos: Photos;
beforeAll(async () => {
  photos = await makePhotos();
});

let home: string;
let folder: string;
beforeEach(() => {
  home = temporaryFolder("home-");
  folder = join(home, "people");
  mkdirSync(join(folder, "Ann Example"), { recursive: true });
  copyFileSync(photos.womanA, join(folder, "Ann Example", "1.jpg"));
  copyFileSync(photos.otherWoman, join(folder, "Berta.jpg"));
});

function biometrics(...args: readonly string[]) {
  return new Promise<{ code: number; out: string; err: string }>((done) => {
    execFile(process.execPath, [MAIN, ...args], { env: cleanEnvironment(home), cwd: home }, (error, out, err) =>
      done({ code: error === null ? 0 : Number(error.code ?? -1), out, err }),
    );
  });
}

const page = z.object({
  faces: z.array(z.object({ label: z.string(), vendor_data: z.string().nullable(), blocklisted: z.boolean() })),
});
const listed = async (...args: readonly string[]) =>
  page
    .parse(JSON.parse((await biometrics("list-faces", "--json", ...args)).out))
    .faces.toSorted((a, b) => (a.label < b.label ? -1 : 1));

test("every image of a folder is enrolled, under its subfolder's name or its own; again, none is", async () => {
  writeFileSync(join(folder, "notes.txt"), "not an image");
  const first = await biometrics("enroll-face", folder, "--gallery", "staff", "--blocklisted", "--json");
  expect(first.code, first.err).toBe(0);
  expect(JSON.parse(first.out)).toEqual({ enrolled: 2, present: 0, failed: [] });
  expect(first.err).toContain("faces 2 of 2");
  expect(await listed("--gallery", "staff")).toEqual([
    { label: "Ann Example", vendor_data: null, blocklisted: true },
    { label: "Berta", vendor_data: null, blocklisted: true },
  ]);
  const again = await biometrics("enroll-face", folder, "--gallery", "staff", "--blocklisted");
  expect(again).toMatchObject({ code: 0, out: "Enrolled: 0. There before: 2. Not enrolled: 0.\n" });
  expect(await listed("--gallery", "staff")).toHaveLength(2);
  expect(await listed()).toEqual([]);
  const found = await biometrics("search-face", photos.womanB, "--gallery", "staff");
  expect(found).toMatchObject({ code: 4, out: expect.stringContaining("Ann Example") });
});

test("an image that cannot be enrolled is named, and the others are enrolled", async () => {
  copyFileSync(photos.noFace, join(folder, "wall.jpg"));
  writeFileSync(join(folder, "broken.jpg"), "no image");
  symlinkSync(photos.womanB, join(folder, "link.jpg"));
  const { code, out } = await biometrics("enroll-face", folder);
  expect(code).toBe(1);
  expect(out).toMatch(/^Enrolled: 2\. There before: 0\. Not enrolled: 2\.\nbroken\.jpg: .*\nwall\.jpg: No face .*\n$/);
});

test("what needs a conversion is enrolled where that is asked for, and once", { timeout: 120_000 }, async () => {
  writeFileSync(join(folder, "Cora.avif"), await sharp(photos.thirdWoman).avif({ effort: 0 }).toBuffer());
  const refused = await biometrics("enroll-face", folder);
  expect(refused).toMatchObject({ code: 1, out: expect.stringMatching(/Not enrolled: 1\.\nCora\.avif: .*--convert/) });
  for (const expected of ["Enrolled: 1. There before: 2.", "Enrolled: 0. There before: 3."]) {
    const { code, out } = await biometrics("enroll-face", folder, "--convert");
    expect({ code, out }).toEqual({ code: 0, out: `${expected} Not enrolled: 0.\n` });
  }
  expect((await listed()).map(({ label }) => label)).toEqual(["Ann Example", "Berta", "Cora"]);
});

test("a table says who is who", async () => {
  const csv = join(folder, "people.csv");
  writeFileSync(
    csv,
    `\uFEFFlabel,image_path,vendor_data,blocklisted\r\n"Example, ""Ann""",Ann Example/1.jpg,u-1,true\r\nBerta,Berta.jpg,,\r\n`,
  );
  expect(await biometrics("enroll-face", "--csv", csv)).toMatchObject({ code: 0 });
  const faces = [
    { label: "Berta", vendor_data: null, blocklisted: false },
    { label: 'Example, "Ann"', vendor_data: "u-1", blocklisted: true },
  ];
  expect(await listed()).toEqual(faces);
  expect((await biometrics("enroll-face", "--csv", csv)).out).toContain("There before: 2.");
  expect(await listed()).toEqual(faces);
});

test.each([
  ["image_path\nBerta.jpg\n", "label is missing"],
  ["image_path,label,role\nBerta.jpg,B,x\n", "an unknown column"],
  ["image_path,label,blocklisted\nBerta.jpg,B,yes\n", "blocklisted must be true or false"],
  ["image_path,label\nBerta.jpg,B,too,many\n", "cannot be read"],
  ["image_path,label\nBerta.jpg,\u0007\n", "label must"],
  ["image_path,label\n/etc/hosts,B\n", "must be relative"],
  ["image_path,label\n", "has no rows"],
])("a table that is wrong enrols nobody: %j", async (text, why) => {
  const csv = join(folder, "people.csv");
  writeFileSync(csv, text);
  const { code, err } = await biometrics("enroll-face", "--csv", csv);
  expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining(why) });
});

test("a table names no image outside of its folder", async () => {
  copyFileSync(photos.womanB, join(home, "outside.jpg"));
  const csv = join(folder, "people.csv");
  writeFileSync(csv, "image_path,label\n../outside.jpg,B\n");
  const { code, out } = await biometrics("enroll-face", "--csv", csv, "--json");
  expect(code).toBe(1);
  expect(JSON.parse(out)).toMatchObject({ enrolled: 0, failed: [{ code: "path_refused" }] });
});

test("what is wrong on the command line", async () => {
  expect(await biometrics("enroll-face", folder, "one label")).toMatchObject({ code: 2 });
  expect(await biometrics("enroll-face", photos.womanA)).toMatchObject({
    code: 2,
    err: expect.stringContaining("label"),
  });
  expect(await biometrics("enroll-face", photos.womanA, "--csv", "x.csv")).toMatchObject({ code: 2 });
  expect(await biometrics("enroll-face", "--csv", "x.csv")).toMatchObject({ code: 2 });
  expect(await biometrics("enroll-face")).toMatchObject({ code: 2 });
});

test("killed on the way it goes on with the rest", { timeout: 120_000 }, async () => {
  for (let i = 0; i < 12; i++) copyFileSync(photos.womanA, join(folder, `copy ${i}.jpg`));
  const child = spawn(process.execPath, [MAIN, "enroll-face", folder], { env: cleanEnvironment(home), cwd: home });
  const count = async () => (await listed()).length;
  await expect.poll(count, { interval: 50 }).toBeGreaterThan(0);
  child.kill("SIGKILL");
  await once(child, "close");
  const { out } = await biometrics("enroll-face", folder, "--json");
  const { enrolled, present } = JSON.parse(out) as { enrolled: number; present: number };
  expect(enrolled + present).toBe(14);
  expect(present).toBeGreaterThan(0);
  expect(await count()).toBe(14);
});
