import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import type { Connection } from "../test/support/clients.ts";
import { makePhotos } from "../test/support/photos.ts";
import { accountStandIn } from "../test/support/stand-in/account.ts";
import { LINKFACE_ID, LINKFACE_SECRET, linkfaceRoutes } from "../test/support/stand-in/linkface.ts";
import { type Received, standIn } from "../test/support/stand-in.ts";
import { codeOf, connect, folders, forEach, hashOf, isAlive, outcomeOf, type Part, Random, Tally } from "./part.ts";

const AT_ONCE = 16;
/** One in so many goes to a server that checks on the device, where a valid call takes 100 times as long. */
const ON_DEVICE_SHARE = 400;

export const argumentObjects: Part = {
  name: "arguments",
  invariant:
    "Each object is answered; one with an unknown or wrong argument is an error; a decision is one that the provider made of files that may be read; neither a key nor what lies outside is sent or shown.",
  async run({ seed, objects }) {
    const tally = new Tally();
    const { accounts, ...account } = await accountStandIn();
    accounts.requestsAnHour = Number.POSITIVE_INFINITY;
    const [apiKey = ""] = accounts.keys;
    const scene = await setScene(apiKey);
    const linkface = await standIn({ routes: linkfaceRoutes() });
    const settings = { BIOMETRICS_IMAGE_DIRS: scene.inside, BIOMETRICS_DATA_DIR: scene.data };
    const hosted = await connect({
      ...settings,
      ...account.env,
      DIDIT_API_KEY: apiKey,
      LINKFACE_API_ID: LINKFACE_ID,
      LINKFACE_API_SECRET: LINKFACE_SECRET,
      LINKFACE_API_BASE_URL: linkface.url,
    });
    const device = await connect({ ...settings, BIOMETRICS_PROVIDER: "on-device" });
    for (const { name, inputSchema } of await hosted.listTools()) {
      const unknown = Object.keys(inputSchema["properties"] ?? {}).filter((it) => TOOLS[name]?.args[it] === undefined);
      tally.check(unknown.length === 0, () => `no ${unknown.join(", ")} is made for ${name}`);
    }
    let asked = 0;
    const drain = () => {
      for (const { received } of [account, linkface]) {
        for (const { files } of (received as Received[]).splice(0)) {
          if (Object.keys(files).length > 0) asked += 1;
          for (const { bytes } of Object.values(files)) {
            tally.check(scene.allowed.has(hashOf(bytes)), () => `${bytes.length} bytes were sent that may not be read`);
          }
        }
      }
    };
    await forEach(objects, AT_ONCE, async (n, lane) => {
      const random = new Random(seed + n);
      const isHosted = random.below(ON_DEVICE_SHARE) > 0;
      const made = makeCall(scene, random);
      const answer = await (isHosted ? hosted : device).call(made.tool, made.args);
      const shown = () => `object ${n}, ${made.tool} ${JSON.stringify(made.args).slice(0, 300)}: ${answer.text}`;
      tally.check(answer.isError === true || !made.isWrong, shown);
      tally.check(!answer.everything.includes(apiKey) && !answer.everything.includes(LINKFACE_SECRET), shown);
      tally.check(!answer.text.includes("SECRET-PROSE"), shown);
      if (answer.isError) {
        tally.add(`refused (${codeOf(answer)})`);
        tally.check(codeOf(answer) !== "internal", shown);
      } else if (outcomeOf(answer) === undefined) tally.add("answered without a decision");
      else {
        tally.add(isHosted ? "decided by the provider" : "decided on the device");
        // A decision names what was sent; a group of checks names it once for all.
        tally.check(
          !isHosted || made.tool === "verify_person" || answer.structuredContent?.["reference"] !== null,
          shown,
        );
      }
      if (lane === 0) drain();
    });
    drain();
    const decided = tally.counts["decided by the provider"] ?? 0;
    tally.check(asked >= decided, () => `${decided} decisions of ${asked} requests`);
    for (const server of [hosted, device]) await end(server, tally);
    await account.close();
    await linkface.close();
    return tally;
  },
};

async function end(server: Connection, tally: Tally): Promise<void> {
  tally.check(isAlive(server.pid), () => "a server died");
  tally.check(!(await server.call("get_setup")).isError, () => "a server does not answer any more");
  await server.close();
}

