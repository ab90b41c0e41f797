import { inspect } from "node:util";
import { hideAll } from "./secret.ts";
import { plain } from "./untrusted.ts";

/** Where a program says what its user need not see: standard error, since standard output is the protocol's. */
export type Log = (line: string, detail?: unknown) => void;

const MAX_DETAIL_CHARS = 2000;

/** `secrets` are cut out of everything that is written, wherever they come from and however they are spelled. */
export function createLog(write: (text: string) => void, secrets: readonly string[]): Log {
  const hide = hideAll(secrets);
  return (line, detail) => {
    // Before it is cut short, which could leave half a secret.
    const said = detail === undefined ? "" : `: ${plain(hide(inspect(detail, { depth: 4 })), MAX_DETAIL_CHARS)}`;
    write(`${hide(line)}${said}\n`);
  };
}
