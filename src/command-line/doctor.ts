import { access, constants } from "node:fs/promises";
import type { App } from "../app.ts";
import type { Config } from "../config.ts";
import { CheckError } from "../errors.ts";
import { attempt, countOf, type Finding, type Inspection } from "../providers/on-device/gallery/inspect.ts";
import { verifyAuditLog } from "../storage/audit-log.ts";
import { refuseShared, statIfThere } from "../storage/folder.ts";
import { getSetup } from "../tools/get-setup.ts";

interface Diagnosis {
  /** For a script. */
  readonly findings: object;
  readonly text: string;
  readonly ok: boolean;
}

/** The setup, and each part of it tried out. No image of the user is read, and nothing is billed. */
export async function diagnose(app: App, config: Config, signal: AbortSignal): Promise<Diagnosis> {
  const context = { ...app, signal, onStage: () => {}, onFailure: () => {} };
  // Where it cannot be told, the tests say why.
  const setup = await getSetup.call({}, context).catch(() => null);
  const name = (await app.choice().catch(() => undefined))?.name ?? config.provider;
  const tests = [
    ...(await app.folders()).map(({ path, readable }) => ({
      test: `folder ${path}`,
      ok: readable,
      said: readable
        ? "can be read"
        : "is not there or cannot be read: create it, or take it out of BIOMETRICS_IMAGE_DIRS",
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

/** The gallery, looked at from all sides and left as it is: also one that no call would open. */
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
  "note  whether lines were cut off at the end, or all were written anew, only a hash tells that you noted before: --head";

const linesOf = (findings: readonly Finding[]) =>
  findings.map(({ test, ok, said }) => `${ok ? "ok   " : "FAULT"} ${test}: ${said}`);

async function inspect(config: Config): Promise<Inspection & { readonly place: string }> {
  const [{ inspectGallery, locateGallery }, { EMBEDDING_MODEL }] = await Promise.all([
    import("../providers/on-device/gallery/open.ts"),
    import("../providers/on-device/models.ts"),
  ]);
  const location = locateGallery(config);
  const inspection = await attemptInspection(() => inspectGallery({ location, model: EMBEDDING_MODEL }));
  return { place: "file" in location ? location.file : hostOf(location.url), ...inspection };
}

/** What stands in the way of looking is a finding like any other. */
async function attemptInspection(work: () => Promise<Inspection>): Promise<Inspection> {
  try {
    return await work();
  } catch (thrown) {
    const { code, message, next } = CheckError.from(thrown);
    // Without a store for faces the other checks work.
    return { faces: null, findings: [{ test: "gallery", ok: code === "unsupported", said: `${message} ${next}` }] };
  }
}

/** Without the user name and the password. */
function hostOf(url: string): string {
  if (!URL.canParse(url)) return "BIOMETRICS_GALLERY_URL";
  const { host, pathname } = new URL(url);
  return `postgres://${host}${pathname}`;
}

const GALLERY_OF_DIDIT: Finding = { test: "gallery", ok: true, said: "not in use: Didit keeps the faces" };

async function tryGallery(config: Config): Promise<Finding> {
  const { place, faces, findings } = await inspect(config);
  const faults = findings.filter(({ ok }) => !ok);
  const found = faces === null ? findings : [{ said: countOf(faces) }];
  const said = (faults.length > 0 ? faults : found).map((finding) => finding.said).join(" ");
  return { test: `gallery ${place}`, ok: faults.length === 0, said };
}

async function tryDataFolder(folder: string): Promise<string> {
  const found = await statIfThere(folder).catch(notUsable);
  if (found === undefined) return "is not there yet; it is made when something is kept";
  if (!found.isDirectory()) return notUsable(`${folder} is no folder`);
  refuseShared({ [folder]: found });
  await access(folder, constants.R_OK | constants.W_OK | constants.X_OK).catch(notUsable);
  return "only its owner has access to it";
}

async function tryAuditLog({ audit }: App, { auditLog }: Config): Promise<Finding[]> {
  if (audit === undefined) return [];
  const test = () => audit.test().then(() => "can be written; no check is made where it cannot");
  return [await attempt(`audit log ${auditLog}`, test)];
}

function notUsable(cause: unknown): never {
  throw new CheckError("setup", "It is not a folder that this program may read and write.", {
    cause,
    next: "Choose another one with BIOMETRICS_DATA_DIR, or mend its permissions.",
  });
}

function tryLinkface({ linkface: { apiId, apiSecret } }: Config): string {
  if (apiId !== undefined && apiSecret !== undefined) return "there are credentials; they were not tried";
  if (apiId === undefined && apiSecret === undefined) {
    return "no credentials, so verify_liveness_selfie cannot be used; all else can";
  }
  throw new CheckError(
    "setup",
    `Only one of two is set: ${apiId === undefined ? "LINKFACE_API_ID" : "LINKFACE_API_SECRET"} is missing.`,
    {
      next: "Set it, or neither.",
    },
  );
}
