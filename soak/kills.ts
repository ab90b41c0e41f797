import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { openCredentials } from "../src/storage/credentials.ts";
import type { Connection } from "../test/support/clients.ts";
import { makePhotos, type Photos } from "../test/support/photos.ts";
import { type AccountStandIn, accountStandIn } from "../test/support/stand-in/account.ts";
import { codeOf, connect, facesOf, folders, outcomeOf, type Part, Tally } from "./part.ts";

/**
 * Loaded before the program. It counts what changes files or the gallery (calls of the file system, statements of
 * SQLite), and ends the process as kill -9 does before the one of that number, or says at its end how many there were.
 */
const KILLER = `
  import fs from "node:fs";
  import { syncBuiltinESMExports } from "node:module";
  const { at, flag } = JSON.parse(process.env.KILL);
  let steps = 0;
  function step() {
    if (!fs.existsSync(flag)) return;
    steps += 1;
    if (steps === at) process.kill(process.pid, "SIGKILL");
    fs.writeFileSync(flag, String(steps));
  }
  const before = (holder, names) => {
    for (const name of names) {
      const original = holder?.[name];
      if (typeof original !== "function") continue;
      holder[name] = function (...args) { if (!args.includes(flag)) step(); return original.apply(this, args); };
    }
  };
  before(fs.promises, ["open", "rename", "rm", "mkdir"]);
  const handle = await fs.promises.open(process.execPath);
  before(Object.getPrototypeOf(handle), ["writeFile", "sync", "close", "read", "readFile"]);
  await handle.close();
  // The methods of the addon cannot be replaced, but on an object of theirs.
  const watched = (it, names) => {
    for (const name of names) {
      const original = it[name];
      Object.defineProperty(it, name, { value: (...args) => (step(), original.apply(it, args)) });
    }
    return it;
  };
  const watch = (DatabaseSync) => class extends DatabaseSync {
    constructor(...args) { super(...args); watched(this, ["exec", "close"]); }
    prepare(...args) { step(); return watched(super.prepare(...args), ["run", "get", "all"]); }
  };
  const { dlopen } = process;
  process.dlopen = (module, ...args) => {
    const it = dlopen.call(process, module, ...args);
    const { DatabaseSync } = module.exports;
    if (DatabaseSync) module.exports = { ...module.exports, DatabaseSync: watch(DatabaseSync) };
    return it;
  };
  if (process.versions.sqlite) {
    const builtIn = await import("node:sqlite");
    before(builtIn.DatabaseSync.prototype, ["exec", "prepare", "close"]);
    before(builtIn.StatementSync.prototype, ["run", "get", "all"]);
  }
  syncBuiltinESMExports();`;

interface Scene {
  readonly photos: Photos;
  readonly data: string;
  readonly api: AccountStandIn;
}

interface Prey {
  readonly tool: string;
  /** What must be there before; returns the arguments of the call. */
  prepare(server: Connection, scene: Scene): Promise<Record<string, unknown>>;
  /** After the call was cut off (`isDone`: answered), by another process: what was acknowledged is there. */
  verify(server: Connection, scene: Scene, args: Record<string, unknown>, isDone: boolean, tally: Tally): Promise<void>;
}

const enrol = async (server: Connection, image_path: string, label: string, blocklisted = false) => {
  const { structuredContent, text, isError } = await server.call("enroll_face", { image_path, label, blocklisted });
  if (isError) throw new Error(text);
  return String(structuredContent?.["face_id"]);
};

/** Who was blocked before is declined, whatever was cut off. */
async function stillBlocked(server: Connection, { photos }: Scene, tally: Tally, what: string): Promise<void> {
  const answer = await server.call("search_face", { image_path: photos.otherWoman });
  tally.check(outcomeOf(answer) === "declined", () => `${what}: a blocked face is ${outcomeOf(answer) ?? answer.text}`);
}

