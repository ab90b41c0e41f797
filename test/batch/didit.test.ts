import { spawn, spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { parse } from "csv-parse/sync";
import sharp from "sharp";
import { afterEach, describe, expect, test, vi } from "vitest";
import { acquireLock } from "../../src/storage/lock.ts";
import { drawImages, newPlace, run, scoringRoutes } from "../evaluation/setting.ts";
import { cleanEnvironment, MAIN, temporaryFolder } from "../support/clients.ts";
import { API_KEY, DIDIT, type StandIn, standIn } from "../support/stand-in.ts";

vi.setConfig({ testTimeout: 120_000 }); // several runs of the program each

const SCORES: Readonly<Record<string, number>> = { "a.png": 95, "b.png": 20, "c/d.png": 60, "e.png": 80, "f.png": 90 };

let didit: StandIn;
afterEach(() => didit.close());

async function newSetting(scores: Readonly<Record<string, number | null>> = SCORES, images = Object.keys(SCORES)) {
  const { folder, nameOf } = await drawImages(images);
  didit = await standIn({ routes: scoringRoutes((...names) => scores[names.join(" ")] ?? null, nameOf) });
  const env = { DIDIT_API_KEY: API_KEY, DIDIT_API_BASE_URL: didit.url };
  const place = newPlace();
  const biometrics = (...args: string[]) => run(place, args, env);
  const read = (name: string) => readFileSync(join(place.home, name), "utf8");
  return { folder, place, env, biometrics, read };
}

const linesOf = (text: string) =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

test("says what a folder would cost, and sends nothing without --yes, nor without a file for the results", async () => {
  const { folder, place, biometrics } = await newSetting();
  expect(await biometrics("check-liveness", folder)).toMatchObject({ code: 2, err: expect.stringContaining("--out") });
  const asked = await biometrics("check-liveness", folder, "--out", "r.csv");
  expect(asked).toMatchObject({ code: 2, out: "" });
  expect(asked.err).toContain(
    "5 images would be sent to didit: 5 billed calls, about US$ 0.25 to 0.50 at published prices.",
  );
  expect(asked.err).toContain("--yes");
  expect(didit.received).toEqual([]);
  for (const name of ["r.csv", "r.csv.jsonl"]) expect(existsSync(join(place.home, name))).toBe(false);
});

test("each image of a folder has its row, in order; the exit code is the worst outcome or that of --fail-on", async () => {
  const { folder, place, biometrics, read } = await newSetting();
  const batch = ["check-liveness", folder, "--out", "r.csv", "--threshold", "50"];
  const { code, out, err } = await biometrics(...batch, "--yes");
  expect({ code, out }).toEqual({
    code: 4,
    out: `5 images: 4 approved, 1 declined.\nResults: ${join(place.home, "r.csv")}\n`,
  });
  expect(err).toContain("images 5 of 5");
  const rows: Record<string, string>[] = parse(read("r.csv"), { columns: true });
  expect(rows.map(({ image, outcome, score }) => [image, outcome, score])).toEqual([
    [join(folder, "a.png"), "approved", "95"],
    [join(folder, "b.png"), "declined", "20"],
    [join(folder, "c/d.png"), "approved", "60"],
    [join(folder, "e.png"), "approved", "80"],
    [join(folder, "f.png"), "approved", "90"],
  ]);
  expect(rows[0]).toMatchObject({
    threshold: "50",
    provider: "didit",
    error: "",
    summary: expect.stringMatching(/^Liveness/),
  });
  expect(new Set(didit.received.map(({ fields }) => fields["face_liveness_score_decline_threshold"]))).toEqual(
    new Set(["50"]),
  );
  if (process.platform !== "win32") {
    for (const name of ["r.csv", "r.csv.jsonl"]) expect(statSync(join(place.home, name)).mode & 0o777).toBe(0o600);
  }
  expect(await biometrics(...batch)).toMatchObject({ code: 4 });
  expect(await biometrics(...batch, "--fail-on", "failed")).toMatchObject({ code: 0 });
  expect(didit.received).toHaveLength(5);
});

test("a pattern that the shell did not expand, as on Windows, stands for the files that it fits", async () => {
  const { folder, biometrics } = await newSetting();
  writeFileSync(join(folder, "a+png"), "no image");
  const batch = ["check-liveness", join(folder, "?.PNG"), "--out", "r.csv", "--yes", "--json"];
  expect(JSON.parse((await biometrics(...batch)).out)).toMatchObject({
    images: 4,
    approved: 3,
    declined: 1,
    failed: 0,
  });
  expect(await biometrics("check-liveness", join(folder, "*.gif"))).toMatchObject({
    code: 2,
    err: expect.stringContaining("No image was found there."),
  });
});

test("what is done is skipped, unless the image or what is asked changed", async () => {
  const { folder, biometrics, read } = await newSetting();
  const batch = ["check-liveness", folder, "--out", "r.jsonl", "--yes", "--json"];
  await biometrics(...batch);
  expect(linesOf(read("r.jsonl"))).toHaveLength(5);
  expect(linesOf(read("r.jsonl"))[0]).toMatchObject({ result: { raw: { request_id: "r" } } });
  writeFileSync(join(folder, "a.png"), readFileSync(join(folder, "b.png"))); // another person under an approved name
  const again = await biometrics(...batch);
  expect(JSON.parse(again.out)).toMatchObject({ images: 5, approved: 3, declined: 2, known_before: 4 });
  expect(didit.received).toHaveLength(6);
  const stricter = await biometrics(...batch, "--threshold", "85");
  expect(JSON.parse(stricter.out)).toMatchObject({ known_before: 0 });
  expect(didit.received).toHaveLength(11);
  const back = await biometrics(...batch); // what was paid for first is not forgotten
  expect(JSON.parse(back.out)).toMatchObject({ approved: 3, known_before: 5 });
  expect(didit.received).toHaveLength(11);
});

test("two runs that write the same results at once make each call once", async () => {
  const { folder, biometrics, place } = await newSetting();
  const batch = ["check-liveness", folder, "--out", "r.csv", "--yes", "--json"];
  const both = await Promise.all([biometrics(...batch), biometrics(...batch)]);
  expect(both.map(({ out }) => JSON.parse(out).images)).toEqual([5, 5]);
  expect(didit.received).toHaveLength(5);
  expect(existsSync(join(place.home, "r.csv.lock"))).toBe(false);
});

test("while another run writes the results nothing is sent; what a killed one left is taken over", async () => {
  const { folder, biometrics, place } = await newSetting();
  const batch = ["check-liveness", folder, "--out", "r.csv", "--yes"];
  const file = join(place.home, "r.csv.lock");
  const other = await acquireLock(file, "the results", { refreshMs: 200 });
  const refused = await biometrics(...batch);
  expect(refused).toMatchObject({ code: 1, err: expect.stringMatching(/Another run .*these results.*\n.*--out/) });
  expect(didit.received).toEqual([]);
  expect(await other.isHeld()).toBe(true);
  await other.release();
  expect(existsSync(file)).toBe(false);
  writeFileSync(file, "");
  expect(await biometrics(...batch)).toMatchObject({ code: 4 });
  expect(existsSync(file)).toBe(false);
});

test("--convert holds for each file, for the pictures of the page, and for a run that goes on", async () => {
  const { folder, biometrics, read } = await newSetting({}, ["first.png"]);
  rmSync(join(folder, "first.png"));
  copyFileSync(join(import.meta.dirname, "../support/quarters.heic"), join(folder, "a.heic"));
  const image = sharp({ create: { width: 64, height: 64, channels: 3, background: "red" } });
  writeFileSync(join(folder, "b.gif"), await image.gif().toBuffer());
  const batch = ["check-liveness", folder, "--out", "r.html", "--yes", "--json"];
  const refused = await biometrics(...batch);
  expect({ ...refused, out: JSON.parse(refused.out) }).toMatchObject({ code: 1, out: { images: 2, failed: 2 } });
  expect(read("r.html")).toContain("convert");
  expect(didit.received).toEqual([]);
  const { out } = await biometrics(...batch, "--convert");
  expect(JSON.parse(out)).toMatchObject({ images: 2, failed: 0, known_before: 0 });
  expect(didit.received.map(({ files }) => files["user_image"]?.mime)).toEqual(["image/jpeg", "image/jpeg"]);
  expect(read("r.html").match(/<img [^>]*src="data:image/g)).toHaveLength(2);
  const again = await biometrics(...batch, "--convert");
  expect(JSON.parse(again.out)).toMatchObject({ failed: 0, known_before: 2 });
  expect(didit.received).toHaveLength(2);
});

test("--preview is refused, and nothing is sent", async () => {
  const { folder, biometrics, place } = await newSetting();
  const asked = await biometrics("check-liveness", folder, "--out", "r.csv", "--yes", "--preview", "p.png");
  expect(asked).toMatchObject({ code: 2, err: expect.stringContaining("--preview shows one check, not a batch") });
  expect(didit.received).toEqual([]);
  for (const name of ["p.png", "r.csv", "r.csv.jsonl"]) expect(existsSync(join(place.home, name))).toBe(false);
});

test("one bad file does not stop the others, is no decision, and is tried again", async () => {
  const { folder, biometrics, read } = await newSetting();
  writeFileSync(join(folder, "broken.jpg"), "no image");
  const batch = ["check-liveness", folder, join(folder, "missing.png"), "--out", "r.csv", "--yes", "--json"];
  const { code, out } = await biometrics(...batch);
  expect(code).toBe(1);
  expect(JSON.parse(out)).toMatchObject({ images: 7, approved: 4, declined: 1, failed: 2, known_before: 0 });
  const rows: Record<string, string>[] = parse(read("r.csv"), { columns: true });
  const failed = rows.filter(({ error }) => error !== "");
  expect(failed.map(({ outcome, score, error }) => [outcome, score, error])).toEqual([
    ["", "", "image_rejected"],
    ["", "", "path_refused"],
  ]);
  const again = await biometrics(...batch);
  expect(JSON.parse(again.out)).toMatchObject({ failed: 2, known_before: 5 });
  expect(didit.received).toHaveLength(5);
});

test("a spreadsheet finds no formula in a file's name or in a provider's text", async () => {
  const evil = "=HYPERLINK(0).png";
  const { folder } = await newSetting({}, [evil, "@x.png"]);
  const child = spawnSync(process.execPath, [MAIN, "check-liveness", evil, "@x.png", "--out", "r.csv", "--yes"], {
    cwd: folder,
    env: cleanEnvironment(folder, { DIDIT_API_KEY: API_KEY, DIDIT_API_BASE_URL: "http://127.0.0.1:1" }),
  });
  expect(child.status).toBe(1); // nobody answers there
  const cells = (parse(readFileSync(join(folder, "r.csv"), "utf8")) as string[][]).flat();
  expect(cells).toContain(`'${evil}`);
  expect(cells).toContain("'@x.png");
  expect(cells.filter((cell) => /^[=+\-@\t\r]/.test(cell))).toEqual([]);
});

test("a page shows each image with its verdict, filters without a script, and loads nothing", async () => {
  const { folder, biometrics, read } = await newSetting({ "<img src=x onerror=a>.png": 95, "b.png": 20 }, [
    "<img src=x onerror=a>.png",
    "b.png",
  ]);
  await biometrics("check-liveness", folder, "--out", "r.html", "--yes");
  const page = read("r.html");
  expect(page).toContain("default-src 'none'; img-src data:; style-src 'unsafe-inline'");
  expect(page).not.toMatch(/<script|<img src=x|https?:/);
  expect(page.match(/<li class="(approved|declined)">/g)).toHaveLength(2);
  expect(page.match(/src="data:image\/jpeg;base64,/g)).toHaveLength(2);
  expect(page).toContain("main:has(#show-declined:checked) .cases li:not(.declined){display:none}");
  await biometrics("check-liveness", folder, "--out", "r.html", "--no-photos");
  expect(read("r.html")).not.toContain("data:image");
});

describe("pairs", () => {
  const PAIRS = { "a.png b.png": 90, "a.png c/d.png": 10, "e.png b.png": 50 };

  test("of a list, whose paths count from it", async () => {
    const { folder, biometrics, read } = await newSetting(PAIRS);
    writeFileSync(join(folder, "pairs.csv"), "\ufeffuser_image;reference_image\na.png;b.png\n\na.png;c/d.png\n");
    const { code, out } = await biometrics(
      "match-faces",
      "--pairs",
      join(folder, "pairs.csv"),
      "--out",
      "r.jsonl",
      "--yes",
    );
    expect({ code, out }).toMatchObject({ code: 4, out: expect.stringContaining("2 pairs: 1 approved, 1 declined.") });
    const files = linesOf(read("r.jsonl")).map((line) => line.files);
    expect(files).toContainEqual({
      user_image_path: join(folder, "a.png"),
      reference_image_path: join(folder, "b.png"),
    });
  });

  test("of a list are not read from elsewhere: somebody else may have written it", async () => {
    const { folder, biometrics } = await newSetting(PAIRS);
    const elsewhere = join(temporaryFolder("elsewhere-"), "private.png");
    writeFileSync(elsewhere, readFileSync(join(folder, "e.png")));
    symlinkSync(elsewhere, join(folder, "link.png"));
    writeFileSync(join(folder, "pairs.csv"), `user_image,reference_image\n${elsewhere},b.png\nlink.png,b.png\n`);
    const { code, out } = await biometrics(
      "match-faces",
      "--pairs",
      join(folder, "pairs.csv"),
      "--out",
      "r.csv",
      "--yes",
    );
    expect({ code, out }).toMatchObject({ code: 1, out: expect.stringContaining("2 pairs: 2 failed.") });
    expect(didit.received).toEqual([]);
  });

  test("of two folders: every unknown photo with every known one, which is the reference", async () => {
    const names = ["known/a.png", "known/b.png", "new/x.png"];
    const { folder, biometrics, read } = await newSetting(
      { "new/x.png known/a.png": 95, "new/x.png known/b.png": 60 },
      names,
    );
    const batch = ["match-faces", join(folder, "known"), join(folder, "new"), "--out", "r.csv"];
    expect(await biometrics(...batch)).toMatchObject({
      code: 2,
      err: expect.stringContaining("2 pairs would be sent"),
    });
    expect(await biometrics(...batch, "--yes")).toMatchObject({
      code: 3,
      out: expect.stringContaining("1 approved, 1 review"),
    });
    const rows: Record<string, string>[] = parse(read("r.csv"), { columns: true });
    expect(rows.map(({ user_image, reference_image, score }) => [user_image, reference_image, score])).toEqual([
      [join(folder, "new/x.png"), join(folder, "known/a.png"), "95"],
      [join(folder, "new/x.png"), join(folder, "known/b.png"), "60"],
    ]);
  });

  test.each([
    ["a,b\n1,2\n", "it has no columns user_image and reference_image"],
    ["user_image,reference_image\n", "it is empty"],
    ["user_image,reference_image\na.png,\n", "pair 1 names only one image"],
    ["user_image,reference_image\na.png\n", "it is not a CSV file"],
  ])("a list that cannot be used: %j", async (text, why) => {
    const { folder, biometrics } = await newSetting(PAIRS);
    writeFileSync(join(folder, "pairs.csv"), text);
    expect(await biometrics("match-faces", "--pairs", join(folder, "pairs.csv"))).toMatchObject({
      code: 2,
      err: expect.stringContaining(why),
    });
  });
});

test.each([
  [["check-liveness", "FOLDER", "--out", "r.txt"], "must end in .csv, .jsonl or .html"],
  [["match-faces", "FOLDER", "FOLDER/a.png"], "One of these is a folder"],
  [["match-faces", "--pairs", "nowhere.csv"], "No list of pairs was found"],
  [["match-faces", "--pairs", "p.csv", "FOLDER"], "--pairs names the images"],
  [["search-face", "EMPTY", "--out", "r.csv"], "No image was found there."],
  [["check-liveness", "FOLDER", "--out", "diary.csv", "--yes"], "another file"],
  [["check-liveness", "FOLDER", "--out", "diary.jsonl", "--yes"], "another file"],
  [["check-liveness", "FOLDER", "--out", "none/r.csv", "--yes"], "cannot be written"],
])("wrong usage: %j", async (args, message) => {
  const { folder, place, biometrics, read } = await newSetting();
  mkdirSync(join(place.home, "empty"));
  for (const name of ["diary.csv", "diary.jsonl"]) writeFileSync(join(place.home, name), "dear diary\n");
  const given = args.map((arg) => arg.replace("FOLDER", folder).replace("EMPTY", "empty"));
  expect(await biometrics(...given)).toMatchObject({ code: 2, out: "", err: expect.stringContaining(message) });
  expect(didit.received).toEqual([]);
  for (const name of ["diary.csv", "diary.jsonl"]) expect(read(name)).toBe("dear diary\n");
});

describe.skipIf(process.platform === "win32")("Ctrl-C", () => {
  const whenSent = (count: number, then: () => void) => {
    const look = setInterval(() => {
      if (didit.received.length < count) return;
      clearInterval(look);
      then();
    }, 5);
  };

  test("finishes what was paid for, keeps it, and says how to go on", async () => {
    const { folder, place, env, biometrics, read } = await newSetting();
    didit.always({ delayMs: 1200 });
    const args = ["check-liveness", folder, "--out", "r.csv", "--yes"];
    const stopped = await run(place, args, env, (end) => whenSent(2, () => end("SIGINT")));
    expect(stopped).toMatchObject({ code: 130, out: "" });
    expect(stopped.err).toContain("the calls under way are finished first");
    const sent = didit.received.length;
    expect(sent).toBeLessThan(5);
    expect(await Promise.all(didit.received.map(({ abandoned }) => abandoned))).toEqual(Array(sent).fill(false));
    expect(stopped.err).toContain(`${sent} of 5 are done; they are in ${join(place.home, "r.csv")}.`);
    expect(stopped.err).toContain("Run the same command again to go on");
    expect((parse(read("r.csv"), { columns: true }) as unknown[]).length).toBe(sent);
    didit.always(undefined);
    expect(await biometrics(...args)).toMatchObject({
      code: 4,
      out: expect.stringContaining(`${sent} of them were done before`),
    });
    expect(didit.received).toHaveLength(5);
  });

  test.skipIf(spawnSync("script", ["--version"]).status !== 0)("on a terminal too, where a bar is drawn", async () => {
    const { folder, place, env } = await newSetting();
    didit.always({ delayMs: 1200 });
    const line = `stty cols 80 rows 24; exec '${process.execPath}' '${MAIN}' check-liveness '${folder}' --out r.csv --yes`;
    const child = spawn("script", ["-qec", line, "/dev/null"], {
      cwd: place.home,
      env: cleanEnvironment(place.home, env),
    });
    let out = "";
    child.stdout.on("data", (chunk: Buffer) => {
      out += chunk.toString();
    });
    whenSent(2, () => child.stdin.write("\u0003"));
    await new Promise((closed) => child.on("close", closed));
    expect(out).toContain("█");
    const sent = didit.received.length;
    expect(await Promise.all(didit.received.map(({ abandoned }) => abandoned))).toEqual(Array(sent).fill(false));
    expect(out).toContain(`${sent} of 5 are done`);
  });

  test("a run that is killed goes on where it was", async () => {
    const { folder, place, env, biometrics } = await newSetting();
    const args = ["check-liveness", folder, "--out", "r.html", "--yes"];
    didit.always({ delayMs: 50 });
    await run(place, args, env, (end) => whenSent(4, () => end("SIGKILL")));
    const sent = didit.received.length;
    expect(await biometrics(...args)).toMatchObject({ code: 4, out: expect.stringContaining("5 images") });
    expect(didit.received.length).toBeLessThanOrEqual(5 + (sent - 2)); // of the last calls the answers are lost
  });
});

test("a failure that the next call would have too ends the run; what is done is kept", async () => {
  const { folder, biometrics } = await newSetting();
  didit.next({}, {}, DIDIT.noCredit402);
  didit.always(DIDIT.noCredit402);
  const args = ["check-liveness", folder, "--out", "r.csv", "--yes"];
  const { code, err } = await biometrics(...args);
  expect(code).toBe(1);
  expect(err).toContain("Error [no_credit]");
  expect(err).toContain("2 of 5 are done");
  expect(err).toContain("what is done is skipped");
  didit.always(undefined);
  expect(await biometrics(...args)).toMatchObject({ out: expect.stringContaining("2 of them were done before") });
});

test("300 calls a minute at most; a provider that asks to wait is waited for", async () => {
  const images = Array.from({ length: 12 }, (_, at) => `${at}.png`);
  const { folder, biometrics } = await newSetting(Object.fromEntries(images.map((name) => [name, 90])), images);
  didit.next(DIDIT.rateLimited("1"));
  const began = performance.now();
  expect(await biometrics("check-liveness", folder, "--out", "r.csv", "--yes")).toMatchObject({ code: 0 });
  expect(performance.now() - began).toBeGreaterThan(11 * 200); // one in 200 ms
  expect(didit.received.length).toBeGreaterThanOrEqual(13);
});

test("a provider that answers nothing ends the run, which counts all the calls that may have been billed", async () => {
  const images = Array.from({ length: 30 }, (_, at) => `${at}.png`);
  const { folder, biometrics } = await newSetting(Object.fromEntries(images.map((name) => [name, 90])), images);
  didit.always({ drop: "after body" });
  const args = ["check-liveness", folder, "--out", "r.csv"];
  expect(await biometrics(...args, "--yes")).toMatchObject({ code: 1, err: expect.stringContaining("[no_answer]") });
  const sent = didit.received.length;
  expect(sent).toBeLessThan(30);
  expect(await biometrics(...args)).toMatchObject({ err: expect.stringContaining(`30 images (${sent} got no answer`) });
});

test("a call without an answer may have been billed, and the estimate of the next run says so", async () => {
  const { folder, biometrics } = await newSetting();
  didit.next({ drop: "after body" });
  const args = ["check-liveness", folder, "--out", "r.csv"];
  expect(await biometrics(...args, "--yes")).toMatchObject({ code: 1, out: expect.stringContaining("1 failed") });
  expect(await biometrics(...args)).toMatchObject({
    code: 2,
    err: expect.stringContaining("1 image (1 got no answer before, and may be billed a second time) would be sent"),
  });
});
