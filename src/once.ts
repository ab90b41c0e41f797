export interface Once<T> {
  /** Made at the first call, for all callers; a failure is forgotten, so that the next call tries again. */
  get(): Promise<T>;
  /** What was made, if it was. */
  peek(): Promise<T> | undefined;
}

export function once<T>(make: () => Promise<T>): Once<T> {
  let made: Promise<T> | undefined;
  return {
    get() {
      if (made === undefined) {
        const making = make();
        made = making;
        making.catch(() => {
          if (made === making) made = undefined;
        });
      }
      return made;
    },
    peek: () => made,
  };
}

/** One thing for each id, made at the first call. */
export interface Each<T> {
  get(id: string, make: () => Promise<T>): Promise<T>;
  /** Closes what was made. */
  close(): Promise<void>;
}

export function onceEach<T extends { close(): Promise<void> }>(): Each<T> {
  const made = new Map<string, Once<T>>();
  return {
    get(id, make) {
      const known = made.get(id) ?? once(make);
      made.set(id, known);
      return known.get();
    },
    async close() {
      const all = await Promise.allSettled([...made.values()].map((one) => one.peek()));
      await Promise.allSettled(all.map((one) => (one.status === "fulfilled" ? one.value?.close() : undefined)));
    },
  };
}
