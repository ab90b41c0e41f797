import { writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import {
  codeOf,
  connect,
  folders,
  forEach,
  isAlive,
  outcomeOf,
  type Part,
  peakMegabytes,
  Random,
  Tally,
} from "./part.ts";

const AT_ONCE = 16;
const TIMEOUT_MS = 2000;
/** With what the server needs for itself when 16 answers of over 5 MB come at once. */
const MAX_MEGABYTES = 800;

const APPROVED = JSON.stringify({ request_id: "r", liveness: { status: "Approved", score: 95, warnings: [] } });
const head = (length: number | string, more = "") =>
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n${more}\r\n`;
const CHUNKED = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";

async function drip(socket: Socket, text: string, everyMs: number): Promise<void> {
  for (const byte of Buffer.from(text)) {
    if (socket.destroyed) return;
    socket.write(Buffer.of(byte));
    if (everyMs > 0) await pause(everyMs);
    else await new Promise(setImmediate);
  }
}

async function flood(socket: Socket, start: string, unit: string, ms = 1000): Promise<void> {
  socket.write(start);
  const chunk = unit.repeat(Math.ceil(65_536 / unit.length));
  for (const end = performance.now() + ms; performance.now() < end && !socket.destroyed; ) {
    if (!socket.write(chunk)) await pause(2);
  }
  socket.destroy();
}

interface Way {
  /** Only an honest answer may come to a decision. */
  readonly isHonest?: true;
  readonly answer: (socket: Socket) => Promise<void> | void;
}

const WAYS: Readonly<Record<string, Way>> = {
  "a byte at a time": { isHonest: true, answer: (socket) => drip(socket, head(APPROVED.length) + APPROVED, 0) },
  "a byte at a time, for ever": { answer: (socket) => drip(socket, head(1e6) + " ".repeat(1e5), 20) },
  "headers without an end": { answer: (socket) => flood(socket, "HTTP/1.1 200 OK\r\n", "x-a: b\r\n") },
  "a reset before anything": { answer: (socket) => void socket.resetAndDestroy() },
  "a reset after the headers": {
    answer: async (socket) => {
      socket.write(head(APPROVED.length));
      await pause(5);
      socket.resetAndDestroy();
    },
  },
  "a reset one byte before the end": {
    answer: async (socket) => {
      socket.write(head(APPROVED.length) + APPROVED.slice(0, -1));
      await pause(5);
      socket.resetAndDestroy();
    },
  },
  silence: { answer: () => {} },
  "a length that is too long": { answer: (socket) => void socket.end(head(APPROVED.length + 9) + APPROVED) },
  "a length that is too short": { answer: (socket) => void socket.end(head(APPROVED.length - 3) + APPROVED) },
  "a length of nothing": { answer: (socket) => void socket.end(head(0) + APPROVED) },
  "a negative length": { answer: (socket) => void socket.end(head(-1) + APPROVED) },
  "a length that is no number": { answer: (socket) => void socket.end(head("many") + APPROVED) },
  "two lengths": { answer: (socket) => void socket.end(head(5, `content-length: ${APPROVED.length}\r\n`) + APPROVED) },
  "chunks that end too soon": {
    answer: (socket) => void socket.end(`${CHUNKED}${APPROVED.length.toString(16)}\r\n${APPROVED}\r\n`),
  },
  "chunks whose sizes lie": { answer: (socket) => void socket.end(`${CHUNKED}5\r\n${APPROVED}\r\n0\r\n\r\n`) },
  "a chunk of 2^63 bytes": { answer: (socket) => void socket.end(`${CHUNKED}7fffffffffffffff\r\n${APPROVED}`) },
  "a bomb of gzip": {
    answer: (socket) => {
      const bomb = gzipSync(Buffer.alloc(50 * 2 ** 20, APPROVED));
      socket.write(head(bomb.length, "content-encoding: gzip\r\n"));
      socket.end(bomb);
    },
  },
  nests: {
    answer: (socket) => {
      const body = `{"liveness":{"status":"Approved","score":95,"warnings":[],"x":${"[".repeat(1e5)}${"]".repeat(1e5)}}}`;
      socket.end(head(body.length) + body);
    },
  },
  "a flood of JSON": {
    answer: (socket) =>
      flood(socket, `${head(1e9)}{"liveness":{"status":"Approved","score":95,"warnings":[]},"x":[`, "0,"),
  },
  "a flood of chunks": { answer: (socket) => flood(socket, CHUNKED, "1\r\n \r\n") },
  "a flood of interim answers": { answer: (socket) => flood(socket, "", "HTTP/1.1 100 Continue\r\n\r\n") },
  "no HTTP": { answer: (socket) => void socket.end(`${APPROVED}\n`) },
  TLS: { answer: (socket) => void socket.end(Buffer.from("160303004a0200004603", "hex")) },
  "a redirect to itself": {
    answer: (socket) => void socket.end("HTTP/1.1 307 X\r\nlocation: /\r\ncontent-length: 0\r\n\r\n"),
  },
  "two answers at once": {
    isHonest: true,
    answer: (socket) => void socket.end((head(APPROVED.length) + APPROVED).repeat(2)),
  },
  "approved, as an error": {
    answer: (socket) => void socket.end(head(APPROVED.length).replace("200 OK", "500 Oh") + APPROVED),
  },
  "twice the same name": {
    answer: (socket) => {
      const body = APPROVED.replace("{", `{"liveness":{"status":"Approved","score":95,"warnings":[]},`).replace(
        /"score":95,"warnings":\[\]\}\}$/,
        '"score":"95"}}',
      );
      socket.end(head(body.length) + body);
    },
  },
};

export const provider: Part = {
  name: "provider",
  invariant:
    "Of a provider that answers a byte at a time, resets, lies about lengths, nests or floods, only a whole and honest answer is a decision; each call ends in time, in bounded memory.",
  async run({ seed, rounds }) {
    const tally = new Tally();
    const { inside } = folders();
    const image_path = join(inside, "photo.jpg");
    const shape = { width: 64, height: 48, channels: 3, background: "#765" } as const;
    writeFileSync(image_path, await sharp({ create: shape }).jpeg().toBuffer());
    const api = createServer((socket) => {
      socket.on("error", () => {});
      let seen = "";
      socket.on("data", (chunk) => {
        seen = `${seen}${chunk.toString("latin1")}`;
        // The way is named by the person's id, and asked for once the whole form is there.
        const [, name = ""] = /name="vendor_data"\r\n\r\n([^\r]+)\r\n[\s\S]*--\r\n$/.exec(seen) ?? [];
        if (name === "") return;
        seen = "";
        Promise.resolve(WAYS[name]?.answer(socket)).catch(() => socket.destroy());
      });
    });
    await new Promise<void>((ready) => api.listen(0, "127.0.0.1", ready));
    const server = await connect({
      DIDIT_API_KEY: "test-key-abcdef-123456",
      DIDIT_API_BASE_URL: `http://127.0.0.1:${(api.address() as AddressInfo).port}`,
      BIOMETRICS_IMAGE_DIRS: inside,
      BIOMETRICS_TIMEOUT_MS: String(TIMEOUT_MS),
    });
    const names = Object.keys(WAYS);
    let slowest = 0;
    await forEach(rounds * names.length, AT_ONCE, async (n) => {
      const name = new Random(seed + n).pick(names);
      const began = performance.now();
      const answer = await server.call("check_liveness", { image_path, vendor_data: name });
      slowest = Math.max(slowest, performance.now() - began);
      tally.add(answer.isError ? `refused (${codeOf(answer)})` : `decided: ${outcomeOf(answer)}`);
      tally.check(answer.isError === true || WAYS[name]?.isHonest === true, () => `${name}: ${answer.text}`);
      tally.check(codeOf(answer) !== "internal", () => `${name}: ${answer.text}`);
    });
    tally.check(slowest < TIMEOUT_MS + 5000, () => `a call took ${Math.round(slowest)} ms`);
    tally.add("slowest call in ms", Math.round(slowest));
    tally.check(isAlive(server.pid), () => "the server died");
    const megabytes = peakMegabytes(server.pid);
    if (megabytes !== undefined) {
      tally.check(megabytes < MAX_MEGABYTES, () => `${megabytes} MB of memory`);
      tally.add("peak memory in MB", megabytes);
    }
    await server.close();
    api.close();
    return tally;
  },
};
