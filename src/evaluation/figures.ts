import { plain } from "../untrusted.ts";
import type { Evaluation } from "./evaluate.ts";
import type { LivenessEvaluation, LivenessPoint } from "./liveness.ts";
import type { MatchEvaluation } from "./match.ts";
import { type Comparison, type Estimate, type Interval, neededFor, type OperatingPoint } from "./statistics.ts";

// The figures of an evaluation in words: for the terminal, for the page, for a script.

/** A table: what, how much, and within which interval. */
export interface Row {
  readonly what: string;
  readonly value: string;
  /** 95 %; or what there is to say instead. */
  readonly within: string;
}

export interface Section {
  readonly title: string;
  /** What the figures rest on. */
  readonly basis: string;
  readonly rows: readonly Row[];
}

/** How the intervals were made. */
export const METHOD =
  "All intervals are 95 %. For AUC and EER: bootstrap over persons (for liveness, over images), 200 resamplings. " +
  "For TAR, FAR and FRR: the wider of that and Wilson's. For APCER and BPCER: Wilson's. " +
  "With fewer than about 30 persons they are rough. A threshold does a little better on the images it was chosen on than on others.";

/** What is saved with `--save`, as the settings have it. */
export function suggestionsOf({ match, liveness }: Evaluation) {
  return {
    ...(match?.suggested && { BIOMETRICS_MATCH_THRESHOLD: String(match.suggested.threshold) }),
    ...(liveness?.suggested && { BIOMETRICS_LIVENESS_THRESHOLD: String(liveness.suggested.threshold) }),
  };
}

export function sectionsOf({ match, liveness }: Evaluation): Section[] {
  return [...(match === null ? [] : [matchSection(match)]), ...(liveness === null ? [] : [livenessSection(liveness)])];
}

function matchSection({ persons, images, comparison, inForce, approval, suggested }: MatchEvaluation): Section {
  const pairs = `${counted(comparison.genuine)} pairs of one person, ${counted(comparison.impostor)} of two`;
  return {
    title: "Face match",
    basis: `${counted(persons)} persons, ${counted(images)} images: ${pairs}`,
    rows: [
      ...separationRows(comparison),
      ...comparison.trueAccepts.map(({ far, tar, threshold }) => ({
        what: `TAR at FAR ${percent(far)}`,
        ...(tar === null
          ? { value: "not known", within: `it takes ${counted(neededFor(far))} pairs of two persons` }
          : { value: `${percent(tar.value)} at threshold ${threshold}`, within: range(tar.interval) }),
      })),
      ...pointRows("Threshold in force", inForce),
      ...(approval.threshold === inForce.threshold ? [] : pointRows("Approved above, reviewed up to", approval)),
      ...(suggested === null
        ? [
            {
              what: "Suggested threshold",
              value: "none",
              within: `it takes ${counted(neededFor(0.01))} pairs of two persons`,
            },
          ]
        : pointRows(`Threshold suggested for FAR ${percent(suggested.far)}`, suggested)),
    ],
  };
}

function livenessSection({ live, attacks, comparison, inForce, suggested }: LivenessEvaluation): Section {
  return {
    title: "Liveness",
    basis: `${counted(live)} live images, ${counted(attacks)} attacks`,
    rows: [
      ...separationRows(comparison),
      ...livenessRows("in force", inForce),
      ...(suggested === null
        ? [
            {
              what: "Suggested threshold",
              value: "none",
              within: "it takes 30 live images, and a BPCER of 10 % at one",
            },
          ]
        : livenessRows("suggested for BPCER 10 %", suggested)),
    ],
  };
}

const separationRows = ({ auc, eer }: Comparison): Row[] => [
  { what: "AUC", value: auc.value.toFixed(4), within: range(auc.interval, (it) => it.toFixed(4)) },
  { what: "EER", value: `${percent(eer.value)} at threshold ${eer.threshold}`, within: range(eer.interval) },
];

const pointRows = (what: string, { threshold, falseAccepts, falseRejects }: OperatingPoint): Row[] => [
  { what, value: String(threshold), within: "" },
  rateRow("  FAR (pairs of two above it)", falseAccepts),
  rateRow("  FRR (pairs of one not above it)", falseRejects),
];

