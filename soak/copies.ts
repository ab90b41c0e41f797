import type { Connection } from "../test/support/clients.ts";
import { makePhotos } from "../test/support/photos.ts";
import { accountStandIn } from "../test/support/stand-in/account.ts";
import type { Received } from "../test/support/stand-in.ts";
import { codeOf, connect, during, facesOf, folders, isAlive, outcomeOf, type Part, Random, Tally } from "./part.ts";

const CALLS_AT_ONCE = 2;

export const copies: Part = {
  name: "copies",
  invariant:
    "Of several copies over one data folder each call is answered, each lives, and what was acknowledged is there: every enrolled face is found, no removed one is, and a blocklisted person is always declined.",
  async run({ seed, loadMs, copies: count }) {
    const tally = new Tally();
    const { inside, data } = folders();
    const photos = await makePhotos(inside);
    const { accounts, ...api } = await accountStandIn();
    accounts.requestsAnHour = Number.POSITIVE_INFINITY;
    accounts.cooldownMs = 0;
    const settings = { BIOMETRICS_IMAGE_DIRS: inside, BIOMETRICS_DATA_DIR: data };
    const device = { ...settings, ...api.env, BIOMETRICS_PROVIDER: "on-device" };
    const servers = await Promise.all(Array.from({ length: count }, () => connect(device)));
    const [first] = servers;
    if (first === undefined) return tally;
    const banned = await first.call("enroll_face", {
      image_path: photos.otherWoman,
      label: "banned",
      blocklisted: true,
    });
    const kept = new Set([String(banned.structuredContent?.["face_id"])]);
    const gone = new Set<string>();
    const emails = new Set<string>();
    const times: number[] = [];

    const steps: readonly ((server: Connection, random: Random) => Promise<void>)[] = [
      async (server, random) => {
        const image_path = random.pick([photos.womanA, photos.womanB, photos.thirdWoman]);
        const answer = await server.call("enroll_face", { image_path, label: "somebody" });
        if (!answer.isError) kept.add(String(answer.structuredContent?.["face_id"]));
        told("enrolled", answer);
      },
      async (server, random) => {
        const own = [...kept].slice(1);
        const face_id = random.pick(own);
        if (face_id === undefined || !kept.delete(face_id)) return;
        const answer = await server.call("remove_face", { face_id });
        if (answer.isError) kept.add(face_id);
        else gone.add(face_id);
        told("removed", answer);
      },
      async (server) => {
        const answer = await server.call("search_face", { image_path: photos.otherWoman });
        told("searched for whom is blocked", answer);
        if (!answer.isError) tally.check(outcomeOf(answer) === "declined", () => `a blocked face: ${answer.text}`);
      },
      async (server) => {
        const two = { user_image_path: photos.womanA, reference_image_path: photos.otherWoman };
        const answer = await server.call("match_faces", two);
        told("matched", answer);
        tally.check(outcomeOf(answer) !== "approved", () => `two women: ${answer.text}`);
      },
      async (server, random) => {
        const email = `p${random.below(1e9)}@mail.org`;
        const answer = await server.call("register_account", { email });
        if (!answer.isError) emails.add(email);
        told("registered", answer);
      },
    ];
    function told(what: string, answer: Awaited<ReturnType<Connection["call"]>>): void {
      tally.add(answer.isError ? `refused (${codeOf(answer)})` : what);
      const isBusy = ["unavailable", "rate_limited"].includes(codeOf(answer));
      tally.check(!answer.isError || isBusy, () => `${what}: ${answer.text}`);
      (api.received as Received[]).length = 0;
    }

    await during(loadMs, count * CALLS_AT_ONCE, async (lane, n) => {
      const random = new Random(seed + lane * 1e6 + n);
      const server = servers[lane % count] ?? first;
      const began = performance.now();
      await random.pick(steps)(server, random);
      times.push(performance.now() - began);
    });

    const stored = new Set((await facesOf(first)).map(({ face_id }) => face_id));
    const lost = [...kept].filter((id) => !stored.has(id));
    const undead = [...gone].filter((id) => stored.has(id));
    tally.check(lost.length === 0, () => `${lost.length} enrolled faces are gone`);
    tally.check(undead.length === 0, () => `${undead.length} removed faces are there`);
    const pending = new Set((await readPending(data)).map(({ email }) => email));
    const unsaved = [...emails].filter((email) => !pending.has(email));
    tally.check(unsaved.length === 0, () => `${unsaved.length} passwords were not kept`);
    for (const server of servers) {
      tally.check(isAlive(server.pid), () => "a copy died");
      const { structuredContent } = await server.call("list_faces", { limit: 1 });
      tally.check(
        structuredContent?.["total"] === stored.size,
        () => `a copy sees ${structuredContent?.["total"]} faces`,
      );
    }
    times.sort((a, b) => a - b);
    tally.add("p50 in ms", Math.round(times[times.length >> 1] ?? 0));
    tally.add("p99 in ms", Math.round(times[Math.floor(times.length * 0.99)] ?? 0));
    await Promise.all(servers.map((server) => server.close()));
    await api.close();
    return tally;
  },
};

async function readPending(data: string) {
  const { openCredentials } = await import("../src/storage/credentials.ts");
  return (await openCredentials(data).read()).pending;
}
