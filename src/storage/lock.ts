import type { BigIntStats } from "node:fs";
import { open, rm, utimes } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { CheckError, errnoOf } from "../errors.ts";
import { shellQuoted, statIfThere } from "./folder.ts";

/** A change takes milliseconds: a lock that stays the same for so long belongs to a process that is dead or stopped. */
const DEAD_AFTER_MS = 5_000;
const LONGEST_WAIT_MS = 15_000;
const POLL_MS = 20;

export interface Patience {
  readonly deadAfterMs?: number;
  readonly longestWaitMs?: number;
  readonly pollMs?: number;
  /** Whoever has the lock changes it this often, and may keep it for as long as it takes. */
  readonly refreshMs?: number;
}

/** The right to change a file, which one process has at a time. */
export interface Lock {
  /** false: this process was stopped for so long that another took it. */
  isHeld(): Promise<boolean>;
  release(): Promise<void>;
}

/**
 * The lock is a file that only one process can create. Nothing in it, and no clock, says whether its holder lives (a
 * laptop may have slept in between): whoever waits sees for itself that it stays the same.
 *
 * @param what - is locked, as a sentence begins.
 * @throws CheckError `unavailable` after the longest wait.
 */
export async function acquireLock(
  lock: string,
  what: string,
  { deadAfterMs = DEAD_AFTER_MS, longestWaitMs = LONGEST_WAIT_MS, pollMs = POLL_MS, refreshMs }: Patience = {},
): Promise<Lock> {
  const start = performance.now();
  let seen: { readonly id: string | undefined; readonly since: number } = { id: undefined, since: start };
  for (;;) {
    const own = await create(lock);
    if (own !== undefined) return held(lock, own, refreshMs);
    const id = await idAt(lock);
    const now = performance.now();
    if (id !== seen.id) seen = { id, since: now };
    else if (id !== undefined && now - seen.since > deadAfterMs) {
      await release(lock, id, (now - seen.since) / deadAfterMs);
    }
    if (now - start > longestWaitMs) {
      throw new CheckError("unavailable", `Another process keeps ${what} locked.`, {
        next: `Stop other copies of biometrics-mcp, remove ${shellQuoted(lock)}, then retry.`,
      });
    }
    await pause(pollMs * (0.5 + Math.random()));
  }
}

function held(lock: string, created: string, refreshMs: number | undefined): Lock {
  let own = created;
  let refreshed = Promise.resolve();
  async function refresh(): Promise<void> {
    if ((await idAt(lock)) !== own) return; // another process has it
    const now = new Date();
    await utimes(lock, now, now);
    own = (await idAt(lock)) ?? own;
  }
  const inTurn = () => {
    refreshed = refreshed.then(refresh).catch(() => {}); // it is tried again
  };
  const timer = refreshMs === undefined ? undefined : setInterval(inTurn, refreshMs).unref();
  return {
    isHeld: async () => (await idAt(lock)) === own,
    async release() {
      clearInterval(timer);
      await refreshed;
      await release(lock, own);
    },
  };
}

/**
 * Removes the lock with this id, and no other: of all who want to, the one that can create a file of that name does,
 * so that nobody removes the lock that came after it. Whoever dies in between leaves that file, which is removed in the
 * same way by those who have waited for as long again: `waits` says for how many deaths.
 */
async function release(lock: string, id: string, waits = 0): Promise<void> {
  const right = `${lock}.${id}`;
  if ((await create(right)) !== undefined) {
    if ((await idAt(lock)) === id) await rm(lock, { force: true });
    return rm(right, { force: true });
  }
  const left = waits > 2 ? await idAt(right) : undefined;
  if (left !== undefined) await release(right, left, waits - 1);
}

/** The id of the new file; undefined when there is one already. */
async function create(file: string): Promise<string | undefined> {
  try {
    const handle = await open(file, "wx", 0o600);
    try {
      return idOf(await handle.stat({ bigint: true }));
    } finally {
      await handle.close();
    }
  } catch (thrown) {
    if (errnoOf(thrown) === "EEXIST") return undefined;
    throw thrown;
  }
}

/** Another file, or other contents, has another id. */
export const idOf = ({ ino, mtimeNs, size }: BigIntStats) => `${ino}-${mtimeNs}-${size}`;

async function idAt(file: string): Promise<string | undefined> {
  const found = await statIfThere(file);
  return found === undefined ? undefined : idOf(found);
}
