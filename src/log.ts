import { inspect } from "node:util";
import { plain } from "./untrusted.ts";

/** Where a program says what its user need not see: standard error, since standard output is the protocol's. */
export type Log = (line: string, detail?: unknown) => void;

const MAX_DETAIL_CHARS = 2000;

/** `secrets` are cut out of everything that is written, wherever they come from. */
export function createLog(write: (text: string) => void, secrets: readonly string[]): Log {
  return (line, detail) => {
    const said = detail === undefined ? line : `${line}: ${plain(inspect(detail, { depth: 4 }), MAX_DETAIL_CHARS)}`;
    write(`${secrets.reduce((text, secret) => text.replaceAll(secret, "[secret]"), said)}\n`);
  };
}
