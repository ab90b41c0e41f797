/** Answers are a few hundred values in half a dozen levels; what lies far beyond is an attack or a mistake, not an answer. */
const MAX_DEPTH = 64;
/** In one list or object: matches, warnings, faces of a page (100 at most). */
const MAX_ITEMS = 500;
const MAX_VALUES = 10_000;
/** Characters. An image of 0.5 MB, which Didit makes of larger ones, has 0.7 million in base64. */
const MAX_STRING = 2 ** 20;

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const OPENING: readonly number[] = [0x5b, 0x7b];
const CLOSING: readonly number[] = [0x5d, 0x7d];

/**
 * What makes a JSON text larger than we take it on to be, or undefined. It looks once at each character, before anything
 * is built of them: to parse, check and copy what passes takes milliseconds.
 */
function excessOf(text: string): string | undefined {
  /** By depth: the items before the present one. */
  const items = [0];
  let depth = 0;
  let values = 0;
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (char === QUOTE) {
      const end = endOfString(text, at);
      if (end - at > MAX_STRING) return `a string of over ${MAX_STRING} characters`;
      at = end;
    } else if (char === COMMA) {
      const before = (items[depth] ?? 0) + 1;
      if (before >= MAX_ITEMS) return `over ${MAX_ITEMS} items in one list or object`;
      items[depth] = before;
      values += 1;
    } else if (OPENING.includes(char)) {
      depth += 1;
      if (depth > MAX_DEPTH) return `over ${MAX_DEPTH} levels`;
      items[depth] = 0;
      values += 1;
    } else if (CLOSING.includes(char)) depth = Math.max(0, depth - 1);
    if (values > MAX_VALUES) return `over ${MAX_VALUES} values`;
  }
  return undefined;
}

function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (char === QUOTE) return at;
    if (char === BACKSLASH) at += 1;
  }
  return text.length;
}

/** `json` is undefined where the text is none; `excess` says what there is too much of to look at it. */
export function readJson(text: string): { readonly json?: unknown; readonly excess?: string } {
  const excess = excessOf(text);
  if (excess !== undefined) return { excess };
  try {
    return { json: JSON.parse(text) };
  } catch {
    return {};
  }
}
