import { access, constants } from "node:fs/promises";
import type { App } from "../app.ts";
import type { Config } from "../config.ts";
import { CheckError } from "../errors.ts";
import { attempt, countOf, type Finding, type Inspection } from "../providers/on-device/gallery/inspect.ts";
import { verifyAuditLog } from "../storage/audit-log.ts";
import { refuseShared, statIfThere } from "../storage/folder.ts";
import { getSetup } from "../tools/get-setup.ts";

export interface Diagnosis {
  /** For a script. */
  readonly findings: object;
  readonly text: string;
  readonly ok: boolean;
}

/** Shows the setup and tests each part. No image of the user is read, and nothing is billed. */
export async function diagnose(app: App, config: Config, signal: AbortSignal): Promise<Diagnosis> {
  const context = { ...app, signal, onStage: () => {}, onFailure: () => {} };
  // If it fails, the tests say why.
  const setup = await getSetup.call({}, context).catch(() => null);
  const name = (await app.choice().catch(() => undefined))?.name ?? config.provider;
  const tests = [
    ...(await app.folders()).map(({ path, readable }) => ({
      test: `folder ${path}`,
      ok: readable,
      detail: readable ? "readable" : "missing or not readable: create it, or remove it from BIOMETRICS_IMAGE_DIRS",
    })),
    await attempt(`data folder ${config.dataFolder}`, () => tryDataFolder(config.dataFolder)),
    ...(await tryAuditLog(app, config)),
    await attempt(`provider ${name}`, async () => (await app.provider()).test(context)),
    name === "didit" ? GALLERY_OF_DIDIT : await tryGallery(config),
    await attempt("Linkface", async () => tryLinkface(config)),
  ];
  const details = Object.entries(setup?.["details"] ?? {}).map(([key, value]) => `  ${key}: ${value}`);
  const summary = setup === null ? [] : [String(setup["summary"]), ...details];
  return {
    findings: { setup, tests },
    text: [`biometrics-mcp ${app.version}`, ...summary, "", ...linesOf(tests)].join("\n"),
    ok: tests.every(({ ok }) => ok),
  };
}

/** Checks the gallery without changing it, even one that no call would open. */
export async function checkGallery(config: Config): Promise<Diagnosis> {
  const { place, faces, findings } = await inspect(config);
  const ok = findings.every((finding) => finding.ok);
  return {
    findings: { place, faces, ok, tests: findings },
    text: [`Face gallery: ${place}`, ...linesOf(findings)].join("\n"),
    ok,
  };
}

/** More would only repeat that it is another file. */
const MAX_FAULTS = 20;

/** The chain of an audit log, followed through the whole file. `noted`: the hash of a line that was there before. */
export async function checkAuditLog(file: string, noted: string | undefined): Promise<Diagnosis> {
  const { lines, head, faults, torn } = await verifyAuditLog(file, noted);
  const ok = faults.length === 0;
  const more = faults.length > MAX_FAULTS ? [`${faults.length - MAX_FAULTS} more`] : [];
  const last =
    head === null ? "no lines" : `${lines} ${lines === 1 ? "line" : "lines"}; the hash of the last is ${head}`;
  const intact = [INTACT, ...(noted === undefined ? [AT_ITS_END] : [])];
  return {
    findings: { file, ok, lines, head, faults, torn },
    text: [
      `Audit log: ${file}`,
      last,
      "",
      ...[...faults.slice(0, MAX_FAULTS), ...more].map((fault) => `FAULT ${fault}`),
      ...torn.map((line) => `note  ${line}`),
      ...(ok ? intact : []),
    ].join("\n"),
    ok,
  };
}

const INTACT = "ok    every line is as it was written, and follows from the one before it";
const AT_ITS_END =
  "note  whether lines were cut off at the end, or the whole log was rewritten, only a hash that you noted earlier can show: --head";

const linesOf = (findings: readonly Finding[]) =>
  findings.map(({ test, ok, detail }) => `${ok ? "ok   " : "FAULT"} ${test}: ${detail}`);

async function inspect(config: Config): Promise<Inspection & { readonly place: string }> {
  const [{ inspectGallery, locateGalleries, placeOf }, { embeddingModelOf }, { choosePack }] = await Promise.all([
    import("../providers/on-device/gallery/open.ts"),
    import("../providers/on-device/models.ts"),
    import("../providers/on-device/choice.ts"),
  ]);
  const location = locateGalleries(config);
  const name = config.gallery;
  const inspection = await attemptInspection(async () =>
    inspectGallery({ location, name, model: embeddingModelOf(await choosePack(config)) }),
  );
  return { place: placeOf(location, name), ...inspection };
}

/** An error that prevents the inspection is a finding like any other. */
async function attemptInspection(work: () => Promise<Inspection>): Promise<Inspection> {
  try {
    return await work();
  } catch (thrown) {
    const { code, message, next } = CheckError.from(thrown);
    // The other checks work without a gallery.
    return { faces: null, findings: [{ test: "gallery", ok: code === "unsupported", detail: `${message} ${next}` }] };
  }
}

const GALLERY_OF_DIDIT: Finding = { test: "gallery", ok: true, detail: "not used: Didit keeps the faces" };

async function tryGallery(config: Config): Promise<Finding> {
  const { place, faces, findings } = await inspect(config);
  const faults = findings.filter(({ ok }) => !ok);
  const found = faces === null ? findings : [{ detail: countOf(faces) }];
  const detail = (faults.length > 0 ? faults : found).map((finding) => finding.detail).join(" ");
  return { test: `gallery ${place}`, ok: faults.length === 0, detail };
}

async function tryDataFolder(folder: string): Promise<string> {
  const found = await statIfThere(folder).catch(notUsable);
  if (found === undefined) return "does not exist yet; it is created when needed";
  if (!found.isDirectory()) return notUsable(`${folder} is not a folder`);
  refuseShared({ [folder]: found });
  await access(folder, constants.R_OK | constants.W_OK | constants.X_OK).catch(notUsable);
  return "only its owner has access";
}

async function tryAuditLog({ audit }: App, { auditLog }: Config): Promise<Finding[]> {
  if (audit === undefined) return [];
  const test = () => audit.test().then(() => "can be written");
  return [await attempt(`audit log ${auditLog}`, test)];
}

function notUsable(cause: unknown): never {
  throw new CheckError("setup", "It is not a folder that biometrics-mcp can read and write.", {
    cause,
    next: "Correct its permissions, or choose another one with BIOMETRICS_DATA_DIR.",
  });
}

function tryLinkface({ linkface: { apiId, apiSecret } }: Config): string {
  if (apiId !== undefined && apiSecret !== undefined) return "credentials are set; they were not tested";
  if (apiId === undefined && apiSecret === undefined) {
    return "no credentials: verify_liveness_selfie is not available, everything else is";
  }
  throw new CheckError("setup", `${apiId === undefined ? "LINKFACE_API_ID" : "LINKFACE_API_SECRET"} is missing.`, {
    next: "Set both LINKFACE_API_ID and LINKFACE_API_SECRET, or neither.",
  });
}
