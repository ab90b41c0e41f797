/** Names and code stand in any language as they are: codes, settings, flags, commands, URLs, paths, and quotations. */
const NAMES =
  /`[^`]*`|\b[a-z_]+: true\b|“[^”]*”|"[^"]*"|'[^']*'|https?:\S+|\b[A-Z][A-Z0-9]*(_[A-Z0-9]+)+(=\S+)?|--[a-z-]+|biometrics-mcp( [a-z-]+)*|openssl rand -hex|source <\(.*\)|(?<![\w.])[~/][\w./-]+|or (?=[a-z]+-)/g;
/** Two English words in a row. */
const ENGLISH = /[A-Za-z]*[a-z]{2,}[,;:.]? [a-z]{2,}/;

/** What a text says in English, or undefined. */
export const englishIn = (text: string): string | undefined => ENGLISH.exec(text.replace(NAMES, " | "))?.[0];
