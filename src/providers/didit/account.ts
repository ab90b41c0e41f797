import * as z from "zod";
import { CheckError } from "../../errors.ts";
import { endOf } from "../../secret.ts";
import type { Credentials, DiditAccount, PendingAccount, Stored } from "../../storage/credentials.ts";
import { clean } from "../../untrusted.ts";
import type { Account, CodeSent, Ready, RegistrationRequest, Verification } from "../account.ts";
import { httpClient, type ProxySettings } from "../http/client.ts";
import type { CallOptions } from "../provider.ts";
import { attempt, errorWith, type Refused } from "./attempt.ts";
import {
  alreadyThere,
  codeRefused,
  complaintOf,
  isMeant,
  passwordRefused,
  REGISTER_REFUSALS,
  RESEND_REFUSALS,
  VERIFY_REFUSALS,
} from "./auth-refusals.ts";
import { diditBilling } from "./billing.ts";
import { lacksOf, makePassword } from "./password.ts";
import { Membership, rethrowHidden, signIn } from "./sign-in.ts";

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

/** An account at Didit. Access tokens serve the call that brought them, and are never kept. */
export function diditAccount(options: DiditAccountOptions): Account {
  const { authBaseUrl, apiBaseUrl, apiKey, credentials, timeoutMs, proxy } = options;
  const http = httpClient({ provider: "Didit", baseUrl: authBaseUrl, timeoutMs, proxy });
  const billing = diditBilling({ baseUrl: apiBaseUrl, apiKey, timeoutMs, proxy });

  const post = (path: string, json: object, secrets: readonly string[], { signal, onStage }: CallOptions) => {
    onStage("asking the provider");
    return { method: "POST", path, json, secrets, schema: z.unknown(), signal } as const;
  };

  async function register({ email, password: given }: RegistrationRequest, calls: CallOptions) {
    const lacks = given === undefined ? [] : lacksOf(given);
    if (lacks.length > 0) throw passwordRefused(`The password lacks ${lacks.join(", ")}`);
    const stored = await credentials.read();
    const kept = pendingOf(stored, email);
    if (kept !== undefined && (await resend(kept, calls))) return codeSent(kept, false);

    const known = given ?? kept?.password ?? accountOf(stored, email)?.password;
    const pending: PendingAccount = {
      email,
      password: known ?? makePassword(),
      password_made_here: given === undefined && (kept?.password_made_here ?? true),
      code_sent_at: null,
    };
    // Before it is sent: an answer that gets lost must not take the password with it.
    await credentials.update((it) => withPending(it, pending));
    const { password } = pending;
    const call = post("/programmatic/register/", { email, password }, [password], calls);
    const reply = await attempt(http, call, REGISTER_REFUSALS).catch(rethrowRegistration);
    if (!("error" in reply)) return codeSent(pending, reply.status === 201, given !== undefined);
    if (!isMeant(reply, [400, 409, 422])) throw reply.error; // a 500 leaves open whether the account is there
    await credentials.update((it) => (kept === undefined ? without(it, email) : withPending(it, kept)));
    return fetchKey(reply, pending, known !== undefined, calls);
  }

  /** false: Didit has nothing that waits for a code, or not with this password. */
  async function resend({ email, password, code_sent_at }: PendingAccount, calls: CallOptions): Promise<boolean> {
    if (code_sent_at === null) return false;
    refuseTooSoon(code_sent_at);
    const call = post("/programmatic/resend-otp/", { email, password }, [password], calls);
    const reply = await attempt(http, call, RESEND_REFUSALS);
    if (!("error" in reply)) return true;
    if (isMeant(reply, [400, 401, 403, 404, 409, 410, 422])) return false;
    throw reply.error;
  }

  async function codeSent(pending: PendingAccount, isNew: boolean, isGiven = false): Promise<CodeSent> {
    const { email, password_made_here } = pending;
    await credentials.update((it) => withPending(it, { ...pending, code_sent_at: new Date().toISOString() }));
    return {
      status: "code_sent",
      email,
      isNew,
      password: password_made_here ? "made" : isGiven ? "given" : "given earlier",
    };
  }

  /** No account was opened. If there is one already, and its password is known, its key can be had. */
  async function fetchKey(refused: Refused, pending: PendingAccount, isPasswordKnown: boolean, calls: CallOptions) {
    const complaint = complaintOf(refused);
    if (complaint !== undefined) throw complaint;
    if (!isPasswordKnown) throw alreadyThere(refused);
    const { email, password, password_made_here } = pending;
    const found = await signIn(http, { email, password }, calls);
    return keep(email, found, password_made_here ? password : undefined);
  }

  async function verifyEmail({ email, code }: Verification, calls: CallOptions): Promise<Ready> {
    // The code works once: first see whether what it brings can be kept.
    const stored = await credentials.update((it) => it);
    const pending = pendingOf(stored, email);
    const made = pending?.password_made_here ? pending.password : undefined;
    const secrets = [code, pending?.password ?? ""];
    const call = { ...post("/programmatic/verify-email/", { email, code }, secrets, calls), schema: Membership };
    const reply = await attempt(http, call, VERIFY_REFUSALS).catch(rethrowHidden).catch(rethrowVerification);
    if (!("error" in reply)) return keep(email, reply.data, made);
    throw isMeant(reply, [400, 401, 403, 404, 410, 422]) ? codeRefused(reply) : reply.error;
  }

  /** `password`: the one that was made here, which only this machine knows. */
  async function keep(email: string, { organization, application }: Membership, password: string | undefined) {
    const { api_key, uuid, name } = application;
    const isOther = (it: DiditAccount) =>
      !isSame(email)(it) || (it.api_key !== api_key && (uuid === null || it.application.uuid !== uuid));
    let isReplacing = false;
    await credentials.update((it) => {
      const kept = password ?? accountOf(it, email)?.password;
      const didit = {
        api_key,
        organization,
        application: { uuid, name, client_id: application.client_id },
        email,
        ...(kept === undefined ? {} : { password: kept }),
        verified_at: new Date().toISOString(),
      };
      isReplacing = it.didit !== undefined && isOther(it.didit);
      const old = it.didit === undefined ? [] : [it.didit];
      return { ...without(it, email), didit, earlier: [...it.earlier, ...old].filter(isOther) };
    });
    return {
      status: "ready",
      email,
      // Of a key too short to be one nothing is shown: its end would be all of it.
      apiKey: endOf(api_key),
      organization: organization.name === null ? null : clean(organization.name),
      application: name === null ? null : clean(name),
      isReplacing,
    } as const;
  }

  return {
    register,
    verifyEmail,
    balance: (calls) => billing.balance(calls),
    topUp: (amountInDollars, calls) => billing.topUp(amountInDollars, calls),
    close: async () => void (await Promise.all([http.close(), billing.close()])),
  };
}

