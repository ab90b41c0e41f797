import { execFile } from "node:child_process";
import { setTimeout } from "node:timers/promises";
import { inspect, promisify } from "node:util";
import { PGlite } from "@electric-sql/pglite";
import { vector } from "@electric-sql/pglite-pgvector";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";
import pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { Gallery } from "../../src/providers/on-device/gallery/gallery.ts";
import { inspectGallery, locateGalleries, openGalleries } from "../../src/providers/on-device/gallery/open.ts";
import { cleanEnvironment, MAIN, temporaryFolder } from "../support/clients.ts";
import { makePhotos } from "../support/photos.ts";
import { galleriesContract, galleryContract } from "./contract.ts";
import { FaceMaker, MODEL, NEAREST } from "./faces.ts";
import { emptyFolder } from "./folders.ts";
import { openGallery } from "./opening.ts";
import { startProcess } from "./processes.ts";

// Postgres 18 with pgvector, compiled to WebAssembly; the driver speaks to it over a real socket. Or a server of yours:
// its database is emptied.
const REAL = process.env["BIOMETRICS_TEST_POSTGRES_URL"];
const PASSWORD = "never-shown";
const SOMEONE = { label: "someone", vendorData: null, blocklisted: false };

interface Server {
  readonly url: string;
  stop(): Promise<void>;
}

async function startServer(extensions: { vector?: typeof vector } = { vector }): Promise<Server> {
  const database = await PGlite.create({ extensions });
  const server = new PGLiteSocketServer({ db: database, port: 0, host: "127.0.0.1", maxConnections: 20 });
  await server.start();
  return {
    url: `postgres://postgres:${PASSWORD}@${server.getServerConn()}/postgres`,
    async stop() {
      await server.stop();
      await database.close();
    },
  };
}

let server: Server;
beforeAll(async () => {
  server = REAL === undefined ? await startServer() : { url: REAL, stop: async () => {} };
});
afterAll(() => server.stop());

async function sql(text: string): Promise<pg.QueryResult["rows"]> {
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  const { rows } = await client.query(text).finally(() => client.end());
  return rows;
}

/** A connection hands its statistics in when it is idle, at most once a second. */
async function settled(): Promise<void> {
  await setTimeout(1500);
  await sql("SELECT pg_stat_force_next_flush()");
}

async function open(url = server.url, model = MODEL): Promise<Gallery> {
  const gallery = await openGallery({ location: locateGalleries({ dataFolder, galleryUrl: url }), model });
  onTestFinished(() => gallery.close());
  return gallery;
}

/** A new one for each test: it remembers the gallery. */
let dataFolder: string;
beforeEach(async () => {
  dataFolder = await emptyFolder();
});
beforeEach(() => sql("DROP TABLE IF EXISTS biometrics_faces, biometrics_meta; DROP EXTENSION IF EXISTS vector"));

galleryContract("Postgres", () =>
  openGallery({ location: locateGalleries({ dataFolder, galleryUrl: server.url }), model: MODEL }),
);

galleriesContract("Postgres", () =>
  openGalleries({ location: locateGalleries({ dataFolder, galleryUrl: server.url }), model: MODEL }),
);

/** The failure, which shows the password nowhere: not to a model, and not in a log either. */
async function failure(call: Promise<unknown>): Promise<unknown> {
  const thrown = await call.then(
    () => expect.fail("it should have failed"),
    (reason: unknown) => reason,
  );
  expect(inspect(thrown, { depth: 10, showHidden: true })).not.toContain(PASSWORD);
  return thrown;
}

/** As version 0.1 made it. */
const VERSION_1 = `
  CREATE TABLE biometrics_meta (key text PRIMARY KEY, value text NOT NULL);
  CREATE TABLE biometrics_faces (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    label text NOT NULL,
    vendor_data text,
    blocklisted boolean NOT NULL,
    enrolled_at timestamptz NOT NULL,
    embedding vector(512) NOT NULL
  );
  CREATE INDEX biometrics_faces_nearest ON biometrics_faces USING hnsw (embedding vector_cosine_ops);
  CREATE INDEX biometrics_faces_blocklist ON biometrics_faces (seq) WHERE blocklisted;
  INSERT INTO biometrics_meta VALUES ('version', '1'), ('model', '${MODEL}');`;

