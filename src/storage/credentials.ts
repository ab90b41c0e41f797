import type { BigIntStats } from "node:fs";
import { open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { CheckError, errnoOf } from "../errors.ts";
import type { Stored } from "./credentials-format.ts";
import {
  diskTrouble,
  makeDataFolder,
  openRegular,
  refuseIrregular,
  refuseShared,
  shellQuoted,
  statIfThere,
  writeWhole,
} from "./folder.ts";

const FILE = "credentials.json";
const LOCK = "credentials.lock";
/** What a process that died while it wrote may have left behind: new contents, and the right to remove a lock. */
const LEFT_BEHIND = /^credentials\.(json\.[0-9a-f]{16}\.tmp|lock(\.\d+-\d+-\d+)+)$/;
/** A few accounts take one or two KB. */
const MAX_BYTES = 2 ** 20;
/** A change takes milliseconds: a lock that stays the same for so long belongs to a process that is dead or stopped. */
const DEAD_AFTER_MS = 5_000;
const LONGEST_WAIT_MS = 15_000;
const POLL_MS = 20;
/** More than the clocks of file systems are coarse, but for FAT's. */
const TICK_MS = 1_000;

export type { DiditAccount, PendingAccount, Stored } from "./credentials-format.ts";

const NOTHING: Stored = { version: 1, pending: [], earlier: [] };

/** Keys and passwords of accounts, in one file of the data folder that its owner alone can read. */
export interface Credentials {
  /** What is stored now, also by another process. Cheap enough for every call. @throws CheckError `setup` */
  read(): Promise<Stored>;
  /** Changes what is stored, one process at a time; it is on the disk when this settles. @throws CheckError */
  update(change: (stored: Stored) => Stored): Promise<Stored>;
}

interface Patience {
  readonly deadAfterMs?: number;
  readonly longestWaitMs?: number;
}

export function openCredentials(
  folder: string,
  { deadAfterMs = DEAD_AFTER_MS, longestWaitMs = LONGEST_WAIT_MS }: Patience = {},
): Credentials {
  const file = join(folder, FILE);
  const lock = join(folder, LOCK);
  let known: { readonly id: string; readonly stored: Stored } | undefined;

  async function read(): Promise<Stored> {
    const [inFolder, found] = await Promise.all([statIfThere(folder), statIfThere(file)]);
    if (found === undefined) return NOTHING;
    refuseIrregular(file, found);
    refuseShared({ [folder]: inFolder, [file]: found });
    if (known?.id === idOf(found)) return known.stored;
    const loaded = await load();
    // A file that has just been written may be followed, within a tick of the file system's clock, by one of the same id.
    const isSettled = Math.abs(Date.now() - Number(found.mtimeMs)) > TICK_MS;
    known = isSettled ? loaded : undefined;
    return loaded?.stored ?? NOTHING;
  }

  async function load(): Promise<{ id: string; stored: Stored } | undefined> {
    const handle = await openRegular(file);
    if (handle === undefined) return undefined;
    try {
      // Taken before the contents: if they change meanwhile, the next look sees another id.
      const found = await handle.stat({ bigint: true });
      refuseShared({ [file]: found });
      if (found.size > MAX_BYTES) throw damaged("it is far too large");
      return { id: idOf(found), stored: await parse(await handle.readFile("utf8")) };
    } finally {
      await handle.close();
    }
  }

  /** The words of JSON.parse are left out everywhere: they quote the file. */
  async function parse(json: string): Promise<Stored> {
    let value: unknown;
    try {
      value = JSON.parse(json);
    } catch {
      throw damaged(`its ${json.length} characters are not JSON`);
    }
    // Loaded with the file: most setups have none, and are not to wait for it at every start.
    const { contents, describeFault, isNewer } = await import("./credentials-format.ts");
    if (isNewer(value)) {
      throw new CheckError("setup", "The credentials in the data folder were written by a newer version.", {
        next: "Update biometrics-mcp, or set DIDIT_API_KEY, then restart the server.",
      });
    }
    const parsed = contents.safeParse(value);
    if (parsed.success) return parsed.data;
    throw damaged(describeFault(parsed.error));
  }

  function damaged(cause: string): CheckError {
    return new CheckError("setup", "The file of credentials in the data folder is damaged; it was left as it is.", {
      cause,
      next: `Repair ${shellQuoted(file)} or restore a backup of it. Or move it away and call register_account with the account's address and password, which fetches the key again.`,
    });
  }

  const write = (stored: Stored, own: string) =>
    writeWhole(file, `${JSON.stringify(stored, undefined, 2)}\n`, async () => {
      // Stopped for so long that another process took the lock: what was read may be old by now.
      if ((await idAt(lock)) !== own) throw new CheckError("unavailable", "Saving the credentials took too long.");
    });

  /**
   * The lock is a file that only one process can create. Nothing in it, and no clock, says whether its holder lives (a
   * laptop may have slept in between): whoever waits sees for itself that it stays the same.
   */
  async function acquire(): Promise<string> {
    const start = performance.now();
    let seen: { readonly id: string | undefined; readonly since: number } = { id: undefined, since: start };
    for (;;) {
      const own = await create(lock);
      if (own !== undefined) return own;
      const id = await idAt(lock);
      const now = performance.now();
      if (id !== seen.id) seen = { id, since: now };
      else if (id !== undefined && now - seen.since > deadAfterMs) await release(id, lock, now - seen.since);
      if (now - start > longestWaitMs) {
        throw new CheckError("unavailable", "Another process keeps the credentials in the data folder locked.", {
          next: `Stop other copies of biometrics-mcp, remove ${shellQuoted(lock)}, then retry.`,
        });
      }
      await pause(POLL_MS * (0.5 + Math.random()));
    }
  }

  /**
   * Removes the lock with this id, and no other: of all who want to, the one that can create a file of that name does,
   * so that nobody removes the lock that came after it. Who dies in between leaves that file: it is removed in the same
   * way by those who have waited for as long again.
   */
  async function release(id: string, file = lock, waitedMs = 0): Promise<void> {
    const right = `${file}.${id}`;
    if ((await create(right)) !== undefined) {
      if ((await idAt(file)) === id) await rm(file, { force: true });
      return rm(right, { force: true });
    }
    const rest = waitedMs - deadAfterMs;
    const left = rest > deadAfterMs ? await idAt(right) : undefined;
    if (left !== undefined) await release(left, right, rest);
  }

  async function removeLeftovers(): Promise<void> {
    const names = (await readdir(folder)).filter((name) => LEFT_BEHIND.test(name));
    await Promise.all(names.map((name) => rm(join(folder, name), { force: true })));
  }

  return {
    read: () => read().catch(rethrow),
    async update(change) {
      try {
        await makeDataFolder(folder);
        const own = await acquire();
        try {
          await removeLeftovers();
          const { contents } = await import("./credentials-format.ts");
          const stored = contents.parse(change(await read()));
          await write(stored, own);
          return stored;
        } finally {
          await release(own);
        }
      } catch (thrown) {
        return rethrow(thrown);
      }
    },
  };
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
const idOf = ({ ino, mtimeNs, size }: BigIntStats) => `${ino}-${mtimeNs}-${size}`;

async function idAt(file: string): Promise<string | undefined> {
  const found = await statIfThere(file);
  return found === undefined ? undefined : idOf(found);
}

function rethrow(thrown: unknown): never {
  if (thrown instanceof CheckError || !(thrown instanceof Error && "syscall" in thrown)) throw CheckError.from(thrown);
  throw (
    diskTrouble(thrown) ??
    new CheckError("setup", "The credentials in the data folder cannot be read or written.", {
      cause: thrown,
      next: "Check that the data folder (BIOMETRICS_DATA_DIR) belongs to the user who runs biometrics-mcp and is writable, then retry.",
    })
  );
}
