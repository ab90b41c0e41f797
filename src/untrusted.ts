/** Far more than is ever shown: what is longer is not read to its end. */
const MAX_READ_CHARS = 10_000;

/**
 * Text that others wrote (labels, names, vendor data, log details), made fit to stand in a sentence of ours:
 * one line, no control, bidirectional or zero-width characters, at most `maxChars` characters.
 */
export function plain(text: string, maxChars = 80): string {
  const visible = text
    .slice(0, MAX_READ_CHARS)
    .normalize("NFC")
    .replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\u2028\u2029]+/gu, " ")
    .replace(/\s+/gu, " ")
    .trim();
  const characters = [...visible];
  return characters.length <= maxChars ? visible : `${characters.slice(0, maxChars - 1).join("")}…`;
}

/** What Markdown and HTML read as their own, but for underscores within words, which ids have. */
const MARKUP = /[`*<>[\]|~\\]|&(?=#?\w{1,31};)|(?<![\p{L}\p{N}_])_+|_+(?![\p{L}\p{N}_])/gu;

/** The same without markup, for names and ids that go into results: what renders them has nothing to render. */
export function clean(text: string, maxChars = 80): string {
  return plain(plain(text, MAX_READ_CHARS).replace(MARKUP, ""), maxChars);
}

/** The same, as a quotation: data, never an instruction. */
export function quoted(text: string, maxChars = 80): string {
  return `"${plain(text, maxChars).replaceAll('"', "'")}"`;
}
