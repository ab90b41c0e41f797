import type { Language } from "../../config.ts";
import { documentOf, escaped, figureOf } from "../../evaluation/html.ts";
import { type Say, translated } from "../../language/say.ts";
import { OUTCOMES } from "../../warnings.ts";
import type { Done } from "./journal.ts";

/** What a call came to; a failure decided nothing. */
export const VERDICTS = [...OUTCOMES, "failed"] as const;
export type Verdict = (typeof VERDICTS)[number];

export const verdictOf = ({ result }: Done): Verdict => result?.outcome ?? "failed";

/** A row for each call. A cell that a spreadsheet would take for a formula begins with an apostrophe. */
export async function csvOf(all: readonly Done[]): Promise<string> {
  const { stringify } = await import("csv-stringify/sync");
  const hasMatches = all.some(({ result }) => result?.matches !== undefined);
  return stringify(
    all.map((done) => rowOf(done, hasMatches)),
    { header: true, escape_formulas: true },
  );
}

function rowOf({ files, result, error }: Done, hasMatches: boolean): Record<string, string | number | null> {
  const [nearest] = result?.matches ?? [];
  return {
    ...Object.fromEntries(Object.entries(files).map(([name, path]) => [name.replace(/_path$/, ""), path])),
    outcome: result?.outcome ?? null,
    score: result?.score ?? null,
    threshold: result?.threshold ?? null,
    summary: result?.summary ?? null,
    warnings: result?.warnings.map(({ tag }) => tag).join(" ") ?? null,
    next_steps: result?.next_steps.join(" ") ?? null,
    provider: result?.provider ?? null,
    reference: result?.reference ?? null,
    ...(hasMatches && {
      nearest_id: nearest?.id ?? null,
      nearest_label: nearest?.label ?? null,
      nearest_similarity: nearest?.similarity ?? null,
      nearest_blocklisted: nearest === undefined ? null : String(nearest.blocklisted),
    }),
    error: error?.code ?? null,
    error_message: error?.message ?? null,
  };
}

export interface PageSetting {
  readonly language: Language;
  readonly say: Say;
  readonly title: string;
  readonly version: string;
  readonly provider: string;
  /** A small JPEG of a file, or null where it cannot be shown; undefined: the page shows no photographs. */
  readonly photo: ((file: string) => Promise<Uint8Array | null>) | undefined;
}

/** With more, a browser takes long to open the page. */
const MAX_WITH_PHOTOS = 1000;

/** Filters without a script: what is chosen hides the rest by CSS. */
export async function pageOf(
  all: readonly Done[],
  { language, say, title, version, provider, photo }: PageSetting,
): Promise<string> {
  const cards: string[] = [];
  for (const [at, done] of all.entries())
    cards.push(await cardOf(translated(done, say), say, at < MAX_WITH_PHOTOS ? photo : undefined));
  const chosen = [
    ["all", all.length] as const,
    ...VERDICTS.map((verdict) => [verdict, all.filter((done) => verdictOf(done) === verdict).length] as const),
  ];
  const filters = chosen.map(
    ([name, count], at) =>
      `<label class="${name}"><input type="radio" name="show" id="show-${name}"${at === 0 ? " checked" : ""}> ${say(name)} (${count.toLocaleString("en")})</label>`,
  );
  const note =
    photo !== undefined && all.length > MAX_WITH_PHOTOS
      ? `<p>${say(`Only the first ${MAX_WITH_PHOTOS.toLocaleString("en")} are shown with photographs.`)}</p>`
      : "";
  return documentOf({
    generator: "biometrics-mcp batch",
    language,
    say,
    title: say("Results"),
    name: say(title),
    facts: [provider, `biometrics-mcp ${version}`],
    hasPhotos: photo !== undefined,
    style: STYLE,
    body: `<fieldset class="filters"><legend>${say("Show")}</legend>${filters.join("")}</fieldset>
${note}<ol class="cases">${cards.join("\n")}</ol>`,
  });
}

async function cardOf(done: Done, say: Say, photo: PageSetting["photo"]): Promise<string> {
  const { files, result, error } = done;
  const verdict = verdictOf(done);
  const figures: string[] = [];
  for (const file of Object.values(files))
    figures.push(figureOf(file, photo === undefined ? undefined : await photo(file)));
  const { score = null, threshold = null } = result ?? {};
  const bar =
    score === null
      ? ""
      : `<span class="bar" style="--score:${score}%${threshold === null ? "" : `;--threshold:${threshold}%`}"></span><small>${say(`${score.toFixed(1)} of 100${threshold === null ? "" : `, threshold ${threshold}`}`)}</small>`;
  const said = [
    `<p>${escaped(result?.summary ?? `${error?.message ?? ""} ${error?.next ?? ""}`)}</p>`,
    ...(result?.warnings ?? []).map(
      ({ tag, effect, meaning, advice }) =>
        `<p><b class="${effect}">${escaped(tag)}</b> ${escaped(meaning)} ${escaped(advice)}</p>`,
    ),
  ];
  return `<li class="${verdict}"><div class="pair">${figures.join("")}</div><strong>${say(verdict)}</strong>${bar}<details><summary>${say("Why")}</summary>${said.join("")}</details></li>`;
}

const STYLE = `
:root{--failed:var(--soft)}
.filters{border:1px solid var(--line);border-radius:10px;margin:20px 0;padding:8px 14px}.filters label{margin-right:18px;white-space:nowrap}
${VERDICTS.map((verdict) => `.${verdict}>strong,label.${verdict},b.${verdict}{color:var(--${verdict})}.${verdict}{--tone:var(--${verdict})}main:has(#show-${verdict}:checked) .cases li:not(.${verdict}){display:none}`).join("")}
.cases strong{display:block;margin-top:8px}.cases small{font-size:13px}.cases p{font-size:14px}
.bar{display:block;position:relative;height:10px;margin:4px 0;border-radius:5px;background:linear-gradient(to right,var(--tone) var(--score),var(--grid) var(--score))}
.bar::after{content:"";position:absolute;left:var(--threshold,-9px);top:-2px;width:2px;height:14px;background:var(--ink)}
.bar:not([style*=threshold])::after{display:none}
`.replace(/\n/g, "");
