import stringWidth from "string-width";
import wrap from "wrap-ansi";

/** What stays together: a word, or a Chinese character, with the punctuation at it. */
const CHUNK = /\s*[“（《]*(?:\p{Script=Han}|[^\s\p{Script=Han}“（《，。；：、！？）》”]+)?[，。；：、！？）》”]*/gu;

/** Breaks a text into lines of so many columns, of which a Chinese character takes two. */
export function fold(text: string, columns: number): string {
  if (!/\p{Script=Han}/u.test(text)) return wrap(text, columns, { hard: true });
  let line = "";
  const lines = [];
  for (const [chunk] of text.matchAll(CHUNK)) {
    if (stringWidth(line + chunk) <= columns) line += chunk;
    else {
      lines.push(line);
      line = chunk.trimStart();
    }
  }
  return wrap([...lines, line].join("\n"), columns, { hard: true }); // a path can be longer than a line
}
