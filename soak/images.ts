import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { makePhotos } from "../test/support/photos.ts";
import { API_KEY, type Received, standIn } from "../test/support/stand-in.ts";
import { codeOf, connect, folders, forEach, hashOf, isAlive, outcomeOf, type Part, Random, Tally } from "./part.ts";

const AT_ONCE = 16;
/** A pair for so many images: a match takes 100 times as long as an upload. */
const ON_DEVICE_SHARE = 400;

/** The provider approves whatever it is sent, and says what that was. */
const approving = {
  method: "POST",
  path: "/v3/passive-liveness/",
  form: true,
  answer: ({ files }: Received) => ({
    status: 200,
    body: {
      request_id: hashOf(files["user_image"]?.bytes ?? Buffer.alloc(0)),
      liveness: { status: "Approved", score: 95, warnings: [] },
    },
  }),
} as const;

export const images: Part = {
  name: "images",
  invariant:
    "Each broken image is refused, or sent byte for byte as it lies there; of two different women none of whose photos is whole, no match is approved.",
  async run({ seed, images: count }) {
    const tally = new Tally();
    await toProvider(seed, count, tally);
    await toDevice(seed, Math.ceil(count / ON_DEVICE_SHARE), tally);
    return tally;
  },
};

async function toProvider(seed: number, count: number, tally: Tally): Promise<void> {
  const api = await standIn({ routes: [approving] });
  const { inside } = folders();
  const server = await connect({
    DIDIT_API_KEY: API_KEY,
    DIDIT_API_BASE_URL: api.url,
    BIOMETRICS_IMAGE_DIRS: inside,
  });
  const seeds = await makeSeeds();
  let sent = 0;
  const drain = () => {
    for (const { faults } of (api.received as Received[]).splice(0)) {
      sent += 1;
      tally.check(faults.length === 0, () => `the upload: ${faults}`);
    }
  };
  await forEach(count, AT_ONCE, async (n, lane) => {
    const random = new Random(seed + n);
    const bytes = broken(seeds, random);
    const image_path = join(inside, `${lane}.jpg`);
    writeFileSync(image_path, bytes);
    const answer = await server.call("check_liveness", { image_path });
    if (answer.isError) {
      tally.add(`refused (${codeOf(answer)})`);
      // The second: the stand-in closed an idle connection at the moment in which it was used again.
      const isExpected = ["image_rejected", "no_answer"].includes(codeOf(answer));
      tally.check(isExpected, () => `image ${n}: ${answer.text}`);
    } else {
      tally.add("sent and decided");
      const { reference } = answer.structuredContent ?? {};
      tally.check(reference === hashOf(bytes), () => `image ${n} is not what was sent`);
    }
    if (lane === 0) drain();
  });
  drain();
  tally.check(sent >= (tally.counts["sent and decided"] ?? 0), () => `${sent} uploads, and more decisions`);
  tally.check(isAlive(server.pid), () => "the server died");
  await server.close();
  await api.close();
}

async function toDevice(seed: number, count: number, tally: Tally): Promise<void> {
  const { inside, data } = folders();
  const photos = await makePhotos(inside);
  const women = [readFileSync(photos.womanA), readFileSync(photos.otherWoman)];
  const small = await Promise.all(women.map((bytes) => sharp(bytes).resize(160).jpeg().toBuffer()));
  const server = await connect({
    BIOMETRICS_PROVIDER: "on-device",
    BIOMETRICS_IMAGE_DIRS: inside,
    BIOMETRICS_DATA_DIR: data,
  });
  await forEach(count, 2, async (n, lane) => {
    const random = new Random(seed + n);
    const [one, other] = [join(inside, `one-${lane}.jpg`), join(inside, `other-${lane}.jpg`)];
    writeFileSync(one, changed(small[0] ?? Buffer.alloc(0), random));
    writeFileSync(other, changed(small[1] ?? Buffer.alloc(0), random));
    const answer = await server.call("match_faces", { user_image_path: one, reference_image_path: other });
    tally.add(`on the device: ${answer.isError ? "refused" : outcomeOf(answer)}`);
    tally.check(outcomeOf(answer) !== "approved", () => `pair ${n} was approved`);
    const isKnown = !answer.isError || ["image_rejected", "no_face"].includes(codeOf(answer));
    tally.check(isKnown, () => `pair ${n}: ${answer.text}`);
  });
  tally.check(isAlive(server.pid), () => "the server died");
  await server.close();
}