interface Scene {
  readonly inside: string;
  readonly data: string;
  readonly good: readonly string[];
  readonly bad: readonly string[];
  /** Hashes of the files that may be sent. */
  readonly allowed: ReadonlySet<string>;
}

async function setScene(apiKey: string): Promise<Scene> {
  const { inside, outside, data } = folders();
  const photos = await makePhotos(inside);
  const shape = { width: 64, height: 48, channels: 3, background: "#765" } as const;
  const small = await sharp({ create: shape }).jpeg().toBuffer();
  const secret = await sharp({ create: { ...shape, background: "#123" } })
    .jpeg()
    .toBuffer();
  const protobuf = Buffer.from("0a0a6c66616365207465737412050801ff00fe", "hex");
  writeFileSync(join(inside, "small.jpg"), small);
  writeFileSync(join(inside, "data.bin"), protobuf);
  writeFileSync(join(inside, "text.jpg"), "hello");
  writeFileSync(join(inside, "key.json"), JSON.stringify({ version: 1, didit: { api_key: apiKey } }));
  mkdirSync(join(inside, "folder.jpg"));
  writeFileSync(join(outside, "secret.jpg"), secret);
  mkdirSync(data, { mode: 0o700 });
  writeFileSync(join(data, "secret.jpg"), secret, { mode: 0o600 });
  symlinkSync(join(outside, "secret.jpg"), join(inside, "link.jpg"));
  symlinkSync(outside, join(inside, "out"));
  linkSync(join(data, "secret.jpg"), join(inside, "hard.jpg"));
  execFileSync("mkfifo", [join(inside, "fifo.jpg")]);
  const { womanA, womanB, noFace } = photos;
  const good = [join(inside, "small.jpg"), join(inside, "data.bin"), womanA, womanB, noFace];
  const bad = [
    ...["text.jpg", "key.json", "folder.jpg", "link.jpg", "out/secret.jpg", "hard.jpg", "fifo.jpg", "none.jpg"].map(
      (name) => join(inside, name),
    ),
    `${inside}/../outside/secret.jpg`,
    `file://${inside}/..%2foutside%2fsecret.jpg`,
    join(outside, "secret.jpg"),
    join(data, "secret.jpg"),
    join(data, "credentials.json"),
    "/dev/zero",
    "/dev/stdin",
    "/proc/self/environ",
    "https://example.com/a.jpg",
    "data:image/png;base64,AAAA",
    "~/small.jpg",
    "\\\\server\\share\\a.jpg",
    `${inside}/small.jpg\0.png`,
  ];
  return { inside, data, good, bad, allowed: new Set(good.map((path) => hashOf(readFileSync(path)))) };
}

type Make = (random: Random, scene: Scene) => unknown;
const path: Make = (random, { good }) => random.pick(good);
const percent: Make = (random) => random.below(101);
const flag: Make = (random) => random.below(2) === 0;
const id: Make = (random) => `person-${random.below(50)}`;
const oneOf =
  (...values: readonly string[]): Make =>
  (random) =>
    random.pick(values);
const gallery = oneOf("default", "staff");
const url = oneOf("https://photos.example/a.jpg");

/** What each tool takes: valid values, the required ones first. */
const TOOLS: Readonly<
  Record<string, { readonly required: readonly string[]; readonly args: Readonly<Record<string, Make>> }>
