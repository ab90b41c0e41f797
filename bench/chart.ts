export interface Bar {
  readonly label: string;
  readonly value: number;
  readonly unit: string;
}

const ROW = 34;
const TOP = 44;
const BARS_FROM = 250;
const LONGEST = 420;

/** Horizontal bars as an SVG that follows the reader's light or dark scheme. The first bar, ours, stands out. */
export function barChart(title: string, bars: readonly Bar[]): string {
  const most = Math.max(...bars.map(({ value }) => value));
  const height = TOP + bars.length * ROW + 8;
  const told = bars.map(({ label, value, unit }) => `${label}: ${shown(value)} ${unit}`).join("; ");
  const rows = bars.map(({ label, value, unit }, at) => {
    const y = TOP + at * ROW;
    const width = Math.max(2, (LONGEST * value) / most).toFixed(1);
    return `  <text x="${BARS_FROM - 12}" y="${y + 17}" text-anchor="end">${escaped(label)}</text>
  <rect class="${at === 0 ? "ours" : "theirs"}" x="${BARS_FROM}" y="${y}" width="${width}" height="24" rx="3"/>
  <text x="${(BARS_FROM + Number(width) + 8).toFixed(1)}" y="${y + 17}">${shown(value)} ${escaped(unit)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 ${height}" role="img" aria-labelledby="title desc" font-family="ui-sans-serif, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="14">
  <title id="title">${escaped(title)}</title>
  <desc id="desc">${escaped(told)}</desc>
  <style>
    text { fill: #1f2937 } .ours { fill: #2563eb } .theirs { fill: #94a3b8 }
    @media (prefers-color-scheme: dark) { text { fill: #e5e7eb } .ours { fill: #60a5fa } .theirs { fill: #64748b } }
  </style>
  <text x="12" y="24" font-size="16" font-weight="600">${escaped(title)}</text>
${rows.join("\n")}
</svg>
`;
}

const shown = (value: number) => (value < 10 ? value.toFixed(2) : value.toFixed(0));
const escaped = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
