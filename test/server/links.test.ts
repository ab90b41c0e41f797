import { Client as ModernClient } from "@modelcontextprotocol/client";
import { StdioClientTransport as ModernTransport } from "@modelcontextprotocol/client/stdio";
import { Client as LegacyClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport as LegacyTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { describe, expect, onTestFinished, test } from "vitest";
import { cleanEnvironment, MAIN, temporaryFolder } from "../support/clients.ts";
import { accountStandIn } from "../support/stand-in/account.ts";

type Action = "accept" | "decline" | "cancel";
interface Asked {
  readonly message: string;
  readonly url?: string | undefined;
}

const CAPABILITIES = { elicitation: { url: {}, form: {} } };

/** Clients of both eras that can open links, and tell what they were asked. */
const CLIENTS = {
  "2025-11-25": async (env: Record<string, string>, action: Action, asked: Asked[]) => {
    const client = new LegacyClient({ name: "test", version: "1" }, { capabilities: CAPABILITIES });
    client.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
      asked.push(params as Asked);
      return { action };
    });
    await client.connect(new LegacyTransport({ command: process.execPath, args: [MAIN], env, stderr: "ignore" }));
    return client;
  },
  "2026-07-28": async (env: Record<string, string>, action: Action, asked: Asked[]) => {
    const client = new ModernClient(
      { name: "test", version: "1" },
      { capabilities: CAPABILITIES, versionNegotiation: { mode: { pin: "2026-07-28" } } },
    );
    client.setRequestHandler("elicitation/create", async ({ params }) => {
      asked.push(params as Asked);
      return { action };
    });
    await client.connect(new ModernTransport({ command: process.execPath, args: [MAIN], env, stderr: "ignore" }));
    return client;
  },
};

describe.each(Object.entries(CLIENTS))("a client of %s that can open links", (_era, connect) => {
  test.each(["accept", "decline", "cancel"] as const)("is asked to, and %s changes nothing", async (action) => {
    const api = await accountStandIn();
    onTestFinished(() => api.close());
    const { api_key } = api.accounts.newApplication();
    const asked: Asked[] = [];
    const env = cleanEnvironment(temporaryFolder("home-"), { ...api.env, DIDIT_API_KEY: api_key });
    const client = await connect(env, action, asked);
    onTestFinished(() => client.close());
    const { structuredContent, content } = await client.callTool({
      name: "top_up",
      arguments: { amount_in_dollars: 75 },
    });
    const { checkout_url } = structuredContent as { checkout_url: string };
    expect(asked).toMatchObject([{ mode: "url", url: checkout_url, message: expect.stringContaining("$75") }]);
    expect(JSON.stringify(content)).toContain(checkout_url);
    expect(JSON.stringify(content)).toMatch(/get_balance/);
    expect(JSON.stringify(content)).not.toMatch(/(was|been|is) paid/);
    // One page, however often the client comes back.
    expect(api.received.filter(({ path }) => path === "/v3/billing/top-up/")).toHaveLength(1);
  });
});
