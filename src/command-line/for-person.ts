import { TOOLS } from "../tools/index.ts";

/** The command of a tool: check-liveness for check_liveness, balance for get_balance. */
export function commandOf(tool: string): string {
  return tool === "get_setup" ? "doctor" : tool.replace(/^get_/, "").replaceAll("_", "-");
}

const TOOL = new RegExp(`\\b(?:(call) )?(${TOOLS.map(({ name }) => name).join("|")})\\b`, "gi");

/** An argument that is set or left out. */
const ARGUMENT = /\b([a-z_]+): true\b|(?<=\bRetry without |去掉 )([a-z_]+)/g;

/** What only concerns whoever asks a user, or runs a server. */
const NOT_HERE = /: ask, never invent it|, then restart the server|，然后重启服务器/g;

/** Our sentences on a terminal: commands for tools, flags for arguments. No other code does this. */
export function forPerson(text: string): string {
  return text
    .replace(NOT_HERE, "")
    .replace(ARGUMENT, (_, set: string | undefined, omitted = "") => `--${(set ?? omitted).replaceAll("_", "-")}`)
    .replace(TOOL, (_, call: string | undefined, tool: string) => {
      const run = call === undefined ? "" : call.startsWith("C") ? "Run " : "run ";
      return `${run}biometrics-mcp ${commandOf(tool)}`;
    })
    .replace(/调用(?= biometrics-mcp )/g, "运行");
}
