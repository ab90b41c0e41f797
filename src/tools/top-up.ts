import * as z from "zod";
import { dollars, TOP_UP_DOLLARS } from "../providers/account.ts";
import { defineTool } from "../toolkit/define.ts";

export const topUp = defineTool({
  name: "top_up",
  title: "Top up the Didit account",
  description: "Makes a link to pay for credits. Charges nothing itself; get_balance shows the payment.",
  input: {
    amount_in_dollars: z
      .number()
      .min(TOP_UP_DOLLARS.min)
      .max(TOP_UP_DOLLARS.max)
      .multipleOf(0.01)
      .describe("US dollars: ask, never invent it"),
  },
  output: z.object({
    provider: z.literal("didit"),
    amount_in_dollars: z.number(),
    checkout_url: z.string(),
    checkout_id: z.string(),
    summary: z.string(),
    next_steps: z.array(z.string()),
  }),
  hints: {
    readOnlyHint: false,
    destructiveHint: false,
    idempotentHint: false, // each call makes a new page
    openWorldHint: true,
  },
  link: ({ checkout_url, amount_in_dollars }) => ({
    url: checkout_url,
    message: `Open Stripe's page to pay ${dollars(String(amount_in_dollars))} to the Didit account`,
  }),
  async run({ amount_in_dollars }, context) {
    const account = await context.account();
    const { id, url } = await account.topUp(amount_in_dollars, context);
    return {
      provider: "didit" as const,
      amount_in_dollars,
      checkout_url: url,
      checkout_id: id,
      summary: `To add ${dollars(String(amount_in_dollars))}, open: ${url}\nNothing has been charged yet; get_balance shows when it has.`,
      next_steps: ["The link only works unchanged, and expires in 60 minutes.", "After the payment, call get_balance."],
    };
  },
});