const PREY: readonly Prey[] = [
  {
    tool: "enroll_face",
    async prepare(server, { photos }) {
      await enrol(server, photos.otherWoman, "banned", true);
      return { image_path: photos.womanA, label: "new" };
    },
    async verify(server, scene, _args, isDone, tally) {
      const labels = (await facesOf(server)).map(({ label }) => label);
      tally.check(labels.includes("banned"), () => "an enrolled face is gone");
      tally.check(!isDone || labels.includes("new"), () => "the face that was acknowledged is gone");
      await stillBlocked(server, scene, tally, "enroll_face");
      await enrol(server, scene.photos.womanB, "later");
    },
  },
  {
    tool: "remove_face",
    async prepare(server, { photos }) {
      await enrol(server, photos.otherWoman, "banned", true);
      return { face_id: await enrol(server, photos.womanA, "leaving") };
    },
    async verify(server, scene, _args, isDone, tally) {
      const labels = (await facesOf(server)).map(({ label }) => label);
      tally.check(labels.includes("banned"), () => "an enrolled face is gone");
      tally.check(!isDone || !labels.includes("leaving"), () => "the face that was removed is there");
      await stillBlocked(server, scene, tally, "remove_face");
    },
  },
  {
    tool: "register_account",
    async prepare(server) {
      await server.call("register_account", { email: "first@mail.org" });
      return { email: "second@mail.org" };
    },
    async verify(server, { api, data }, { email }, isDone, tally) {
      const { pending } = await openCredentials(data).read();
      tally.check(
        pending.some((it) => it.email === "first@mail.org"),
        () => "a password that was kept is gone",
      );
      const isKept = pending.some((it) => it.email === email);
      const isSent = api.accounts.mails.some(({ to }) => to === email);
      tally.check(isKept || !isSent, () => "an account was opened whose password nobody knows");
      tally.check(isKept || !isDone, () => "what was acknowledged was not kept");
      const again = await server.call("register_account", { email });
      const isAnswered = !again.isError || ["rate_limited", "invalid_input"].includes(codeOf(again));
      tally.check(isAnswered, () => `after register_account was cut off: ${again.text}`);
    },
  },
  {
    tool: "verify_email",
    async prepare(server, { api }) {
      await server.call("register_account", { email: "first@mail.org" });
      return { email: "first@mail.org", code: api.accounts.codeOf("first@mail.org") };
    },
    async verify(server, { data, api }, { email }, isDone, tally) {
      const stored = await openCredentials(data).read();
      const isPending = stored.pending.some((it) => it.email === email);
      tally.check(stored.didit !== undefined || isPending, () => "neither the key nor the password is there");
      tally.check(
        !isDone || stored.didit?.api_key === api.accounts.keys[0],
        () => "the key that was acknowledged is not there",
      );
      // Without it, the way out is to sign in with the password that was kept.
      if (stored.didit !== undefined) return;
      const code = api.accounts.codeOf(String(email));
      const again = await server.call("verify_email", { email, code });
      const ready = again.isError ? await server.call("register_account", { email }) : again;
      const hasWayOut = !ready.isError || codeOf(ready) === "rate_limited";
      tally.check(hasWayOut, () => `after verify_email was cut off: ${ready.text}`);
    },
  },
];

export const kills: Part = {
  name: "kill -9",
  invariant:
    "Killed before each single change of a file or of the gallery, in each tool that writes: what was acknowledged is there, the next process works at once, and nobody is off the blocklist.",
  async run({ steps }) {
    const tally = new Tally();
    const photos = await makePhotos();
    for (const prey of PREY) {
      let killed = 0;
      for (let at = 1; at <= steps; at++) {
        const { inside, data } = folders();
        const api = await accountStandIn();
        const scene: Scene = { photos, data, api };
        const env = {
          ...api.env,
          BIOMETRICS_PROVIDER: "on-device",
          BIOMETRICS_IMAGE_DIRS: photos.dir,
          BIOMETRICS_DATA_DIR: data,
        };
        const before = await connect(env);
        const args = await prey.prepare(before, scene);
        await before.close();
        const flag = join(inside, "flag");
        const NODE_OPTIONS = `--import data:text/javascript,${encodeURIComponent(KILLER)}`;
        const victim = await connect({ ...env, NODE_OPTIONS, KILL: JSON.stringify({ at, flag }) });
        await victim.call("get_setup");
        writeFileSync(flag, "0");
        const answer = await victim.call(prey.tool, args).catch(() => undefined);
        await victim.close().catch(() => {});
        if (answer === undefined) killed += 1;
        else tally.check(!answer.isError, () => `${prey.tool}: ${answer.text}`);
        const after = await connect(env);
        await prey.verify(after, scene, args, answer !== undefined, tally).catch((thrown: unknown) => {
          tally.faults.push(`${prey.tool}, killed before step ${at}: ${thrown}`);
        });
        await after.close();
        await api.close();
        if (answer !== undefined) break;
      }
      tally.add(`${prey.tool}: killed`, killed);
      tally.check(killed > 0, () => `${prey.tool} was never killed`);
    }
    return tally;
  },
};
