import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { API_KEY, DIDIT, type StandIn, standIn } from "../support/stand-in.ts";
import { drawImages, newPlace, type Place, run, scoringRoutes } from "./setting.ts";

// Scores that the stand-in gives, and figures that were worked out from them by hand.

const LIVE = { "live/1.png": 95, "live/2.png": 80, "live/3.png": 31, "live/4.png": 20 };
const ATTACKS = { "spoof/mask/1.png": 5, "spoof/mask/2.png": 25, "spoof/print/1.png": 10, "spoof/print/2.png": 50 };
const ONE = { "ann/1.png ann/2.png": 90, "bob/1.png bob/2.png": 40 };
const TWO = {
  "ann/1.png bob/1.png": 10,
  "ann/1.png bob/2.png": 10,
  "ann/2.png bob/1.png": 20,
  "ann/2.png bob/2.png": 20,
  "ann/1.png cid/1.png": 30,
  "ann/2.png cid/1.png": 30,
  "bob/1.png cid/1.png": 50,
  "bob/2.png cid/1.png": 60,
};
const SCORES: Readonly<Record<string, number | null>> = { ...LIVE, ...ATTACKS, ...ONE, ...TWO };
const IMAGES = [
  ...["ann/1.png", "ann/2.png", "bob/1.png", "bob/2.png", "cid/1.png"],
  ...Object.keys(LIVE),
  ...Object.keys(ATTACKS),
];
/** 10 pairs and 8 single images. */
const CALLS = 18;

vi.setConfig({ testTimeout: 120_000 }); // several runs of the program each

let didit: StandIn;
afterEach(() => didit.close());

async function newSetting(scores = SCORES, images: readonly string[] = IMAGES) {
  const { folder, nameOf } = await drawImages(images);
  didit = await standIn({ routes: scoringRoutes((...names) => scores[names.join(" ")] ?? null, nameOf) });
  const env = { DIDIT_API_KEY: API_KEY, DIDIT_API_BASE_URL: didit.url };
  const place = newPlace();
  const evaluate = (...flags: string[]) => run(place, ["evaluate", folder, ...flags], env);
  return { folder, place, env, evaluate };
}

const pageOf = ({ home }: Place) => join(home, "evaluation.html");

test("says what it would send and cost, and sends nothing without --yes", async () => {
  const { place, evaluate } = await newSetting();
  const { code, out, err } = await evaluate();
  expect({ code, out }).toEqual({ code: 2, out: "" });
  // 10 pairs at 0.05; 8 images at 0.05 to 0.10.
  expect(err).toContain(
    "10 pairs and 8 single images would be sent to didit: 18 billed calls, about US$ 0.90 to 1.30 at published prices.",
  );
  expect(err).toContain("--yes");
  expect(didit.received).toEqual([]);
  expect(existsSync(pageOf(place))).toBe(false);
});

test("figures worked out by hand; nothing is left with the provider", async () => {
  const { evaluate } = await newSetting();
  const { code, out } = await evaluate("--yes", "--json");
  expect(code).toBe(0);
  const { match, liveness, left_out, suggested_settings } = JSON.parse(out);
  expect(left_out).toEqual([]);
  expect(match).toMatchObject({
    persons: 3,
    images: 5,
    scores: { genuine: 2, impostor: 8 },
    auc: { value: 0.875 }, // 90 is above all eight, 40 above six: 14 of 16
    eer: { value: 0.25, threshold: 40 }, // from 39.99 to 40 the FRR goes from 0 to 1/2, past a FAR of 2/8
    in_force: { threshold: 30, far: { value: 0.25 }, frr: { value: 0 } }, // 30 itself does not pass
    approved: { threshold: 70, far: { value: 0 }, frr: { value: 0.5 } }, // up to 70 it goes to review
    suggested: null,
    tar_at_far: [
      { far: 0.01, tar: null },
      { far: 0.001, tar: null },
      { far: 0.0001, tar: null },
    ],
  });
  expect(match.worst_false_matches[0]).toEqual({ score: 60, files: ["bob/2.png", "cid/1.png"] });
  expect(match.worst_false_non_matches[0]).toEqual({ score: 40, files: ["bob/1.png", "bob/2.png"] });
  expect(liveness).toMatchObject({
    live: 4,
    attacks: 4,
    auc: { value: 0.8125 }, // 95 and 80 are above four, 31 above three, 20 above two: 13 of 16
    in_force: {
      threshold: 30,
      bpcer: { value: 0.25, interval: { low: expect.closeTo(0.0456, 4), high: expect.closeTo(0.6994, 4) } },
      apcer: { value: 0.5, attack: "print" }, // the worst kind, not the mean of 1/4
      acer: 0.375,
      by_attack: [
        { attack: "mask", images: 2, value: 0 },
        { attack: "print", images: 2, value: 0.5 },
      ],
    },
    suggested: null,
    worst_attacks: [{ score: 50, files: ["spoof/print/2.png"] }, {}, {}, {}],
  });
  expect(suggested_settings).toEqual({});
  expect(didit.received).toHaveLength(CALLS);
  expect(didit.received.flatMap(({ faults }) => faults)).toEqual([]);
  expect(new Set(didit.received.map(({ fields }) => fields["save_api_request"]))).toEqual(new Set(["false"]));
});