describe("Postgres", () => {
  test("what was removed is not said to be erased", async () => {
    const gallery = await open();
    const { id } = await gallery.enroll(new FaceMaker(1).face(), SOMEONE);
    const remains = expect.stringContaining("until the database is vacuumed");
    expect(await gallery.remove(id)).toEqual({ removed: true, erased: false, remains });
  });

  test("what is left of removed faces, and what takes them out of the files, is shown by a check", async () => {
    const location = locateGalleries({ dataFolder, galleryUrl: server.url });
    const galleries = await openGalleries({ location, model: MODEL });
    onTestFinished(() => galleries.close());
    const gallery = await galleries.open("site-1", { create: true });
    const left = async () => {
      const { findings } = await inspectGallery({ location, name: "site-1", model: MODEL });
      return findings.find((finding) => finding.test === "removed faces");
    };
    const faces = new FaceMaker(1);
    const enrol = () => gallery.enroll(faces.face(), SOMEONE);
    const [ada, bob] = [await enrol(), await enrol(), await enrol()];
    expect(await left()).toEqual({ test: "removed faces", ok: true, detail: "no removal is on record" });
    await gallery.remove("no such face");
    expect(await left()).toMatchObject({ detail: "no removal is on record" });
    await gallery.remove(ada.id);
    await settled();
    expect(await left()).toMatchObject({
      ok: true,
      detail: expect.stringMatching(
        /^still in the table, .*not vacuumed after the last removal \(20.*Z\) and holds 1 face that/,
      ),
    });
    const { detail = "" } = (await left()) ?? {};
    const [, command = ""] = /now: (VACUUM [^;]*);/.exec(detail) ?? [];
    await sql(command.replace("(FULL) ", ""));
    await settled();
    expect(await left()).toMatchObject({
      detail: expect.stringMatching(/^the table was vacuumed after .*rows are gone/),
    });
    await sql(command);
    expect(await left()).toMatchObject({ detail: expect.stringMatching(/rewritten after .*none is left/) });
    await gallery.remove(bob.id);
    await settled();
    expect(await left()).toMatchObject({ detail: expect.stringMatching(/^still in the table/) });
    expect(await gallery.count()).toBe(1);
  });

  test("what is enrolled is there for the next process, and so is the index", async () => {
    const ada = new FaceMaker(1).face();
    await (await open()).enroll(ada, SOMEONE);
    expect(await (await open()).search(ada, NEAREST)).toMatchObject({ neighbours: [SOMEONE], total: 1 });
    expect(await sql("SELECT indexdef FROM pg_indexes WHERE tablename = 'biometrics_gallery_default'")).toContainEqual({
      indexdef: expect.stringMatching(/USING hnsw .*halfvec_cosine_ops/),
    });
  });

  test("the index finds the target, and a blocked face that it does not return is found all the same", {
    timeout: 180_000,
  }, async () => {
    const gallery = await open();
    const faces = new FaceMaker(5);
    const ada = faces.face();
    const store = (count: number, label: string, make: () => Float32Array) =>
      gallery.store(
        Array.from({ length: count }, (_, i) => ({
          ...SOMEONE,
          label,
          id: `${label}-${i}`,
          enrolledAt: new Date(0).toISOString(),
          embedding: make(),
        })),
      );
    await store(200, "other", () => faces.face());
    // More of them than the index returns, all nearer than the blocked one.
    await store(250, "near", () => faces.photoOf(ada, 0.8));
    await gallery.enroll(faces.photoOf(ada, 0.5), { ...SOMEONE, label: "blocked", blocklisted: true });
    await gallery.enroll(faces.photoOf(ada, 0.98), { ...SOMEONE, label: "Ada" });
    await sql("ANALYZE biometrics_faces");
    const { neighbours, total } = await gallery.search(ada, { ...NEAREST, minCosine: 0.45, limit: 3 });
    expect(neighbours.map(({ label }) => label)).toEqual(["Ada", "near", "blocked"]);
    expect(total).toBeGreaterThan(150);
    expect(total).toBeLessThanOrEqual(201);
  });

  test("two processes that make the same gallery and enrol at once lose nothing", { timeout: 60_000 }, async () => {
    const processes = [1, 2].map((seed) => startProcess("enroll-50", server.url, seed));
    const said = await Promise.all(processes.map((other) => other.end()));
    const { faces } = await (await open()).list({ limit: 1000 });
    expect(new Set(faces.map(({ id }) => `enrolled ${id}`))).toEqual(new Set(said.flat()));
    expect(faces).toHaveLength(100);
  });

  test("faces of another model and a newer schema are refused", async () => {
    await open();
    expect(await failure(open(server.url, "other"))).toMatchObject({
      code: "setup",
      message: expect.stringContaining("another face model"),
    });
    await sql("UPDATE biometrics_meta SET value = '3' WHERE key = 'version'");
    expect(await failure(open())).toMatchObject({ code: "setup", message: expect.stringContaining("newer version") });
  });

  test("a schema that vanished is not made anew, and no search finds nobody in its place", async () => {
    const ada = new FaceMaker(1).face();
    const gallery = await open();
    await gallery.enroll(ada, { ...SOMEONE, blocklisted: true });
    await sql("DROP TABLE biometrics_faces, biometrics_meta");
    expect(await failure(gallery.search(ada, NEAREST))).toMatchObject({ code: "setup" });
    for (let i = 0; i < 2; i++) {
      expect(await failure(open())).toMatchObject({
        code: "setup",
        message: expect.stringContaining("missing or empty"),
        next: expect.stringMatching(/gallery check.*\.mark/),
      });
    }
    expect(await sql("SELECT 1 WHERE to_regclass('biometrics_faces') IS NOT NULL")).toEqual([]);
    // Another machine, which has never seen it, may: then it is not the one from before here.
    const elsewhere = locateGalleries({ dataFolder: await emptyFolder(), galleryUrl: server.url });
    await (await openGallery({ location: elsewhere, model: MODEL })).close();
    expect(await failure(open())).toMatchObject({ code: "setup", message: expect.stringContaining("not the one") });
  });

  test("an embedding that is no unit vector is no stranger", async () => {
    const ada = new FaceMaker(1).face();
    const gallery = await open();
    await gallery.enroll(ada, { ...SOMEONE, blocklisted: true });
    for (const damage of ["embedding - embedding", "embedding + embedding"]) {
      await sql(`UPDATE biometrics_faces SET embedding = ${damage}`);
      const refused = { code: "setup", message: expect.stringContaining("damaged") };
      expect(await failure(gallery.search(ada, NEAREST))).toMatchObject(refused);
      expect(await failure(open())).toMatchObject(refused);
    }
  });

  test("a gallery from before there were ids is taken over", async () => {
    await (await open()).enroll(new FaceMaker(1).face(), SOMEONE);
    await sql("DELETE FROM biometrics_meta WHERE key = 'id'; DROP INDEX biometrics_faces_damaged");
    dataFolder = await emptyFolder();
    expect(await (await open()).count()).toBe(1);
    expect(await (await open()).count()).toBe(1);
  });

  test("a gallery of version 0.1 becomes the default one", async () => {
    const [ada, bob] = [new FaceMaker(1).face(), new FaceMaker(2).face()];
    await sql("CREATE EXTENSION vector");
    await sql(VERSION_1);
    await sql(`INSERT INTO biometrics_faces (id, label, blocklisted, enrolled_at, embedding)
      VALUES ('a', 'Ada', true, now(), '[${ada.join(",")}]'), ('b', 'Bob', false, now(), '[${bob.join(",")}]')`);
    const gallery = await open();
    expect(await gallery.search(ada, NEAREST)).toMatchObject({
      neighbours: [{ id: "a", blocklisted: true }],
      total: 1,
    });
    const { id } = await gallery.enroll(ada, SOMEONE);
    expect((await gallery.list({ limit: 9 })).faces.map((face) => face.id)).toEqual([id, "b", "a"]);
    expect(await gallery.remove("b")).toMatchObject({ removed: true });
    expect(await (await open()).count()).toBe(2);
    expect(await sql("SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%hnsw%' ORDER BY 1")).toHaveLength(2);
  });

  test("the gallery of the data folder moves into the database", { timeout: 90_000 }, async () => {
    const home = temporaryFolder("home-");
    const { womanA, womanB } = await makePhotos(home);
    const run = (args: readonly string[], env = {}) =>
      promisify(execFile)(process.execPath, [MAIN, ...args], { env: cleanEnvironment(home, env) }).catch(
        (failed: { stdout: string }) => failed,
      );
    await run(["enroll-face", womanA, "Ann"]);
    const env = { BIOMETRICS_GALLERY_URL: server.url };
    for (const added of [1, 0]) {
      const { stdout } = await run(["gallery", "migrate", "--json"], env);
      expect(JSON.parse(stdout)).toEqual({ faces: 1, added, searched: 1 });
    }
    expect((await run(["search-face", womanB], env)).stdout).toContain("Ann");
    expect(await sql("SELECT gallery, label FROM biometrics_faces")).toEqual([{ gallery: "default", label: "Ann" }]);
  });

  test("a partition that was dropped is no empty gallery", async () => {
    const ada = new FaceMaker(1).face();
    const gallery = await open();
    await gallery.enroll(ada, { ...SOMEONE, blocklisted: true });
    await sql("DROP TABLE biometrics_gallery_default");
    const refused = { code: "setup", message: expect.stringContaining("damaged") };
    expect(await failure(gallery.search(ada, NEAREST))).toMatchObject(refused);
    expect(await failure(open())).toMatchObject(refused);
  });

  test("whoever is only allowed to read searches, and enrols nobody", async () => {
    const ada = new FaceMaker(1).face();
    await (await open()).enroll(ada, SOMEONE);
    await sql("CREATE ROLE searcher LOGIN PASSWORD 'never-shown'");
    await sql("GRANT SELECT ON biometrics_faces, biometrics_meta TO searcher");
    onTestFinished(async () => void (await sql("RESET ROLE; DROP OWNED BY searcher; DROP ROLE searcher")));
    const own = new URL(server.url);
    if (REAL === undefined)
      await sql("SET ROLE searcher"); // all its connections are one session
    else [own.username, own.password] = ["searcher", PASSWORD];
    const reader = await open(own.href);
    expect(await reader.search(ada, NEAREST)).toMatchObject({ total: 1 });
    expect(await reader.list({ limit: 1 })).toMatchObject({ total: 1 });
    const refused = { code: "setup", message: expect.stringContaining("privileges") };
    expect(await failure(reader.enroll(ada, SOMEONE))).toMatchObject(refused);
    expect(await failure(reader.remove("any"))).toMatchObject(refused);
  });

  test("a label that the database cannot hold is refused, and the gallery goes on", async () => {
    const gallery = await open();
    const spoilt = gallery.enroll(new FaceMaker(1).face(), { ...SOMEONE, label: "a\0b" });
    expect(await failure(spoilt)).toMatchObject({ code: "invalid_input" });
    await gallery.enroll(new FaceMaker(1).face(), SOMEONE);
    expect(await gallery.count()).toBe(1);
  });

  test.each([
    ["not Postgres", "mysql://u:never-shown@localhost/x", "setup"],
    ["no URL at all", "postgres://u:never-shown@[x/", "setup"],
    ["a far host without a word on encryption", "postgres://u:never-shown@db.example.com/x", "setup"],
    ["a far host by ?host=", "postgres://u:never-shown@localhost/x?host=db.example.com", "setup"],
    ["nobody there", "postgres://u:never-shown@127.0.0.1:1/x", "unavailable"],
    ["an unknown host", "postgres://u:never-shown@db.invalid/x?sslmode=verify-full", "unavailable"],
  ])("%s", async (_, url, code) => {
    expect(await failure(open(url))).toMatchObject({ name: "CheckError", code });
  });

  test.skipIf(REAL !== undefined)("a server that does not encrypt is refused when sslmode asks for it", async () => {
    const refused = await failure(open(`${server.url}?sslmode=verify-full`));
    expect(refused).toMatchObject({ code: "setup", message: expect.stringContaining("encrypted connection") });
  });

  test("a database without pgvector", async () => {
    const bare = await startServer({});
    onTestFinished(() => bare.stop());
    expect(await failure(open(bare.url))).toMatchObject({
      code: "setup",
      message: "The gallery database has no pgvector.",
    });
  });

  test("a database that goes away is a failure, not an empty gallery and not the end of the process", async () => {
    const doomed = await startServer();
    const gallery = await open(doomed.url);
    await gallery.enroll(new FaceMaker(1).face(), SOMEONE);
    await doomed.stop();
    expect(await failure(gallery.search(new FaceMaker(1).face(), NEAREST))).toMatchObject({ code: "unavailable" });
    expect(await failure(gallery.enroll(new FaceMaker(1).face(), SOMEONE))).toMatchObject({ code: "unavailable" });
  });
});
