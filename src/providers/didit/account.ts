import * as z from "zod";
import type { Account, CodeSent, Ready, RegistrationRequest, Verification } from "../../account.ts";
import type { Credentials, DiditAccount, PendingAccount, Stored } from "../../credentials.ts";
import { CheckError } from "../../errors.ts";
import type { CallOptions } from "../../provider.ts";
import { plain } from "../../untrusted.ts";
import { type HttpClient, httpClient, type ProxySettings } from "../http.ts";
import { answered, attempt, type Refused } from "./attempt.ts";
import {
  AUTH_REFUSALS,
  addressRefused,
  CODE_REFUSED,
  isAboutPassword,
  isAddressWrong,
  isMeant,
  isTaken,
  passwordRefused,
  REGISTRATION_FAILED,
  resendRefused,
  TAKEN,
  throttled,
} from "./auth-refusals.ts";
import { diditBilling } from "./billing.ts";
import { lacksOf, makePassword } from "./password.ts";
import { signIn } from "./sign-in.ts";

/** Didit sends no further code sooner. */
const COOL_DOWN_S = 60;

export interface DiditAccountOptions {
  readonly authBaseUrl: string;
  readonly apiBaseUrl: string;
  /** The key in use, wherever it comes from. */
  readonly apiKey: () => Promise<string | undefined>;
  readonly credentials: Credentials;
  /** For one call with its repeats, in milliseconds. Default 60,000. */
  readonly timeoutMs?: number | undefined;
  readonly proxy?: ProxySettings | undefined;
}

const Accepted = z.unknown();

const VerifiedAnswer = z.object({
  organization: z.object({ uuid: z.string().min(1), name: z.string() }),
  application: z.object({
    uuid: z.string().min(1),
    name: z.string(),
    client_id: z.string().nullish(),
    api_key: z.string().regex(/^[\x21-\x7e]{8,512}$/),
  }),
});

/** An account at Didit. Access tokens are used at most for the call that brought them, and never kept. */
export function diditAccount(options: DiditAccountOptions): Account {
  const { authBaseUrl, apiBaseUrl, apiKey, credentials, timeoutMs, proxy } = options;
  const http = httpClient({ provider: "Didit", baseUrl: authBaseUrl, timeoutMs, proxy });
  const billing = diditBilling({ baseUrl: apiBaseUrl, apiKey, timeoutMs, proxy });

  /** undefined: Didit knows of nothing that waits for a code. */
  async function resend({ email, password }: PendingAccount, { signal }: CallOptions): Promise<true | undefined> {
    const call = { path: "/programmatic/resend-otp/", json: { email, password }, secrets: [password] };
    const reply = await attempt(http, { ...call, method: "POST", schema: Accepted, signal }, AUTH_REFUSALS);
    if (!("error" in reply)) return true;
    if (reply.status === 429) throw throttled(resendRefused, reply);
    if (isMeant(reply)) return undefined;
    throw reply.error;
  }

  async function register(request: RegistrationRequest, calls: CallOptions): Promise<CodeSent | Ready> {
    const { email } = request;
    const lacks = request.password === undefined ? [] : lacksOf(request.password);
    if (lacks.length > 0) throw passwordRefused(lacks);
    const stored = await credentials.read();
    const kept = pendingOf(stored, email);
    if (kept !== undefined && kept.code_sent_at !== null) {
      refuseTooSoon(kept.code_sent_at);
      calls.onStage("asking the provider");
      if (await resend(kept, calls)) {
        await credentials.update((it) => withPending(it, { ...kept, code_sent_at: now() }));
        return { status: "code_sent", email, isNew: false, password: kept.password_made_here ? "made" : "given earlier" };
      }
    }
    const known = request.password ?? kept?.password ?? accountOf(stored, email)?.password;
    const isMade = request.password === undefined && (kept?.password_made_here ?? true);
    const pending = { email, password: known ?? makePassword(), password_made_here: isMade, code_sent_at: null };
    // Before it is sent: an answer that gets lost must not take the password with it.
    await credentials.update((it) => withPending(it, pending));
    calls.onStage("asking the provider");
    const { password } = pending;
    const call = { path: "/programmatic/register/", json: { email, password }, secrets: [password] };
    const { signal } = calls;
    const reply = await attempt(http, { ...call, method: "POST", schema: Accepted, signal }, AUTH_REFUSALS);
    if ("error" in reply) {
      // Nothing came of it, so what was known before holds again. Of a 500 that is not certain.
      if (reply.status < 500) await credentials.update((it) => kept === undefined ? without(it, email) : withPending(it, kept));
      return afterRefusal(reply, email, known, calls);
    }
    await credentials.update((it) => withPending(it, { ...pending, code_sent_at: now() }));
    const isNew = reply.status === 201;
    const origin = request.password === undefined ? "given earlier" : "given";
    return { status: "code_sent", email, isNew, password: isMade ? "made" : origin };
  }

  /** An account that exists is signed in to, with a password that somebody knows. */
  async function afterRefusal(refused: Refused, email: string, password: string | undefined, calls: CallOptions) {
    if (refused.status === 429) throw throttled(undefined, refused);
    if (refused.status === 500) throw refusal(REGISTRATION_FAILED, refused);
    if (!isMeant(refused)) throw refused.error;
    if (!isTaken(refused)) {
      if (isAboutPassword(refused)) throw passwordRefused([], refused.error.cause);
      if (isAddressWrong(refused)) throw addressRefused(refused.error.cause);
    }
    if (password === undefined) throw refusal(TAKEN, refused);
    const found = await signIn(http, { email, password }, calls);
    return keep({ ...found, email });
  }

  async function verifyEmail({ email, code }: Verification, { signal, onStage }: CallOptions): Promise<Ready> {
    // The code works once: first see whether what it brings can be kept.
    const pending = pendingOf(await credentials.update((it) => it), email);
    onStage("asking the provider");
    const call = { path: "/programmatic/verify-email/", json: { email, code }, secrets: [code, pending?.password ?? ""] };
    const reply = await attempt(
      http,
      { ...call, method: "POST", schema: VerifiedAnswer, signal },
      AUTH_REFUSALS,
    ).catch(rethrowSecretly);
    if (!("error" in reply)) return keep({ ...reply.data, email });
    if (reply.status === 429) throw throttled(undefined, reply);
    throw isMeant(reply) ? refusal(CODE_REFUSED, reply) : reply.error;
  }

  async function keep({ email, organization, application }: Found & { email: string }): Promise<Ready> {
    let isReplacing = false;
    await credentials.update((it) => {
      const pending = pendingOf(it, email);
      const password = pending?.password_made_here ? pending.password : accountOf(it, email)?.password;
      const { api_key, uuid, name, client_id = null } = application;
      const account: DiditAccount = {
        api_key,
        organization,
        application: { uuid, name, client_id },
        email,
        ...(password === undefined ? {} : { password }),
        verified_at: now(),
      };
      const replaced = [it.didit].filter((old) => old !== undefined && old.application.uuid !== uuid);
      isReplacing = replaced.length > 0;
      return { ...without(it, email), didit: account, earlier: [...it.earlier, ...replaced] as DiditAccount[] };
    });
    return {
      status: "ready",
      email,
      apiKey: endOf(application.api_key),
      organization: plain(organization.name),
      application: plain(application.name),
      isReplacing,
    };
  }

  return {
    register,
    verifyEmail,
    balance: (calls) => billing.balance(calls),
    topUp: (amount, calls) => billing.topUp(amount, calls),
    close: async () => void (await Promise.all([http.close(), billing.close()])),
  };
}
