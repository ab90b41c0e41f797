import { resolve } from "node:path";
import type { Config } from "../config.ts";
import { CheckError } from "../errors.ts";
import type { Say } from "../language/say.ts";
import { once } from "../once.ts";
import type { Galleries } from "../providers/on-device/gallery/gallery.ts";
import { countOf } from "../providers/on-device/gallery/inspect.ts";
import type { Transferred } from "../providers/on-device/gallery/transfer.ts";
import { checkGallery, type Diagnosis } from "./doctor.ts";
import { openProgress } from "./progress.ts";

interface Place {
  readonly errors: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly say: Say;
  readonly signal: AbortSignal;
  readonly readSecret: (prompt: string, variable: "BIOMETRICS_PASSPHRASE") => Promise<string | undefined>;
}

interface GalleryCall {
  readonly config: Config;
  /** The argument of the command. */
  readonly file: string;
  readonly flags: { readonly plain?: true };
  readonly terminal: Place;
}

interface GalleryCommand {
  readonly usage: string;
  readonly description: string;
  readonly options?: readonly (readonly [flags: string, meaning: string])[];
  readonly work: (call: GalleryCall) => Promise<Diagnosis>;
}

export const GALLERY_COMMANDS: readonly GalleryCommand[] = [
  { usage: "list", description: "List the galleries and how many faces each has.", work: ({ config }) => list(config) },
  {
    usage: "check",
    description: "Check the gallery for damage without changing it.",
    work: ({ config }) => checkGallery(config),
  },
  {
    usage: "export <file>",
    description:
      "Write the gallery to an encrypted file, with the passphrase from BIOMETRICS_PASSPHRASE or typed. Continues where an earlier run stopped.",
    options: [["--plain", "do not encrypt the file, which is biometric data"]],
    work: exportTo,
  },
  {
    usage: "import <file>",
    description: "Add the faces of an exported file to the gallery. Those that it has already stay as they are.",
    work: importFrom,
  },
  {
    usage: "migrate",
    description: "Copy the gallery from the data folder to the database that BIOMETRICS_GALLERY_URL names.",
    work: migrate,
  },
];

/** The galleries for one command, opened at the first use: opening makes tables in an empty database. */
async function withGalleries<T>(
  config: Pick<Config, "dataFolder" | "galleryUrl" | "models">,
  work: (galleries: Omit<Galleries, "close">, model: string) => Promise<T>,
): Promise<T> {
  const [{ locateGalleries, openGalleries }, { embeddingModelOf }, { choosePack }] = await Promise.all([
    import("../providers/on-device/gallery/open.ts"),
    import("../providers/on-device/models.ts"),
    import("../providers/on-device/choice.ts"),
  ]);
  const location = locateGalleries(config);
  const model = embeddingModelOf(await choosePack(config));
  const galleries = once(() => openGalleries({ location, model }));
  try {
    return await work(
      {
        open: async (...which) => (await galleries.get()).open(...which),
        names: async () => (await galleries.get()).names(),
      },
      model,
    );
  } finally {
    await (await galleries.peek())?.close();
  }
}

async function list(config: Config): Promise<Diagnosis> {
  return withGalleries(config, async (galleries) => {
    const findings = [];
    for (const name of await galleries.names()) {
      try {
        findings.push({ name, faces: await (await galleries.open(name, { create: false })).count() });
      } catch (thrown) {
        findings.push({ name, faces: null, fault: CheckError.from(thrown).message });
      }
    }
    const lines = findings.map(({ name, faces, fault }) => {
      return `${name}${name === config.gallery ? " (in use)" : ""}: ${faces === null ? `FAULT ${fault}` : countOf(faces)}`;
    });
    const text = lines.length === 0 ? "There are no galleries yet." : lines.join("\n");
    return { findings: { galleries: findings }, text, ok: findings.every(({ faces }) => faces !== null) };
  });
}

