import * as z from "zod";
import { namesOf } from "../image.ts";
import { defineTool } from "../toolkit/define.ts";

const PROVIDER_DEFAULT = "provider default";

const detail = z.union([z.string(), z.number(), z.boolean(), z.null()]);

export const getSetup = defineTool({
  name: "get_setup",
  title: "Show the setup",
  description: "Provider and why, readable folders, formats, limits, versions.",
  input: {},
  output: z.object({
    version: z.string(),
    provider: z.string(),
    reason: z.string(),
    api_key: z.string().nullable().describe("its last four characters"),
    image_folders: z.array(z.object({ path: z.string(), readable: z.boolean() })),
    formats: z.string(),
    max_bytes: z.int(),
    details: z.record(z.string(), detail),
    summary: z.string(),
  }),
  hints: { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false },
  async run(_args, context) {
    const [{ name, reason, apiKey }, provider, folders] = await Promise.all([
      context.choice(),
      context.provider(),
      context.folders(),
    ]);
    const formats = namesOf(provider.images.mimes);
    const { liveness, match } = context.thresholds;
    const readable = folders.filter((folder) => folder.readable).map(({ path }) => path);
    return {
      version: context.version,
      provider: name,
      reason,
      api_key: apiKey,
      image_folders: [...folders],
      formats,
      max_bytes: provider.images.maxBytes,
      details: {
        ...(await provider.describe()),
        liveness_threshold: liveness ?? PROVIDER_DEFAULT,
        match_threshold: match ?? PROVIDER_DEFAULT,
      },
      summary:
        `Provider: ${name} (${reason}). Images: ${formats} up to ${provider.images.maxBytes / 2 ** 20} MB, ` +
        (readable.length === 0 ? "but no folder can be read." : `from ${readable.join(", ")}.`) +
        describeThresholds({ liveness, match }),
    };
  },
});

function describeThresholds(thresholds: Readonly<Record<string, number | undefined>>): string {
  const own = Object.entries(thresholds).flatMap(([name, it]) => (it === undefined ? [] : [`${name} ${it}`]));
  return own.length === 0 ? "" : ` Thresholds set by the operator: ${own.join(", ")}.`;
}
