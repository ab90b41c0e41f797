import * as z from "zod";
import { CheckError } from "../../errors.ts";
import { type Balance, type Checkout, dollars, TOP_UP_DOLLARS } from "../account.ts";
import { httpClient, type ProxySettings, type Refusal, type Refusals } from "../http/client.ts";
import type { CallOptions } from "../provider.ts";
import { answered, attempt, errorWith } from "./attempt.ts";
import { DIDIT_REFUSALS, refuseKey } from "./refusals.ts";

export interface BillingOptions {
  readonly baseUrl: string;
  /** Asked for at every call: it may arrive, or be replaced, while the program runs. */
  readonly apiKey: () => Promise<string | undefined>;
  readonly timeoutMs?: number | undefined;
  readonly proxy?: ProxySettings | undefined;
}

export interface Billing {
  balance(options: CallOptions): Promise<Balance>;
  topUp(amountInDollars: number, options: CallOptions): Promise<Checkout>;
  close(): Promise<void>;
}

const decimal = z.string().regex(/^-?\d{1,12}(\.\d{1,8})?$/);

export const BalanceAnswer = z.object({
  balance: decimal,
  auto_refill_enabled: z.boolean().nullish(),
  auto_refill_amount: decimal.nullish(),
  auto_refill_threshold: decimal.nullish(),
});

const CheckoutAnswer = z.object({
  checkout_session_id: z.string().regex(/^cs_(test|live)_[A-Za-z0-9]{1,250}$/),
  checkout_session_url: z.string().max(4096),
});

/** Didit has its customers pay at Stripe: under a path and the id, with what the page needs, which is no text, after #. */
const CHECKOUT = {
  origin: "https://checkout.stripe.com",
  paths: ["/c/pay/", "/pay/"],
  fragment: /^(#([a-z\d]|%(?!20)[2-7][\dA-F]){1,2000})?$/i,
};

export function diditBilling({ baseUrl, apiKey, timeoutMs, proxy }: BillingOptions): Billing {
  const http = httpClient({ provider: "Didit", baseUrl, timeoutMs, proxy });

  async function identified({ onStage }: CallOptions) {
    const key = await apiKey();
    if (key === undefined) {
      throw new CheckError("unauthorized", "There is no Didit API key.", {
        next: "Open an account (register_account, then verify_email), or set DIDIT_API_KEY, then restart the server.",
      });
    }
    onStage("asking the provider");
    return { headers: { "x-api-key": key }, secrets: [key] };
  }

  return {
    async balance(options) {
      const call = {
        ...(await identified(options)),
        method: "GET" as const,
        path: "/v3/billing/balance/",
        schema: BalanceAnswer,
        signal: options.signal,
      };
      const { data } = await answered(attempt(http, call, BILLING_REFUSALS));
      return {
        balance: data.balance,
        autoRefill: data.auto_refill_enabled ?? null,
        autoRefillAmount: data.auto_refill_amount ?? null,
        autoRefillThreshold: data.auto_refill_threshold ?? null,
      };
    },

    async topUp(amountInDollars, options) {
      const call = {
        ...(await identified(options)),
        method: "POST" as const,
        path: "/v3/billing/top-up/",
        json: { amount_in_dollars: amountInDollars },
        schema: CheckoutAnswer,
        signal: options.signal,
      };
      const refusals: Refusals = { ...BILLING_REFUSALS, 400: refuseTopUp };
      const { data } = await answered(attempt(http, call, refusals).catch(rethrowUncertain));
      const id = data.checkout_session_id;
      return { id, url: checkedLink(data.checkout_session_url, id, baseUrl) };
    },

    close: () => http.close(),
  };
}

/**
 * The link as it may be shown: a person will type card numbers behind it, and a model reads it. Of a stand-in on this
 * machine, and of none else, a link to this machine is accepted too, so that the way can be tested.
 */
function checkedLink(link: string, id: string, baseUrl: string): string {
  const url = URL.canParse(link) ? new URL(link) : undefined;
  if (url !== undefined && (isCheckout(url, id) || isStandIn(url, baseUrl))) return url.href;
  throw new CheckError("bad_response", "Didit sent a payment link that does not lead to its payment service, Stripe.", {
    cause: url === undefined ? "not an address" : `a link to ${url.protocol}//${url.host}`,
    next: "The link is not shown, and nothing was charged. Check DIDIT_API_BASE_URL, and top up in Didit's console.",
  });
}

function isCheckout({ href, hash }: URL, id: string): boolean {
  const isPage = CHECKOUT.paths.some((path) => href === `${CHECKOUT.origin}${path}${id}${hash}`);
  return isPage && CHECKOUT.fragment.test(hash);
}

function isStandIn(url: URL, baseUrl: string): boolean {
  const isLocal = isLoopback(url) && isLoopback(new URL(baseUrl));
  return isLocal && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "";
}

function isLoopback({ hostname }: URL): boolean {
  return /^127\.\d+\.\d+\.\d+$/.test(hostname) || hostname === "localhost" || hostname === "[::1]";
}

/** An answer that did not come, or was not understood: for once it is safe to ask again. */
function rethrowUncertain(thrown: unknown): never {
  const error = CheckError.from(thrown);
  if (error.code !== "no_answer" && error.code !== "bad_response") throw error;
  throw errorWith(error, {
    next: "Nothing was charged. Retry, or top up in Didit's console.",
  });
}

const THROTTLED: Refusal = { code: "rate_limited", message: "Didit accepts no more billing calls for now." };

const BILLING_REFUSALS: Refusals = { ...DIDIT_REFUSALS, 403: refuseKey, 429: THROTTLED };

const BOUNDS = `from ${dollars(String(TOP_UP_DOLLARS.min))} to ${dollars(String(TOP_UP_DOLLARS.max))}`;

/** What a 400 says, which is a bare list of sentences -> what we say. The first row that fits. */
const COMPLAINTS: readonly (Refusal & { readonly says: RegExp })[] = [
  {
    says: /annual plan/i,
    code: "unsupported",
    message: "This Didit account has an annual plan, which cannot be topped up by a link.",
    next: "Ask the account manager at Didit for a top-up.",
  },
  {
    says: /at least|at most|minimum|maximum|less than|greater than|number|required/i,
    code: "invalid_input",
    message: `Didit did not accept the amount: it must be a number of dollars, ${BOUNDS}.`,
  },
];

function refuseTopUp(body: unknown): Refusal {
  const prose = JSON.stringify(body) ?? "";
  const complaint = COMPLAINTS.find(({ says }) => says.test(prose));
  return (
    complaint ?? {
      code: "invalid_input",
      message: "Didit refused to make a payment link for an unknown reason (HTTP 400).",
      next: "Nothing was charged. Top up in Didit's console.",
    }
  );
}
