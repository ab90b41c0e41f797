import * as z from "zod";
import { type CodeSent, EmailAddress } from "../providers/account.ts";
import { defineTool } from "../toolkit/define.ts";
import { quoted } from "../untrusted.ts";
import { readyResult } from "./verify-email.ts";

const PASSWORD = {
  made: "Its password was generated and saved in the data folder (credentials.json)",
  given: "Its password is the one given",
  "given earlier": "Its password is the one given when it was first registered",
} satisfies Record<CodeSent["password"], string>;

export const registerAccount = defineTool({
  name: "register_account",
  title: "Open a Didit account",
  description:
    "Opens a Didit account; Didit emails a code for verify_email. " +
    "Repeated for an address, sends another code or, if the account is in use, fetches its API key.",
  input: {
    email: EmailAddress.describe("the account owner's address: ask, never invent it"),
    password: z.string().min(1).max(128).optional().describe("omit to generate and keep a strong one"),
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
    idempotentHint: false, // each call sends an email
    openWorldHint: true,
  },
  secrets: ["password"],
  async run(request, context) {
    const account = await context.account();
    const done = await account.register(request, context);
    if (done.status === "ready") {
      const found = `There already was a Didit account for ${quoted(done.email, 254)}, and signing in worked.`;
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
        `Didit emailed ${isNew ? "a code" : "another code"} to ${quoted(email, 254)}. ` +
        `The account cannot be used before verify_email. ${PASSWORD[password]}.`,
      next_steps: [
        "Pass the six characters in the email to verify_email; they are valid for 10 minutes.",
        "If no email arrives, not even as spam, call register_account again with the same address after 60 seconds.",
      ],
    };
  },
});
