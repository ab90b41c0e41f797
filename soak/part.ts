import { createHash } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FaceMaker } from "../test/gallery/faces.ts";
import { type Connection, ERAS, type ToolAnswer, temporaryFolder } from "../test/support/clients.ts";

/** How much of a part is made: `full` by `npm run soak`, a bounded share of it by the tests. */
export interface Scale {
  /** Every case of a part follows from it and from the number of the case. */
  readonly seed: number;
  readonly images: number;
  readonly objects: number;
  /** Of whatever is measured by the clock, in milliseconds. */
  readonly raceMs: number;
  readonly loadMs: number;
  readonly copies: number;
  /** Of whatever is done over and over. */
  readonly rounds: number;
  /** Before how many of its changes a tool is killed, at most. */
  readonly steps: number;
}

export interface Part {
  readonly name: string;
  /** What must hold, as a sentence. */
  readonly invariant: string;
  run(scale: Scale): Promise<Tally>;
}

/** What was done, by name, and what went against the invariant. */
export class Tally {
  readonly counts: Record<string, number> = {};
  readonly faults: string[] = [];
  /** Why it was not made here. */
  skipped: string | undefined;

  add(what: string, by = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + by;
  }

  /** `what` is made only where it is needed. */
  check(holds: boolean, what: () => string): void {
    if (!holds) this.faults.push(what());
  }
}

export class Random extends FaceMaker {
  below(bound: number): number {
    return Math.floor(this.uniform() * bound);
  }

  pick<T>(list: readonly [T, ...T[]] | readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
}

export const hashOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** The built program over stdio, with a real client. */
export async function connect(env: Readonly<Record<string, string>>): Promise<Connection> {
  const [, modern] = ERAS;
  if (modern === undefined) throw new Error("there is no client");
  return patient(await modern.connect({ env }));
}

/** Several parts keep a machine busier than any user does: that an answer comes is looked at, not when. */
export function patient(connection: Connection): Connection {
  return { ...connection, call: (name, args) => connection.call(name, args, { timeout: 180_000 }) };
}

/** A new folder with `inside`, which may be read, `outside`, which may not, and `data`, which is made by the program. */
export function folders(): { inside: string; outside: string; data: string } {
  const root = temporaryFolder("soak-");
  const [inside, outside] = [join(root, "inside"), join(root, "outside")];
  for (const folder of [inside, outside]) mkdirSync(folder);
  return { inside, outside, data: join(root, "data") };
}

export const outcomeOf = ({ structuredContent }: ToolAnswer) => structuredContent?.["outcome"];
export const codeOf = ({ _meta }: ToolAnswer) => String(_meta?.["code"]);

/** All that are enrolled. */
export async function facesOf(server: Connection): Promise<readonly { face_id: string; label: string }[]> {
  const faces: { face_id: string; label: string }[] = [];
  for (let cursor: unknown = null; cursor !== undefined; ) {
    const { structuredContent, isError, text } = await server.call("list_faces", { limit: 100, cursor });
    if (isError) throw new Error(text);
    const page = structuredContent as { faces: typeof faces; next_cursor: string | null };
    faces.push(...page.faces);
    cursor = page.next_cursor ?? undefined;
  }
  return faces;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** `work` for 0 to `count` - 1, `atOnce` at a time. */
export async function forEach(count: number, atOnce: number, work: (n: number, lane: number) => Promise<void>) {
  let next = 0;
  const lanes = Array.from({ length: Math.min(atOnce, count) }, async (_, lane) => {
    while (next < count) await work(next++, lane);
  });
  await Promise.all(lanes);
}

/** `work` over and over for that time, `atOnce` at a time. */
export async function during(ms: number, atOnce: number, work: (lane: number, n: number) => Promise<void>) {
  const end = performance.now() + ms;
  await Promise.all(
    Array.from({ length: atOnce }, async (_, lane) => {
      for (let n = 0; performance.now() < end; n++) await work(lane, n);
    }),
  );
}

/** The most memory that a process ever had; undefined where the system does not say. */
export function peakMegabytes(pid: number): number | undefined {
  try {
    return Math.round(Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024);
  } catch {
    return undefined;
  }
}
