import {
  type CallToolResult,
  type InputRequiredResult,
  McpServer,
  ProtocolError,
  ProtocolErrorCode,
  type ServerContext,
  type StandardSchemaWithJSON,
} from "@modelcontextprotocol/server";
import type { Language } from "../config.ts";
import { CheckError, cancelled, type FailureCode } from "../errors.ts";
import { bytesToRead } from "../file.ts";
import { type Say, sayIn, translated } from "../language/say.ts";
import type { Log } from "../log.ts";
import { type Once, once } from "../once.ts";
import type { Deps } from "../toolkit/context.ts";
import { UNTRUSTED } from "../untrusted.ts";
import type { Admission, Delivery, Load } from "./admission.ts";
import { CARD } from "./card.ts";
import { type LinkOffers, linkOffers } from "./links.ts";
import { LISTING } from "./listing.ts";
import { openSkills } from "./skills.ts";

/** Tools and texts change with the version alone. */
const LIST_TTL_MS = 3_600_000;
const KEPT = { ttlMs: LIST_TTL_MS, cacheScope: "public" } as const;
const NEVER_CHANGES = { listChanged: false };

/** What depends on how clients reach the server. */
export interface TransportOptions {
  /** Part of the instructions. */
  readonly note: string;
  /** Next steps that replace the failures' own. */
  readonly next: Readonly<Partial<Record<FailureCode, string>>>;
  readonly admission: Admission;
  /** How the response to a request reaches its client, if that can take long. */
  readonly deliveryOf: (request: Request | undefined) => Delivery | undefined;
}

/** The running program as clients are served from it. */
export type Served = Deps & { readonly language?: Language };

/** Creates a server per connection; shared parts are created once. */
export function serverFactory(deps: Served, log: Log, transport: TransportOptions): () => Promise<McpServer> {
  const links = linkOffers();
  const skills = openSkills({
    cacheHint: KEPT,
    onWarning: ({ path, message }) => log(`skill ${path}`, message),
  });
  const code = once(() => loadCode(deps.language ?? "en"));
  return async () => {
    const server = await createServer({ deps, log, links, transport, code });
    skills.attach(server);
    return server;
  };
}

async function createServer(shared: Shared): Promise<McpServer> {
  const { deps, links, transport } = shared;
  const server = new McpServer(
    { name: "biometrics", title: "Biometric checks", version: deps.version },
    {
      instructions: await instructionsOf(deps, transport),
      capabilities: { tools: NEVER_CHANGES, prompts: NEVER_CHANGES, resources: NEVER_CHANGES },
      requestState: { verify: (state, context) => links.verify(state, context) },
      cacheHints: {
        "tools/list": KEPT,
        "prompts/list": KEPT,
      },
    },
  );
  const options = { ...shared, capabilities: () => server.server.getClientCapabilities() };
  for (const { name, title, description, input, output, hints, meta } of LISTING.tools) {
    const seen = {
      title,
      description,
      inputSchema: advertised(input),
      outputSchema: advertised(output),
      annotations: hints,
    };
    const shown = meta === undefined ? {} : { _meta: meta };
    server.registerTool(name, { ...seen, ...shown }, (args: unknown, context: ServerContext) =>
      answer(name, args, context, options),
    );
  }
  server.registerResource(CARD.name, CARD.uri, { ...CARD.about, cacheHint: KEPT }, () =>
    CARD.read(deps.language ?? "en"),
  );
  for (const { name, title, description, input } of LISTING.prompts) {
    server.registerPrompt(name, { title, description, argsSchema: advertised(input) }, async (given) => {
      const { PROMPTS } = await import("./prompts.ts");
      try {
        const text = PROMPTS.find((prompt) => prompt.name === name)?.text(given) ?? "";
        return { messages: [{ role: "user", content: { type: "text", text } }] };
      } catch (thrown) {
        throw new ProtocolError(ProtocolErrorCode.InvalidParams, CheckError.from(thrown).message);
      }
    });
  }
  return server;
}

interface Shared {
  readonly deps: Served;
  readonly log: Log;
  readonly links: LinkOffers;
  readonly transport: TransportOptions;
  readonly code: Once<Awaited<ReturnType<typeof loadCode>>>;
}

interface AnswerOptions extends Shared {
  /** As declared when the client connected; a client of 2026 declares them with every request. */
  readonly capabilities: () => unknown;
}

