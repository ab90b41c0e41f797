import * as z from "zod";
import type { CallOptions } from "./provider.ts";

/** What the caller may give as the address of an account. */
export const EmailAddress = z.email({ error: "must be an email address" }).max(254);

export interface RegistrationRequest {
  readonly email: string;
  /** Left out: a strong one is made, and kept in the data folder. */
  readonly password?: string | undefined;
}

/** A code is on its way to the address; the account can be used when it comes back. */
export interface CodeSent {
  readonly status: "code_sent";
  readonly email: string;
  /** false: it was registered before, and this is a further code. */
  readonly isNew: boolean;
  /** Whose password the account has: one that was made here, the one just given, or one given at an earlier call. */
  readonly password: "made" | "given" | "given earlier";
}

/** The account can be used: its key is stored. No secret stands here. */
export interface Ready {
  readonly status: "ready";
  readonly email: string;
  /** "ends in 3456", as the setup shows it. */
  readonly apiKey: string;
  /** null: the service did not say. */
  readonly organization: string | null;
  readonly application: string | null;
  /** Another account was in use until now; it stays in the credentials file. */
  readonly isReplacing: boolean;
}

export interface Verification {
  readonly email: string;
  readonly code: string;
}

export interface Balance {
  /** US dollars as a decimal string, which no binary fraction has rounded. */
  readonly balance: string;
  /** null: the service did not say. */
  readonly autoRefill: boolean | null;
  readonly autoRefillAmount: string | null;
  readonly autoRefillThreshold: string | null;
}

/** A page on which a person can pay. Nothing is charged by making it, and nothing here says whether it was used. */
export interface Checkout {
  readonly id: string;
  readonly url: string;
}

export const TOP_UP_DOLLARS = { min: 50, max: 1_000_000 } as const;

/**
 * The account behind a provider. The contract that every implementation keeps:
 *  - it throws only CheckError, and stops when `signal` aborts;
 *  - no password, code, key or token is in what it returns or throws.
 */
export interface Account {
  /** Opens an account or, for an address that waits for its code, has another one sent. */
  register(request: RegistrationRequest, options: CallOptions): Promise<CodeSent | Ready>;
  verifyEmail(verification: Verification, options: CallOptions): Promise<Ready>;
  balance(options: CallOptions): Promise<Balance>;
  topUp(amountInDollars: number, options: CallOptions): Promise<Checkout>;
  close(): Promise<void>;
}

/** "$1234.56" of "1234.5600": the digits that say something, and at least the cents. */
export function dollars(decimal: string): string {
  const [whole = "", fraction = ""] = decimal.replace(/^-/, "").split(".");
  return `${decimal.startsWith("-") ? "-" : ""}$${whole}.${fraction.replace(/0+$/, "").padEnd(2, "0")}`;
}

/** Nothing is left, or less. */
export const isSpent = (decimal: string) => /^-|^0+(\.0+)?$/.test(decimal);
