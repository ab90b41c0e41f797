import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import * as z from "zod";
import { noticeText } from "../../build/notice.ts";
import { held, installed } from "../../build/shipped.ts";
import { MAIN, temporaryFolder } from "../support/clients.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const WORKFLOWS = join(ROOT, ".github/workflows");

test("NOTICE has the licences of what is built (npm run notice)", async () => {
  expect(await noticeText()).toBe(readFileSync(join(ROOT, "NOTICE"), "utf8"));
});

test("what is bundled asks for no more than its text, what is apart or installed beside it may be under the LGPL", async () => {
  const packages = await held();
  expect(packages.map(({ name }) => name)).toEqual(
    expect.arrayContaining(["undici", "zod", "onnxruntime-web", "faceplugin-face-recognition-js"]),
  );
  const asked = (all: readonly { license: string }[]) => [...new Set(all.map(({ license }) => license))].sort();
  const apart = packages.filter(({ name }) => name === "libheif-js"); // dist/libheif, unchanged
  expect(asked(packages.filter((it) => !apart.includes(it)))).toEqual(["Apache-2.0", "BSD-3-Clause", "ISC", "MIT"]);
  expect(asked(apart)).toEqual(["LGPL-3.0"]);
  expect(
    asked(await installed()).filter(
      (it) => !/^(\(?(0BSD|Apache(-2\.0)?|ISC|LGPL-3\.0-or-later|MIT)( (AND|OR) )?)+$/.test(it),
    ),
  ).toEqual([]);
});

describe("the SBOM", () => {
  const licence = z.union([z.object({ license: z.object({}).loose() }), z.object({ expression: z.string() })]);
  const schema = z.object({
    bomFormat: z.literal("CycloneDX"),
    metadata: z.object({ component: z.object({ name: z.literal("biometrics-mcp"), "bom-ref": z.string() }) }),
    components: z.array(
      z.object({
        "bom-ref": z.string(),
        type: z.string(),
        name: z.string(),
        scope: z.string(),
        licenses: z.array(licence).optional(),
        hashes: z.array(z.object({ alg: z.string(), content: z.string() })).optional(),
      }),
    ),
    dependencies: z.array(z.object({ ref: z.string(), dependsOn: z.array(z.string()) })),
  });
  let bom: z.infer<typeof schema>;
  beforeAll(() => {
    const file = join(temporaryFolder("sbom-"), "made.cdx.json");
    execFileSync(process.execPath, ["--import", "tsx", "build/sbom.ts", file], { cwd: ROOT });
    bom = schema.parse(JSON.parse(readFileSync(file, "utf8")));
  });

  test("lists what ships, each with a licence, and nothing that only builds or tests", async () => {
    // Of two copies in the tree, one is listed.
    const all = [...(await held()), ...(await installed())].map(({ name, version }) => `${name}@${version}`);
    const expected = [...new Set(all)];
    const packages = bom.components.filter(({ type }) => type === "library");
    expect(packages.map((it) => it["bom-ref"]).sort()).toEqual(expected.sort());
    expect(packages.filter(({ licenses = [] }) => licenses.length === 0)).toEqual([]);
    expect(packages.find(({ name }) => name === "undici")?.scope).toBe("required");
    expect(expected.filter((it) => /^(vitest|esbuild|typescript|pnpm)@/.test(it))).toEqual([]);
  });

  test("has the models by their hashes", () => {
    const models = bom.components.filter(({ type }) => type === "machine-learning-model");
    const folder = join(dirname(MAIN), "models");
    expect(models.map(({ name }) => name).sort()).toEqual(
      readdirSync(folder)
        .filter((name) => name.endsWith(".onnx"))
        .sort(),
    );
    for (const { name, hashes } of models) {
      const content = createHash("sha256")
        .update(readFileSync(join(folder, name)))
        .digest("hex");
      expect(hashes).toEqual([{ alg: "SHA-256", content }]);
    }
  });

  test("speaks of nothing that it does not list", () => {
    const refs = [bom.metadata.component["bom-ref"], ...bom.components.map((it) => it["bom-ref"])];
    expect(
      bom.dependencies.flatMap(({ ref, dependsOn }) => [ref, ...dependsOn]).filter((it) => !refs.includes(it)),
    ).toEqual([]);
    expect(bom.dependencies.map(({ ref }) => ref).sort()).toEqual(refs.sort());
  });
});

describe.each(readdirSync(WORKFLOWS))("the workflow %s", (file) => {
  const text = readFileSync(join(WORKFLOWS, file), "utf8");

  test("uses actions by commit, with the release beside it, or files of this repository", () => {
    const used = [...text.matchAll(/uses: *(.+)$/gm)].map(([, it = ""]) => it);
    expect(used.length).toBeGreaterThan(0);
    for (const it of used)
      expect(it).toMatch(/^(\.\/\.github\/workflows\/[\w-]+\.yml|[\w-]+\/[\w-]+@[\da-f]{40} # v\d+\.\d+\.\d+)$/);
  });

  test("may do nothing that a job does not ask for, and runs no text of strangers", () => {
    expect(text).toMatch(/^permissions:\n {2}contents: read$/m);
    expect(text).not.toMatch(/pull_request_target|github\.event\.(?!inputs)/);
  });

  test("runs scripts that there are", () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { scripts: object };
    for (const [, name = ""] of text.matchAll(/npm run ([\w:]+)/g)) expect(Object.keys(scripts)).toContain(name);
  });
});