const livenessRows = (which: string, { threshold, apcer, bpcer, acer, byAttack }: LivenessPoint): Row[] => [
  { what: `Threshold ${which}`, value: String(threshold), within: "" },
  rateRow(`  APCER (attacks above it${byAttack.length > 1 ? `; worst: ${plain(apcer.attack, 30)}` : ""})`, apcer),
  ...(byAttack.length > 1 ? byAttack : []).map((attack) =>
    rateRow(`    ${plain(attack.attack, 30)}, ${counted(attack.images)} images`, attack),
  ),
  rateRow("  BPCER (live not above it)", bpcer),
  { what: "  ACER", value: percent(acer), within: "" },
];

const rateRow = (what: string, { value, interval }: Estimate): Row => ({
  what,
  value: percent(value),
  within: range(interval),
});

export const counted = (count: number) => count.toLocaleString("en");

/** Two decimals; of less than a tenth, two digits. */
export function percent(rate: number): string {
  const value = 100 * rate;
  return `${Number(value >= 0.1 ? value.toFixed(2) : value.toPrecision(2))} %`;
}

const range = ({ low, high }: Interval, show = percent) => `${show(low)} to ${show(high)}`;

/** For a terminal. */
export function describe(evaluation: Evaluation): string {
  const sections = sectionsOf(evaluation).map(({ title, basis, rows }) => {
    const [wide, wider] = [widest(rows.map(({ what }) => what)), widest(rows.map(({ value }) => value))];
    const lines = rows.map(({ what, value, within }) =>
      `  ${what.padEnd(wide)}  ${value.padEnd(wider)}  ${within}`.trimEnd(),
    );
    return [`${title}: ${basis}`, ...lines].join("\n");
  });
  const left = evaluation.leftOut.map(({ why, files }) => {
    const named = files.slice(0, 5).map((file) => plain(file, 120));
    const rest = files.length > named.length ? `, and ${counted(files.length - named.length)} more` : "";
    return `  ${why} (${counted(files.length)}) ${named.join(", ")}${rest}`;
  });
  return [
    `Evaluation with ${evaluation.provider}`,
    ...sections,
    ...(left.length === 0 ? [] : [["Left out:", ...left].join("\n")]),
    METHOD,
  ].join("\n\n");
}

const widest = (texts: readonly string[]) => Math.max(...texts.map((text) => text.length));

/** For a script: figures without curves. */
export function toJson(evaluation: Evaluation) {
  const { provider, match, liveness, leftOut } = evaluation;
  return {
    provider,
    match: match && {
      persons: match.persons,
      images: match.images,
      ...separationJson(match.comparison),
      in_force: pointJson(match.inForce),
      approved: pointJson(match.approval),
      tar_at_far: match.comparison.trueAccepts,
      suggested: match.suggested && { for_far: match.suggested.far, ...pointJson(match.suggested) },
      worst_false_matches: match.falseMatches,
      worst_false_non_matches: match.falseNonMatches,
    },
    liveness: liveness && {
      live: liveness.live,
      attacks: liveness.attacks,
      ...separationJson(liveness.comparison),
      in_force: livenessJson(liveness.inForce),
      suggested: liveness.suggested && livenessJson(liveness.suggested),
      worst_attacks: liveness.passedAttacks,
      worst_live: liveness.refusedLive,
    },
    left_out: leftOut,
    suggested_settings: suggestionsOf(evaluation),
    method: METHOD,
  };
}

const separationJson = ({ genuine, impostor, auc, eer }: Comparison) => ({
  scores: { genuine, impostor },
  auc,
  eer,
});

const pointJson = ({ threshold, falseAccepts, falseRejects }: OperatingPoint) => ({
  threshold,
  far: falseAccepts,
  frr: falseRejects,
});

const livenessJson = ({ threshold, apcer, bpcer, acer, byAttack }: LivenessPoint) => ({
  threshold,
  apcer,
  bpcer,
  acer,
  by_attack: byAttack,
});
