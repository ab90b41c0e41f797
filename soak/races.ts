import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { API_KEY, type Received, standIn } from "../test/support/stand-in.ts";
import { codeOf, connect, during, folders, hashOf, isAlive, type Part, Tally } from "./part.ts";

const AT_ONCE = 8;

/** As fast as it goes, what stands at one name is now this and now that; in a process of its own. */
const SWAPPER = `
  const fs = require("node:fs");
  const { execFileSync } = require("node:child_process");
  const [inside, outside, data] = process.argv.slice(1);
  const [target, folder, next] = [inside + "/race.jpg", inside + "/folder", inside + "/next"];
  const photo = fs.readFileSync(inside + "/photo.jpg");
  execFileSync("mkfifo", [inside + "/fifo"]);
  const replace = (make) => { make(); fs.renameSync(next, target); };
  const steps = [
    () => replace(() => fs.writeFileSync(next, photo)),
    () => replace(() => fs.symlinkSync(outside + "/secret.jpg", next)),
    () => replace(() => fs.linkSync(inside + "/fifo", next)),
    () => replace(() => fs.linkSync(data + "/secret.jpg", next)),
    () => { fs.renameSync(folder, folder + "-away"); fs.symlinkSync(outside, folder); },
    () => { fs.unlinkSync(folder); fs.symlinkSync(data, folder); },
    () => { fs.unlinkSync(folder); fs.renameSync(folder + "-away", folder); },
    () => replace(() => fs.writeFileSync(next, photo.subarray(0, 100))),
    () => fs.truncateSync(target, 10),
    () => fs.unlinkSync(target),
  ];
  let swaps = 0;
  process.on("SIGTERM", () => { process.stdout.write(String(swaps)); process.exit(); });
  process.stdout.write("ready\\n");
  (function swap() {
    for (const step of steps) { step(); swaps += 1; }
    setImmediate(swap);
  })();`;

export const races: Part = {
  name: "races",
  invariant:
    "While files are renamed, linked, truncated and swapped for FIFOs and folders, no byte from outside is sent, and each call is answered.",
  async run({ raceMs }) {
    const tally = new Tally();
    const { inside, outside, data } = folders();
    const shape = { width: 64, height: 48, channels: 3 } as const;
    const jpeg = (background: string) =>
      sharp({ create: { ...shape, background } })
        .jpeg()
        .toBuffer();
    const [photo, secret] = await Promise.all([jpeg("#765"), jpeg("#123")]);
    mkdirSync(data, { mode: 0o700 });
    mkdirSync(join(inside, "folder"));
    for (const at of ["photo.jpg", "race.jpg", "folder/secret.jpg"]) writeFileSync(join(inside, at), photo);
    for (const at of [outside, data]) writeFileSync(join(at, "secret.jpg"), secret);
    const api = await standIn();
    const server = await connect({
      DIDIT_API_KEY: API_KEY,
      DIDIT_API_BASE_URL: api.url,
      BIOMETRICS_IMAGE_DIRS: inside,
      BIOMETRICS_DATA_DIR: data,
    });
    const swapper = spawn(process.execPath, ["-e", SWAPPER, inside, outside, data]);
    const [stdout, stderr]: [string[], string[]] = [[], []];
    swapper.stdout.on("data", (chunk: Buffer) => stdout.push(chunk.toString()));
    swapper.stderr.on("data", (chunk: Buffer) => stderr.push(chunk.toString()));
    const ended = once(swapper, "close");
    await once(swapper.stdout, "data");
    await during(raceMs, AT_ONCE, async (lane) => {
      const image_path = join(inside, lane % 2 === 0 ? "race.jpg" : "folder/secret.jpg");
      const answer = await server.call("check_liveness", { image_path });
      tally.add(answer.isError ? `refused (${codeOf(answer)})` : "sent and decided");
      if (answer.isError) {
        const isExpected = ["path_refused", "image_rejected"].includes(codeOf(answer));
        tally.check(isExpected, () => answer.text);
      }
      if (lane === 0) look();
    });
    look();
    swapper.kill("SIGTERM");
    await ended;
    const swaps = Number(stdout.join("").split("\n")[1]);
    tally.check(swaps > 0, () => `the swapper failed: ${stderr.join("")}`);
    tally.add("swaps", swaps);
    tally.check((tally.counts["sent and decided"] ?? 0) > 0, () => "nothing was ever read");
    tally.check(isAlive(server.pid), () => "the server died");
    await server.close();
    await api.close();
    return tally;

    function look(): void {
      for (const { files } of (api.received as Received[]).splice(0)) {
        for (const { bytes } of Object.values(files)) {
          tally.check(hashOf(bytes) === hashOf(photo), () => `${bytes.length} bytes were sent that may not be read`);
        }
      }
    }
  },
};
