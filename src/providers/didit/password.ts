import { randomInt } from "node:crypto";

const UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS = "0123456789";
const SPECIALS = "!@#$%^&*()_+-=[]{}|;:,.<>?";
/** Without those that HTML and shells write in another way: an echo must be found, to be cut out of the log. */
const PLAIN_SPECIALS = "@%_+-=:,.?";
const MADE_LENGTH = 24;

interface Rule {
  readonly says: string;
  readonly holds: (password: string) => boolean;
}

/** As Didit publishes them; it names one failed rule at a time. */
const RULES: readonly Rule[] = [
  { says: "at least 8 characters", holds: (password) => password.length >= 8 },
  { says: "an upper-case letter (A to Z)", holds: (password) => /[A-Z]/.test(password) },
  { says: "a lower-case letter (a to z)", holds: (password) => /[a-z]/.test(password) },
  { says: "a digit", holds: (password) => /[0-9]/.test(password) },
  {
    says: `a special character (one of ${SPECIALS})`,
    holds: (password) => [...password].some((character) => SPECIALS.includes(character)),
  },
];

export const PASSWORD_RULES = RULES.map(({ says }) => says).join(", ");

/** What the password lacks, all of it. */
export function lacksOf(password: string): string[] {
  return RULES.filter(({ holds }) => !holds(password)).map(({ says }) => says);
}

/** One of each kind, the rest of any, in any order: about 145 bits. */
export function makePassword(): string {
  const kinds = [UPPER, UPPER.toLowerCase(), DIGITS, PLAIN_SPECIALS];
  const all = kinds.join("");
  const characters = Array.from({ length: MADE_LENGTH }, (_, at) => pick(kinds[at] ?? all));
  return shuffled(characters).join("");
}

const pick = (characters: string) => characters.charAt(randomInt(characters.length));

function shuffled(items: readonly string[]): string[] {
  const left = [...items];
  return items.flatMap(() => left.splice(randomInt(left.length), 1));
}
