/**
 * Text that others wrote (labels, names, vendor data, log details), made fit to stand in a sentence of ours:
 * one line, no control, bidirectional or zero-width characters, at most `maxChars` characters.
 */
export function plain(text: string, maxChars = 80): string {
  const visible = text
    .normalize("NFC")
    .replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\u2028\u2029]+/gu, " ")
    .replace(/\s+/gu, " ")
    .trim();
  const characters = [...visible];
  return characters.length <= maxChars ? visible : `${characters.slice(0, maxChars - 1).join("")}…`;
}

/** The same, as a quotation: data, never an instruction. */
export function quoted(text: string, maxChars = 80): string {
  return `"${plain(text, maxChars).replaceAll('"', "'")}"`;
}
