import { expect, test } from "vitest";
import { pairsOf } from "../../src/evaluation/pairs.ts";
import {
  aucOf,
  compare,
  curveOf,
  eerOf,
  neededFor,
  RESAMPLINGS,
  resample,
  Tally,
  thresholdForFar,
  thresholdForRejects,
  wilson,
} from "../../src/evaluation/statistics.ts";

/** Each score a unit of its own. */
function tallyOf(scores: readonly number[], drawn = resample(scores.length)): Tally {
  const tally = new Tally(drawn);
  for (const [unit, score] of scores.entries()) tally.add(score, unit);
  return tally;
}

const GENUINE = [90, 80, 70, 60, 40];
const IMPOSTOR = [10, 20, 30, 50, 65];

function comparisonOf(genuine: readonly number[], impostor: readonly number[]) {
  const comparison = compare(tallyOf(genuine), tallyOf(impostor));
  if (comparison === undefined) throw new Error("one kind is empty");
  return comparison;
}

test("figures of ten scores, worked out by hand", () => {
  const { counts, curve, auc, eer } = comparisonOf(GENUINE, IMPOSTOR);
  // 90, 80 and 70 are above all five, 60 above four, 40 above three: 22 of 25.
  expect(auc.value).toBeCloseTo(0.88, 12);
  // Above 50 are one impostor of five, and four of the genuine: both errors are 1 in 5.
  expect(eer).toMatchObject({ value: expect.closeTo(0.2, 12), threshold: 50 });
  expect(aucOf(counts.genuine, counts.impostor)).toBe(auc.value);
  // At most one impostor in five passes above 50; none above 65.
  expect([0.2, 0.19, 1].map((rate) => thresholdForFar(curve, rate))).toEqual([50, 65, 0]);
  // At 40 one of the genuine does not pass; just below all do.
  expect([0, 0.2, 0.39].map((rate) => thresholdForRejects(curve, rate))).toEqual([39.99, 59.99, 59.99]);
});

// The last: at 29.99 the errors are 3/4 and 0, at 30 they are 1/4 and 1/3; the line between is 0.3 where they meet.
test.each([
  ["no overlap", [60, 70], [10, 20], 1, 0],
  ["turned round", [10, 20], [60, 70], 0, 1],
  ["all alike", [50, 50], [50, 50], 0.5, 0.5],
  ["between two cuts", [30, 50, 50], [30, 30, 40, 10], 10 / 12, 0.3],
])("AUC and EER: %s", (_what, genuine, impostor, auc, eer) => {
  const { auc: found, curve } = comparisonOf(genuine, impostor);
  expect(found.value).toBeCloseTo(auc, 12);
  expect(eerOf(curve).rate).toBeCloseTo(eer, 12);
});

test("a score at the threshold does not pass; the rates of a threshold", () => {
  const { pointAt } = comparisonOf(GENUINE, IMPOSTOR);
  expect(pointAt(50)).toMatchObject({ falseAccepts: { value: 0.2 }, falseRejects: { value: expect.closeTo(0.2, 12) } });
  expect(pointAt(49.99)).toMatchObject({ falseAccepts: { value: 0.4 } });
  expect(pointAt(0)).toMatchObject({ falseAccepts: { value: 1 }, falseRejects: { value: 0 } });
  expect(pointAt(100)).toMatchObject({ falseAccepts: { value: 0 }, falseRejects: { value: 1 } });
});

