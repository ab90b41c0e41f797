import { TOOLS } from "../tools/index.ts";

/** The command of a tool: check-liveness for check_liveness, balance for get_balance. */
export function commandOf(tool: string): string {
  return tool === "get_setup" ? "doctor" : tool.replace(/^get_/, "").replaceAll("_", "-");
}

const TOOL = new RegExp(`\\b(?:(call) )?(${TOOLS.map(({ name }) => name).join("|")})\\b`, "gi");

/** Marks the start of a new sentence until its first letter has been capitalised. */
const START = "\u0001";

/** Phrases for an agent, and the same for the person who would have been asked. */
const TURNS: readonly (readonly [agent: RegExp, person: string])[] = [
  [/Give the user the link unchanged/g, "Open the link"],
  [/Once the user says that they have paid, call get_balance\./g, "After paying, call get_balance."],
  [/the user's own address: ask, never invent one/g, "your own address"],
  [/US dollars, as stated by the user/g, "US dollars"],
  [/the user copies/g, "copy"],
  [/the user of this server owns/g, "you own"],
  [/the user's /g, "your "],
  [/another selfie, and for /g, "another selfie, and "],
  [/Or to move it away and to call/g, "Or move it away and call"],
  [/Ask the user whether to /g, "Decide whether to "],
  [/Ask the user whether /g, "Check whether "],
  [/Ask the user for /g, "Use "],
  [/, so ask the user before retrying/g, ", so retry only if you accept that"],
  [/(?:Ask the user to |Tell the user(?: that |: | to |\. ))/g, START],
  [/(?:ask|tell) the user to /g, ""],
  [/their database administrator/g, "your database administrator"],
  [/ of theirs/g, " of yours"],
  [/that they trust/g, "that you trust"],
  [/then (?:to )?restart this server/g, "then try again"],
  [/restart this server/g, "try again"],
  [/this server's user/g, "you"],
  [/this server/g, "biometrics-mcp"],
  [/(with(?:out)?) (save|blocklisted|rotate)(?:: true)?\b/g, "$1 --$2"],
  [/\bblocklisted: true/g, "--blocklisted"],
  [/the tool (?=top_up)/g, ""],
];

/** Further infinitives of a request to the user ("to correct it, or to leave it"), which become imperatives. */
const ORDERS = /(?:Ask|Tell) the user to (?:[^.:]|[.:](?! |$))*/g;

/** Rewrites a sentence for an agent for the person at a terminal. No other code does. */
export function forPerson(text: string): string {
  const ordered = text.replace(ORDERS, (orders) => orders.replace(/\b(and|or|then) to (?=[a-z])/g, "$1 "));
  return TURNS.reduce((said, [agent, person]) => said.replace(agent, person), ordered)
    .replaceAll(new RegExp(`${START}(.)`, "g"), (_, letter: string) => letter.toUpperCase())
    .replace(TOOL, (_, call: string | undefined, tool: string) => {
      const run = call === undefined ? "" : call.startsWith("C") ? "Run " : "run ";
      return `${run}biometrics-mcp ${commandOf(tool)}`;
    });
}
