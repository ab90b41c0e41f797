import { randomFrom } from "./statistics.ts";

/** Two photographs, by their places. */
export type Pair = readonly [one: number, other: number];

/**
 * The pairs of photographs that lie person by person: of one person, or of two. `ends`: for each photograph where the
 * next person begins.
 */
export interface Pairs {
  readonly total: number;
  /** All of them, in their order. */
  all(): Iterable<Pair>;
  /** So many of them, each at most once, without listing the others; the same at every run. */
  draw(count: number): readonly Pair[];
}

export function pairsOf(ends: readonly number[], kind: "genuine" | "impostor"): Pairs {
  /** The partners of a photograph come after it, so that no pair is there twice. */
  const partners = (place: number): Pair => {
    const end = ends[place] ?? 0;
    return kind === "genuine" ? [place + 1, end] : [end, ends.length];
  };
  const countOf = (place: number) => partners(place)[1] - partners(place)[0];
  const total = ends.reduce((sum, _end, place) => sum + countOf(place), 0);

  return {
    total,
    *all() {
      for (let one = 0; one < ends.length; one += 1) {
        const [from, to] = partners(one);
        for (let other = from; other < to; other += 1) yield [one, other];
      }
    },
    draw(count) {
      const chosen = drawPlaces(total, Math.min(count, total));
      const drawn: Pair[] = [];
      let before = 0;
      let one = 0;
      for (const place of chosen) {
        while (place >= before + countOf(one)) {
          before += countOf(one);
          one += 1;
        }
        drawn.push([one, partners(one)[0] + place - before]);
      }
      return drawn;
    },
  };
}

/** `count` different numbers below `total`, in order (Floyd's algorithm). */
export function drawPlaces(total: number, count: number): number[] {
  const random = randomFrom(1);
  const chosen = new Set<number>();
  for (let last = total - Math.min(count, total); last < total; last += 1) {
    const place = Math.floor(random() * (last + 1));
    chosen.add(chosen.has(place) ? last : place);
  }
  return [...chosen].sort((a, b) => a - b);
}
