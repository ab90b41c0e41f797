import { AsyncLocalStorage } from "node:async_hooks";
import { cancelled, stopIfCancelled } from "./errors.ts";

/** The client whose request is being served. Not set where there is only one. */
export const servedClient = new AsyncLocalStorage<string>();

/** A line in which clients take turns, so that none waits for all calls of another. Each one's own are in order. */
export class Turns<T> {
  /** The client whose turn it is first. */
  readonly #lines = new Map<string | undefined, Set<T>>();

  get size(): number {
    return [...this.#lines.values()].reduce((sum, line) => sum + line.size, 0);
  }

  get next(): T | undefined {
    for (const line of this.#lines.values()) for (const item of line) return item;
    return undefined;
  }

  /** Puts it behind all others of the client that is being served. */
  add(item: T): void {
    const client = servedClient.getStore();
    this.#lines.set(client, (this.#lines.get(client) ?? new Set()).add(item));
  }

  /** After it, all other clients have their turn. */
  delete(item: T): void {
    for (const [client, line] of this.#lines) {
      if (!line.delete(item)) continue;
      this.#lines.delete(client);
      if (line.size > 0) this.#lines.set(client, line);
      return;
    }
  }

  /** @returns what was in line */
  clear(): T[] {
    const left = [...this.#lines.values()].flatMap((line) => [...line]);
    this.#lines.clear();
    return left;
  }
}

/** Runs at most so many pieces of work at one time; clients take turns. Whoever waits and is cancelled leaves the line. */
export function atMost(places: number) {
  const waiting = new Turns<() => void>();
  let free = places;
  function advance(): void {
    const { next } = waiting;
    if (next === undefined || free === 0) return;
    waiting.delete(next);
    free -= 1;
    next();
  }
  return async <T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> => {
    stopIfCancelled(signal);
    await new Promise<void>((enter, leave) => {
      waiting.add(enter);
      const abort = () => {
        waiting.delete(enter);
        leave(cancelled());
      };
      signal?.addEventListener("abort", abort, { once: true });
      advance();
    });
    try {
      return await work();
    } finally {
      free += 1;
      advance();
    }
  };
}
