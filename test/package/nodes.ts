import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

export interface NodeBinary {
  readonly title: string;
  /** Undefined: there is none to test with. */
  readonly path: string | undefined;
}

/** The Node that runs the tests, and those that the environment names. */
export const NODES: readonly NodeBinary[] = [
  { title: `this Node, ${process.version}`, path: process.execPath },
  ...["NODE20", "NODE22", "NODE24"].map((name) => {
    const path = process.env[name];
    return { title: path === undefined ? `${name} names no binary` : `${name}, ${versionOf(path, "node")}`, path };
  }),
];

export function versionOf(node: string, part: "node" | "sqlite"): string {
  return execFileSync(node, ["-p", `process.versions.${part} ?? ""`], { encoding: "utf8" }).trim();
}

/** Folders above that could lend a package which is missing, and so hide that it is. */
export function lendersAbove(folder: string): string[] {
  const above = dirname(folder);
  const modules = join(above, "node_modules");
  return [...(existsSync(modules) ? [modules] : []), ...(above === folder ? [] : lendersAbove(above))];
}
