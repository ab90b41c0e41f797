import { once } from "node:events";
import { PassThrough } from "node:stream";
import { createMcpHandler } from "@modelcontextprotocol/server";
import { StdioServerTransport, serveStdio } from "@modelcontextprotocol/server/stdio";
import { expect, onTestFinished, test } from "vitest";
import type { Image } from "../../src/images/image.ts";
import { openAdmission } from "../../src/mcp/admission.ts";
import { serverFactory } from "../../src/mcp/server.ts";
import type { Provider } from "../../src/providers/provider.ts";
import { INITIALIZE } from "../support/http.ts";

/** A provider that found this: no HTTP client bounds it, so what is seen here is the server's own last line. */
function serverOf(raw: unknown) {
  const unused = () => Promise.reject(new Error("is not asked"));
  const report = { verdict: "approved", score: 90, threshold: 30, warnings: [], reference: null, raw } as const;
  const provider: Provider = {
    name: "didit",
    images: { maxBytes: 1, mimes: ["image/png"] },
    checkLiveness: async () => report,
    describe: unused,
    test: unused,
    close: unused,
  };
  const deps = {
    version: "1",
    provider: async () => provider,
    choice: async () => ({ name: "didit" as const, reason: "it is a test", apiKey: null }),
    loadImage: async () => ({ bytes: new Uint8Array(1), mime: "image/png", width: 1, height: 1 }) as unknown as Image,
    loadFile: unused,
    linkface: unused,
    thresholds: { liveness: undefined, match: undefined },
    settings: { file: "", saved: [] },
    account: unused,
    folders: async () => [],
    audit: undefined,
  };
  const admission = openAdmission(10, new AbortController().signal);
  return serverFactory(deps, () => {}, { note: "", next: {}, admission, deliveryOf: () => undefined });
}

function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let n = 0; n < levels; n++) value = [value];
  return value;
}
function circular(): unknown {
  const value: Record<string, unknown> = {};
  value["self"] = value;
  return value;
}

const params = { name: "check_liveness", arguments: { image_path: "/x" } };
const CALL = { jsonrpc: "2.0", id: 2, method: "tools/call", params };

async function overStdio(raw: unknown): Promise<string> {
  const [stdin, stdout] = [new PassThrough(), new PassThrough()];
  const transport = new StdioServerTransport(stdin as never, stdout as never);
  const handle = serveStdio(serverOf(raw), { transport });
  onTestFinished(() => handle.close());
  stdin.write(`${JSON.stringify(INITIALIZE)}\n`);
  await once(stdout, "data");
  stdin.write(`${JSON.stringify(CALL)}\n`);
  return String((await once(stdout, "data", { signal: AbortSignal.timeout(5000) }))[0]);
}

async function overHttp(raw: unknown): Promise<string> {
  const headers = { "content-type": "application/json", accept: "application/json, text/event-stream" };
  const request = new Request("http://localhost/mcp", { method: "POST", headers, body: JSON.stringify(CALL) });
  const answer = await createMcpHandler(serverOf(raw)).fetch(request);
  return answer.text();
}

test.each([
  ["over stdio", overStdio],
  ["over HTTP", overHttp],
])("a result that cannot be serialized is answered as an error, %s", async (_how, ask) => {
  expect(await ask(nested(50))).toContain('"outcome":"approved"');
  const depths = [1000, ...Array.from({ length: 30 }, (_, n) => 4090 + n), 5000, 200_000];
  for (const raw of [...depths.map(nested), circular(), { balance: 1n }]) {
    expect(await ask(raw)).toContain("Error [bad_response]: The result cannot be sent");
  }
});
