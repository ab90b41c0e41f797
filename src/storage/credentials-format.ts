import * as z from "zod";

const text = z.string().min(1);

// Unknown fields are kept: a later version may have written them.
const pendingAccount = z.looseObject({
  email: text,
  password: text,
  /** The user does not know the password: it must outlive the registration. */
  password_made_here: z.boolean(),
  /** null: asked for, with an answer that never came. */
  code_sent_at: z.iso.datetime().nullable(),
});
const diditAccount = z.looseObject({
  api_key: z.string().regex(/^[\x21-\x7e]{8,512}$/),
  // null: the service did not say.
  organization: z.looseObject({ uuid: text.nullable(), name: z.string().nullable() }),
  application: z.looseObject({
    uuid: text.nullable(),
    name: z.string().nullable(),
    client_id: z.string().nullable(),
  }),
  email: text,
  password: text.optional(),
  verified_at: z.iso.datetime(),
});
/** What the file of credentials holds. */
export const contents = z.looseObject({
  version: z.literal(1),
  pending: z.array(pendingAccount).default([]),
  didit: diditAccount.optional(),
  /** Accounts that were replaced: their keys and passwords may be nowhere else. */
  earlier: z.array(diditAccount).default([]),
});

export type PendingAccount = Readonly<z.infer<typeof pendingAccount>>;
export type DiditAccount = Readonly<z.infer<typeof diditAccount>>;
export type Stored = Readonly<z.infer<typeof contents>>;

/** Does the file say that a later version wrote it? */
export const isNewer = (value: unknown) => z.object({ version: z.number().gt(1) }).safeParse(value).success;

/** What is wrong with the contents, in words for the log. */
export const describeFault = (error: z.ZodError) => z.prettifyError(error);
