import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { beforeAll, describe, expect, test } from "vitest";
import { CHROMIUM } from "../support/chromium.ts";
import { temporaryFolder } from "../support/clients.ts";
import { makePhotos, type Photos } from "../support/photos.ts";
import { type Finished, newPlace, type Place, run } from "./setting.ts";

const SLOW = { timeout: 120_000 };
const ODD = `<b>"ann" & co`; // what somebody called a folder must not become a part of the page

let photos: Photos;
let folder: string;
let place: Place;
let first: Finished;

const put = (photo: string, name: string) => {
  mkdirSync(dirname(join(folder, name)), { recursive: true });
  cpSync(photo, join(folder, name));
};

beforeAll(async () => {
  photos = await makePhotos();
  folder = temporaryFolder("evaluation-");
  place = newPlace();
  put(photos.womanA, `${ODD}/a.jpg`);
  put(photos.womanB, `${ODD}/b.jpg`);
  put(photos.otherWoman, "bea/1.jpg");
  put(photos.thirdWoman, "cid/1.jpg");
  put(photos.noFace, "cid/2.jpg");
  put(photos.womanB, "live/1.jpg");
  put(photos.otherWoman, "live/2.jpg");
  put(photos.noFace, "live/3.jpg");
  mkdirSync(join(folder, "spoof/print"), { recursive: true });
  await sharp(photos.womanA).greyscale().blur(3).jpeg().toFile(join(folder, "spoof/print/1.jpg"));
  // With what a camera writes beside the picture.
  const withPlace = await sharp(photos.thirdWoman)
    .withExif({ IFD0: { Copyright: "METADATA OF THE CAMERA" } })
    .toBuffer();
  writeFileSync(join(folder, "cid/1.jpg"), withPlace);
  writeFileSync(join(folder, "cid/notes.txt"), "no image");
  symlinkSync(photos.womanA, join(folder, "cid/link.jpg"));
  symlinkSync(photos.dir, join(folder, "dan"));
  first = await run(place, ["evaluate", folder, "--json"]);
}, 120_000);

const pageOf = () => readFileSync(join(place.home, "evaluation.html"), "utf8");

test("the scores are those of match-faces and check-liveness", SLOW, async () => {
  expect(first).toMatchObject({ code: 0 });
  const { match, liveness, left_out } = JSON.parse(first.out);
  expect(match).toMatchObject({ persons: 3, images: 4, scores: { genuine: 1, impostor: 5 }, auc: { value: 1 } });
  expect(left_out).toEqual([{ why: "No face was found.", files: ["cid/2.jpg", "live/3.jpg"] }]);
  const single = await run(place, ["match-faces", photos.womanA, photos.womanB, "--json"]);
  expect(match.worst_false_non_matches).toEqual([
    { score: JSON.parse(single.out).score, files: [`${ODD}/a.jpg`, `${ODD}/b.jpg`] },
  ]);
  const live = await run(place, ["check-liveness", photos.womanB, "--json"]);
  expect(liveness.worst_live).toContainEqual({ score: JSON.parse(live.out).score, files: ["live/1.jpg"] });
  expect(liveness).toMatchObject({ live: 2, attacks: 1 });
});

test("a second run measures nothing anew; templates are the owner's alone and can be purged", SLOW, async () => {
  const cache = join(place.data, "evaluation.db");
  expect(statSync(cache).mode & 0o777).toBe(0o600);
  const again = await run(place, ["evaluate", folder, "--json"]);
  expect(again.out).toBe(first.out);
  const other = newPlace();
  expect((await run(other, ["evaluate", folder, "--json", "--data-dir", place.data])).out).toBe(
    first.out.replace(place.home, other.home),
  );
  expect(await run(place, ["evaluate", "--purge"])).toMatchObject({ code: 0 });
  expect(["", "-wal", "-shm"].map((part) => existsSync(cache + part))).toEqual([false, false, false]);
});

