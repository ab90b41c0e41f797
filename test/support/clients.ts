import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, realpathSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Client as ModernClient } from "@modelcontextprotocol/client";
import { StdioClientTransport as ModernTransport } from "@modelcontextprotocol/client/stdio";
import { Client as LegacyClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport as LegacyTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { onTestFinished } from "vitest";
import * as z from "zod";

export const MAIN = resolve(import.meta.dirname, "../../dist/main.js");

const toolResult = z.object({
  /** A picture has no text. */
  content: z.array(z.looseObject({ type: z.string(), text: z.string().default("") })),
  structuredContent: z.record(z.string(), z.unknown()).optional(),
  isError: z.boolean().optional(),
  _meta: z.record(z.string(), z.unknown()).optional(),
});

export interface ToolAnswer extends z.infer<typeof toolResult> {
  /** Everything that the client was told, as one string: for what must not appear. */
  readonly everything: string;
  readonly text: string;
}

interface CallOptions {
  readonly signal?: AbortSignal;
  /** How long the client waits, in milliseconds. Default 25,000. */
  readonly timeout?: number;
  readonly onprogress?: (progress: {
    progress: number;
    total?: number | undefined;
    message?: string | undefined;
  }) => void;
}

export interface Connection {
  call(name: string, args?: Record<string, unknown>, options?: CallOptions): Promise<ToolAnswer>;
  listTools(): Promise<readonly ListedTool[]>;
  /** What the resource holds. */
  readResource(uri: string): Promise<unknown>;
  getPrompt(name: string, args: Record<string, string>): Promise<unknown>;
  instructions(): string | undefined;
  /** What the server says that it can do. */
  capabilities(): Readonly<Record<string, unknown>>;
  readonly pid: number;
  stderr(): string;
  close(): Promise<void>;
}

export interface ListedTool {
  readonly name: string;
  readonly title?: string | undefined;
  readonly description?: string | undefined;
  readonly inputSchema: Record<string, unknown>;
  readonly outputSchema?: Record<string, unknown> | undefined;
  readonly annotations?: Record<string, unknown> | undefined;
  readonly _meta?: Record<string, unknown> | undefined;
}

export interface Setup {
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  readonly cwd?: string;
}

/** Nothing of the developer's own environment: no key that could leak in, no home to read from. */
export function cleanEnvironment(home: string, env: Readonly<Record<string, string>> = {}): Record<string, string> {
  return { PATH: process.env["PATH"] ?? "", HOME: home, BIOMETRICS_DATA_DIR: join(home, "data"), ...env };
}

export interface Era {
  readonly era: string;
  connect(setup?: Setup): Promise<Connection>;
}

/** The two protocol eras, each with its real client. */
export const ERAS: readonly Era[] = [
  {
    era: "2025-11-25",
    async connect(setup = {}) {
      const transport = new LegacyTransport(spawnOptions(setup));
      const client = new LegacyClient({ name: "test", version: "1.0.0" });
      return connected(client, transport, () => client.connect(transport));
    },
  },
  {
    era: "2026-07-28",
    async connect(setup = {}) {
      const transport = new ModernTransport(spawnOptions(setup));
      const client = new ModernClient(
        { name: "test", version: "1.0.0" },
        { versionNegotiation: { mode: { pin: "2026-07-28" } } },
      );
      return connected(client, transport, () => client.connect(transport));
    },
  },
];

function spawnOptions({ env, args = [], cwd }: Setup) {
  const home = temporaryFolder("home-");
  return {
    command: process.execPath,
    args: [MAIN, ...args],
    env: cleanEnvironment(home, env),
    cwd: cwd ?? home,
    stderr: "pipe" as const,
  };
}

/** `server` is the process that the client talks to. */
export async function connected(
  client: LegacyClient | ModernClient,
  server: Pick<LegacyTransport | ModernTransport, "pid" | "stderr">,
  connect: () => Promise<void>,
): Promise<Connection> {
  const errors: string[] = [];
  server.stderr?.on("data", (chunk: Buffer) => errors.push(chunk.toString()));
  await connect();
  const connection: Connection = {
    async call(name, args = {}, options = {}) {
      const answer = toolResult.parse(await callTool(client, name, args, options));
      return { ...answer, everything: JSON.stringify(answer), text: answer.content[0]?.text ?? "" };
    },
    listTools: async () => (await client.listTools()).tools as unknown as readonly ListedTool[],
    readResource: async (uri) => (await client.readResource({ uri })).contents[0],
    getPrompt: (name, args) => client.getPrompt({ name, arguments: args }),
    instructions: () => client.getInstructions(),
    capabilities: () => ({ ...client.getServerCapabilities() }),
    pid: server.pid ?? 0,
    stderr: () => errors.join(""),
    close: () => client.close(),
  };
  return connection;
}

function callTool(
  client: LegacyClient | ModernClient,
  name: string,
  args: Record<string, unknown>,
  options: CallOptions,
) {
  const given = {
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(options.onprogress === undefined ? {} : { onprogress: options.onprogress }),
    timeout: options.timeout ?? 25_000,
  };
  return client instanceof LegacyClient
    ? client.callTool({ name, arguments: args }, undefined, given)
    : client.callTool({ name, arguments: args }, given);
}

/** A second, in ms, and more where the machine is so busy that a program with nothing to do takes long. */
export async function aSecond(): Promise<number> {
  const began = performance.now();
  await once(spawn(process.execPath, ["-e", "0"]), "exit");
  return 1000 + 10 * (performance.now() - began);
}

/** The real path of a new folder. The run removes it at its end. */
export function temporaryFolder(prefix = "biometrics-"): string {
  return realpathSync(mkdtempSync(join(tmpdir(), prefix)));
}

/** Closes a connection when the test is done. */
export function closing(connection: Connection): Connection {
  onTestFinished(() => connection.close());
  return connection;
}
