import { COLOUR_VARIABLES } from "../appearance.ts";
import type { Language } from "../config.ts";
import type { Say } from "../language/say.ts";
import { plain } from "../untrusted.ts";

// What the pages that commands write have in common: one file that needs nothing else, with no script and no network, and
// a policy that allows neither.

interface Document {
  /** The command. */
  readonly generator: string;
  readonly title: string;
  /** What it is about. */
  readonly name: string;
  readonly facts: readonly string[];
  readonly hasPhotos: boolean;
  /** Left out: English. */
  readonly language?: Language;
  readonly say?: Say;
  readonly style: string;
  readonly body: string;
}

/** Says which command wrote a page. */
export const markerOf = (generator: string) => `<meta name="generator" content="${generator}">`;

const PHOTOS_NOTE = "This page holds photographs of people. Share and keep it as you would the photographs.";

export function documentOf(page: Document): string {
  const { generator, title, name, facts, hasPhotos, language = "en", say = (text) => text, style, body } = page;
  const all = [name, ...facts, new Date().toISOString().slice(0, 10)];
  return `<!doctype html>
<html lang="${language}"><head><meta charset="utf-8">${markerOf(generator)}
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex"><meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>${title}: ${escaped(name)}</title><style>${COLOUR_VARIABLES}${STYLE}${style}</style></head>
<body><main>
<header><h1>${title}</h1><p class="facts">${all.map((fact) => `<span>${escaped(fact)}</span>`).join("")}</p></header>
${hasPhotos ? `<p class="note">${say(PHOTOS_NOTE)}</p>` : ""}
${body}
</main></body></html>
`;
}

/** A small JPEG with its name; null: it cannot be shown; undefined: no photograph is to be shown. */
export function figureOf(file: string, bytes: Uint8Array | null | undefined): string {
  const name = escaped(plain(file, 60));
  const caption = `<figcaption title="${name}">${name}</figcaption>`;
  if (bytes === undefined) return `<figure>${caption}</figure>`;
  if (bytes === null) return `<figure><span class="blank">cannot be shown</span>${caption}</figure>`;
  return `<figure><img alt="" src="data:image/jpeg;base64,${Buffer.from(bytes).toString("base64")}">${caption}</figure>`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** File names are whatever somebody called them. */
export const escaped = (text: string) => text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? "");

const STYLE = `
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 20px 64px}h1{font-size:30px;margin:0}h2{font-size:22px;margin:40px 0 4px}h3{font-size:17px;margin:32px 0 4px}
p{margin:4px 0 12px}.facts,.basis,.within,small,footer{color:var(--soft)}.facts span+span::before{content:" · "}
.note{background:var(--note);color:var(--note-ink);padding:10px 14px;border-radius:8px;margin-top:16px}
.scroll{overflow-x:auto;margin-top:16px}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:7px 12px 7px 0;border-bottom:1px solid var(--line);vertical-align:top}tbody th{font-weight:400}thead th{font-size:14px;color:var(--soft)}th.in1{padding-left:18px}th.in2{padding-left:36px}
.cases{list-style:none;padding:0;display:grid;grid-template-columns:repeat(auto-fill,minmax(240px,1fr));gap:12px}
.cases li{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:10px}.pair{display:flex;gap:8px}.pair figure{margin:0;flex:1;min-width:0}
.pair img,.blank{width:100%;height:130px;object-fit:contain;display:grid;place-items:center;background:var(--grid);border-radius:6px;font-size:13px;color:var(--soft)}
.pair figcaption{font-size:12px;color:var(--soft);overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.cases strong{font-variant-numeric:tabular-nums}summary{cursor:pointer}footer{margin-top:40px;font-size:14px}
`.replace(/\n/g, "");
