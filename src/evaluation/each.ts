/** Some at a time, in their order; stops at the first that throws. */
export async function each<T>(items: readonly T[], atOnce: number, work: (item: T, place: number) => Promise<void>) {
  const entries = items.entries();
  let hasFailed = false;
  const worker = async () => {
    for (const [place, item] of entries) {
      if (hasFailed) return;
      await work(item, place);
    }
  };
  const workers = Array.from({ length: atOnce }, () =>
    worker().catch((thrown: unknown) => {
      hasFailed = true;
      throw thrown;
    }),
  );
  const settled = await Promise.allSettled(workers);
  for (const one of settled) if (one.status === "rejected") throw one.reason;
}
