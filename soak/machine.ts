import { execFileSync, spawnSync } from "node:child_process";
import { appendFileSync, chmodSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { type Connection, cleanEnvironment, connected, MAIN, temporaryFolder } from "../test/support/clients.ts";
import { makePhotos } from "../test/support/photos.ts";
import { accountStandIn } from "../test/support/stand-in/account.ts";
import { codeOf, facesOf, folders, isAlive, outcomeOf, type Part, patient, Tally } from "./part.ts";

/** The built program as the last command of a shell script, in which $0 is Node and $1 the program. */
async function connectBy(script: string, env: Readonly<Record<string, string>>): Promise<Connection> {
  const transport = new StdioClientTransport({
    command: "bash",
    args: ["-ec", script, process.execPath, MAIN],
    env: cleanEnvironment(temporaryFolder("home-"), env),
    stderr: "pipe",
  });
  const client = new Client({ name: "soak", version: "1" }, { versionNegotiation: { mode: { pin: "2026-07-28" } } });
  return patient(await connected(client, transport, () => client.connect(transport)));
}

const ON_SMALL_DISK =
  'exec unshare -rm bash -ec \'mount -t tmpfs -o size=2m,mode=700 tmpfs "$BIOMETRICS_DATA_DIR"; exec "$0" "$1"\' "$0" "$1"';
const FULL = "unavailable";
/** Each takes seconds. */
const MAX_ROUNDS = 5;

function hasSmallDisk(): boolean {
  const folder = temporaryFolder("disk-");
  return spawnSync("unshare", ["-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]).status === 0;
}

/** Bytes until no more fit. */
function fill(file: string): void {
  for (let size = 2 ** 19; size >= 1; size = Math.floor(size / 2)) {
    try {
      for (;;) appendFileSync(file, Buffer.alloc(size));
    } catch {
      // The next smaller piece may fit.
    }
  }
}

export const fullDisk: Part = {
  name: "full disk",
  invariant:
    "While the disk is full every tool that writes fails and says so, a blocklisted person is still declined; with space again all works, and what was acknowledged is there.",
  async run({ rounds }) {
    const tally = new Tally();
    if (!hasSmallDisk()) {
      tally.skipped = "this user cannot mount a small disk of their own";
      return tally;
    }
    const { data } = folders();
    mkdirSync(data, { mode: 0o700 });
    const photos = await makePhotos();
    const api = await accountStandIn();
    api.accounts.requestsAnHour = Number.POSITIVE_INFINITY;
    const env = {
      ...api.env,
      BIOMETRICS_PROVIDER: "on-device",
      BIOMETRICS_IMAGE_DIRS: photos.dir,
      BIOMETRICS_DATA_DIR: data,
    };
    const server = await connectBy(ON_SMALL_DISK, env);
    const seen = `/proc/${server.pid}/root${data}`;
    const enrol = (image_path: string, label: string, blocklisted = false) =>
      server.call("enroll_face", { image_path, label, blocklisted });
    await enrol(photos.otherWoman, "banned", true);
    for (let round = 0; round < Math.min(rounds, MAX_ROUNDS); round++) {
      const kept = await enrol(photos.womanA, `kept ${round}`);
      tally.check(!kept.isError, () => `with space: ${kept.text}`);
      fill(join(seen, "filler"));
      const tries = [
        ...(await several(5, () => enrol(photos.womanB, "too much"))),
        ...(await several(2, (n) => server.call("register_account", { email: `full${round}-${n}@mail.org` }))),
      ];
      for (const answer of tries) {
        tally.add(answer.isError ? `refused (${codeOf(answer)})` : "still fitted");
        tally.check(!answer.isError || codeOf(answer) === FULL, () => answer.text);
      }
      const labels = (await facesOf(server)).map(({ label }) => label);
      const fitted = tries.slice(0, 5).filter(({ isError }) => !isError).length;
      tally.check(
        labels.filter((it) => it === "too much").length === fitted,
        () => "another number of faces than acknowledged",
      );
      const search = await server.call("search_face", { image_path: photos.otherWoman });
      tally.check(outcomeOf(search) === "declined", () => `a blocked face: ${search.text}`);
      rmSync(join(seen, "filler"));
      for (const { face_id, label } of await facesOf(server)) {
        if (label === "banned") continue;
        const removed = await server.call("remove_face", { face_id });
        tally.check(!removed.isError, () => `with space again: ${removed.text}`);
      }
      tally.add("times full");
    }
    tally.check((tally.counts[`refused (${FULL})`] ?? 0) > 0, () => "the disk was never full");
    tally.check(isAlive(server.pid), () => "the server died");
    await server.close();
    await api.close();
    return tally;
  },
};

async function several<T>(count: number, work: (n: number) => Promise<T>): Promise<readonly T[]> {
  const results: T[] = [];
  for (let n = 0; n < count; n++) results.push(await work(n));
  return results;
}

export const readOnly: Part = {
  name: "read-only folder",
  invariant:
    "In a data folder that cannot be written nothing is stored, each tool that writes fails and says so, and checks that need no gallery work.",
  async run() {
    const tally = new Tally();
    const { data } = folders();
    const photos = await makePhotos();
    const api = await accountStandIn();
    const env = {
      ...api.env,
      BIOMETRICS_PROVIDER: "on-device",
      BIOMETRICS_IMAGE_DIRS: photos.dir,
      BIOMETRICS_DATA_DIR: data,
    };
    mkdirSync(data, { mode: 0o700 });
    const isRoot = process.getuid?.() === 0;
    if (isRoot && !hasSmallDisk()) {
      tally.skipped = "for root a folder is writable, and it cannot mount a read-only disk";
      return tally;
    }
    if (!isRoot) chmodSync(data, 0o500);
    const readOnlyDisk = ON_SMALL_DISK.replace("size=2m", "ro,size=2m");
    const server = await connectBy(isRoot ? readOnlyDisk : 'exec "$0" "$1"', env);
    for (const [tool, args] of [
      ["enroll_face", { image_path: photos.womanA, label: "x" }],
      ["search_face", { image_path: photos.womanA }],
      ["register_account", { email: "jane@mail.org" }],
    ] as const) {
      const answer = await server.call(tool, args);
      tally.add(answer.isError ? `refused (${codeOf(answer)})` : "answered");
      tally.check(["unavailable", "setup"].includes(codeOf(answer)), () => `${tool}: ${answer.text}`);
    }
    tally.check(api.accounts.mails.length === 0, () => "an account was opened whose password could not be kept");
    const match = await server.call("match_faces", {
      user_image_path: photos.womanA,
      reference_image_path: photos.womanB,
    });
    tally.check(outcomeOf(match) === "approved", () => `a match: ${match.text}`);
    tally.add("matched without a gallery");
    await server.close();
    await api.close();
    if (!isRoot) chmodSync(data, 0o700);
    return tally;
  },
};

export const descriptors: Part = {
  name: "ulimit -n",
  invariant:
    "Where file descriptors run out, each call is answered, and a failure is no decision; afterwards the same process works.",
  async run({ rounds }) {
    const tally = new Tally();
    const photos = await makePhotos();
    const { data } = folders();
    const env = { BIOMETRICS_PROVIDER: "on-device", BIOMETRICS_IMAGE_DIRS: photos.dir, BIOMETRICS_DATA_DIR: data };
    const api = await accountStandIn();
    const [apiKey = ""] = api.accounts.keys;
    const large = join(photos.dir, "large.jpg");
    // Large enough to be read in the pool, where a descriptor is held for longer.
    writeFileSync(large, Buffer.concat([Buffer.from("\xff\xd8\xff\xe0", "latin1"), Buffer.alloc(2 ** 20)]));
    execFileSync("cp", [photos.noFace, join(photos.dir, "small.jpg")]);
    appendFileSync(join(photos.dir, "small.jpg"), Buffer.alloc(2 ** 20));
    const hosted = { ...env, ...api.env, BIOMETRICS_PROVIDER: "didit", DIDIT_API_KEY: apiKey };
    const server = await connectBy('ulimit -n 100; exec "$0" "$1"', hosted);
    for (let round = 0; round < Math.min(rounds, MAX_ROUNDS); round++) {
      const image_path = join(photos.dir, "small.jpg");
      const calls = Array.from({ length: 300 }, () => server.call("check_liveness", { image_path }));
      for (const answer of await Promise.all(calls)) {
        tally.add(answer.isError ? `refused (${codeOf(answer)})` : "sent and decided");
        // The second: the stand-in closed an idle connection at the moment in which it was used again.
        tally.check(!answer.isError || ["unavailable", "no_answer"].includes(codeOf(answer)), () => answer.text);
      }
    }
    let isWorking = false;
    for (let tries = 0; tries < 30 && !isWorking; tries++) {
      await new Promise((next) => setTimeout(next, 500));
      isWorking = outcomeOf(await server.call("check_liveness", { image_path: photos.womanA })) === "approved";
    }
    tally.check(isWorking, () => "it does not work afterwards");
    tally.check(statSync(photos.dir).isDirectory() && isAlive(server.pid), () => "the server died");
    await server.close();
    await api.close();
    return tally;
  },
};
