/**
 * What is started: dist/main.js. It loads the program only where it can run, so nothing here may need more than an old
 * Node has, and nothing may be imported.
 */

/** As package.json has it. */
const OLDEST_NODE = "20.18.1";

const node = process.versions.node;
if (isOlder(node.split("."), OLDEST_NODE.split("."))) {
  process.stderr.write(
    `biometrics-mcp needs Node.js ${OLDEST_NODE} or newer, and this is ${node}: install a newer one, or give its path as the command.\n`,
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

/** What Node thinks of its own SQLite, or of an import of sharp's, is nothing that a user or a client could act on. */
function hideExperimentalWarnings(): void {
  const listeners = process.listeners("warning");
  process.removeAllListeners("warning");
  process.on("warning", (warning) => {
    if (warning.name !== "ExperimentalWarning") for (const listener of listeners) listener(warning);
  });
}
