/**
 * The suites of others, against the built program: the protocol's official conformance suite over HTTP, and the
 * Inspector's command line over stdio; and the programs that install the skill from this checkout. Most need a newer
 * Node than this project does, so one is installed beside them.
 *
 *   npx tsx test/peers/run.ts [folder to install into, kept; default: a temporary one]
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const PACKAGES = [
  "node@24",
  "@modelcontextprotocol/conformance@0.2.0-alpha.12",
  "@modelcontextprotocol/inspector@2.12",
  "@anthropic-ai/claude-code@2.1.330",
  "skills@1.7.4",
];
const ROOT = resolve(import.meta.dirname, "../..");
const MAIN = join(ROOT, "dist/main.js");
const TOKEN = "a-token-for-the-suites-of-others-0123456789";
const SKILL_SCENARIOS = ["sep-2640-skills-directory", "sep-2640-skills-enumeration", "sep-2640-skills-manifest"];

interface Outcome {
  readonly ok: boolean;
  /** In a few words. */
  readonly figures: string;
  /** What a person wants to see if it is not ok. */
  readonly output: string;
}

const given = process.argv[2];
const folder = resolve(given ?? mkdtempSync(join(tmpdir(), "biometrics-peers-")));
const home = join(folder, "home");
mkdirSync(home, { recursive: true });
writeFileSync(join(folder, "package.json"), "{}"); // npm would look for one further up
const bin = (name: string) => join(folder, "node_modules/.bin", name);
const env = {
  HOME: home,
  PATH: process.env["PATH"] ?? "",
  BIOMETRICS_PROVIDER: "on-device",
  // Nothing but what is asked of them: no reports, no updates.
  DISABLE_TELEMETRY: "1",
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
};

let failed = 0;
let passed = 0;
try {
  await install();
  const server = await serve();
  const proxy = await authorizing(server.url);
  for (const revision of ["2025-11-25", "2026-07-28"]) {
    await suite(`conformance, requirements of ${revision}`, () => conformance(proxy.url, revision));
  }
  for (const scenario of SKILL_SCENARIOS) await suite(`conformance, ${scenario}`, () => skills(proxy.url, scenario));
  proxy.close();
  server.process.kill("SIGTERM");
  const [code] = await once(server.process, "exit");
  await suite("serve --http ends with 0 after all that", async () => ({
    ok: code === 0,
    figures: "",
    output: `${code}`,
  }));

  for (const era of ["legacy", "modern"]) {
    await suite(`inspector, ${era}, tools/list`, () => inspector(era, /"name": "get_setup"/, "tools/list", "--strict"));
    await suite(`inspector, ${era}, tools/call`, () =>
      inspector(era, /"provider": "on-device"/, "tools/call", "--tool-name", "get_setup"));
    await suite(`inspector, ${era}, prompts/list`, () => inspector(era, /"name": "onboard_person"/, "prompts/list"));
    await suite(`inspector, ${era}, skills/list`, () =>
      inspector(era, /Verified 1 skill .*no conformance errors/, "skills/list", "--verify"));
  }

  await suite("Claude Code, plugin validate", () => claude(/Validation passed/, "validate", "--strict", ROOT));
  await suite("Claude Code, plugin marketplace add", () => claude(/added/, "marketplace", "add", ROOT));
  await suite("Claude Code, plugin install", () => claude(/installed/, "install", "face-checks@biometrics-mcp"));
  await suite("skills add", addSkill);
} finally {
  if (given === undefined) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}
