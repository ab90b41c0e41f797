import { readFile } from "node:fs/promises";
import { WORDS } from "../card/words.ts";
import type { Language } from "../config.ts";
import { sayIn } from "../language/say.ts";

const uri = "ui://biometrics/decision";
const mimeType = "text/html;profile=mcp-app";

/**
 * Of a tool that decides: a host that knows MCP Apps shows its results in the card, any other ignores this. The list of
 * tools is the same for all clients, so it does not depend on what one declares.
 */
export const CARD_META = { ui: { resourceUri: uri } };

/** It needs nothing from anywhere: the host is to allow it no address. */
const _meta = {
  ui: {
    csp: { connectDomains: [], resourceDomains: [], frameDomains: [], baseUriDomains: [] },
    prefersBorder: true,
  },
};

/** The decision card, a page that the build puts next to the program. */
export const CARD = {
  name: "decision-card",
  uri,
  about: {
    title: "Decision card",
    description: "Shows the result of a check: outcome, score, faces, warnings and next steps.",
    mimeType,
    _meta,
  },
  async read(language: Language) {
    const [page, say] = await Promise.all([readFile(new URL("./card.html", import.meta.url), "utf8"), sayIn(language)]);
    const words = JSON.stringify(WORDS, (_name, value) => (typeof value === "string" ? say(value) : value));
    const text = page
      .replace('lang="en"', () => `lang="${language}"`)
      .replace("{}</script>", () => `${words.replaceAll("<", "\\u003c")}</script>`);
    return { contents: [{ uri, mimeType, text, _meta }] };
  },
};
