import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { cleanEnvironment, MAIN, temporaryFolder } from "../support/clients.ts";
import { accountStandIn } from "../support/stand-in/account.ts";
import { EMAIL, PASSWORD } from "./setting.ts";

async function setUp() {
  const api = await accountStandIn();
  onTestFinished(() => api.close());
  const home = temporaryFolder("home-");
  const run = async (command: string, args: readonly string[], env = {}, typed = "") => {
    const child = spawn(command, args, { env: cleanEnvironment(home, { ...api.env, ...env }), cwd: home });
    const said: string[] = [];
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => said.push(chunk.toString()));
    if (typed !== "") {
      // Nobody types before being asked.
      await expect.poll(() => said.join(""), { timeout: 10_000 }).toContain("password");
      child.stdin.write(typed);
    } else child.stdin.end();
    const [code] = await once(child, "exit");
    return { code, said: said.join("") };
  };
  const passwords = () =>
    api.received
      .filter(({ path }) => path.endsWith("/register/"))
      .map(({ body }) => JSON.parse(body.toString()).password);
  return { api, home, run, passwords };
}

test("the password comes from the environment, and is shown nowhere", async () => {
  const { run, passwords } = await setUp();
  const { code, said } = await run(process.execPath, [MAIN, "register-account", EMAIL], {
    BIOMETRICS_PASSWORD: PASSWORD,
  });
  expect(code, said).toBe(0);
  expect(passwords()).toEqual([PASSWORD]);
  expect(said).not.toContain(PASSWORD);
});

test("without one, and without a terminal, a strong one is made and kept", async () => {
  const { home, run, passwords } = await setUp();
  const { code, said } = await run(process.execPath, [MAIN, "register-account", EMAIL]);
  expect(code, said).toBe(0);
  const [made] = passwords();
  expect(made).toMatch(/^(?=.*[a-z])(?=.*[A-Z])(?=.*\d)(?=.*[^\w\s]).{16,}$/);
  expect(said).not.toContain(made);
  expect(readFileSync(join(home, "data/credentials.json"), "utf8")).toContain(JSON.stringify(made));
});

test("it is no argument", async () => {
  const { run, passwords } = await setUp();
  const { code, said } = await run(process.execPath, [MAIN, "register-account", EMAIL, "--password", PASSWORD]);
  expect(code).toBe(2);
  expect(said).toMatch(/unknown option '--password'/);
  expect(passwords()).toEqual([]);
});

const hasTerminal = spawnSync("script", ["--version"]).status === 0;

test.skipIf(!hasTerminal)("on a terminal it is asked for, and typed unseen", async () => {
  const { run, passwords } = await setUp();
  const command = `'${process.execPath}' '${MAIN}' register-account ${EMAIL}`;
  const { code, said } = await run("script", ["-qec", command, "/dev/null"], {}, `${PASSWORD}\r`);
  expect(code, said).toBe(0);
  expect(passwords()).toEqual([PASSWORD]);
  expect(said).not.toContain(PASSWORD);
  expect(said).toContain("Didit emailed a code");
});

test("an account from the command line alone", async () => {
  const { api, run } = await setUp();
  await run(process.execPath, [MAIN, "register-account", EMAIL]);
  const verified = await run(process.execPath, [MAIN, "verify-email", EMAIL, api.accounts.codeOf(EMAIL)]);
  expect(verified.code, verified.said).toBe(0);
  expect(verified.said).not.toContain(api.accounts.keys[0]);
  const balance = await run(process.execPath, [MAIN, "balance", "--json"]);
  expect(JSON.parse(balance.said)).toMatchObject({ balance: api.accounts.balance });
  const paid = await run(process.execPath, [MAIN, "top-up", "100"]);
  expect(paid.said).toMatch(/https?:\/\/\S+/);
  expect(await run(process.execPath, [MAIN, "top-up", "49"])).toMatchObject({ code: 2 });
});