test("what was measured is not sent again, until it is purged; the cache is the owner's alone", async () => {
  const { place, evaluate, env } = await newSetting();
  const first = await evaluate("--yes", "--json");
  const again = await evaluate("--json");
  expect(again).toMatchObject({ code: 0, out: first.out });
  expect(didit.received).toHaveLength(CALLS);
  const cache = join(place.data, "evaluation.db");
  expect(statSync(cache).mode & 0o777).toBe(0o600);
  expect(await run(place, ["evaluate", "--purge"], env)).toMatchObject({
    code: 0,
    out: expect.stringContaining("removed"),
  });
  expect(existsSync(cache)).toBe(false);
  expect(await evaluate()).toMatchObject({ code: 2, err: expect.stringContaining("18 billed calls") });
});

test("a run that ends for want of credits, and one that is killed, go on where they were", async () => {
  const { folder, place, env, evaluate } = await newSetting();
  didit.next({}, {}, {}, {}, {}, DIDIT.noCredit402, DIDIT.noCredit402, DIDIT.noCredit402, DIDIT.noCredit402);
  expect(await evaluate("--yes")).toMatchObject({ code: 1, err: expect.stringContaining("[no_credit]") });
  const refused = didit.received.length - 5;
  didit.next();
  didit.always({ delayMs: 150 });
  const killed = await run(place, ["evaluate", folder, "--yes"], env, (kill) => {
    const look = setInterval(() => {
      if (didit.received.length < 5 + refused + 6) return;
      clearInterval(look);
      kill();
    }, 5);
  });
  expect(killed.code).toBeNull();
  didit.always(undefined);
  didit.next();
  expect(await evaluate("--yes")).toMatchObject({ code: 0 });
  // Refused ones were not billed; at the kill up to four were under way, and their answers are lost.
  const sent = didit.received.filter(({ path }) => path.startsWith("/v3/face") || path.startsWith("/v3/passive"));
  expect(sent.length - refused).toBeLessThanOrEqual(CALLS + 4 + 4);
  expect(await evaluate()).toMatchObject({ code: 0 });
});

test("what cannot be scored is left out, with the reason, and never a score of 0", async () => {
  const { evaluate, folder } = await newSetting({ ...SCORES, "live/4.png": null, "ann/1.png cid/1.png": null });
  writeFileSync(join(folder, "live/broken.jpg"), "no image");
  writeFileSync(join(folder, "cid/again.png"), readFileSync(join(folder, "cid/1.png")));
  writeFileSync(join(folder, "cid/bob.png"), readFileSync(join(folder, "bob/1.png")));
  const { out } = await evaluate("--yes", "--json");
  const { match, liveness, left_out } = JSON.parse(out);
  expect(match.scores).toEqual({ genuine: 2, impostor: 7 });
  expect(liveness).toMatchObject({ live: 3, in_force: { bpcer: { value: 0 } } });
  expect(left_out).toEqual(
    expect.arrayContaining([
      { why: "No face was found.", files: ["live/4.png"] },
      { why: "No face was found in one of them.", files: ["ann/1.png and cid/1.png"] },
      { why: "The same file is there twice.", files: ["cid/again.png"] },
      { why: "The same file is there under another person: one of them is wrong.", files: ["cid/bob.png"] },
      { why: expect.stringContaining("not"), files: ["live/broken.jpg"] },
    ]),
  );
});

