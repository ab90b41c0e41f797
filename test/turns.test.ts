import { expect, test } from "vitest";
import { atMost, servedClient } from "../src/turns.ts";

/** Work that ends when it is told to. */
function work(name: string, begun: string[]) {
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const run = async () => {
    begun.push(name);
    await ended;
    return name;
  };
  return { run, end };
}

test("so many at one time, clients in turn; who is cancelled leaves the line, who fails makes room", async () => {
  const inTurn = atMost(2);
  const begun: string[] = [];
  const [a, b, c, d, other] = ["a", "b", "c", "d", "other"].map((name) => work(name, begun));
  if (!a || !b || !c || !d || !other) throw new Error("five");
  const first = inTurn(a.run, undefined);
  const failing = inTurn(() => b.run().then(() => Promise.reject(new Error("failed"))), undefined);
  const stop = new AbortController();
  const cancelled = inTurn(c.run, stop.signal);
  const last = inTurn(d.run, undefined);
  await expect(inTurn(work("gone", begun).run, AbortSignal.abort())).rejects.toMatchObject({ code: "cancelled" });
  const ofOther = servedClient.run("other", () => inTurn(other.run, undefined));
  await Promise.resolve();
  expect(begun).toEqual(["a", "b"]);
  stop.abort();
  await expect(cancelled).rejects.toMatchObject({ code: "cancelled" });
  b.end();
  await expect(failing).rejects.toThrow("failed");
  expect(begun).toEqual(["a", "b", "other"]);
  a.end();
  expect(await first).toBe("a");
  other.end();
  d.end();
  expect(await Promise.all([last, ofOther])).toEqual(["d", "other"]);
  expect(begun).toEqual(["a", "b", "other", "d"]);
});
