/** A score with the photographs that it is of; paths from the folder on. */
export interface Case {
  readonly score: number;
  readonly files: readonly string[];
}

export const SHOWN_CASES = 12;

export interface Sighting {
  readonly score: number;
  readonly places: readonly number[];
}

/** Of many pairs the worst, each photograph at most once: one that is filed wrong would fill the list. */
export function worst(badness: (score: number) => number) {
  const enough = SHOWN_CASES * 20;
  let seen: Sighting[] = [];
  let least = Number.NEGATIVE_INFINITY;
  return {
    see(score: number, ...places: readonly number[]) {
      if (badness(score) <= least) return;
      seen.push({ score, places });
      if (seen.length >= 2 * enough) prune();
    },
    cases(): readonly Sighting[] {
      prune();
      const used = new Set<number>();
      const cases = seen.filter(({ places }) => {
        if (places.some((place) => used.has(place))) return false;
        for (const place of places) used.add(place);
        return true;
      });
      return cases.slice(0, SHOWN_CASES);
    },
  };

  function prune(): void {
    seen.sort((a, b) => badness(b.score) - badness(a.score) || (a.places[0] ?? 0) - (b.places[0] ?? 0));
    seen = seen.slice(0, enough);
    const last = seen.at(-1);
    if (seen.length === enough && last !== undefined) least = badness(last.score);
  }
}