test("--save makes the suggested thresholds the operator's own, below the environment", async () => {
  const persons = Array.from({ length: 26 }, (_, i) => `p${String(i + 1).padStart(2, "0")}`);
  const live = Array.from({ length: 30 }, (_, i) => `live/${String(i + 1).padStart(2, "0")}.png`);
  const images = [...persons.map((name) => `${name}/1.png`), "p01/2.png", ...live, "spoof/1.png"];
  // 350 pairs of two, of which 1 % may pass: three. The fourth from above is 61, the threshold.
  const high = {
    "p02/1.png p03/1.png": 61,
    "p02/1.png p04/1.png": 62,
    "p02/1.png p05/1.png": 63,
    "p02/1.png p06/1.png": 64,
  };
  // Of 30 live images 3, 6 and 9 may be refused, 12 may not.
  const scores = Object.fromEntries(live.map((name, i) => [name, 3 * (i + 1)]));
  const known: Readonly<Record<string, number>> = { ...scores, ...high, "spoof/1.png": 2, "p01/1.png p01/2.png": 88 };
  const all = new Proxy(known, { get: (it, name) => it[String(name)] ?? 20 });
  const { place, evaluate, env } = await newSetting(all, images);
  const { code, out } = await evaluate("--yes", "--save", "--sample", "400");
  expect(code).toBe(0);
  expect(out).toMatch(/Saved in .*settings\.json, for every provider:\n {2}BIOMETRICS_MATCH_THRESHOLD=61\n/);
  expect(out).toContain("With didit, matches above this threshold are now approved");
  expect(JSON.parse(readFileSync(join(place.data, "settings.json"), "utf8"))).toEqual({
    BIOMETRICS_MATCH_THRESHOLD: "61",
    BIOMETRICS_LIVENESS_THRESHOLD: "11.99",
  });
  const doctor = await run(place, ["doctor"], { ...env, BIOMETRICS_MATCH_THRESHOLD: "70" });
  expect(doctor.out).toContain("liveness 11.99 (settings file), match 70 (environment)");
  expect(await evaluate("--sample", "400", "--json")).toMatchObject({
    out: expect.stringContaining('"in_force":{"threshold":61,'),
  });
});

test("a provider that asks to wait is waited for; one call that fails is left out, a provider that fails is an error", async () => {
  const { evaluate } = await newSetting();
  didit.always(DIDIT.broken);
  const failed = await evaluate("--yes");
  expect(failed).toMatchObject({ code: 1, out: "", err: expect.stringContaining("Error [") });
  expect(didit.received.length).toBeLessThan(CALLS);
  didit.always(undefined);
  didit.next(DIDIT.rateLimited("6"), DIDIT.broken);
  const { code, out } = await evaluate("--yes", "--json");
  expect(code).toBe(0);
  const { left_out, liveness } = JSON.parse(out);
  expect([left_out.length, liveness.live + liveness.attacks]).toEqual([1, 7]);
});

test("no other file is overwritten, and an earlier page is", async () => {
  const { place, evaluate } = await newSetting();
  writeFileSync(pageOf(place), "<html>my diary</html>");
  expect(await evaluate("--yes")).toMatchObject({ code: 2, err: expect.stringContaining("another file") });
  expect(didit.received).toEqual([]);
  expect(readFileSync(pageOf(place), "utf8")).toBe("<html>my diary</html>");
  expect(await evaluate("--yes", "--html", "mine.html")).toMatchObject({ code: 0 });
  expect(await evaluate("--html", "mine.html")).toMatchObject({ code: 0 });
});

test.each([
  [["evaluate"], "No folder was given."],
  [["evaluate", "nowhere"], "No folder was found at that path."],
  [["evaluate", ".", "--sample", "0"], "It must be a whole number"],
  [["evaluate", "."], "That folder has no subfolder with images."],
])("wrong usage: %j", async (args, message) => {
  const { place, env } = await newSetting();
  expect(await run(place, args, env)).toMatchObject({ code: 2, err: expect.stringContaining(message) });
  expect(existsSync(place.data)).toBe(false);
});