/** One small file of each kind that people have. */
async function makeSeeds(): Promise<readonly Buffer[]> {
  const canvas = sharp({ create: { width: 48, height: 36, channels: 3, background: "#a05030" } });
  const made = await Promise.all([
    canvas.clone().jpeg().toBuffer(),
    canvas.clone().jpeg().withMetadata({ orientation: 6 }).toBuffer(),
    canvas.clone().png().toBuffer(),
    canvas.clone().webp().toBuffer(),
    canvas.clone().tiff().toBuffer(),
    canvas.clone().gif().toBuffer(),
    canvas.clone().avif().toBuffer(),
  ]);
  return [
    ...made,
    Buffer.from("\0\0\0\x18ftypheic\0\0\0\0mif1heic", "latin1"),
    Buffer.concat([Buffer.from("BM"), Buffer.alloc(60)]),
    Buffer.from("%PDF-1.7\n%%EOF"),
    Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
    Buffer.from("\xff\xd8\xff\xf7\0\x0b\x08\0\x1e\0\x28", "latin1"),
    Buffer.from("II*\0\x10\0\0\0CR\x02\0\0\0\0\0", "latin1"),
  ];
}

function broken(seeds: readonly Buffer[], random: Random): Buffer {
  if (random.below(20) === 0) return noise(random.below(400), random);
  const seed = random.pick(seeds);
  return random.below(10) === 0 ? Buffer.concat([seed, random.pick(seeds)]) : changed(seed, random, seeds);
}

const noise = (length: number, random: Random) => Buffer.from(Array.from({ length }, () => random.below(256)));

const EXTREMES = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff];

/** Ways to break a file, most of them after headers, where formats keep lengths, sizes and places. */
const WAYS: readonly ((bytes: Buffer, at: number, random: Random) => Buffer)[] = [
  (bytes, at, random) => bytes.fill(random.below(256), at, at + 1),
  (bytes, at, random) => bytes.fill(bytes.readUInt8(at) ^ (1 << random.below(8)), at, at + 1),
  (bytes, at, random) => {
    const size = random.pick([1, 2, 4]);
    if (at + size > bytes.length) return bytes;
    const value = random.pick(EXTREMES) % 2 ** (8 * size);
    if (random.below(2) === 0) bytes.writeUIntBE(value, at, size);
    else bytes.writeUIntLE(value, at, size);
    return bytes;
  },
  (bytes, at) => bytes.subarray(0, at),
  (bytes, at, random) => bytes.fill(0, at, Math.min(bytes.length, at + random.below(64))),
  (bytes, at, random) => Buffer.concat([bytes.subarray(0, at), noise(random.below(32), random), bytes.subarray(at)]),
  (bytes, at, random) => Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + random.below(32))]),
  (bytes, at, random) => Buffer.concat([bytes, bytes.subarray(at, at + random.below(200))]),
];

function changed(seed: Buffer, random: Random, others: readonly Buffer[] = []): Buffer {
  let bytes: Buffer = Buffer.from(seed);
  for (let changes = 1 + random.below(6); changes > 0 && bytes.length > 0; changes--) {
    const at = random.below(random.below(2) === 0 ? Math.min(64, bytes.length) : bytes.length);
    bytes = Buffer.from(random.pick(WAYS)(bytes, at, random));
  }
  if (others.length > 0 && random.below(12) === 0) bytes = Buffer.concat([bytes, random.pick(others)]);
  return bytes;
}
