import { brokenApp, openApp } from "./app.ts";
import type { Config } from "./config.ts";
import { CheckError } from "./errors.ts";
import type { Log } from "./log.ts";
import { serveOverStdio } from "./server.ts";

/** Serves MCP over stdio until the client or the operator ends it. */
export async function serve(
  configure: () => Config,
  { log, signal }: { readonly log: Log; readonly signal: AbortSignal },
): Promise<void> {
  const app = tryOpen(configure, log);
  await serveOverStdio(app, log, signal);
  await app.close();
}

/** A host shows a server that does not start as a bare failure; one that answers can say what to correct. */
function tryOpen(configure: () => Config, log: Log) {
  try {
    return openApp(configure());
  } catch (thrown) {
    const fault = CheckError.from(thrown);
    log(fault.toText());
    return brokenApp(fault);
  }
}
