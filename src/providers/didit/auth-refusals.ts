import { CheckError } from "../../errors.ts";
import type { Refusal, Refusals } from "../http/client.ts";
import type { Refused } from "./attempt.ts";
import { PASSWORD_RULES } from "./password.ts";

// Nobody has published the bodies of the account API's refusals. Statuses lead; the text is searched for a few words,
// and where those do not settle it, the answer says every reason that there may be.

/** Didit's own limits. */
const LOCKS = "5 wrong passwords lock the account for 15 minutes, 10 for an hour, 20 for a day";

const refused = (status: number): Refusal => ({
  code: "bad_response",
  message: `Didit's account API refused the call for an unknown reason (HTTP ${status}).`,
});

const WRONG_ADDRESS: Refusal = {
  code: "setup",
  message: "The URL configured for Didit's account API has no such endpoint.",
  next: "Correct DIDIT_AUTH_BASE_URL (default: https://apx.didit.me), then restart the server.",
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
  423: { code: "rate_limited", message: "Didit has locked the account temporarily." },
  429: { code: "rate_limited", message: "Didit accepts no more account calls for now." },
};

/** For `register` alone: others fail with a 500 when Didit fails. */
export const REGISTER_REFUSALS: Refusals = {
  ...AUTH_REFUSALS,
  429: {
    code: "rate_limited",
    message:
      "Didit opens no more accounts for now: it accepts 5 requests an hour from one network, including requests for another code.",
    next: "Wait up to an hour, then call register_account again.",
  },
  500: {
    code: "invalid_input",
    message:
      "Didit failed to register this address (HTTP 500), either because its domain receives no email (such as example.com) or because Didit is down.",
    next: "Check the address. If it is right, retry later: Didit allows 5 attempts an hour.",
  },
};

export const RESEND_REFUSALS: Refusals = {
  ...AUTH_REFUSALS,
  429: {
    code: "rate_limited",
    message: "Didit sends no more codes for now: at most one a minute and 5 an hour.",
    next: "Look for the code already sent, also in the spam folder, or wait and call register_account again.",
  },
};

export const VERIFY_REFUSALS: Refusals = {
  ...AUTH_REFUSALS,
  429: {
    code: "rate_limited",
    message: "Didit checks no more codes for now.",
    next: "Wait a few minutes, then call register_account with the same address for a new code.",
  },
};

export const LOGIN_REFUSALS: Refusals = {
  ...AUTH_REFUSALS,
  429: {
    code: "rate_limited",
    message: `Didit allows no sign-in to this account for now: ${LOCKS}.`,
    next: "Wait, then test the password in Didit's console before calling register_account again.",
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
    next: "Call register_account with another address, one that receives email.",
  });
}

export function passwordRefused(message: string, it?: Refused): CheckError {
  return new CheckError("invalid_input", `${message}.`, {
    cause: it?.error.cause,
    next: "Choose another password, or omit it to have a strong one generated and kept.",
  });
}

const OTHER_WAYS =
  "Call register_account with its password, which signs in and fetches the key; or copy the API key from Didit's console (https://console.didit.me) to DIDIT_API_KEY, then restart the server.";

/** No password of that account is known here. */
export function alreadyThere(it: Refused): CheckError {
  const message = isTaken(it)
    ? "There already is a Didit account with this address."
    : "Didit opened no account and gave no known reason (HTTP 400); most likely there already is one with this address.";
  return new CheckError("invalid_input", message, { cause: it.error.cause, next: OTHER_WAYS });
}

export function wrongPassword(it: Refused): CheckError {
  return new CheckError(
    "invalid_input",
    "There seems to be a Didit account with this address, but signing in with this password failed.",
    {
      cause: it.error.cause,
      next: `Do not guess: ${LOCKS}. ${OTHER_WAYS}`,
    },
  );
}

export function codeRefused(it: Refused): CheckError {
  return new CheckError("invalid_input", "Didit does not accept the code: it is wrong, or older than 10 minutes.", {
    cause: it.error.cause,
    next: "Use the code from the newest email. For a new one, call register_account with the same address, at least 60 seconds after the last.",
  });
}
