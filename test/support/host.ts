import { McpUiResourceMetaSchema } from "@modelcontextprotocol/ext-apps/app-bridge";
import { build } from "esbuild";
import type { Browser, Frame, Page } from "playwright-core";
import * as z from "zod";
import { openBrowser } from "./chromium.ts";

const HOST = "http://host.test/";
const VIEW = "http://view.test/";

const HOST_PAGE = `<!doctype html><html lang="en"><meta charset="utf-8"><title>host</title>
<style>html{color-scheme:light dark}body{margin:24px;background:light-dark(#f3f1ea,#26241f)}iframe{display:block;width:100%;border:0}
.border{border:1px solid light-dark(#d8d5cb,#45423a);border-radius:14px}</style><body><script src="host.js"></script>`;

/** A view as a server's resource has it. */
export const View = z.object({
  uri: z.string().startsWith("ui://"),
  mimeType: z.literal("text/html;profile=mcp-app"),
  text: z.string(),
  _meta: z.object({ ui: McpUiResourceMetaSchema }),
});
export type View = z.infer<typeof View>;

export interface Look {
  /** What the user's system prefers. */
  readonly scheme?: "light" | "dark";
  /** What the host is set to; undefined: it does not say. */
  readonly theme?: "light" | "dark" | undefined;
  /** Of the host's window, in pixels. */
  readonly width?: number;
  /** Pixels of the screen to one of the page. */
  readonly density?: number;
}

/** A view that is shown. */
export interface Shown {
  readonly page: Page;
  readonly frame: Frame;
  /** What the page complained of: scripts that failed, and whatever the policy forbade. */
  readonly complaints: readonly string[];
  /** What anybody tried to fetch. */
  readonly fetched: readonly string[];
  /** What the view sent to the host. */
  received(): Promise<readonly Record<string, unknown>[]>;
  /** Sends what a host sends: the result of the call, or another notice. */
  send(what: "sendToolResult" | "sendToolCancelled" | "sendHostContextChange", params: object): Promise<void>;
  /** A request to the view, and its answer. */
  ask(what: "teardownResource", params: object): Promise<unknown>;
}

/** A host of MCP Apps in a real browser without a network: the official bridge, and a frame as the specification asks. */
export async function openHost(): Promise<{ show(view: View, look?: Look): Promise<Shown>; close(): Promise<void> }> {
  const [browser, script] = await Promise.all([openBrowser(), bundledHost()]);
  return { show: (view, look) => show(browser, script, view, look), close: () => browser.close() };
}

async function bundledHost(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [new URL("./host-page.js", import.meta.url).pathname],
    bundle: true,
    format: "iife",
    platform: "browser",
    write: false,
    logLevel: "error",
  });
  return outputFiles[0]?.text ?? "";
}

async function show(browser: Browser, script: string, view: View, look: Look = {}): Promise<Shown> {
  const { scheme = "light", theme, width = 800, density = 1 } = look;
  const viewport = { width, height: 1600 }; // what lies below is not always drawn
  const page = await browser.newPage({ colorScheme: scheme, viewport, deviceScaleFactor: density });
  const complaints: string[] = [];
  const fetched: string[] = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.route("**/*", (route) => {
    const url = route.request().url();
    if (url === HOST) return route.fulfill({ contentType: "text/html", body: HOST_PAGE });
    if (url === `${HOST}host.js`) return route.fulfill({ contentType: "text/javascript", body: script });
    if (url === VIEW) {
      const headers = { "content-type": "text/html", "content-security-policy": policyOf(view) };
      return route.fulfill({ headers, body: view.text });
    }
    fetched.push(url);
    return route.abort();
  });
  await page.goto(HOST);
  const hostContext = theme === undefined ? {} : { theme };
  await page.evaluate((given) => Reflect.get(globalThis, "show")(given), {
    url: VIEW,
    hostContext,
    border: view._meta.ui.prefersBorder,
  });
  const frame = page.frame({ url: VIEW });
  if (frame === null) throw new Error("the view is not shown");
  const call = (what: string, params: object) =>
    page.evaluate(([name, given]) => Reflect.get(globalThis, "bridge")[name](given), [what, params] as const);
  return {
    page,
    frame,
    complaints,
    fetched,
    received: () => page.evaluate(() => Reflect.get(globalThis, "received")),
    send: call,
    ask: call,
  };
}

/** As the specification has a host build it from what the resource declares. */
function policyOf({ _meta: { ui } }: View): string {
  const { csp } = ui;
  const own = (domains: readonly string[] | undefined) => (domains ?? []).join(" ");
  return [
    "default-src 'none'",
    `script-src 'self' 'unsafe-inline' ${own(csp?.resourceDomains)}`,
    `style-src 'self' 'unsafe-inline' ${own(csp?.resourceDomains)}`,
    `connect-src ${own(csp?.connectDomains) || "'none'"}`,
    `img-src 'self' data: ${own(csp?.resourceDomains)}`,
    `font-src 'self' ${own(csp?.resourceDomains)}`,
    `frame-src ${own(csp?.frameDomains) || "'none'"}`,
    "object-src 'none'",
    `base-uri ${own(csp?.baseUriDomains) || "'self'"}`,
  ].join("; ");
}
