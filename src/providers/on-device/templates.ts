import type { Templates } from "../provider.ts";
import type { Engine } from "./engine.ts";
import { sha256Of } from "./models.ts";
import { cosine, toEmbedding } from "./pipeline/embed.ts";
import { shownScoreOn } from "./scores.ts";

/** Main faces alone; otherwise as `matchFaces` compares, with the mirror image on the side of the reference. */
export function templatesOf(engine: Engine): Templates {
  const { folder: _wherever, ...pack } = engine.pack;
  return {
    model: sha256Of(Buffer.from(JSON.stringify(pack))),
    async read(image, { signal, onStage }) {
      onStage("detecting");
      const { main } = await engine.read(image, { rotate: false, signal });
      if (main === null) return null;
      return { user: toEmbedding(main.embedding), reference: await engine.embed(main, signal) };
    },
    similarity: (user, reference) => shownScoreOn(pack.curves.similarity, cosine(user.user, reference.reference)),
  };
}