function exportTo({ config, file, flags, terminal }: GalleryCall): Promise<Diagnosis> {
  return transferring("export", terminal, async (onProgress) => {
    const passphrase = () => choosePassphrase(terminal);
    const { exportGallery } = await import("../providers/on-device/gallery/transfer.ts");
    return withGalleries(config, async (galleries, model) => {
      const gallery = await galleries.open(config.gallery, { create: false });
      const isEncrypted = flags.plain !== true;
      const { signal } = terminal;
      const path = resolve(file);
      const done = await exportGallery({ gallery, model, file: path, passphrase, isEncrypted, onProgress, signal });
      return doneWith(done, `${countOf(done.faces)} of the gallery ${config.gallery} exported to ${path}.`, {
        file: path,
        encrypted: isEncrypted,
      });
    });
  });
}

function importFrom({ config, file, terminal }: GalleryCall): Promise<Diagnosis> {
  return transferring("import", terminal, async (onProgress) => {
    const passphrase = () => terminal.readSecret(terminal.say("passphrase of the file"), "BIOMETRICS_PASSPHRASE");
    const { importGallery } = await import("../providers/on-device/gallery/transfer.ts");
    return withGalleries(config, async (galleries, model) => {
      const open = () => galleries.open(config.gallery, { create: true });
      const { signal } = terminal;
      const done = await importGallery({ open, model, file: resolve(file), passphrase, onProgress, signal });
      const were = done.faces - done.added;
      const rest = were === 0 ? "" : `; ${countOf(were)} had been there`;
      return doneWith(done, `${countOf(done.added)} added to the gallery ${config.gallery}${rest}.`);
    });
  });
}

function migrate({ config, terminal }: GalleryCall): Promise<Diagnosis> {
  if (config.galleryUrl === undefined) {
    throw new CheckError("invalid_input", "No database was named.", {
      next: "Set BIOMETRICS_GALLERY_URL to the database that the gallery is to be copied to.",
    });
  }
  return transferring("migration", terminal, async (onProgress) => {
    const { copyGallery } = await import("../providers/on-device/gallery/transfer.ts");
    return withGalleries({ ...config, galleryUrl: undefined }, async (files) => {
      const from = await files.open(config.gallery, { create: false });
      return withGalleries(config, async (galleries, model) => {
        const gallery = await galleries.open(config.gallery, { create: true });
        const done = await copyGallery({ from, gallery, model, onProgress, signal: terminal.signal });
        return doneWith(
          done,
          `${countOf(done.faces)} of the gallery ${config.gallery} are in the database, ${done.added} of them new. The file in the data folder still has them: remove it when nothing uses it any more.`,
        );
      });
    });
  });
}

/** Typed twice: nobody can open a file whose passphrase was mistyped. */
async function choosePassphrase({ readSecret, say }: Place): Promise<string> {
  const passphrase = await readSecret(say("passphrase for the file"), "BIOMETRICS_PASSPHRASE");
  if (passphrase === undefined) {
    throw new CheckError("invalid_input", "There is no passphrase to encrypt the file with.", {
      next: "Set BIOMETRICS_PASSPHRASE, or pass --plain for a file that everybody can read who gets hold of it.",
    });
  }
  if (passphrase.length < SHORTEST_PASSPHRASE) {
    throw new CheckError("invalid_input", `The passphrase is shorter than ${SHORTEST_PASSPHRASE} characters.`);
  }
  const again = await readSecret(say("the same passphrase again"), "BIOMETRICS_PASSPHRASE");
  if (again !== passphrase) throw new CheckError("invalid_input", "The two passphrases differ.");
  return passphrase;
}

/** Guessing costs half a second each; six words of a word list are longer. */
const SHORTEST_PASSPHRASE = 12;

type OnProgress = (what: string, done: number, total: number) => void;

async function transferring(
  what: string,
  { errors, say, signal }: Place,
  work: (onProgress: OnProgress) => Promise<Diagnosis>,
): Promise<Diagnosis> {
  const progress = await openProgress(errors, say);
  try {
    return await work((...at) => progress.update(...at));
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
    throw new CheckError("cancelled", `The ${what} was interrupted; what was done is kept.`, {
      cause: thrown,
      next: "Run the command again to complete it.",
    });
  } finally {
    progress.end();
  }
}

function doneWith(done: Transferred, text: string, more: object = {}): Diagnosis {
  const { faces, added, searched } = done;
  return {
    findings: { faces, added, searched, ...more },
    text: `${text}\nVerified by count, and by ${searched} ${searched === 1 ? "search" : "searches"}.`,
    ok: true,
  };
}
