import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import * as z from "zod";

const answer = z.object({
  content: z.array(z.object({ text: z.string() })),
  structuredContent: z.record(z.string(), z.unknown()).optional(),
  isError: z.boolean().default(false),
});

interface Program {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** The one version of the protocol to speak. Default: what the client settles on with the server. */
  readonly version?: string;
}

/** A client of a server that is started by any command line, not only that of the checkout. */
export async function connectTo({ command, args, env, cwd, version }: Program) {
  const transport = new StdioClientTransport({ command, args: [...args], env: { ...env }, cwd, stderr: "pipe" });
  const errors: string[] = [];
  transport.stderr?.on("data", (chunk: Buffer) => errors.push(chunk.toString()));
  const options = version === undefined ? {} : { versionNegotiation: { mode: { pin: version } } };
  const client = new Client({ name: "test", version: "1.0.0" }, options);
  await client.connect(transport);
  return {
    client,
    stderr: () => errors.join(""),
    async call(name: string, args: Record<string, unknown> = {}) {
      const {
        content,
        structuredContent = {},
        isError,
      } = answer.parse(await client.callTool({ name, arguments: args }, { timeout: 60_000 }));
      return { isError, text: content[0]?.text ?? "", ...structuredContent };
    },
    close: () => client.close(),
  };
}
