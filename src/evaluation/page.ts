import { plain } from "../untrusted.ts";
import type { Case } from "./cases.ts";
import { type Dot, det, histogram, type Mark, type Names, roc } from "./charts.ts";
import type { Evaluation } from "./evaluate.ts";
import { counted, METHOD, percent, type Row, sectionsOf } from "./figures.ts";
import { documentOf, escaped, figureOf, markerOf } from "./html.ts";
import type { LivenessEvaluation } from "./liveness.ts";
import type { MatchEvaluation } from "./match.ts";
import type { Comparison } from "./statistics.ts";

const GENERATOR = "biometrics-mcp evaluate";
/** Says whose page it is, so that no other file is overwritten. */
export const MARKER = markerOf(GENERATOR);

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
  return documentOf({
    generator: GENERATOR,
    title: "Evaluation",
    name: plain(folder),
    facts: [provider, `biometrics-mcp ${version}`],
    hasPhotos: photo !== undefined,
    style: STYLE,
    body: `${parts.join("\n")}
${leftOut.length === 0 ? "" : leftOutList(leftOut)}
<footer><p>${METHOD}</p></footer>`,
  });
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
  const kinds = { genuine: "one person", impostor: "two persons" };
  const names = { ...kinds, falseAccepts: "FAR", falseRejects: "FRR", trueAccepts: "TAR" };
  const { comparison, inForce, approval, suggested, falseMatches, falseNonMatches } = match;
  const far = `${percent(inForce.falseAccepts.value)} of the pairs of two persons are above the threshold in force, ${inForce.threshold}. A high score may also mean that one person is filed under two names`;
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
  const kinds = { genuine: "live", impostor: "attacks" };
  const names = { ...kinds, falseAccepts: "APCER", falseRejects: "BPCER", trueAccepts: "1 − BPCER" };
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

const picture = async (file: string, photo: PageSetting["photo"]) =>
  figureOf(file, photo === undefined ? undefined : await photo(file));

function leftOutList(leftOut: Evaluation["leftOut"]): string {
  const groups = leftOut.map(({ why, files }) => {
    const items = files.map((file) => `<li>${escaped(plain(file, 200))}</li>`);
    return `<details><summary>${escaped(why)} (${counted(files.length)})</summary><ul>${items.join("")}</ul></details>`;
  });
  return `<section><h2>Left out</h2>${groups.join("")}</section>`;
}

const STYLE = `
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:12px;margin:16px 0}
.tile,.charts figure{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px;margin:0}
.tile span,.tile small{display:block;font-size:14px}.tile strong{font-size:28px;font-weight:600;font-variant-numeric:tabular-nums}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr));gap:12px}
.charts figure:first-child{grid-column:1/-1;overflow-x:auto}.charts figure:first-child svg{min-width:700px}.charts figcaption{font-weight:600}.charts svg{display:block;width:100%;height:auto}
.legend{margin:0;font-size:14px}.legend span{margin-right:16px}.legend span::before{content:"";display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px;background:currentColor}
.legend .genuine{color:var(--genuine)}.legend .impostor{color:var(--impostor)}
svg text{font:12px system-ui,sans-serif;fill:var(--soft)}svg .axis{font-size:12.5px}.grid{stroke:var(--grid)}.guide{stroke:var(--line);stroke-dasharray:4 4}
.curve{fill:none;stroke:var(--genuine);stroke-width:2.2;stroke-linejoin:round}.fill{fill-opacity:.22;stroke-width:1.6}
.genuine.fill{fill:var(--genuine);stroke:var(--genuine)}.impostor.fill{fill:var(--impostor);stroke:var(--impostor)}
.mark{stroke:var(--mark);stroke-width:1.2;stroke-dasharray:5 3}svg .mark-label{fill:var(--ink);paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}
.dot{fill:var(--card);stroke:var(--mark);stroke-width:2}
@media print{.cases li,.charts figure,.tile{break-inside:avoid}}
`.replace(/\n/g, "");
