/** What the provider adds to a call, beside the least that could make the same call. */
import { fork } from "node:child_process";
import { once, setMaxListeners } from "node:events";
import sharp from "sharp";
import { FormData, Pool, Response } from "undici";
import { type Image, toImage, uploadName } from "../src/images/image.ts";
import { didit } from "../src/providers/didit/provider.ts";
import { encodeForm } from "../src/providers/http/form.ts";
import { API_KEY, standIn } from "../test/support/stand-in.ts";
import { median, quantile, ratio, table } from "./figures.ts";

const ROUNDS = 600;
const WARM_UP = 100;
const AT_ONCE = 400;
/** How long a service thinks that has a real model to run. */
const THINKING_MS = 100;
const PATH = "/v3/passive-liveness/";

const ANSWER = {
  status: 200,
  body: {
    request_id: "a1b2c3d4-e5f6-7890-1234-567890abcdef",
    liveness: {
      status: "Approved",
      method: "PASSIVE",
      score: 95.5,
      user_image: { entities: [{ bbox: [661, 728, 1688, 2188], confidence: 0.73, age: 26.91 }], best_angle: 0 },
      warnings: [],
    },
    created_at: "2026-06-12T01:04:42.763237+00:00",
  },
};

const options = { signal: new AbortController().signal, onStage: () => {} };
setMaxListeners(0, options.signal);

if (process.argv[2] === "serve") {
  const [fast, slow] = [
    await standIn({ blindly: ANSWER }),
    await standIn({ blindly: ANSWER, thinkingMs: THINKING_MS }),
  ];
  process.send?.({ fast: fast.url, slow: slow.url });
} else await bench();

async function bench(): Promise<void> {
  // In a process of its own: its work is not ours.
  const server = fork(import.meta.filename, ["serve"]);
  const [urls] = (await once(server, "message")) as [{ fast: string; slow: string }];
  try {
    const image = await photo();
    const added = await compare(urls.fast, image);
    await forms(urls.fast, image);
    table(`${AT_ONCE} calls at once, ${Math.round(image.bytes.length / 1000)} KB each`, [
      ["answered, no thinking", await together(urls.fast, image)],
      [`answered, ${THINKING_MS} ms of thinking`, await together(urls.slow, image)],
    ]);
    if (added > 1) process.exitCode = 1;
  } finally {
    server.kill();
  }
}

/** A JPEG of about 100 KB: noise, which does not compress away. */
async function photo(): Promise<Image> {
  const noise = { type: "gaussian", mean: 128, sigma: 40 } as const;
  const canvas = sharp({ create: { width: 640, height: 480, channels: 3, background: "#808080", noise } });
  const bytes = new Uint8Array(await canvas.jpeg({ quality: 65 }).toBuffer());
  return toImage(bytes, { maxBytes: 5 * 2 ** 20, mimes: ["image/jpeg"] });
}

function partsOf(image: Image) {
  return [{ name: "user_image", fileName: uploadName("user_image", image), mime: image.mime, bytes: image.bytes }];
}

/** Runs the two in turn, so that both meet the same weather; returns what the provider adds, in milliseconds. */
async function compare(url: string, image: Image): Promise<number> {
  const provider = didit({ apiKey: API_KEY, baseUrl: url });
  const pool = new Pool(url);
  const { contentType, body } = encodeForm(partsOf(image));
  const headers = { "x-api-key": API_KEY, "content-type": contentType };
  const bare = async () => {
    const answer = await pool.request({ path: PATH, method: "POST", headers, body });
    return answer.body.json();
  };
  const times = { ours: [] as number[], bare: [] as number[] };
  for (let round = 0; round < WARM_UP + ROUNDS; round += 1) {
    const ours = await timed(() => provider.checkLiveness(image, options));
    const least = await timed(bare);
    if (round < WARM_UP) continue;
    times.ours.push(ours);
    times.bare.push(least);
  }
  await Promise.all([provider.close(), pool.close()]);
  const added = median(times.ours) - median(times.bare);
  const row = (values: readonly number[]) => `${ms(median(values))} (p95 ${ms(quantile(values, 0.95))})`;
  table(
    `One call with ${Math.round(image.bytes.length / 1000)} KB on the loopback, p50 of ${ROUNDS}, Node ${process.version}`,
    [
      ["undici, body made beforehand", row(times.bare)],
      ["provider.checkLiveness", row(times.ours)],
      ["added (at most 1 ms)", ms(added)],
      ["ratio", ratio(median(times.ours), median(times.bare))],
    ],
  );
  return added;
}

/** Three ways to a multipart body. */
async function forms(url: string, image: Image): Promise<void> {
  const pool = new Pool(url);
  const form = () => {
    const made = new FormData();
    made.append("user_image", new Blob([image.bytes], { type: image.mime }), uploadName("user_image", image));
    return made;
  };
  const send = async (headers: Record<string, string>, body: Buffer | FormData) => {
    const answer = await pool.request({ path: PATH, method: "POST", headers, body });
    return answer.body.json();
  };
  const ways = {
    "one buffer, as the provider does": async () => {
      const { contentType, body } = encodeForm(partsOf(image));
      return send({ "content-type": contentType }, body);
    },
    "one buffer, by new Response(form)": async () => {
      const response = new Response(form());
      const contentType = response.headers.get("content-type") ?? "";
      return send({ "content-type": contentType }, Buffer.from(await response.arrayBuffer()));
    },
    "FormData, streamed by undici": () => send({}, form()),
  };
  const times = Object.values(ways).map(() => [] as number[]);
  for (let round = 0; round < WARM_UP + ROUNDS / 2; round += 1) {
    for (const [index, way] of Object.values(ways).entries()) {
      const took = await timed(way);
      if (round >= WARM_UP) times[index]?.push(took);
    }
  }
  await pool.close();
  table(
    "The same call, by how its form is made, p50",
    Object.keys(ways).map((name, index) => {
      const [first, own] = [median(times[0] ?? []), median(times[index] ?? [])];
      return [name, ms(own), ratio(own, first)];
    }),
    ["", "time", "times the first"],
  );
}

async function together(url: string, image: Image): Promise<string> {
  const provider = didit({ apiKey: API_KEY, baseUrl: url });
  const began = performance.now();
  const calls = Array.from({ length: AT_ONCE }, () => provider.checkLiveness(image, options));
  const ended = await Promise.allSettled(calls);
  const took = performance.now() - began;
  await provider.close();
  const answered = ended.filter(({ status }) => status === "fulfilled").length;
  if (answered < AT_ONCE) process.exitCode = 1;
  return `${answered} in ${ms(took)}`;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 0)} ms`;
}