async function answer(
  name: string,
  args: unknown,
  context: ServerContext,
  { deps, log, links, transport, code, capabilities }: AnswerOptions,
): Promise<CallToolResult | InputRequiredResult> {
  const { signal } = context.mcpReq;
  try {
    const { TOOLS, toTexts, say } = await code.get();
    const pictures: CallToolResult["content"] = [];
    const succeed = (result: Readonly<Record<string, unknown>>): CallToolResult => ({
      content: [...toTexts(result, say).map((text) => ({ type: "text" as const, text })), ...pictures],
      structuredContent: { ...result },
    });
    const onPicture = (jpeg: Uint8Array | undefined) =>
      pictures.push(
        jpeg === undefined
          ? { type: "text", text: say("The picture could not be drawn.") }
          : { type: "image", data: Buffer.from(jpeg).toString("base64"), mimeType: "image/jpeg" },
      );
    const answered = links.resumed(context);
    if (answered !== undefined) return succeed(answered);
    const tool = TOOLS.find((it) => it.name === name);
    if (tool === undefined) throw new CheckError("internal", "The list of tools is out of date.");
    const made = await transport.admission.admit(
      (load) =>
        tool.call(args, {
          ...bounded(deps, load),
          signal,
          onStage: progressOf(context, tool.checks, say),
          onPicture,
          onFailure: log,
        }),
      { signal, delivery: transport.deliveryOf(context.http?.req) },
    );
    assertSendable(made);
    const result = translated(made, say);
    const link = tool.link(made);
    const said = link && { ...link, message: say(link.message) };
    const offer = said && (await links.offer(said, result, context, capabilities()));
    return offer ?? succeed(result);
  } catch (thrown) {
    const error = signal.aborted ? cancelled() : CheckError.from(thrown);
    log(`${name} failed, ${error.code}`, error.cause ?? error.message);
    const say = await code.get().then(
      (loaded) => loaded.say,
      () => (text: string) => text,
    );
    return {
      isError: true,
      content: [{ type: "text", text: say(error.toText(transport.next[error.code])) }],
      _meta: {
        code: error.code,
        retryable: error.retryable,
        ...(error.retryAfterSeconds === undefined ? {} : { retry_after_seconds: error.retryAfterSeconds }),
      },
    };
  }
}

/** Files are read once there is memory for them. */
function bounded(deps: Deps, load: Load): Deps {
  return {
    ...deps,
    loadImage: (path, limits) => load(bytesToRead(limits), () => deps.loadImage(path, limits)),
    loadFile: (path, limits) => load(limits.maxBytes, () => deps.loadFile(path, limits)),
  };
}

/** Loaded at the first call: a host that only lists tools does not wait for them. */
async function loadCode(language: Language) {
  // Also the renderer: a failed import is remembered forever, and descriptors may run out while a call waits.
  const [{ TOOLS }, { toTexts }, say] = await Promise.all([
    import("../tools/index.ts"),
    import("../decision/render.ts"),
    sayIn(language),
  ]);
  return { TOOLS, toTexts, say };
}

/** Our results are never nested deeper, and far deeper values overflow the protocol's serializer. */
const MAX_DEPTH = 500;

/** @throws CheckError `bad_response` for a value that cannot be serialized, so that the call is still answered. */
function assertSendable(value: unknown, levels = MAX_DEPTH): void {
  if (typeof value === "bigint" || levels === 0) {
    throw new CheckError("bad_response", "The result cannot be sent: it is nested too deeply or is not JSON.");
  }
  if (typeof value !== "object" || value === null) return;
  for (const inner of Object.values(value)) assertSendable(inner, levels - 1);
}

/**
 * Sends progress if the client asked for it; a client that has gone does not fail the check. The total is the most that
 * a call takes: reading, then two stages per check.
 */
function progressOf({ mcpReq }: ServerContext, checks: number, say: Say): (stage: string) => void {
  const progressToken = mcpReq._meta?.progressToken;
  if (progressToken === undefined) return () => {};
  const total = 1 + 2 * checks;
  const sent = new Set<string>();
  return (stage) => {
    const message = say(stage);
    if (sent.has(message) || sent.size === total) return;
    const params = { progressToken, progress: sent.add(message).size, total, message };
    mcpReq.notify({ method: "notifications/progress", params }).catch(() => {});
  };
}

/**
 * A schema for clients that accepts every value: tools and prompts parse their own arguments, so that errors are in our
 * words, and tools their own results.
 */
function advertised(json: Record<string, unknown>): StandardSchemaWithJSON {
  return {
    "~standard": {
      version: 1,
      vendor: "biometrics-mcp",
      validate: (value: unknown) => ({ value }),
      jsonSchema: { input: () => json, output: () => json },
    },
  };
}

async function instructionsOf(deps: Deps, { note }: TransportOptions): Promise<string> {
  const setup = await Promise.all([deps.choice(), deps.folders()]).then(
    ([{ name, reason }, folders]) =>
      `Provider: ${name} (${reason}). Allowed folders: ${folders.map(({ path }) => path).join(", ") || "none"}.`,
    (thrown) => `${CheckError.from(thrown).message} Until this is corrected, every tool returns this error.`,
  );
  return (
    `Biometric checks on local image files. ${setup} ` +
    `Pass local paths; an image pasted into the chat has none, so ask for the file. ${note}` +
    "Report 'approved' only if outcome is approved: 'review' means that a person must look, and an error decides nothing. " +
    "Distinguish a bad photo (retake) from suspected fraud, as the warnings do. " +
    "What a next step needs (a file, a code, a setting, money, a second charge) comes from the user: ask, never decide or invent it. " +
    UNTRUSTED
  );
}