console.log(`${passed} suites passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

async function suite(name: string, run: () => Promise<Outcome>): Promise<void> {
  const { ok, figures, output } = await run();
  if (ok) passed += 1;
  else failed += 1;
  console.log(`${ok ? "ok    " : "FAILED"} ${name}${figures === "" ? "" : `: ${figures}`}`);
  if (!ok) console.log(output.replace(/^/gm, "       "));
}

async function install(): Promise<void> {
  const { code, output } = await execute(
    "npm",
    ["install", "--no-audit", "--no-fund", "--prefix", folder, ...PACKAGES],
    {
      env: process.env,
    },
  );
  if (code !== 0) throw new Error(`The suites cannot be installed:\n${output}`);
}

async function serve(): Promise<{ url: string; process: ChildProcess }> {
  const child = spawn(process.execPath, [MAIN, "serve", "--http", "--port", "0"], {
    env: { ...env, BIOMETRICS_HTTP_TOKEN: TOKEN },
    cwd: home,
    stdio: ["ignore", "ignore", "pipe"],
  });
  process.once("exit", () => child.kill("SIGKILL"));
  let told = "";
  for await (const chunk of child.stderr.iterator({ destroyOnReturn: false })) {
    told += chunk;
    const url = /http:\S+(?=\n)/.exec(told)?.[0];
    if (url === undefined) continue;
    child.stderr.resume();
    return { url, process: child };
  }
  throw new Error(`The server does not start:\n${told}`);
}

/** The suite sends no token, so what it sends passes through here. All other headers stay as they are: it checks them. */
async function authorizing(target: string): Promise<{ url: string; close(): void }> {
  const { hostname, port } = new URL(target);
  const server = createServer((asked, answer) => {
    const headers = { ...asked.headers, authorization: `Bearer ${TOKEN}` };
    const passed = request({ hostname, port, method: asked.method, path: asked.url, headers }, (answered) => {
      answer.writeHead(answered.statusCode ?? 502, answered.headers);
      answered.pipe(answer);
    });
    passed.on("error", () => answer.destroy());
    answer.on("close", () => passed.destroy());
    asked.pipe(passed);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function conformance(url: string, revision: string): Promise<Outcome> {
  const expected = resolve(import.meta.dirname, `expected-failures-${revision}.yml`);
  const args = ["server", "--url", url, "--requirements", revision, "--expected-failures", expected];
  const { code, output } = await onNode24(bin("conformance"), args);
  const summary = output.slice(output.indexOf("=== SUMMARY ==="));
  const { length: scenarios } = summary.match(/^[✓✗] [\w-]+: \d+ passed/gmu) ?? [];
  const [, checks = "0"] = /^Total: (\d+) passed/m.exec(summary) ?? [];
  const { length: excused } = summary.match(/^ {2}~ /gm) ?? [];
  const figures = `${scenarios} scenarios, ${checks} checks passed, ${excused} failed as expected`;
  return { ok: code === 0 && Number(checks) > 0, figures, output: summary };
}

async function skills(url: string, scenario: string): Promise<Outcome> {
  const { code, output } = await onNode24(bin("conformance"), ["server", "--url", url, "--scenario", scenario]);
  const [, checks = "0"] = /Passed: (\d+)\/\d+/.exec(output) ?? [];
  return { ok: code === 0 && Number(checks) > 0, figures: `${checks} checks passed`, output };
}

async function inspector(era: string, expected: RegExp, ...method: readonly string[]): Promise<Outcome> {
  const target = ["-e", "BIOMETRICS_PROVIDER=on-device", process.execPath, MAIN];
  const args = ["--cli", "--protocol-era", era, ...target, "--method", ...method];
  const { code, output } = await onNode24(bin("mcp-inspector"), args);
  return { ok: code === 0 && expected.test(output), figures: "", output: `exit code ${code}\n${output}` };
}

/** Its wrapper, which starts the program of this platform also where npm runs no install scripts. */
async function claude(expected: RegExp, ...args: readonly string[]): Promise<Outcome> {
  const wrapper = join(folder, "node_modules/@anthropic-ai/claude-code/cli-wrapper.cjs");
  const { code, output } = await onNode24(wrapper, ["plugin", ...args]);
  return { ok: code === 0 && expected.test(output), figures: "", output: `exit code ${code}\n${output}` };
}

async function addSkill(): Promise<Outcome> {
  const args = ["add", ROOT, "--skill", "face-checks", "--agent", "claude-code", "--copy", "--yes"];
  const { code, output } = await onNode24(bin("skills"), args);
  const skill = "skills/face-checks/SKILL.md";
  const installed = join(folder, ".claude", skill);
  const isSame = existsSync(installed) && readFileSync(installed).equals(readFileSync(join(ROOT, skill)));
  return { ok: code === 0 && isSame, figures: "", output: `exit code ${code}\n${output}` };
}

function onNode24(program: string, args: readonly string[]) {
  return execute(join(folder, "node_modules/node/bin/node"), [program, ...args], { env, cwd: folder });
}

/** Code and everything that was said, on either stream. */
function execute(
  program: string,
  args: readonly string[],
  options: { readonly env: NodeJS.ProcessEnv; readonly cwd?: string },
): Promise<{ code: unknown; output: string }> {
  return new Promise((done) => {
    execFile(program, args, { ...options, timeout: 300_000, maxBuffer: 2 ** 26 }, (error, out, err) => {
      done({ code: error === null ? 0 : (error.code ?? error.signal), output: `${out}${err}` });
    });
  });
}
