import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { makePhotos } from "../test/support/photos.ts";
import { accountStandIn } from "../test/support/stand-in/account.ts";
import { codeOf, connect, during, facesOf, folders, isAlive, outcomeOf, type Part, Random, Tally } from "./part.ts";

/**
 * Loaded before the program: its clock shows a time that jumps, as when it is set, or a laptop wakes; the steady clock,
 * by which timers go, goes on.
 */
const JUMPER = `
  const { Date: Real } = globalThis;
  let off = 0;
  const jumps = [0, 3600e3, -3600e3, 86400e3 * 400, -86400e3 * 4000, 4102444800e3, -Real.now(), 1, -1];
  let n = 0;
  setInterval(() => { off = jumps[(n += 7) % jumps.length]; }, 5).unref();
  globalThis.Date = class Date extends Real {
    constructor(...args) { if (args.length === 0) super(Real.now() + off); else super(...args); }
    static now() { return Real.now() + off; }
  };`;

export const clock: Part = {
  name: "clock",
  invariant:
    "While the clock jumps by seconds and by decades, each call is answered, a blocklisted person is declined, and what another process stores is seen at once.",
  async run({ seed, raceMs }) {
    const tally = new Tally();
    const photos = await makePhotos();
    const { data } = folders();
    const { accounts, ...api } = await accountStandIn();
    accounts.requestsAnHour = Number.POSITIVE_INFINITY;
    accounts.cooldownMs = 0;
    const settings = { ...api.env, BIOMETRICS_IMAGE_DIRS: photos.dir, BIOMETRICS_DATA_DIR: data };
    const jumping = { ...settings, NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(JUMPER)}` };
    const device = await connect({ ...jumping, BIOMETRICS_PROVIDER: "on-device" });
    const [apiKey = ""] = accounts.keys;
    const hosted = await connect({ ...jumping, DIDIT_API_KEY: apiKey });
    const steady = await connect({ ...settings, BIOMETRICS_PROVIDER: "on-device" });
    writeFileSync(join(photos.dir, "text.txt"), "");
    await device.call("enroll_face", { image_path: photos.otherWoman, label: "banned", blocklisted: true });
    let enrolled = 1;
    await during(raceMs, 3, async (lane, n) => {
      const random = new Random(seed + lane * 1e6 + n);
      if (lane === 0) {
        const answer = await hosted.call("check_liveness", { image_path: photos.womanA });
        tally.add("checked by the provider");
        tally.check(outcomeOf(answer) === "approved", () => answer.text);
        return;
      }
      if (lane === 1) {
        const search = await device.call("search_face", { image_path: photos.otherWoman });
        tally.add("searched for whom is blocked");
        tally.check(outcomeOf(search) === "declined", () => search.text);
        const added = await (n % 2 === 0 ? device : steady).call("enroll_face", {
          image_path: photos.thirdWoman,
          label: "x",
        });
        tally.check(!added.isError, () => added.text);
        enrolled += 1;
        const { structuredContent } = await (n % 2 === 0 ? steady : device).call("list_faces", { limit: 1 });
        tally.add("enrolled, and seen by another process");
        tally.check(
          structuredContent?.["total"] === enrolled,
          () => `${structuredContent?.["total"]} of ${enrolled} faces are seen`,
        );
        return;
      }
      const email = `p${random.below(1e9)}@mail.org`;
      const registered = await hosted.call("register_account", { email });
      tally.check(!registered.isError, () => registered.text);
      const verified = await steady.call("verify_email", { email, code: accounts.codeOf(email) });
      tally.check(!verified.isError, () => `${codeOf(verified)} ${verified.text}`);
      tally.add("registered, and confirmed by another process");
    });
    tally.check((await facesOf(device)).length === enrolled, () => "faces are gone");
    for (const server of [device, hosted, steady]) {
      tally.check(isAlive(server.pid), () => "a server died");
      await server.close();
    }
    await api.close();
    return tally;
  },
};
