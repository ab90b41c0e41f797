import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { CheckError } from "../../src/errors.ts";
import { locateGalleries, openGalleries } from "../../src/providers/on-device/gallery/open.ts";
import { FaceMaker, MODEL, NEAREST } from "./faces.ts";
import { emptyFolder } from "./folders.ts";

const DATABASE = fileURLToPath(new URL("database.ts", import.meta.url));

async function startDatabase(folder: string, port = "0") {
  const child = spawn(process.execPath, ["--import", "tsx", DATABASE, folder, port], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  onTestFinished(kill);
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return { address: line.toString().trim(), kill };
}

test("a database that is killed under load and started again: what was acknowledged is there, the rest was an error", {
  timeout: 180_000,
}, async () => {
  const folder = await emptyFolder();
  const data = join(folder, "database");
  const first = await startDatabase(data);
  const location = locateGalleries({
    dataFolder: join(folder, "data"),
    galleryUrl: `postgres://postgres:x@${first.address}/postgres`,
  });
  const galleries = await openGalleries({ location, model: MODEL });
  onTestFinished(() => galleries.close());
  const gallery = await galleries.open("default", { create: true });
  const acknowledged: { id: string; face: Float32Array }[] = [];
  const failures: CheckError[] = [];
  let isOver = false;
  const writers = [1, 2, 3].map(async (seed) => {
    const faces = new FaceMaker(seed);
    while (!isOver) {
      const face = faces.face();
      await gallery.enroll(face, { label: String(seed), vendorData: null, blocklisted: false }).then(
        ({ id }) => acknowledged.push({ id, face }),
        async (thrown: unknown) => {
          failures.push(CheckError.from(thrown));
          await setTimeout(20);
        },
      );
    }
  });
  await expect.poll(() => acknowledged.length).toBeGreaterThan(30);
  await first.kill();
  const before = acknowledged.length;
  await expect.poll(() => failures.length).toBeGreaterThan(10);
  const sought = gallery.search(acknowledged[0]?.face ?? new Float32Array(), NEAREST);
  await expect(sought).rejects.toMatchObject({ code: "unavailable", retryable: true });
  await startDatabase(data, first.address.split(":")[1]);
  await expect.poll(() => acknowledged.length, { timeout: 60_000 }).toBeGreaterThan(before + 30);
  isOver = true;
  await Promise.all(writers);
  expect(new Set(failures.map(({ code }) => code))).toEqual(new Set(["unavailable"]));
  const { faces, total } = await gallery.list({ limit: 10_000 });
  const stored = new Set(faces.map(({ id }) => id));
  expect(acknowledged.filter(({ id }) => !stored.has(id))).toEqual([]);
  // An answer that was lost on the way is a failure to whoever asked: one for each writer at most.
  expect(total - acknowledged.length).toBeLessThanOrEqual(writers.length);
  for (const { id, face } of [acknowledged[0], acknowledged.at(-1)].filter((one) => one !== undefined)) {
    expect((await gallery.search(face, NEAREST)).neighbours).toMatchObject([{ id }]);
  }
});
