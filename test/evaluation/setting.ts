import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { cleanEnvironment, MAIN, temporaryFolder } from "../support/clients.ts";
import type { Answer, Received, Route } from "../support/stand-in.ts";

/** Images that differ, by name: nobody is on them, a stand-in tells them apart by their bytes. */
export async function drawImages(
  names: readonly string[],
): Promise<{ folder: string; nameOf: (bytes: Buffer) => string }> {
  const folder = join(temporaryFolder("evaluation-"), "my images");
  const byHash = new Map<string, string>();
  for (const [i, name] of names.entries()) {
    const background = { r: i % 256, g: Math.floor(i / 256), b: 128 };
    const bytes = await sharp({ create: { width: 64, height: 64, channels: 3, background } })
      .png()
      .toBuffer();
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), bytes);
    byHash.set(hashOf(bytes), name);
  }
  return { folder, nameOf: (bytes) => byHash.get(hashOf(bytes)) ?? "" };
}

const hashOf = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/** Didit's two checks, with scores that the test sets. `null`: no face. */
export function scoringRoutes(
  scoreOf: (...names: string[]) => number | null,
  nameOf: (bytes: Buffer) => string,
): readonly Route[] {
  const answer = (block: string, fields: readonly string[]) => (request: Received) => {
    const score = scoreOf(...fields.map((field) => nameOf(request.files[field]?.bytes ?? Buffer.alloc(0))));
    const warnings = score === null ? [{ risk: "NO_FACE_DETECTED", log_type: "error", feature: "LIVENESS" }] : [];
    const status = score === null || score <= 30 ? "Declined" : "Approved";
    return { status: 200, body: { request_id: "r", [block]: { status, score, warnings } } } satisfies Answer;
  };
  return [
    { method: "POST", path: "/v3/passive-liveness/", form: true, answer: answer("liveness", ["user_image"]) },
    { method: "POST", path: "/v3/face-match/", form: true, answer: answer("face_match", ["user_image", "ref_image"]) },
  ];
}

export interface Finished {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface Place {
  readonly home: string;
  readonly data: string;
}

export function newPlace(): Place {
  const home = temporaryFolder("home-");
  return { home, data: join(home, "data") };
}

/** The real program; `onStart` is given what kills it. */
export async function run(
  { home }: Place,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  onStart: (kill: () => void) => void = () => {},
): Promise<Finished> {
  const child = spawn(process.execPath, [MAIN, ...args], { cwd: home, env: cleanEnvironment(home, env) });
  const [out, err]: [string[], string[]] = [[], []];
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => err.push(chunk.toString()));
  onStart(() => child.kill("SIGKILL"));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, out: out.join(""), err: err.join("") };
}
