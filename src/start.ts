/**
 * The entry point, dist/main.js. It loads the program only where it can run, so this file uses nothing that an old Node
 * lacks, and imports nothing.
 */

/** As package.json has it. */
const OLDEST_NODE = "20.18.1";

const node = process.versions.node;
if (isOlder(node.split("."), OLDEST_NODE.split("."))) {
  process.stderr.write(
    `biometrics-mcp needs Node.js ${OLDEST_NODE} or newer; this is ${node}. Install a newer one, or use its path as the command.\n`,
  );
  process.exitCode = 1;
} else {
  hideExperimentalWarnings();
  import("./main.ts");
}

function isOlder(parts: readonly string[], oldest: readonly string[]): boolean {
  const at = oldest.findIndex((part, i) => part !== parts[i]);
  return at >= 0 && Number(parts[at]) < Number(oldest[at]);
}

/** A user or client cannot act on Node's warnings about its own SQLite or an import of sharp's. */
function hideExperimentalWarnings(): void {
  const listeners = process.listeners("warning");
  process.removeAllListeners("warning");
  process.on("warning", (warning) => {
    if (warning.name !== "ExperimentalWarning") for (const listener of listeners) listener(warning);
  });
}