> = {
  check_liveness: {
    required: ["image_path"],
    args: {
      image_path: path,
      decline_threshold: percent,
      rotate: flag,
      convert: flag,
      preview: flag,
      save: flag,
      vendor_data: id,
    },
  },
  match_faces: {
    required: ["user_image_path", "reference_image_path"],
    args: {
      user_image_path: path,
      reference_image_path: path,
      decline_threshold: percent,
      rotate: flag,
      compare_all: flag,
      convert: flag,
      preview: flag,
      save: flag,
      vendor_data: id,
    },
  },
  search_face: {
    required: ["image_path"],
    args: {
      image_path: path,
      search_type: oneOf("most_similar", "blocklisted_or_approved"),
      rotate: flag,
      all_faces: flag,
      convert: flag,
      preview: flag,
      save: flag,
      gallery,
      vendor_data: id,
    },
  },
  verify_person: {
    required: ["selfie_path"],
    args: {
      selfie_path: path,
      reference_image_path: path,
      search: flag,
      liveness_threshold: percent,
      match_threshold: percent,
      rotate: flag,
      convert: flag,
      preview: flag,
      save: flag,
      gallery,
      vendor_data: id,
    },
  },
  enroll_face: {
    required: ["image_path", "label"],
    args: { image_path: path, label: id, vendor_data: id, blocklisted: flag, convert: flag, gallery },
  },
  list_faces: { required: [], args: { limit: (random) => 1 + random.below(100), cursor: oneOf("c2VxOjE"), gallery } },
  remove_face: { required: ["face_id"], args: { face_id: id, gallery } },
  verify_liveness_selfie: {
    required: [],
    args: {
      selfie_path: path,
      selfie_url: url,
      selfie_image_id: id,
      liveness_data_path: path,
      liveness_data_url: url,
      liveness_data_id: id,
      convert: flag,
      auto_rotate: flag,
      decline_threshold: percent,
    },
  },
  register_account: {
    required: ["email"],
    args: { email: oneOf("jane@mail.org", "joe@mail.org"), password: oneOf("Str0ng-enough!", "weak") },
  },
  verify_email: {
    required: ["email", "code"],
    args: { email: oneOf("jane@mail.org"), code: oneOf("ABC123", "000000") },
  },
  get_balance: { required: [], args: {} },
  top_up: { required: ["amount_in_dollars"], args: { amount_in_dollars: (random) => 50 + random.below(100) } },
  get_setup: { required: [], args: {} },
};

/** Values that no argument takes, whatever its type. */
const NEVER: readonly unknown[] = [[], {}, [[]], { $gt: "" }, ["/etc/passwd"], { path: "/etc/passwd" }, [1, 2, 3]];
/** Values that some argument takes. */
const ODD: readonly unknown[] = [
  "",
  " ",
  "\0",
  "\u202e\u200b",
  "x".repeat(5000),
  "__proto__",
  "'; DROP TABLE faces; --",
  "<img src=x>",
  0,
  -1,
  0.5,
  1e308,
  -0,
  2 ** 53,
  true,
  null,
];
const UNKNOWN = ["decline_treshold", "__proto__", "constructor", "toString", "force", "path", "api_key", "0", ""];

interface MadeCall {
  readonly tool: string;
  readonly args: Record<string, unknown>;
  /** No tool could take it. */
  readonly isWrong: boolean;
}

function makeCall(scene: Scene, random: Random): MadeCall {
  const tool = random.pick(Object.keys(TOOLS));
  const { required, args: known } = TOOLS[tool] ?? { required: [], args: {} };
  const args: Record<string, unknown> = Object.create(null);
  let isWrong = false;
  for (const [name, make] of Object.entries(known)) {
    if (required.includes(name) || random.below(3) === 0) args[name] = make(random, scene);
  }
  for (let changes = random.below(4); changes > 0; changes--) {
    const name = random.pick(Object.keys(known).length === 0 ? ["x"] : Object.keys(known));
    const way = random.below(6);
    if (way === 0) {
      const unknown = random.pick(UNKNOWN);
      args[unknown] = random.pick([...ODD.slice(0, -1), ...NEVER]);
      isWrong ||= unknown !== "__proto__"; // which parsers of JSON drop
    } else if (way === 1 && Object.hasOwn(known, name)) {
      args[name] = random.pick(NEVER);
    } else if (way === 2 && Object.hasOwn(known, name)) delete args[name];
    else if (way === 3 && Object.hasOwn(known, name)) args[name] = random.pick(ODD);
    else if (way === 4 && known[name] === path) args[name] = random.pick(scene.bad);
    else if (way === 5 && Object.hasOwn(known, name)) args[name] = nested(random.below(200));
  }
  const isMissing = required.some((name) => args[name] === undefined);
  const isNever = Object.entries(args).some(([name, value]) => Object.hasOwn(known, name) && isStructure(value));
  const isForbidden = Object.entries(args).some(
    ([name, value]) => known[name] === path && scene.bad.includes(value as string),
  );
  return { tool, args, isWrong: isWrong || isMissing || isNever || isForbidden };
}

const isStructure = (value: unknown) => typeof value === "object" && value !== null;

function nested(depth: number): unknown {
  let value: unknown = [];
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}