function refuseTooSoon(codeSentAt: string): void {
  const ageS = Math.floor((Date.now() - Date.parse(codeSentAt)) / 1000);
  if (ageS < 0 || ageS >= COOL_DOWN_S) return; // a clock that was set back must not lock anybody out
  const waitS = COOL_DOWN_S - ageS;
  throw new CheckError(
    "rate_limited",
    `Didit sent a code to this address ${ageS} s ago and sends at most one a minute.`,
    {
      retryAfterSeconds: waitS,
      next: `Look for the code, also in the spam folder. For another one, retry in ${waitS} s.`,
    },
  );
}

const isSame = (email: string) => {
  const wanted = email.toLowerCase();
  return (it: { readonly email: string }) => it.email.toLowerCase() === wanted;
};
const pendingOf = (stored: Stored, email: string) => stored.pending.find(isSame(email));
const accountOf = (stored: Stored, email: string) =>
  [stored.didit, ...stored.earlier].find((it) => it !== undefined && isSame(email)(it));

function without(stored: Stored, email: string): Stored {
  const isThis = isSame(email);
  return { ...stored, pending: stored.pending.filter((it) => !isThis(it)) };
}

function withPending(stored: Stored, pending: PendingAccount): Stored {
  const others = without(stored, pending.email);
  return { ...others, pending: [...others.pending, pending] };
}

function rethrowRegistration(thrown: unknown): never {
  const error = CheckError.from(thrown);
  if (error.code !== "no_answer" && error.code !== "bad_response") throw error;
  throw errorWith(error, {
    next: "The account may have been opened; its password is kept. If a code was emailed, call verify_email; otherwise call register_account again with the same address.",
  });
}

function rethrowVerification(thrown: unknown): never {
  const error = CheckError.from(thrown);
  if (error.code !== "no_answer" && error.code !== "bad_response") throw error;
  throw errorWith(error, {
    next: "Nothing was saved; the code may have been accepted. Call verify_email again with the same code; if that is refused, call register_account with the same address, which then fetches the key.",
  });
}
