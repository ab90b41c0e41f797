import { writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Connection, temporaryFolder } from "../support/clients.ts";
import { HTTP_ERAS, type HttpServer, spawnHttp, startHttp } from "../support/http.ts";
import { makePhotos, type Photos } from "../support/photos.ts";
import { API_KEY, standIn } from "../support/stand-in.ts";

const MANY = 40;
/** What was begun already, and one turn for each step of the other's check; with room for what HTTP takes meanwhile. */
const A_FEW = MANY / 2;

const folder = temporaryFolder("photos-");
let photos: Photos;
let device: HttpServer;
beforeAll(async () => {
  photos = await makePhotos(folder);
  device = await spawnHttp({ env: { BIOMETRICS_IMAGE_DIRS: folder, BIOMETRICS_PROVIDER: "on-device" } });
});
afterAll(() => device.kill());

type Connect = (server: HttpServer) => Promise<Connection>;

const old: Connect = (server) => era("2025").connect(server);
const recent =
  (name: string): Connect =>
  (server) =>
    era("2026").connect(server, { name });
const behindProxy =
  (address: string): Connect =>
  (server) =>
    era("2026").connect(server, { headers: { "x-forwarded-for": address } });

function era(year: string) {
  const found = HTTP_ERAS.find((it) => it.era.startsWith(year));
  return found ?? expect.unreachable();
}

const PAIRS: readonly (readonly [string, Connect, Connect])[] = [
  ["a session, another session", old, old],
  ["a session, a client of 2026", old, recent("test")],
  ["a client of 2026, a session", recent("test"), old],
  ["two clients of 2026 with names of their own", recent("busy"), recent("other")],
  ["two clients of 2026 behind one proxy", behindProxy("192.0.2.1"), behindProxy("192.0.2.2")],
];

test.for(PAIRS)("one check does not wait for all of another client's: %s", async ([, busy, other], { expect }) => {
  const [first, second] = await Promise.all([busy(device), other(device)]);
  let answered = 0;
  const check = async () => {
    const { structuredContent } = await first.call("search_face", { image_path: photos.womanA });
    answered += 1;
    return structuredContent;
  };
  const many = Array.from({ length: MANY }, check);
  await expect.poll(() => answered).toBeGreaterThan(0);
  const before = answered;
  const one = await second.call("check_liveness", { image_path: photos.womanA });
  const meanwhile = answered - before;
  const results = await Promise.all(many);
  expect(results.filter((result) => result?.["outcome"] === "review")).toHaveLength(MANY);
  expect(one.structuredContent).toMatchObject({ outcome: "review" });
  expect(meanwhile).toBeLessThanOrEqual(A_FEW);
});

test("nor where the calls wait for memory", async () => {
  const didit = await standIn();
  const large = join(folder, "large.jpg");
  const picture = await sharp({ create: { width: 64, height: 64, channels: 3, background: "#765" } })
    .jpeg()
    .toBuffer();
  writeFileSync(large, Buffer.concat([picture, Buffer.alloc(5 * 2 ** 20 - picture.length)]));
  const env = { DIDIT_API_KEY: API_KEY, DIDIT_API_BASE_URL: didit.url, BIOMETRICS_IMAGE_DIRS: folder };
  const server = await startHttp({ env });
  const [first, second] = await Promise.all([old(server), recent("test")(server)]);
  const check = (client: Connection, vendor_data: string) =>
    client.call("check_liveness", { image_path: large, vendor_data });
  const sent = () => didit.received.map(({ fields }) => fields["vendor_data"]);
  try {
    didit.always({ delayMs: 500 });
    const many = Array.from({ length: 60 }, () => check(first, "busy"));
    await expect.poll(() => sent().length).toBeGreaterThan(5);
    const one = check(second, "other");
    const answers = await Promise.all([...many, one]);
    expect(answers.filter(({ structuredContent }) => structuredContent?.["outcome"] !== "approved")).toEqual([]);
    expect(sent()).toHaveLength(61);
    expect(sent().indexOf("other")).toBeLessThan(40);
  } finally {
    await didit.close();
  }
});
