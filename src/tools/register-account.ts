import * as z from "zod";
import { type CodeSent, EmailAddress } from "../providers/account.ts";
import { defineTool } from "../toolkit/define.ts";
import { quoted } from "../untrusted.ts";
import { readyResult } from "./verify-email.ts";

const PASSWORD = {
  made: "A strong password was made for it and saved in the data folder (credentials.json)",
  given: "It has the password that was given",
  "given earlier": "It has the password that was given when it was first registered",
} satisfies Record<CodeSent["password"], string>;

export const registerAccount = defineTool({
  name: "register_account",
  title: "Open a Didit account",
  description:
    "Opens an account at Didit, which mails a code for verify_email. " +
    "Again for the same address: sends another code or, where the account is in use, fetches its API key.",
  input: {
    email: EmailAddress.describe("the user's own address: ask, never make one up"),
    password: z
      .string()
      .min(1)
      .max(128)
      .optional()
      .describe("leave it out, and a strong one is made and kept on this machine"),
  },
  output: z.object({
    provider: z.literal("didit"),
    email: z.string(),
    status: z.enum(["code_sent", "ready"]),
    api_key: z.string().nullable().describe("its last four characters"),
    organization: z.string().nullable(),
    application: z.string().nullable(),
    summary: z.string(),
    next_steps: z.array(z.string()),
  }),
  hints: {
    readOnlyHint: false,
    destructiveHint: false,
    idempotentHint: false, // each call has a mail sent
    openWorldHint: true,
  },
  secrets: ["password"],
  async run(request, context) {
    const account = await context.account();
    const done = await account.register(request, context);
    if (done.status === "ready") {
      const found = `A Didit account for ${quoted(done.email, 254)} was there already, and signing in worked.`;
      return { ...(await readyResult(done, context, found)), status: "ready" as const };
    }
    const { email, isNew, password } = done;
    return {
      provider: "didit" as const,
      email,
      status: "code_sent" as const,
      api_key: null,
      organization: null,
      application: null,
      summary:
        `Didit mailed ${isNew ? "a code" : "another code"} to ${quoted(email, 254)}. ` +
        `The account ${isNew ? "is open, but " : ""}cannot be used before verify_email. ${PASSWORD[password]}.`,
      next_steps: [
        "Ask the user for the six characters of the mail (they work for 10 minutes), then call verify_email.",
        "If no mail comes, not even as spam: after 60 seconds call register_account again with the same address.",
      ],
    };
  },
});
