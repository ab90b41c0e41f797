import * as z from "zod";
import { namesOf } from "../images/image.ts";
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
    const { thresholds, settings } = context;
    const isSaved = (check: keyof typeof THRESHOLDS) => settings.saved.includes(THRESHOLDS[check]);
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
        liveness_threshold: thresholds.liveness ?? PROVIDER_DEFAULT,
        match_threshold: thresholds.match ?? PROVIDER_DEFAULT,
        settings_file: settings.file,
        settings_from_file: settings.saved.join(", ") || "none",
      },
      summary:
        `Provider: ${name} (${reason}). Images: ${formats} up to ${provider.images.maxBytes / 2 ** 20} MB, ` +
        (readable.length === 0 ? "but no folder can be read." : `from ${readable.join(", ")}.`) +
        describeThresholds(thresholds, isSaved),
    };
  },
});

const THRESHOLDS = { liveness: "BIOMETRICS_LIVENESS_THRESHOLD", match: "BIOMETRICS_MATCH_THRESHOLD" } as const;

function describeThresholds(
  thresholds: { readonly [check in keyof typeof THRESHOLDS]: number | undefined },
  isSaved: (check: keyof typeof THRESHOLDS) => boolean,
): string {
  const own = (["liveness", "match"] as const).flatMap((check) => {
    const from = isSaved(check) ? "settings file" : "environment";
    return thresholds[check] === undefined ? [] : [`${check} ${thresholds[check]} (${from})`];
  });
  return own.length === 0 ? "" : ` Thresholds set by the operator: ${own.join(", ")}.`;
}
