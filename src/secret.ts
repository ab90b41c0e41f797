/** What may be shown of a key. Nothing, if it is too short for a key: its end would be most of it. */
export function endOf(apiKey: string): string {
  return apiKey.length < 12 ? "set" : `ends in ${apiKey.slice(-4)}`;
}

/** Shorter pieces of base64 occur in ordinary words. */
const MIN_BASE64_CHARS = 6;

/**
 * A function that removes secrets from a text in any encoding: plain, escaped as in JSON or source code, fully or partly
 * percent-encoded, or in base64, alone or as part of a longer text.
 */
export function hideAll(secrets: readonly string[]): (text: string) => string {
  const spellings = secrets
    .filter((secret) => secret !== "")
    // One may begin with another.
    .toSorted((a, b) => b.length - a.length)
    .flatMap((secret) => [secret, ...inBase64(secret)].map((it) => [...it].map(spellingsOf).join("")));
  if (spellings.length === 0) return (text) => text;
  const pattern = new RegExp(spellings.join("|"), "giu");
  return (text) => text.replace(pattern, "[secret]");
}

/** The most characters that one character of a secret can become: four percent-encoded bytes, or eight backslashes and a number. */
export const MAX_SPELLING = 13;

/** The characters of base64 that a secret alone decides, for each place in a group of three bytes where it may begin. */
function inBase64(secret: string): string[] {
  return [0, 1, 2]
    .map((before) => {
      const bytes = Buffer.concat([Buffer.alloc(before), Buffer.from(secret)]);
      const end = Math.floor((bytes.length * 8) / 6);
      return bytes.toString("base64").slice(Math.ceil((before * 8) / 6), end);
    })
    .filter((piece) => piece.length >= MIN_BASE64_CHARS);
}

/** The two alphabets of base64 differ in two characters; forms have a plus for a space. */
const ALIKE: ReadonlyMap<string, string> = new Map([
  ["+", "-"],
  ["/", "_"],
  [" ", "+"],
]);

/** A pattern: by its number, so that no character has a meaning of its own. */
function spellingsOf(char: string): string {
  const literally = [char, ALIKE.get(char) ?? char].map((it) => `\\\\{0,8}\\u{${it.codePointAt(0)?.toString(16)}}`);
  const percent = [...Buffer.from(char)].map((byte) => `%${hex(byte, 2)}`).join("");
  const escaped = Array.from({ length: char.length }, (_, at) => `\\\\{1,8}u${hex(char.charCodeAt(at), 4)}`).join("");
  return `(?:${[percent, escaped, ...new Set(literally)].join("|")})`;
}

const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");
