/** A bounded part of `npm run soak`. Its cases follow from the seed, which stands in the name of the test. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Scale } from "../soak/part.ts";
import { PARTS } from "../soak/parts.ts";

const { seed = Math.floor(Math.random() * 2 ** 31) } = fc.readConfigureGlobal() ?? {};
const SCALE: Scale = { seed, images: 2000, objects: 2000, raceMs: 2000, loadMs: 3000, copies: 2, rounds: 1, steps: 2 };

describe(`seed ${seed}`, () => {
  test.each(PARTS)(
    "$name",
    async ({ run }) => {
      const { faults, counts, skipped } = await run(SCALE);
      expect(faults).toEqual([]);
      if (skipped === undefined) expect(Object.keys(counts).length).toBeGreaterThan(0);
    },
    300_000,
  );
});
