import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { hostname, networkInterfaces } from "node:os";
import { validateHostHeader, validateOriginHeader } from "@modelcontextprotocol/server";
import { refusal } from "./sessions.ts";

export const PATH = "/mcp";
const METHODS = ["GET", "POST", "DELETE"];

/** The first error of a request, in the order in which a stranger may learn of them. */
export function guardOf(token: string, names: readonly string[]): (request: IncomingMessage) => Response | undefined {
  const allowed = [...names];
  const expected = digest(token);
  return ({ headers, method = "", url = "" }) => {
    // A page whose name was made to point here (DNS rebinding) sends its own name.
    if (!validateHostHeader(headers.host, allowed).ok) {
      return refusal(403, -32000, "This server does not accept the name in Host.");
    }
    if (!validateOriginHeader(headers.origin, allowed).ok) {
      return refusal(403, -32000, "Pages from that Origin are not allowed.");
    }
    if (url.split("?")[0] !== PATH) return refusal(404, -32000, `The only path is ${PATH}.`);
    const given = /^bearer +(\S+)$/i.exec(headers.authorization?.trim() ?? "")?.[1];
    if (given === undefined || !timingSafeEqual(digest(given), expected)) {
      const challenge = `Bearer realm="biometrics-mcp"${given === undefined ? "" : ', error="invalid_token"'}`;
      return refusal(401, -32000, "A bearer token is required.", { "www-authenticate": challenge });
    }
    if (!METHODS.includes(method)) return refusal(405, -32000, "Method not allowed.", { allow: METHODS.join(", ") });
    return undefined;
  };
}

/** The same length for every text, so that comparing takes constant time. */
function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

export function isLoopback(host: string): boolean {
  return ["localhost", "[::1]"].includes(inAddress(host)) || (isIP(host) === 4 && host.startsWith("127."));
}

/** The hosts that a client may name, as written in a URL. */
export function namesOf(host: string): string[] {
  const interfaces = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
  const isAnyAddress = ["", "0.0.0.0", "[::]"].includes(inAddress(host));
  const own = isAnyAddress ? [hostname().toLowerCase(), ...interfaces.map(({ address }) => address)] : [host];
  return ["localhost", "127.0.0.1", "[::1]", ...own.map(inAddress)];
}

export function inAddress(host: string): string {
  return isIP(host) === 6 ? new URL(`http://[${host.split("%")[0]}]`).hostname : host;
}
