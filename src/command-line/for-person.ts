import { TOOLS } from "../tools/index.ts";

/** The command of a tool: check_liveness is check-liveness, get_balance, which nobody says in a terminal, balance. */
export function commandOf(tool: string): string {
  return tool === "get_setup" ? "doctor" : tool.replace(/^get_/, "").replaceAll("_", "-");
}

const TOOL = new RegExp(`\\b(?:(call) )?(${TOOLS.map(({ name }) => name).join("|")})\\b`, "gi");

/** Stands where a sentence begins anew, until its first letter has become a capital. */
const START = "\u0001";

/** What stands in our sentences for an agent, and how the same is said to the person who would have been asked. */
const TURNS: readonly (readonly [agent: RegExp, person: string])[] = [
  [
    /Tell the user which provider is in use \(get_setup\) and that it cannot do this\./g,
    "get_setup shows the provider.",
  ],
  [/Give the user the link as it is/g, "Open the link"],
  [/After they say that they paid, call get_balance: it alone tells\./g, "After paying, call get_balance."],
  [/the user's own address: ask, never make one up/g, "your own address"],
  [/US dollars, as the user said/g, "US dollars"],
  [/the user copies/g, "copy"],
  [/the user of this server owns/g, "you own"],
  [/the user's /g, "your "],
  [/another selfie, and for /g, "another selfie, and "],
  [/Or to move it away and to call/g, "Or move it away and call"],
  [/Ask the user whether to /g, "Decide whether to "],
  [/Ask the user whether /g, "Check whether "],
  [/Ask the user for /g, "Use "],
  [/, so ask the user before repeating it/g, ", so repeat it only if you accept that"],
  [/Tell the user that ([^,.]*), then /g, `${START}$1. Then `],
  [/(?:Ask the user to |Tell the user(?: that |: | to |\. ))/g, START],
  [/(?:ask|tell) the user to /g, ""],
  [/their database administrator/g, "your database administrator"],
  [/ of theirs/g, " of yours"],
  [/that they trust/g, "that you trust"],
  [/of this server, then restart it/g, ""],
  [/then (?:to )?restart this server/g, "then try again"],
  [/restart this server/g, "try again"],
  [/this server's user/g, "you"],
  [/this server/g, "biometrics-mcp"],
  [/(?:Repeat the call|Call again)/g, "Run the command again"],
  [/(?:repeat the call|call again)/g, "run the command again"],
  [/(with(?:out)?) (save|blocklisted)(?: true)?\b/g, "$1 --$2"],
  [/the tool (?=top_up)/g, ""],
];

/** Orders that follow the first, which are infinitives as long as somebody is asked: "to correct it, or to leave it". */
const ORDERS = /(?:Ask|Tell) the user to (?:[^.:]|[.:](?! |$))*/g;

/** Sentences of ours as the person at a terminal reads them: the one place that turns what is written for an agent. */
export function forPerson(text: string): string {
  const ordered = text.replace(ORDERS, (orders) => orders.replace(/\b(and|or|then) to (?=[a-z])/g, "$1 "));
  return TURNS.reduce((said, [agent, person]) => said.replace(agent, person), ordered)
    .replaceAll(new RegExp(`${START}(.)`, "g"), (_, letter: string) => letter.toUpperCase())
    .replace(TOOL, (_, call: string | undefined, tool: string) => {
      const run = call === undefined ? "" : call.startsWith("C") ? "Run " : "run ";
      return `${run}biometrics-mcp ${commandOf(tool)}`;
    });
}
