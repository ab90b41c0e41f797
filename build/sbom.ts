/**
 * Writes what a release is made of as CycloneDX, next to it: what npm knows of the lock file, less what only builds and
 * tests it. (`npm sbom --omit=dev` would leave out what the bundle holds, which to npm are tools.)
 *
 *   npm run sbom [FILE]
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as z from "zod";
import { parsePack } from "../src/providers/on-device/choice.ts";
import { networksOf } from "../src/providers/on-device/models.ts";
import { held, installed } from "./shipped.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const { name, version } = z
  .object({ name: z.string(), version: z.string() })
  .parse(JSON.parse(readFileSync(join(root, "package.json"), "utf8")));

const component = z.looseObject({ "bom-ref": z.string(), licenses: z.array(z.unknown()).optional() });
const dependency = z.object({ ref: z.string(), dependsOn: z.array(z.string()) });
const bom = z.looseObject({
  metadata: z.looseObject({ component }),
  components: z.array(component),
  dependencies: z.array(dependency),
});

const refOf = (it: { readonly name: string; readonly version: string }) => `${it.name}@${it.version}`;
const bundled = new Map((await held()).map((it) => [refOf(it), it]));
const beside = new Map((await installed()).map((it) => [refOf(it), it]));

const made = execFileSync("npm", ["sbom", "--sbom-format=cyclonedx", "--package-lock-only"], {
  cwd: root,
  encoding: "utf8",
  maxBuffer: 2 ** 26,
  shell: process.platform === "win32", // where npm is a .cmd
  stdio: ["ignore", "pipe", "inherit"],
});
const all = bom.parse(JSON.parse(made));
const own = all.metadata.component["bom-ref"];

const packages = all.components.flatMap((it) => {
  const ref = it["bom-ref"];
  const found = bundled.get(ref) ?? beside.get(ref);
  if (found === undefined) return [];
  // npm leaves out what is no identifier of SPDX.
  const licenses = it.licenses ?? [{ license: { name: found.license } }];
  if (!bundled.has(ref)) return [{ ...it, licenses }];
  return [{ ...it, licenses, scope: "required", properties: [{ name: "cdx:npm:package:bundled", value: "true" }] }];
});
const pack = readFileSync(join(root, "src/providers/on-device/shipped.json"));
// Two crops of a face may go through one network.
const networks = new Map(networksOf(parsePack(pack)).map((network) => [network.file, network]));
const models = [...networks.values()].map(({ file, sha256 }) => ({
  "bom-ref": file,
  type: "machine-learning-model",
  name: file,
  scope: "required",
  hashes: [{ alg: "SHA-256", content: sha256 }],
}));
const refs = new Set([own, ...[...packages, ...models].map((it) => it["bom-ref"])]);
const missing = [...bundled.keys(), ...beside.keys()].filter((ref) => !refs.has(ref));
if (missing.length > 0) throw new Error(`not in the lock file: ${missing.join(", ")}; run npm ci`);

const output = process.argv[2] ?? join(root, `${name}-${version}.cdx.json`);
const result = {
  ...all,
  metadata: { ...all.metadata, component: { ...all.metadata.component, name, type: "application" } },
  components: [...packages, ...models],
  dependencies: [
    ...all.dependencies
      .filter(({ ref }) => refs.has(ref))
      .map(({ ref, dependsOn }) => {
        const shipped = dependsOn.filter((it) => refs.has(it));
        return { ref, dependsOn: ref === own ? [...shipped, ...models.map((it) => it["bom-ref"])] : shipped };
      }),
    ...models.map((it) => ({ ref: it["bom-ref"], dependsOn: [] })),
  ],
};
writeFileSync(output, `${JSON.stringify(result, null, 2)}\n`);
console.log(`${output}: ${result.components.length} components`);
