import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  aSecond,
  type Connection,
  cleanEnvironment,
  closing,
  ERAS,
  MAIN,
  temporaryFolder,
} from "../support/clients.ts";

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
  expect(performance.now() - closed).toBeLessThan(await aSecond());
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
  expect(performance.now() - told).toBeLessThan(await aSecond());
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

describe.each(ERAS)("arguments, $era", ({ connect }) => {
  let server: Connection;
  beforeAll(async () => {
    server = await connect();
  });
  afterAll(() => server.close());
  const wrong = async (name: string, args: Record<string, unknown>) => (await server.call(name, args)).text;
  const photo = { image_path: "/x.jpg" };

  test.each([
    ["check_liveness", {}, "image_path is required"],
    ["check_liveness", { image_path: null }, "image_path is required"],
    ["check_liveness", { image_path: 7 }, "image_path must be a string"],
    ["check_liveness", { image_path: "" }, "image_path must not be empty"],
    ["check_liveness", { image_path: "x".repeat(5000) }, "image_path must be at most 4096 characters long"],
    ["check_liveness", { ...photo, decline_threshold: 101 }, "decline_threshold must be between 0 and 100"],
    ["check_liveness", { ...photo, decline_threshold: -1 }, "decline_threshold must be between 0 and 100"],
    ["check_liveness", { ...photo, decline_threshold: "80" }, "decline_threshold must be a number"],
    ["check_liveness", { ...photo, rotate: "yes" }, "rotate must be true or false"],
    ["search_face", { ...photo, search_type: "all" }, "search_type must be most_similar or blocklisted_or_approved"],
    ["list_faces", { limit: 0 }, "limit must be between 1 and 100"],
    ["list_faces", { limit: 1.5 }, "limit must be a whole number"],
    ["top_up", { amount_in_dollars: 5 }, "amount_in_dollars must be between 50 and 1000000"],
    ["top_up", { amount_in_dollars: 50.001 }, "amount_in_dollars must be a multiple of 0.01"],
    ["match_faces", {}, "user_image_path is required; reference_image_path is required"],
  ])("%s, %#: what is wrong is said", async (name, args, said) => {
    expect(await wrong(name, args)).toContain(
      `Error [invalid_input]: The arguments of ${name} are invalid: ${said}.\n`,
    );
  });

  test("a misspelt name is told, with the cure", async () => {
    expect(await wrong("check_liveness", { ...photo, decline_treshold: null })).toMatch(
      /^Error \[invalid_input\]: .*unknown argument "decline_treshold" \(known: .*decline_threshold/,
    );
  });

  test("of many unknown names the first are told, and how many there are", async () => {
    const many = Object.fromEntries(Array.from({ length: 100_000 }, (_, n) => [`surprise_${n}`, n]));
    const said = await wrong("check_liveness", { ...photo, ...many });
    expect(said).toMatch(/unknown argument "surprise_0", .*"surprise_4", and 99,995 more \(known/);
    expect(said.length).toBeLessThan(500);
  });

  test("null for an optional argument means that it is not given", async () => {
    const said = await wrong("check_liveness", { ...photo, decline_threshold: null, rotate: null, vendor_data: null });
    expect(said).toMatch(/^Error \[path_refused\]/);
    const { structuredContent } = await server.call("list_faces", { limit: null, cursor: null });
    expect(structuredContent).toMatchObject({ faces: [], next_cursor: null });
  });

  test("a prompt says what is wrong with its arguments in the same words", async () => {
    const get = (args: Record<string, string>) => server.getPrompt("onboard_person", args);
    await expect(get({})).rejects.toThrow("The arguments of onboard_person are invalid: selfie_path is required.");
    await expect(get({ selfie_path: "/x", selfy: "1" })).rejects.toThrow(/unknown argument "selfy"/);
    await expect(
      server.getPrompt("compare_two_photos", {
        user_image_path: "/x",
        reference_image_path: "/y",
        decline_threshold: "101",
      }),
    ).rejects.toThrow("decline_threshold must be a number from 0 to 100");
  });
});

test.each(ERAS)("no list is said to change, in $era", async ({ connect }) => {
  const server = closing(await connect());
  expect(server.capabilities()).toMatchObject({ tools: {}, prompts: {}, resources: {} });
  expect(JSON.stringify(server.capabilities())).not.toContain('"listChanged":true');
});
