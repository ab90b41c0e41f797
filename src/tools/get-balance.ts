import * as z from "zod";
import { type Balance, dollars, isSpent } from "../providers/account.ts";
import { defineTool } from "../toolkit/define.ts";

export const getBalance = defineTool({
  name: "get_balance",
  title: "Show the Didit balance",
  description: "Didit credit in US dollars, and whether it refills automatically.",
  input: {},
  output: z.object({
    provider: z.literal("didit"),
    balance: z.string().describe("US dollars, exact"),
    auto_refill_enabled: z.boolean().nullable(),
    auto_refill_amount: z.string().nullable(),
    auto_refill_threshold: z.string().nullable(),
    summary: z.string(),
    next_steps: z.array(z.string()),
  }),
  hints: { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: true },
  async run(_args, context) {
    const account = await context.account();
    const found = await account.balance(context);
    return {
      provider: "didit" as const,
      balance: found.balance,
      auto_refill_enabled: found.autoRefill,
      auto_refill_amount: found.autoRefillAmount,
      auto_refill_threshold: found.autoRefillThreshold,
      summary: `The Didit account has ${dollars(found.balance)}. ${refillOf(found)}`,
      next_steps: isSpent(found.balance)
        ? ["Didit refuses checks until the account is topped up: top_up makes a link to pay."]
        : [],
    };
  },
});

function refillOf({ autoRefill, autoRefillAmount, autoRefillThreshold }: Balance): string {
  if (autoRefill === null) return "Didit did not say whether it refills automatically.";
  if (!autoRefill) return "It does not refill automatically.";
  const amount = autoRefillAmount === null ? "" : ` by ${dollars(autoRefillAmount)}`;
  const threshold = autoRefillThreshold === null ? "" : ` when it falls to ${dollars(autoRefillThreshold)}`;
  return `It refills automatically${amount}${threshold}.`;
}
