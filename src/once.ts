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
