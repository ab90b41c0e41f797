import { CheckError } from "../../errors.ts";
import type { Refusal, Refusals } from "../http/client.ts";
import type { Refused } from "./attempt.ts";
import { PASSWORD_RULES } from "./password.ts";

// Nobody has published the bodies of the account API's refusals. Statuses lead; the text is searched for a few words,
// and where those do not settle it, the answer says every reason that there may be.

const refused = (status: number): Refusal => ({
  code: "bad_response",
  message: `Didit's account API refused the call in a way that was not understood (HTTP ${status}).`,
});

const WRONG_ADDRESS: Refusal = {
  code: "setup",
  message: "There is no such call at the address that is set for Didit's account API.",
  next: "Ask the user to check DIDIT_AUTH_BASE_URL (by default https://apx.didit.me), then to restart this server.",
};

/** What a status means where the call itself does not give it another meaning. */
export const AUTH_REFUSALS: Refusals = {
  400: refused(400),
  401: refused(401),
  403: refused(403),
  404: WRONG_ADDRESS,
  405: WRONG_ADDRESS,
  409: refused(409),
  410: refused(410),
  422: refused(422),
  423: { code: "rate_limited", message: "Didit has locked the account for a while." },
  429: { code: "rate_limited", message: "Didit takes no more calls for accounts for now." },
};

/** For `register` alone: others fail with a 500 when Didit fails. */
export const REGISTER_REFUSALS: Refusals = {
  ...AUTH_REFUSALS,
  429: {
    code: "rate_limited",
    message:
      "Didit opens no more accounts for now: it takes 5 requests an hour from one network, further codes included.",
    next: "Tell the user to wait, an hour at most, then call register_account again.",
  },
  500: {
    code: "invalid_input",
    message:
      "Didit failed to register this address (HTTP 500). It does so for an address whose domain takes no mail, such as example.com, but also when it is out of order.",
    next: "Ask the user to check the address. If it is right, try again later, not at once: Didit allows 5 attempts an hour.",
  },
};

export const RESEND_REFUSALS: Refusals = {
  ...AUTH_REFUSALS,
  429: {
    code: "rate_limited",
    message: "Didit sends no further code for now: one a minute, and 5 an hour.",
    next: "Ask the user to look for the code that was sent, in the spam folder too, or wait and call register_account again.",
  },
};

export const VERIFY_REFUSALS: Refusals = {
  ...AUTH_REFUSALS,
  429: {
    code: "rate_limited",
    message: "Didit checks no more codes for now.",
    next: "Wait some minutes, then call register_account with the same address for a new code.",
  },
};

export const LOGIN_REFUSALS: Refusals = {
  ...AUTH_REFUSALS,
  429: {
    code: "rate_limited",
    message:
      "Didit lets nobody sign in to this account for now: 5 wrong passwords lock it for 15 minutes, 10 for an hour, 20 for a day.",
    next: "Tell the user to wait, and to try the password in Didit's console before this tool is called again.",
  },
};

/**
 * Is it the call that was refused, with one of these statuses? Not by a proxy or a web server on the way, whose 401, 403
 * and 404 are pages.
 */
export function isMeant({ status, body }: Refused, statuses: readonly number[]): boolean {
  return statuses.includes(status) && (body !== undefined || ![401, 403, 404].includes(status));
}

const says = ({ body }: Refused, words: RegExp) => words.test(JSON.stringify(body) ?? "");

export const isTaken = (it: Refused) => it.status === 409 || says(it, /exist|already|taken|in use/i);
const isAboutPassword = (it: Refused) => says(it, /password/i);
const isAboutAddress = (it: Refused) => says(it, /e-?mail/i) && says(it, /valid|deliver|domain|disposable|allowed/i);

/** Why no account was opened; undefined where there may be one already. */
export function complaintOf(it: Refused): CheckError | undefined {
  if (isTaken(it)) return undefined;
  if (isAboutPassword(it))
    return passwordRefused(`Didit did not accept the password. It must have ${PASSWORD_RULES}`, it);
  if (!isAboutAddress(it)) return undefined;
  return new CheckError("invalid_input", "Didit does not accept this email address.", {
    cause: it.error.cause,
    next: "Ask the user for another address, one that takes mail, and call register_account again.",
  });
}

export function passwordRefused(message: string, it?: Refused): CheckError {
  return new CheckError("invalid_input", `${message}.`, {
    cause: it?.error.cause,
    next: "Ask the user for another password, or leave it out: then a strong one is made and kept.",
  });
}

const OTHER_WAYS =
  "Ask the user for its password and call register_account with it: that signs in and fetches the key. Or the user copies the API key from Didit's console (https://console.didit.me) to DIDIT_API_KEY.";

/** No password of that account is known here. */
export function alreadyThere(it: Refused): CheckError {
  const message = isTaken(it)
    ? "There is a Didit account with this address already."
    : "Didit opened no account and gave no reason that is known here (HTTP 400); most likely there is one with this address already.";
  return new CheckError("invalid_input", message, { cause: it.error.cause, next: OTHER_WAYS });
}

export function wrongPassword(it: Refused): CheckError {
  return new CheckError(
    "invalid_input",
    "There seems to be a Didit account with this address, but signing in with this password failed.",
    {
      cause: it.error.cause,
      next: `Do not guess: 5 failures lock the account for 15 minutes, 10 for an hour, 20 for a day. ${OTHER_WAYS}`,
    },
  );
}

export function codeRefused(it: Refused): CheckError {
  return new CheckError("invalid_input", "Didit does not accept the code: it is wrong, or older than 10 minutes.", {
    cause: it.error.cause,
    next: "Ask the user for the code of the newest mail. For a new one call register_account with the same address, 60 s after the last at the earliest.",
  });
}
