import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { median, table } from "./figures.ts";

const MAIN = resolve(import.meta.dirname, "../dist/main.js");
const RUNS = 10;

/** The least that answers the same requests: what Node itself needs. */
const BARE = `
  process.stdin.on("data", (chunk) => {
    for (const line of chunk.toString().split("\\n").filter(Boolean)) {
      const { id } = JSON.parse(line);
      if (id !== undefined) process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id, result: {} }) + "\\n");
    }
  }).on("end", () => process.exit());`;

const REQUESTS = [
  {
    id: 1,
    method: "initialize",
    params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "bench", version: "1" } },
  },
  { method: "notifications/initialized" },
  { id: 2, method: "tools/list" },
].map((message) => `${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);

const home = mkdtempSync(join(tmpdir(), "bench-"));

/** Milliseconds from spawn until the second answer stands on stdout. */
async function measure(args: readonly string[]): Promise<number> {
  const started = performance.now();
  const child = spawn(process.execPath, args, { cwd: home });
  for (const request of REQUESTS) child.stdin.write(request);
  let answered = "";
  const ms = await new Promise<number>((done, fail) => {
    child.once("exit", () => fail(new Error("the process ended before it answered")));
    child.stdout.on("data", (chunk: Buffer) => {
      answered += chunk.toString();
      if (/"id":2\b.*\n/.test(answered)) done(performance.now() - started);
    });
  });
  child.removeAllListeners("exit").stdin.end();
  await once(child, "exit");
  return ms;
}

const bare: number[] = [];
const server: number[] = [];
for (let run = 0; run < RUNS + 1; run += 1) {
  const [a, b] = [await measure(["-e", BARE]), await measure([MAIN])];
  if (run === 0) continue; // the disk cache is cold
  bare.push(a);
  server.push(b);
}
rmSync(home, { recursive: true, force: true });
table(`From spawn to tools/list answered, median of ${RUNS}, Node ${process.version}`, [
  ["bare node -e", `${median(bare).toFixed(0)} ms`],
  ["biometrics-mcp", `${median(server).toFixed(0)} ms`],
  ["ratio (at most 2.2)", (median(server) / median(bare)).toFixed(2)],
]);
