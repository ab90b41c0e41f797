import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { diditRoutes } from "./stand-in/didit.ts";
import { parseForm, sniff, type UploadedFile } from "./stand-in/multipart.ts";

export { DIDIT } from "./stand-in/didit.ts";

/** The key that a stand-in accepts. */
export const API_KEY = "test-key-abcdef-123456";

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Sent as it is, instead of a body. */
  readonly text?: string;
}

/** What the server does with a request; without a status it answers what its routes say. */
export interface Behaviour extends Partial<Answer> {
  /** Waits before it answers. */
  readonly delayMs?: number;
  /** Sends the body in small pieces. */
  readonly drip?: { readonly chunkBytes: number; readonly everyMs: number };
  /** Never answers. */
  readonly hang?: true;
  /** Closes the socket at the headers, after the body, or half way through the answer. */
  readonly drop?: "before body" | "after body" | "mid answer";
}

export interface Received {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly fields: Readonly<Record<string, string>>;
  readonly files: Readonly<Record<string, UploadedFile>>;
  /** What a strict server finds wrong with the request, whether or not it was answered. */
  readonly faults: readonly string[];
  /** Settles when the caller hangs up before it has its answer (true), or has it (false). */
  readonly abandoned: Promise<boolean>;
}

export interface Route {
  readonly method: string;
  readonly path: string;
  /** Expects multipart/form-data, which is then parsed strictly. */
  readonly form?: true;
  readonly answer: (request: Received) => Answer;
}

export interface StandIn {
  /** Without a slash at its end. */
  readonly url: string;
  readonly received: readonly Received[];
  /** The behaviours of the next requests, one each; after them the routes rule again. */
  next(...behaviours: Behaviour[]): void;
  /** The behaviour of every request for which there is no `next`. */
  always(behaviour: Behaviour | undefined): void;
  /** Closes the kept-alive connections on which nothing is under way. */
  dropIdle(): void;
  close(): Promise<void>;
}

interface StandInOptions {
  readonly apiKey?: string;
  readonly port?: number;
  /** Default: Didit's. */
  readonly routes?: readonly Route[];
  /** For a benchmark: reads the request, checks nothing, answers this. */
  readonly blindly?: Answer;
  /** And lets it wait so long. */
  readonly thinkingMs?: number;
}

/** A real HTTP server in the place of a provider's API, on the loopback, which checks and records what it is sent. */
export async function standIn(options: StandInOptions = {}): Promise<StandIn> {
  const { apiKey = API_KEY, routes = diditRoutes(apiKey), port = 0, blindly, thinkingMs = 0 } = options;
  const received: Received[] = [];
  const planned: Behaviour[] = [];
  let standing: Behaviour | undefined;

  async function serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    if (blindly !== undefined) {
      message.resume().on("end", () => {
        if (thinkingMs === 0) reply(response, blindly);
        else setTimeout(reply, thinkingMs, response, blindly);
      });
      return;
    }
    const behaviour = planned.shift() ?? standing ?? {};
    const { drop, hang, delayMs = 0, drip, status } = behaviour;
    if (drop === "before body") {
      received.push({ ...(await record(message, response, Buffer.alloc(0), undefined)), faults: [] });
      message.socket.destroy();
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of message) chunks.push(chunk as Buffer);
    const path = new URL(message.url ?? "/", "http://stand.in").pathname;
    const route = routes.find((it) => it.method === message.method && fits(it.path, path));
    const request = await record(message, response, Buffer.concat(chunks), route);
    received.push(request);

    if (hang) return;
    if (drop === "mid answer") {
      response
        .writeHead(status ?? 200, { "content-type": "application/json", "content-length": "1000" })
        .write('{"request_id": "');
      await pause(20);
    }
    if (drop !== undefined) {
      message.socket.destroy();
      return;
    }
    if (delayMs > 0) await pause(delayMs);
    await reply(response, status === undefined ? (route?.answer(request) ?? notFound) : { ...behaviour, status }, drip);
  }

  const server = createServer((message, response) => {
    // A caller who hangs up ends the reading; there is nobody left to answer.
    serve(message, response).catch(() => message.socket.destroy());
  });
  await new Promise<void>((ready) => server.listen(port, "127.0.0.1", ready));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    next: (...behaviours) => void planned.push(...behaviours),
    always: (behaviour) => {
      standing = behaviour;
    },
    dropIdle: () => server.closeIdleConnections(),
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

/** `{...}` in a route stands for one part of a path. */
function fits(route: string, path: string): boolean {
  const [parts, given] = [route.split("/"), path.split("/")];
  return parts.length === given.length && parts.every((part, at) => part === given[at] || /^\{.+\}$/.test(part));
}

const notFound: Answer = { status: 404, headers: { "content-type": "text/html" }, text: "<h1>Not Found</h1>" };

async function record(
  message: IncomingMessage,
  response: ServerResponse,
  body: Buffer,
  route: Route | undefined,
): Promise<Received> {
  const { method = "", url = "", headers } = message;
  const form = route?.form ? parseForm(headers["content-type"], body) : { fields: {}, files: {}, faults: [] };
  const faults = [...form.faults, ...Object.values(form.files).flatMap(faultsOf)];
  if (route === undefined) faults.push(`there is no ${method} ${url}`);
  if (route?.form && headers["content-length"] === undefined) faults.push("the length of the body is not declared");
  if (route?.form && !(await isReadByFetch(headers["content-type"], body)))
    faults.push("the fetch parser refuses the form");
  const abandoned = new Promise<boolean>((settle) => response.on("close", () => settle(!response.writableFinished)));
  return { method, path: url, headers, body, fields: form.fields, files: form.files, faults, abandoned };
}

function faultsOf({ field, fileName, mime, bytes }: UploadedFile): string[] {
  const real = sniff(bytes);
  return [
    ...(mime === (real?.mime ?? mime) ? [] : [`${field} is declared as ${mime}, but is ${real?.mime}`]),
    ...(fileName === `${field}.${real?.extension ?? "bin"}` ? [] : [`${field} is sent under the name ${fileName}`]),
  ];
}

/** A second opinion on the form, by the parser of the platform. */
async function isReadByFetch(contentType: string | undefined, body: Buffer): Promise<boolean> {
  const headers = { "content-type": contentType ?? "" };
  return new Response(new Uint8Array(body), { headers }).formData().then(
    () => true,
    () => false,
  );
}

async function reply(
  response: ServerResponse,
  { status, headers, body, text = JSON.stringify(body) ?? "" }: Answer,
  drip?: { chunkBytes: number; everyMs: number },
): Promise<void> {
  const bytes = Buffer.from(text);
  const length = headers?.["transfer-encoding"] === undefined ? { "content-length": bytes.length } : {};
  response.writeHead(status, { "content-type": "application/json", ...length, ...headers });
  if (drip !== undefined) {
    for (let at = 0; at < bytes.length && !response.destroyed; at += drip.chunkBytes) {
      response.write(bytes.subarray(at, at + drip.chunkBytes));
      await pause(drip.everyMs);
    }
    response.end();
  } else response.end(bytes);
}
