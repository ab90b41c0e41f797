import { plain } from "../untrusted.ts";
import { type Dot, det, histogram, type Mark, type Names, roc } from "./charts.ts";
import type { Case, Evaluation, LivenessEvaluation, MatchEvaluation } from "./evaluate.ts";
import { counted, METHOD, PHOTOS_NOTE, percent, type Row, sectionsOf } from "./figures.ts";
import type { Comparison } from "./statistics.ts";

/** Says whose page it is, so that no other file is overwritten. */
export const MARKER = '<meta name="generator" content="biometrics-mcp evaluate">';

export interface PageSetting {
  readonly version: string;
  /** The folder's own name. */
  readonly folder: string;
  /** A small JPEG of a file, or null where it cannot be shown; undefined: the page shows no photographs. */
  readonly photo: ((file: string) => Promise<Uint8Array | null>) | undefined;
}

/** One file that needs nothing else: no script, no network, and a policy that allows neither. */
export async function pageOf(evaluation: Evaluation, { version, folder, photo }: PageSetting): Promise<string> {
  const { match, liveness, leftOut, provider } = evaluation;
  const [first, second] = sectionsOf(evaluation);
  const sections = [
    ...(match && first ? [{ ...first, tiles: matchTiles(match), body: await matchBody(match, photo) }] : []),
    ...(liveness ? [livenessPart(match === null ? first : second, liveness, await livenessBody(liveness, photo))] : []),
  ];
  const parts = sections.map(
    ({ title, basis, rows, tiles, body }) => `
<section><h2>${title}</h2><p class="basis">${basis}.</p>
<div class="tiles">${tiles.map(tile).join("")}</div>
${body.charts}
${table(rows)}
${body.cases}</section>`,
  );
  const facts = [plain(folder), provider, `biometrics-mcp ${version}`, new Date().toISOString().slice(0, 10)];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">${MARKER}
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex"><meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Evaluation: ${escaped(plain(folder))}</title><style>${STYLE}</style></head>
<body><main>
<header><h1>Evaluation</h1><p class="facts">${facts.map((fact) => `<span>${escaped(fact)}</span>`).join("")}</p></header>
${photo === undefined ? "" : `<p class="note">${PHOTOS_NOTE}</p>`}
${parts.join("\n")}
${leftOut.length === 0 ? "" : leftOutList(leftOut)}
<footer><p>${METHOD}</p></footer>
</main></body></html>
`;
}

type Tile = readonly [name: string, value: string, within: string];

function livenessPart<T>(section: T, evaluation: LivenessEvaluation, body: Body) {
  return { title: "", basis: "", rows: [], ...section, tiles: livenessTiles(evaluation), body };
}

function matchTiles({ comparison: { auc, eer, trueAccepts } }: MatchEvaluation): Tile[] {
  const known = trueAccepts.filter(({ tar }) => tar !== null).at(-1);
  return [
    ["AUC", auc.value.toFixed(4), `${auc.interval.low.toFixed(4)} to ${auc.interval.high.toFixed(4)}`],
    ["EER", percent(eer.value), `${percent(eer.interval.low)} to ${percent(eer.interval.high)}`],
    ...(known?.tar
      ? [
          [
            `TAR at FAR ${percent(known.far)}`,
            percent(known.tar.value),
            `${percent(known.tar.interval.low)} to ${percent(known.tar.interval.high)}`,
          ] as const,
        ]
      : []),
  ];
}

function livenessTiles({ comparison: { auc }, inForce, suggested }: LivenessEvaluation): Tile[] {
  const { threshold, apcer, bpcer, acer } = suggested ?? inForce;
  const at = `at threshold ${threshold}`;
  return [
    ["AUC", auc.value.toFixed(4), `${auc.interval.low.toFixed(4)} to ${auc.interval.high.toFixed(4)}`],
    ["APCER", percent(apcer.value), at],
    ["BPCER", percent(bpcer.value), at],
    ["ACER", percent(acer), at],
  ];
}

const tile = ([name, value, within]: Tile) =>
  `<div class="tile"><span>${name}</span><strong>${value}</strong><small>${within}</small></div>`;

interface Body {
  readonly charts: string;
  readonly cases: string;
}

async function matchBody(match: MatchEvaluation, photo: PageSetting["photo"]): Promise<Body> {
  const names = { genuine: "one person", impostor: "two persons", falseAccepts: "FAR", falseRejects: "FRR" };
  const { comparison, inForce, approval, suggested, falseMatches, falseNonMatches } = match;
  const far = `${percent(inForce.falseAccepts.value)} of the pairs of two persons are above the threshold in force, ${inForce.threshold}`;
  const frr = `${percent(inForce.falseRejects.value)} of the pairs of one person are not above it`;
  return {
    charts: charts(comparison, names, {
      declined: inForce.threshold,
      ...(approval.threshold !== inForce.threshold && { approved: approval.threshold }),
      suggested: suggested?.threshold,
    }),
    cases:
      (await gallery("Most alike of two persons", `${far}.`, falseMatches, photo)) +
      (await gallery("Least alike of one person", `${frr}.`, falseNonMatches, photo)),
  };
}

async function livenessBody(liveness: LivenessEvaluation, photo: PageSetting["photo"]): Promise<Body> {
  const names = { genuine: "live", impostor: "attacks", falseAccepts: "APCER", falseRejects: "BPCER" };
  const { comparison, inForce, suggested, passedAttacks, refusedLive } = liveness;
  return {
    charts: charts(comparison, names, { declined: inForce.threshold, suggested: suggested?.threshold }),
    cases:
      (await gallery("Attacks that look the most alive", "", passedAttacks, photo)) +
      (await gallery("Live people who look the least so", "", refusedLive, photo)),
  };
}

function charts(
  comparison: Comparison,
  names: Names,
  thresholds: Readonly<Record<string, number | undefined>>,
): string {
  const marks = Object.entries(thresholds).flatMap(([name, at]): Mark[] => (at === undefined ? [] : [{ name, at }]));
  const dots = marks.map(({ at, name }): Dot => {
    const { falseAccepts, falseRejects } = comparison.pointAt(at);
    return { name, far: falseAccepts.value, tar: 1 - falseRejects.value };
  });
  const { counts, curve, impostor, genuine } = comparison;
  const legend = `<p class="legend"><span class="genuine">${names.genuine}</span><span class="impostor">${names.impostor}</span></p>`;
  const all = [
    ["Scores", legend + histogram(counts, names, marks)],
    ["ROC", roc(curve, impostor, names, dots)],
    ["DET", det(curve, { genuine, impostor }, names, dots)],
  ] as const;
  return `<div class="charts">${all.map(([title, svg]) => `<figure><figcaption>${title}</figcaption>${svg}</figure>`).join("")}</div>`;
}

function table(rows: readonly Row[]): string {
  const cells = rows.map(({ what, value, within }) => {
    const depth = /^ */.exec(what)?.[0].length ?? 0;
    return `<tr><th scope="row" class="in${depth / 2}">${escaped(what.trim())}</th><td>${escaped(value)}</td><td class="within">${escaped(within)}</td></tr>`;
  });
  return `<div class="scroll"><table><thead><tr><th scope="col">Figure</th><th scope="col">Value</th><th scope="col">95 % interval</th></tr></thead><tbody>${cells.join("")}</tbody></table></div>`;
}

async function gallery(
  title: string,
  text: string,
  cases: readonly Case[],
  photo: PageSetting["photo"],
): Promise<string> {
  const shown: string[] = [];
  for (const { score, files } of cases) {
    const pictures: string[] = [];
    for (const file of files) pictures.push(await picture(file, photo));
    shown.push(`<li><div class="pair">${pictures.join("")}</div><strong>${score.toFixed(2)}</strong></li>`);
  }
  return `<h3>${title}</h3><p>${`${text} Each photograph is shown once.`.trim()}</p><ol class="cases">${shown.join("")}</ol>`;
}

async function picture(file: string, photo: PageSetting["photo"]): Promise<string> {
  const name = escaped(plain(file, 60));
  const caption = `<figcaption title="${name}">${name}</figcaption>`;
  if (photo === undefined) return `<figure>${caption}</figure>`;
  const bytes = await photo(file);
  if (bytes === null) return `<figure><span class="blank">cannot be shown</span>${caption}</figure>`;
  return `<figure><img alt="" src="data:image/jpeg;base64,${Buffer.from(bytes).toString("base64")}">${caption}</figure>`;
}

function leftOutList(leftOut: Evaluation["leftOut"]): string {
  const groups = leftOut.map(({ why, files }) => {
    const items = files.map((file) => `<li>${escaped(plain(file, 200))}</li>`);
    return `<details><summary>${escaped(why)} (${counted(files.length)})</summary><ul>${items.join("")}</ul></details>`;
  });
  return `<section><h2>Left out</h2>${groups.join("")}</section>`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** File names are whatever somebody called them. */
const escaped = (text: string) => text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? "");

const STYLE = `
:root{--bg:#fcfcfb;--card:#fff;--ink:#16181d;--soft:#5c626d;--line:#e3e4e8;--grid:#eceef1;--genuine:#1f6fd6;--impostor:#d9541e;--mark:#3b3f47;--note:#fff6df;--note-ink:#6b4a00}
@media(prefers-color-scheme:dark){:root{--bg:#121417;--card:#1a1d22;--ink:#eceef2;--soft:#a0a7b3;--line:#2c313a;--grid:#262a32;--genuine:#6aa9ff;--impostor:#ff8a5c;--mark:#c9ced8;--note:#33290f;--note-ink:#f3d48a}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 20px 64px}h1{font-size:30px;margin:0}h2{font-size:22px;margin:40px 0 4px}h3{font-size:17px;margin:32px 0 4px}
p{margin:4px 0 12px}.facts,.basis,.within,small,footer{color:var(--soft)}.facts span+span::before{content:" · "}
.note{background:var(--note);color:var(--note-ink);padding:10px 14px;border-radius:8px;margin-top:16px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:12px;margin:16px 0}
.tile,.charts figure{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px;margin:0}
.tile span,.tile small{display:block;font-size:14px}.tile strong{font-size:28px;font-weight:600;font-variant-numeric:tabular-nums}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr));gap:12px}
.charts figure:first-child{grid-column:1/-1}.charts figcaption{font-weight:600}.charts svg{display:block;width:100%;height:auto}
.legend{margin:0;font-size:14px}.legend span{margin-right:16px}.legend span::before{content:"";display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px;background:currentColor}
.legend .genuine{color:var(--genuine)}.legend .impostor{color:var(--impostor)}
svg text{font:12px system-ui,sans-serif;fill:var(--soft)}svg .axis{font-size:12.5px}.grid{stroke:var(--grid)}.guide{stroke:var(--line);stroke-dasharray:4 4}
.curve{fill:none;stroke:var(--genuine);stroke-width:2.2;stroke-linejoin:round}.fill{fill-opacity:.22;stroke-width:1.6}
.genuine.fill{fill:var(--genuine);stroke:var(--genuine)}.impostor.fill{fill:var(--impostor);stroke:var(--impostor)}
.mark{stroke:var(--mark);stroke-width:1.2;stroke-dasharray:5 3}svg .mark-label{fill:var(--ink);paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}
.dot{fill:var(--card);stroke:var(--mark);stroke-width:2}
.scroll{overflow-x:auto;margin-top:16px}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:7px 12px 7px 0;border-bottom:1px solid var(--line);vertical-align:top}tbody th{font-weight:400}thead th{font-size:14px;color:var(--soft)}th.in1{padding-left:18px}th.in2{padding-left:36px}
.cases{list-style:none;padding:0;display:grid;grid-template-columns:repeat(auto-fill,minmax(240px,1fr));gap:12px}
.cases li{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:10px}.pair{display:flex;gap:8px}.pair figure{margin:0;flex:1;min-width:0}
.pair img,.blank{width:100%;height:130px;object-fit:contain;display:grid;place-items:center;background:var(--grid);border-radius:6px;font-size:13px;color:var(--soft)}
.pair figcaption{font-size:12px;color:var(--soft);overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.cases strong{font-variant-numeric:tabular-nums}summary{cursor:pointer}footer{margin-top:40px;font-size:14px}
@media print{.cases li,.charts figure,.tile{break-inside:avoid}}
`.replace(/\n/g, "");
