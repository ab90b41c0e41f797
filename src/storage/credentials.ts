import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { CheckError } from "../errors.ts";
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
import { acquireLock, idOf, type Lock, type Patience } from "./lock.ts";

const FILE = "credentials.json";
const LOCK = "credentials.lock";
/** What a process that died while it wrote may have left behind: new contents, and the right to remove a lock. */
const LEFT_BEHIND = /^credentials\.(json\.[0-9a-f]{16}\.tmp|lock(\.\d+-\d+-\d+)+)$/;
/** A few accounts take one or two KB. */
const MAX_BYTES = 2 ** 20;
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

export function openCredentials(folder: string, patience: Patience = {}): Credentials {
  const file = join(folder, FILE);
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

  const write = (stored: Stored, lock: Lock) =>
    writeWhole(file, `${JSON.stringify(stored, undefined, 2)}\n`, async () => {
      // Stopped for so long that another process took the lock: what was read may be old by now.
      if (!(await lock.isHeld())) throw new CheckError("unavailable", "Saving the credentials took too long.");
    });

  async function removeLeftovers(): Promise<void> {
    const names = (await readdir(folder)).filter((name) => LEFT_BEHIND.test(name));
    await Promise.all(names.map((name) => rm(join(folder, name), { force: true })));
  }

  return {
    read: () => read().catch(rethrow),
    async update(change) {
      try {
        await makeDataFolder(folder);
        const lock = await acquireLock(join(folder, LOCK), "the credentials in the data folder", patience);
        try {
          await removeLeftovers();
          const { contents } = await import("./credentials-format.ts");
          const stored = contents.parse(change(await read()));
          await write(stored, lock);
          return stored;
        } finally {
          await lock.release();
        }
      } catch (thrown) {
        return rethrow(thrown);
      }
    },
  };
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
