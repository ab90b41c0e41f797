import { inspect } from "node:util";
import { hideAll } from "./secret.ts";
import { plain } from "./untrusted.ts";

/** Writes to standard error: standard output belongs to the protocol. */
export type Log = (line: string, detail?: unknown) => void;

const MAX_DETAIL_CHARS = 2000;

/** `secrets` are removed from every line, whatever their source and encoding. */
export function createLog(write: (text: string) => void, secrets: readonly string[]): Log {
  const hide = hideAll(secrets);
  return (line, detail) => {
    // Before it is cut short, which could leave half a secret.
    const suffix = detail === undefined ? "" : `: ${plain(hide(inspect(detail, { depth: 4 })), MAX_DETAIL_CHARS)}`;
    write(`${hide(line)}${suffix}\n`);
  };
}