test("TAR at a FAR, where there are pairs enough: three for each that is expected", () => {
  expect([0.01, 0.001, 0.0001].map(neededFor)).toEqual([300, 3000, 30_000]);
  // 1 % of 300 are 3: the fourth from above, 97, must not pass.
  const impostor = Array.from({ length: 300 }, (_, i) => i / 3); // 0 .. 99.67
  const genuine = Array.from({ length: 10 }, (_, i) => 95 + i / 2); // 95 .. 99.5
  const [one, tenth, hundredth] = comparisonOf(genuine, impostor).trueAccepts;
  // 99, 99.33 and 99.67 pass above 98.67; of the genuine 99 and 99.5.
  expect(one).toMatchObject({ far: 0.01, threshold: 98.67, tar: { value: expect.closeTo(0.2, 12) } });
  expect(tenth).toEqual({ far: 0.001, tar: null, threshold: null });
  expect(hundredth).toEqual({ far: 0.0001, tar: null, threshold: null });
});

test("Wilson's interval, as tables have it", () => {
  expect(wilson(8, 10)).toEqual({ low: expect.closeTo(0.4902, 4), high: expect.closeTo(0.9433, 4) });
  expect(wilson(0, 10)).toEqual({ low: 0, high: expect.closeTo(0.2775, 4) });
  expect(wilson(10, 10)).toEqual({ low: expect.closeTo(0.7225, 4), high: 1 });
  expect(wilson(0, 0)).toEqual({ low: 0, high: 1 });
});

test("a resampling draws as many units as there are, and a pair as often as both were drawn", () => {
  const units = 7;
  const drawn = resample(units);
  const times = (unit: number, n: number) => drawn[unit * RESAMPLINGS + n] ?? 0;
  const both = new Tally(drawn);
  both.add(12.34, 2, 5);
  both.add(12.34, 2);
  for (let n = 0; n < RESAMPLINGS; n += 1) {
    expect(Array.from({ length: units }, (_, unit) => times(unit, n)).reduce((a, b) => a + b)).toBe(units);
    expect(both.resampling(n)[1234]).toBe(times(2, n) * times(5, n) + times(2, n));
  }
  expect(resample(units)).toEqual(drawn);
});

test("the interval holds what another draw of persons would give, nineteen times in twenty or nearly so", () => {
  // Of 40 units each score is 0 or 100: the rate of a draw is binomial, its deviation sqrt(0.5 * 0.5 / 40) = 0.079.
  const scores = Array.from({ length: 40 }, (_, i) => (i % 2) * 100);
  const { falseRejects } = comparisonOf(scores, [0, 0]).pointAt(50);
  expect(falseRejects.value).toBe(0.5);
  expect(falseRejects.interval.low).toBeGreaterThan(0.5 - 2.6 * 0.079);
  expect(falseRejects.interval.low).toBeLessThan(0.5 - 1.4 * 0.079);
  expect(falseRejects.interval.high).toBeGreaterThan(0.5 + 1.4 * 0.079);
});

test("nothing is compared where one kind is missing", () => {
  expect(compare(tallyOf([1]), tallyOf([]))).toBeUndefined();
});

test("pairs: each once, of one person or of two; a draw has each at most once, and is the same again", () => {
  const ends = [2, 2, 5, 5, 5, 6]; // persons of 2, 3 and 1 photographs
  const [genuine, impostor] = [pairsOf(ends, "genuine"), pairsOf(ends, "impostor")];
  expect([...genuine.all()]).toEqual([
    [0, 1],
    [2, 3],
    [2, 4],
    [3, 4],
  ]);
  expect(genuine.total).toBe(4);
  expect([impostor.total, [...impostor.all()].length]).toEqual([11, 11]); // 2 * 3 + 2 * 1 + 3 * 1
  expect(impostor.draw(100)).toEqual([...impostor.all()]);
  const drawn = impostor.draw(5);
  expect(new Set(drawn.map(String)).size).toBe(5);
  expect([...impostor.all()]).toEqual(expect.arrayContaining([...drawn]));
  expect(impostor.draw(5)).toEqual(drawn);
});

test("a curve goes from all to none", () => {
  const { far, tar } = curveOf(tallyOf(GENUINE).counts, tallyOf(IMPOSTOR).counts);
  expect([far[0], tar[0], far.at(-1), tar.at(-1)]).toEqual([1, 1, 0, 0]);
});