test("the page holds what it shows, without metadata, and nothing else", SLOW, async () => {
  const page = pageOf();
  expect(statSync(join(place.home, "evaluation.html")).mode & 0o777).toBe(0o600);
  expect(page).toContain("This page holds photographs of people.");
  expect(page).toContain("&lt;b&gt;&quot;ann&quot; &amp; co/a.jpg");
  expect(page).not.toContain("<b>");
  expect(page).not.toMatch(/<script|https?:|url\(|@import|<link/);
  expect(page).toContain("default-src 'none'");
  const pictures = [...page.matchAll(/src="data:image\/jpeg;base64,([^"]+)"/g)].map(([, data = ""]) =>
    Buffer.from(data, "base64"),
  );
  expect(pictures.length).toBeGreaterThanOrEqual(5);
  for (const picture of pictures) {
    const { width, height, exif } = await sharp(picture).metadata();
    expect(exif).toBeUndefined();
    expect(Math.max(width, height)).toBeLessThanOrEqual(200);
  }
  expect(pictures.some((picture) => picture.includes("METADATA OF THE CAMERA"))).toBe(false);
  const bare = await run(place, ["evaluate", folder, "--no-photos", "--html", "bare.html"]);
  expect(bare).toMatchObject({ code: 0, out: expect.stringContaining(`Page: ${join(place.home, "bare.html")}`) });
  const html = readFileSync(join(place.home, "bare.html"), "utf8");
  expect(html).not.toMatch(/data:image|This page holds/);
});

test("without a terminal progress is plain lines, all on standard error", () => {
  expect(first.err).toMatch(/^images 9 of 9\npairs 6 of 6\n$/m);
  expect(first.err).not.toContain("\u001b");
});

test.skipIf(spawnSync("script", ["--version"]).status !== 0)("on a terminal it is a bar, gone at the end", SLOW, () => {
  const command = `stty cols 100 rows 24; "${process.execPath}" dist/main.js evaluate "${folder}" --json 2>&1 >/dev/null`;
  const env = { PATH: process.env["PATH"] ?? "", HOME: place.home, BIOMETRICS_DATA_DIR: place.data, TERM: "xterm" };
  const cwd = join(import.meta.dirname, "../..");
  const args = ["-qec", `${command} --html "${join(place.home, "tty.html")}"`, "/dev/null"];
  const { stdout } = spawnSync("script", args, { encoding: "utf8", env, cwd });
  expect(stdout).toMatch(/█{24} 100 % images 9 of 9/);
  expect(stdout).toContain("\u001b[");
  expect(stdout.split("\u001b").at(-1)).not.toContain("█");
});

if (CHROMIUM === undefined) console.info("No Chromium is installed: the evaluation's page is not opened in a browser.");

describe.skipIf(CHROMIUM === undefined)("in a browser", () => {
  /** What it printed of the page's own trouble, and how light its background is, 0..255. */
  async function open(scheme: "light" | "dark", width: number) {
    const shot = join(temporaryFolder("shot-"), "page.png");
    const { stdout, stderr } = spawnSync(
      CHROMIUM ?? "",
      [
        ...["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"],
        "--host-resolver-rules=MAP * ~NOTFOUND",
        `--blink-settings=preferredColorScheme=${scheme === "dark" ? 0 : 1}`,
        `--user-data-dir=${temporaryFolder("browser-")}`,
        `--window-size=${width},1400`,
        `--screenshot=${shot}`,
        `file://${join(place.home, "evaluation.html")}`,
      ],
      { encoding: "utf8", timeout: 90_000 },
    );
    const complaints = `${stdout}\n${stderr}`.split("\n").filter((line) => /CONSOLE|Refused/.test(line));
    const { channels } = await sharp(shot).extract({ left: 2, top: 2, width: 8, height: 8 }).stats();
    return { complaints, background: channels[0]?.mean ?? -1 };
  }

  test.each([
    ["light", 1100, 240, 255],
    ["dark", 1100, 5, 40],
    ["dark", 500, 5, 40],
  ] as const)(
    "it is %s as the user wants it, without a complaint, at %d pixels",
    SLOW,
    async (scheme, width, low, high) => {
      const { complaints, background } = await open(scheme, width);
      expect(complaints).toEqual([]);
      expect(background).toBeGreaterThanOrEqual(low);
      expect(background).toBeLessThanOrEqual(high);
    },
  );
});
