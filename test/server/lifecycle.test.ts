import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { cleanEnvironment, closing, ERAS, MAIN, temporaryFolder } from "../support/clients.ts";

const INITIALIZE = {
  jsonrpc: "2.0",
  id: 1,
  method: "initialize",
  params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "test", version: "1" } },
};

function start(env: Record<string, string> = {}) {
  const home = temporaryFolder("home-");
  const child = spawn(process.execPath, [MAIN], { env: cleanEnvironment(home, env), cwd: home });
  const out: string[] = [];
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk.toString()));
  const frames = () =>
    out
      .join("")
      .split("\n")
      .filter((line) => line !== "");
  const send = (message: object | string) =>
    child.stdin.write(`${typeof message === "string" ? message : JSON.stringify(message)}\n`);
  return { child, frames, send, exit: once(child, "exit") };
}

test("when stdin closes the process ends with 0 within a second", async () => {
  const { child, frames, send, exit } = start();
  send(INITIALIZE);
  await expect.poll(() => frames().length).toBe(1);
  const closed = performance.now();
  child.stdin.end();
  expect(await exit).toEqual([0, null]);
  expect(performance.now() - closed).toBeLessThan(1000);
});

test("so it does when stdin was never used, and at SIGTERM", async () => {
  const unused = start();
  unused.child.stdin.end();
  expect(await unused.exit).toEqual([0, null]);
  const stopped = start();
  stopped.send(INITIALIZE);
  await expect.poll(() => stopped.frames().length).toBe(1);
  const told = performance.now();
  stopped.child.kill("SIGTERM");
  expect(await stopped.exit).toEqual([0, null]);
  expect(performance.now() - told).toBeLessThan(1000);
});

test("stdout carries nothing but protocol frames, whatever comes in", async () => {
  const { child, frames, send, exit } = start({ NODE_OPTIONS: "--trace-warnings", NODE_DEBUG: "net" });
  send("this is not JSON");
  send('{"jsonrpc":"2.0","id":7,"method":"no/such"}');
  send(INITIALIZE);
  send({ jsonrpc: "2.0", method: "notifications/initialized" });
  const call = (id: number, name: string, args: object) => ({
    jsonrpc: "2.0",
    id,
    method: "tools/call",
    params: { name, arguments: args },
  });
  send(call(2, "get_setup", {}));
  send(call(3, "check_liveness", { image_path: "/dev/stdin" }));
  send(call(4, "no_such_tool", {}));
  send(call(5, "list_faces", {}));
  await expect.poll(() => frames().filter((line) => /"id":[2345]\b/.test(line)).length, { timeout: 10_000 }).toBe(4);
  child.stdin.end();
  await exit;
  for (const frame of frames()) expect(JSON.parse(frame)).toMatchObject({ jsonrpc: "2.0" });
});

test.each(ERAS)("a wrong configuration is told by every tool, in $era", async ({ connect }) => {
  const server = closing(await connect({ env: { BIOMETRICS_PROVIDER: "dodit", DIDIT_API_KEY: "a b" } }));
  expect(server.instructions()).toContain("BIOMETRICS_PROVIDER must be");
  for (const name of ["get_setup", "check_liveness"]) {
    const answer = await server.call(name, name === "get_setup" ? {} : { image_path: "/x" });
    expect(answer.text).toMatch(/^Error \[setup\]: .*BIOMETRICS_PROVIDER must be .*DIDIT_API_KEY does not look like/);
  }
});

test.each(ERAS)("the instructions name provider and folders, in $era", async ({ connect }) => {
  const folder = temporaryFolder("photos-");
  const server = closing(await connect({ env: { BIOMETRICS_IMAGE_DIRS: folder } }));
  expect(server.instructions()).toContain("Provider: on-device");
  expect(server.instructions()).toContain(folder);
});

test.each(ERAS)("every tool says all four hints and both schemas, in $era", async ({ connect }) => {
  const server = closing(await connect());
  const tools = await server.listTools();
  expect(tools.map(({ name }) => name).slice(0, 3)).toEqual(["check_liveness", "match_faces", "search_face"]);
  for (const { name, annotations, inputSchema, outputSchema, title } of tools) {
    expect(title, name).toMatch(/^[A-Z]/);
    expect(annotations, name).toMatchObject({
      readOnlyHint: expect.any(Boolean),
      destructiveHint: expect.any(Boolean),
      idempotentHint: expect.any(Boolean),
      openWorldHint: expect.any(Boolean),
    });
    expect(inputSchema, name).toMatchObject({ type: "object", additionalProperties: false });
    expect(outputSchema, name).toMatchObject({ type: "object" });
  }
});

test.each(ERAS)("wrong arguments are told by name, with the cure, in $era", async ({ connect }) => {
  const server = closing(await connect());
  const misspelt = await server.call("check_liveness", { image_path: "/x.jpg", decline_treshold: 80 });
  expect(misspelt.text).toMatch(
    /^Error \[invalid_input\]: .*"decline_treshold"; remove it and retry .*decline_threshold/,
  );
  const outside = await server.call("check_liveness", { image_path: "/x.jpg", decline_threshold: 101 });
  expect(outside.text).toMatch(/decline_threshold: /);
  const missing = await server.call("match_faces", { user_image_path: "/x.jpg" });
  expect(missing.text).toMatch(/reference_image_path: /);
});

test.each(ERAS)("no list is said to change, in $era", async ({ connect }) => {
  const server = closing(await connect());
  expect(server.capabilities()).toMatchObject({ tools: {}, prompts: {}, resources: {} });
  expect(JSON.stringify(server.capabilities())).not.toContain('"listChanged":true');
});
