import { readdir, readFile } from "node:fs/promises";
import {
  DIRECTORY_MIME_TYPE,
  type Skill,
  SkillsExtension,
  type SkillsOptions,
  skillEntry,
} from "@modelcontextprotocol/server/ext/skills";
import { once } from "../once.ts";

const NAME = "face-checks";
const MARKDOWN = "text/markdown";

interface Loaded {
  readonly skill: Skill;
  /** By URI. */
  readonly texts: ReadonlyMap<string, string>;
}

/**
 * The skill for agents, from the folder that the build puts next to the program. It is read at a client's first request:
 * the SDK's `loadSkills` reads and hashes everything in advance, which would add 8 ms to every start.
 */
export function openSkills(options: SkillsOptions, folder = new URL("./skills/", import.meta.url)): SkillsExtension {
  const { get: load } = once(() => readSkill(folder));
  return new SkillsExtension({
    ...options,
    source: {
      list: async () => ({ skills: [(await load()).skill] }),
      async get(uri) {
        const { skill } = await load();
        return uri === skill.uri ? skill : undefined;
      },
      async read(uri) {
        const text = (await load()).texts.get(uri);
        return text === undefined ? undefined : { text, mimeType: MARKDOWN };
      },
      async readDirectory(uri) {
        const { texts } = await load();
        const prefix = `${uri.replace(/\/$/, "")}/`;
        const children = new Map<string, { uri: string; name: string; mimeType: string; size?: number }>();
        for (const [file, text] of texts) {
          if (!file.startsWith(prefix)) continue;
          const [name = "", ...deeper] = file.slice(prefix.length).split("/");
          children.set(
            name,
            deeper.length === 0
              ? { uri: file, name, mimeType: MARKDOWN, size: Buffer.byteLength(text) }
              : { uri: `${prefix}${name}`, name, mimeType: DIRECTORY_MIME_TYPE },
          );
        }
        return children.size === 0 ? undefined : { resources: [...children.values()] };
      },
      async listResources() {
        const { skill, texts } = await load();
        const { name, description } = skill.frontmatter;
        const size = Buffer.byteLength(texts.get(skill.uri) ?? "");
        return [{ uri: skill.uri, name, description, mimeType: MARKDOWN, size }];
      },
    },
  });
}

async function readSkill(folder: URL): Promise<Loaded> {
  const root = new URL(`${NAME}/`, folder);
  const files = (await readdir(root, { recursive: true, encoding: "utf8" }))
    .map((file) => file.replaceAll("\\", "/"))
    .filter((file) => file.endsWith(".md"))
    .sort();
  const read = await Promise.all(
    files.map(async (file) => [file, await readFile(new URL(file, root), "utf8")] as const),
  );
  return {
    skill: await skillEntry(NAME, Object.fromEntries(read)),
    texts: new Map(read.map(([file, text]) => [`skill://${NAME}/${file}`, text])),
  };
}
