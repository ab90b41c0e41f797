import { cancelled, stopIfCancelled } from "../../errors.ts";

interface Work<V> {
  readonly result: Promise<V>;
  readonly stop: AbortController;
  callers: number;
}

/**
 * Work that is done once per key, for all who ask, and remembered as long as the key lives. A caller that aborts only
 * takes itself out; when the last one has, the work stops. Failed and stopped work is forgotten.
 */
export class Shared<K extends WeakKey, V> {
  readonly #works = new WeakMap<K, Work<V>>();

  async get(key: K, signal: AbortSignal, start: (signal: AbortSignal) => Promise<V>): Promise<V> {
    stopIfCancelled(signal);
    const work = this.#works.get(key) ?? this.#start(key, start);
    work.callers += 1;
    let leave = () => {};
    const left = new Promise<never>((_, reject) => {
      leave = () => reject(cancelled());
      signal.addEventListener("abort", leave, { once: true });
    });
    try {
      return await Promise.race([work.result, left]);
    } finally {
      signal.removeEventListener("abort", leave);
      work.callers -= 1;
      // Of work that is done this stops nothing.
      if (work.callers === 0 && signal.aborted) {
        this.#forget(key, work);
        work.stop.abort();
      }
    }
  }

  #start(key: K, start: (signal: AbortSignal) => Promise<V>): Work<V> {
    const stop = new AbortController();
    const work = { result: start(stop.signal), stop, callers: 0 };
    this.#works.set(key, work);
    work.result.catch(() => this.#forget(key, work));
    return work;
  }

  #forget(key: K, work: Work<V>): void {
    if (this.#works.get(key) === work) this.#works.delete(key);
  }
}
