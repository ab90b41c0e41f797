import type { Templates } from "../provider.ts";
import type { Engine } from "./engine.ts";
import { cosine, toEmbedding } from "./pipeline/embed.ts";
import { similarityOf } from "./scores.ts";

/** Main faces alone; otherwise as `matchFaces` compares, with the mirror image on the side of the reference. */
export function templatesOf(engine: Engine, model: string): Templates {
  return {
    model,
    async read(image, { signal, onStage }) {
      onStage("detecting");
      const { main } = await engine.read(image, { rotate: false, signal });
      if (main === null) return null;
      return { user: toEmbedding(main.embedding), reference: await engine.embed(main, signal) };
    },
    similarity: (user, reference) => similarityOf(cosine(user.user, reference.reference)),
  };
}
