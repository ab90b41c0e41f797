import { setMaxListeners } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { platform } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import sharp from "sharp";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Connection, closing, ERAS, temporaryFolder } from "../support/clients.ts";
import { HTTP_ERAS, startHttp } from "../support/http.ts";
import { API_KEY, type StandIn, standIn } from "../support/stand-in.ts";

const photos = temporaryFolder("photos-");
const small = join(photos, "small.jpg");
/** As large as a photo may be. */
const large = join(photos, "large.jpg");

let didit: StandIn;
let env: Record<string, string>;
beforeAll(async () => {
  const picture = sharp({ create: { width: 64, height: 64, channels: 3, background: "#765" } });
  const bytes = await picture.jpeg().toBuffer();
  writeFileSync(small, bytes);
  writeFileSync(large, Buffer.concat([bytes, Buffer.alloc(5 * 2 ** 20 - bytes.length)]));
  didit = await standIn();
  env = { DIDIT_API_KEY: API_KEY, DIDIT_API_BASE_URL: didit.url, BIOMETRICS_IMAGE_DIRS: photos };
});
afterAll(() => didit.close());
afterEach(() => didit.always(undefined));

const peakMegabytes = (pid: number) =>
  Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;

function manyCalls(client: Connection, calls: number, image_path: string) {
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const answers = Array.from({ length: calls }, () =>
    client.call("check_liveness", { image_path }, { signal: stop.signal }).catch(() => undefined),
  );
  return { stop, answers };
}

const checkSmall = (client: Connection) => client.call("check_liveness", { image_path: small });

describe.each(ERAS)("over stdio, $era", ({ connect }) => {
  test.runIf(platform() === "linux")("300 calls with 5 MB each wait for memory before they read", async () => {
    didit.always({ hang: true });
    const client = closing(await connect({ env }));
    const before = didit.received.length;
    const { stop, answers } = manyCalls(client, 300, large);
    await expect.poll(() => didit.received.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(before + 10);
    await pause(2000);
    expect(didit.received.length).toBeLessThan(before + 50);
    expect(peakMegabytes(client.pid)).toBeLessThan(600);
    // Whoever waits and gives up leaves its place.
    didit.always(undefined);
    stop.abort();
    await Promise.all(answers);
    expect((await checkSmall(client)).structuredContent).toMatchObject({ outcome: "approved" });
    expect(peakMegabytes(client.pid)).toBeLessThan(600);
  });

  test("400 calls at once are all answered; of two images each, too", async () => {
    const client = closing(await connect({ env }));
    const outcomes = await Promise.all(manyCalls(client, 400, small).answers);
    expect(outcomes.filter((answer) => answer?.structuredContent?.["outcome"] === "approved")).toHaveLength(400);
    const pair = { user_image_path: large, reference_image_path: large };
    const pairs = await Promise.all(Array.from({ length: 30 }, () => client.call("match_faces", pair)));
    expect(pairs.filter(({ isError }) => isError)).toEqual([]);
  });

  test("more than 1,000 calls under way are refused at once", async () => {
    didit.always({ hang: true });
    const client = closing(await connect({ env }));
    const { stop, answers } = manyCalls(client, 1100, small);
    const refused: unknown[] = [];
    for (const answer of answers) answer.then((it) => it && refused.push(it._meta));
    await expect.poll(() => refused.length, { timeout: 10_000 }).toBe(100);
    for (const meta of refused)
      expect(meta).toMatchObject({ code: "rate_limited", retryable: true, retry_after_seconds: 5 });
    didit.always(undefined);
    stop.abort();
    await Promise.all(answers);
    await expect.poll(async () => (await checkSmall(client)).isError).toBeFalsy();
  });
});

test.runIf(platform() === "linux")("over HTTP 64 calls with 5 MB each wait for memory, too", async () => {
  didit.always({ hang: true });
  const server = await startHttp({ env });
  const [, modern] = HTTP_ERAS;
  const client = await modern?.connect(server);
  if (client === undefined) return expect.unreachable();
  const before = didit.received.length;
  const { stop, answers } = manyCalls(client, 64, large);
  await expect.poll(() => didit.received.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(before + 10);
  await pause(1000);
  expect(didit.received.length).toBeLessThan(before + 50);
  expect(peakMegabytes(server.pid)).toBeLessThan(600);
  stop.abort();
  await Promise.all(answers);
});
