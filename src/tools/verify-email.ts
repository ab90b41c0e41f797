import * as z from "zod";
import { EmailAddress, type Ready } from "../providers/account.ts";
import type { Deps } from "../toolkit/context.ts";
import { defineTool } from "../toolkit/define.ts";
import { quoted } from "../untrusted.ts";

export const verifyEmail = defineTool({
  name: "verify_email",
  title: "Confirm the Didit account",
  description: "Confirms the address with the code that Didit emailed and saves the API key on this machine.",
  input: {
    email: EmailAddress.describe("address given to register_account"),
    code: z
      .string()
      .trim()
      .regex(/^[A-Za-z0-9]{6}$/, { error: "must be six letters or digits" })
      .describe("six characters from the email: ask, never invent it"),
  },
  output: z.object({
    provider: z.literal("didit"),
    email: z.string(),
    api_key: z.string().describe("its last four characters"),
    organization: z.string().nullable(),
    application: z.string().nullable(),
    summary: z.string(),
    next_steps: z.array(z.string()),
  }),
  hints: {
    readOnlyHint: false,
    destructiveHint: false, // the key of an account that was in use before stays in the file
    idempotentHint: false, // a code works once
    openWorldHint: true,
  },
  async run(verification, context) {
    const account = await context.account();
    const ready = await account.verifyEmail(verification, context);
    return readyResult(ready, context, `The address ${quoted(ready.email, 254)} is confirmed.`);
  },
});

/** An account whose key was just saved, and whether checks use it: the operator's settings take precedence. */
export async function readyResult(
  { email, apiKey, organization, application, isReplacing }: Ready,
  context: Deps,
  how: string,
) {
  const choice = await context.choice();
  const isUsed = choice.name === "didit" && choice.apiKey === apiKey;
  const used = isUsed
    ? "Checks use it from now on."
    : `Checks do not use it: the current provider is ${choice.name} (${choice.reason})${choice.name === "didit" ? " with another key" : ""}.`;
  const replaced = isReplacing ? " The previously saved account stays in the file, unused." : "";
  return {
    provider: "didit" as const,
    email,
    api_key: apiKey,
    organization,
    application,
    summary: `${how} The API key is saved in the data folder (credentials.json): ${apiKey}. ${used}${replaced}`,
    next_steps: isUsed
      ? ["Call get_balance: checks at Didit are billed."]
      : [
          "DIDIT_API_KEY and BIOMETRICS_PROVIDER take precedence over the saved key; without them it is used at the next start.",
        ],
  };
}
