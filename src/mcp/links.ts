import { randomBytes } from "node:crypto";
import {
  CLIENT_CAPABILITIES_META_KEY,
  createRequestStateCodec,
  type InputRequiredResult,
  inputRequired,
  type ServerContext,
} from "@modelcontextprotocol/server";
import type { Link } from "../toolkit/define.ts";

const REQUEST = "open_link";

/** The finished result, which the client keeps while its user looks at the link. */
type Kept = Readonly<Record<string, unknown>>;

/** Offers a link to clients that can open one. Optional: the text of the result contains the link anyway. */
export interface LinkOffers {
  /** For `ServerOptions.requestState`: a client cannot forge a result. */
  verify(state: string, context: ServerContext): Promise<Kept>;
  /** The result of a call that returns from its offer, whatever the reply: opening a link proves nothing. */
  resumed(context: ServerContext): Kept | undefined;
  /** The offer, or undefined for a client that cannot open links. */
  offer(link: Link, answer: Kept, context: ServerContext, legacy: unknown): Promise<InputRequiredResult | undefined>;
}

/** One for all connections of a process: a stateless client may come back on another. */
export function linkOffers(): LinkOffers {
  const codec = createRequestStateCodec<Kept>({ key: randomBytes(32) });
  return {
    verify: (state, context) => codec.verify(state, context),
    resumed: ({ mcpReq }) => mcpReq.requestState<Kept>(),
    async offer({ url, message }, answer, context, legacy) {
      const modern = propertyOf(context.mcpReq.envelope, CLIENT_CAPABILITIES_META_KEY);
      if (!canOpenLinks(modern ?? legacy)) return undefined;
      return inputRequired({
        inputRequests: { [REQUEST]: inputRequired.elicitUrl({ message, url }) },
        requestState: await codec.mint(answer),
      });
    },
  };
}

function canOpenLinks(capabilities: unknown): boolean {
  const elicitation = propertyOf(capabilities, "elicitation");
  return propertyOf(elicitation, "url") !== undefined;
}

function propertyOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}
