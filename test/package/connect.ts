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
}

/** A client of a server that is started by any command line, not only that of the checkout. */
export async function connectTo({ command, args, env, cwd }: Program) {
  const transport = new StdioClientTransport({ command, args: [...args], env: { ...env }, cwd, stderr: "pipe" });
  const errors: string[] = [];
  transport.stderr?.on("data", (chunk: Buffer) => errors.push(chunk.toString()));
  const client = new Client({ name: "test", version: "1.0.0" });
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
