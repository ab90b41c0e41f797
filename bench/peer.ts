/** The same checks by Didit's own server, in the same run, on the same stand-in: both are built programs on stdio. */
import { type ChildProcessWithoutNullStreams, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import sharp from "sharp";
import { API_KEY } from "../test/support/stand-in.ts";
import { bar, median, ratio, table } from "./figures.ts";
import { installPeers, PACKAGES } from "./peers.ts";

const HERE = import.meta.dirname;
const PEER = join(PACKAGES, "@didit-protocol/mcp-server/dist/index.js");
const WARM_UP = 100;
const ROUNDS = 600;
const STARTS = 15;
const BURSTS = 9;
const AT_ONCE = 400;

interface Contestant {
  readonly main: string;
  readonly tool: string;
  readonly env: Readonly<Record<string, string>>;
}
type Pair<T> = readonly [ours: T, theirs: T];

installPeers();
const home = mkdtempSync(join(tmpdir(), "bench-"));
const image = join(home, "photo.jpg");
// Noise, which does not compress away: about 100 KB.
const noise = { type: "gaussian", mean: 128, sigma: 40 } as const;
const canvas = sharp({ create: { width: 640, height: 480, channels: 3, background: "#808080", noise } });
writeFileSync(image, await canvas.jpeg({ quality: 65 }).toBuffer());

const api = fork(join(HERE, "didit.ts"), ["serve"]);
const [{ fast }] = (await once(api, "message")) as [{ fast: string }];
const shared = { PATH: process.env["PATH"] ?? "", HOME: home, DIDIT_API_KEY: API_KEY };
const contestants: Pair<Contestant> = [
  {
    main: resolve(HERE, "../dist/main.js"),
    tool: "check_liveness",
    env: { ...shared, DIDIT_API_BASE_URL: fast, BIOMETRICS_IMAGE_DIRS: home },
  },
  { main: PEER, tool: "didit_passive_liveness", env: { ...shared, DIDIT_API_BASE_URL: `${fast}/v3` } },
];

try {
  const starts = await inTurn(STARTS, 1, async (contestant) => {
    const began = performance.now();
    const server = await start(contestant);
    await server.request("tools/list", {});
    const took = performance.now() - began;
    await server.end();
    return took;
  });
  const servers = [await start(contestants[0]), await start(contestants[1])] as const;
  const calls = await inTurn(ROUNDS, WARM_UP, (_, which) => timed(() => servers[which].check()));
  const burst = (which: 0 | 1) => Promise.all(Array.from({ length: AT_ONCE }, () => servers[which].check()));
  const bursts = await inTurn(BURSTS, 2, (_, which) => timed(() => burst(which)));
  const peaks = [servers[0].peakMb(), servers[1].peakMb()] as const;
  await Promise.all(servers.map((server) => server.end()));

  const row = (name: string, [ours, theirs]: Pair<number>, unit: string, wanted: string) => [
    name,
    `${ours.toFixed(2)} ${unit}`,
    `${theirs.toFixed(2)} ${unit}`,
    ratio(ours, theirs),
    wanted,
  ];
  const rate = ([ours, theirs]: Pair<number>): Pair<number> => [AT_ONCE / ours, AT_ONCE / theirs];
  table(
    `The same checks by Didit's own server over stdio, one image of ${fileKb(image)} KB`,
    [
      row(`one check_liveness, p50 of ${ROUNDS}`, calls, "ms", "at most 0.90"),
      row(`${AT_ONCE} at once, median of ${BURSTS}`, rate(bursts), "calls/ms", "at least 1.30"),
      row("peak memory after all that", peaks, "MB", "at most 0.75"),
      row(`spawn to tools/list, median of ${STARTS}`, starts, "ms", "at most 0.73"),
    ],
    ["", "biometrics-mcp", "@didit-protocol/mcp-server 4.0.0", "ratio", "wanted"],
  );
  for (const [at, name] of ["biometrics-mcp", "@didit-protocol/mcp-server"].entries()) {
    bar("From spawn to the list of tools", name, starts[at] ?? Number.NaN, "ms");
    bar("Peak memory after 400 checks at once", name, peaks[at] ?? Number.NaN, "MB");
  }
} finally {
  api.kill();
  rmSync(home, { recursive: true, force: true });
}

/** Both in turn, so that they meet the same weather, and each first every other time; the medians. */
async function inTurn(
  rounds: number,
  warmUp: number,
  measure: (contestant: Contestant, which: 0 | 1) => Promise<number>,
): Promise<Pair<number>> {
  const figures = [[] as number[], [] as number[]] as const;
  for (let round = 0; round < warmUp + rounds; round += 1) {
    for (const which of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
      const figure = await measure(contestants[which], which);
      if (round >= warmUp) figures[which].push(figure);
    }
  }
  return [median(figures[0]), median(figures[1])];
}

async function start({ main, tool, env }: Contestant) {
  const child: ChildProcessWithoutNullStreams = spawn(process.execPath, [main], { cwd: home, env });
  child.stderr.resume();
  const waiting = new Map<number, (answer: unknown) => void>();
  createInterface({ input: child.stdout }).on("line", (line) => {
    const answer = JSON.parse(line) as { id?: number; result?: { isError?: boolean } };
    if (answer.result === undefined || answer.result.isError) throw new Error(`${main} failed: ${line.slice(0, 500)}`);
    if (answer.id !== undefined) waiting.get(answer.id)?.(answer);
  });
  let last = 0;
  const send = (message: object) => child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  const request = (method: string, params: object) =>
    new Promise<unknown>((answered) => {
      last += 1;
      waiting.set(last, answered);
      send({ id: last, method, params });
    });
  const clientInfo = { name: "bench", version: "1" };
  await request("initialize", { protocolVersion: "2025-06-18", capabilities: {}, clientInfo });
  send({ method: "notifications/initialized" });
  return {
    request,
    check: () => request("tools/call", { name: tool, arguments: { image_path: image } }),
    /** The most that was ever resident. Linux alone says it. */
    peakMb() {
      const [, kb] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8")) ?? [];
      return Number(kb) / 1024;
    },
    async end() {
      const ended = once(child, "exit");
      child.stdin.end();
      child.kill();
      await ended;
    },
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

function fileKb(path: string): number {
  return Math.round(readFileSync(path).length / 1000);
}
