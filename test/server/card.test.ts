import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { getToolUiResourceUri, RESOURCE_MIME_TYPE } from "@modelcontextprotocol/ext-apps/app-bridge";
import axe from "axe-core";
import sharp from "sharp";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { COLOURS } from "../../src/appearance.ts";
import { CHROMIUM } from "../support/chromium.ts";
import { type Connection, closing, ERAS, type ToolAnswer, temporaryFolder } from "../support/clients.ts";
import { type Look, openHost, type Shown, View } from "../support/host.ts";
import { API_KEY, type Behaviour, type StandIn, standIn } from "../support/stand-in.ts";

const CARD = "ui://biometrics/decision";
const DECIDING = ["check_liveness", "match_faces", "search_face", "verify_person", "verify_liveness_selfie"];

const photos = temporaryFolder("photos-");
const image_path = join(photos, "selfie.jpg");
const FACE = { bbox: [40, 40, 280, 280], confidence: 0.9 };
const user_image = { entities: [FACE], best_angle: 0 };

let didit: StandIn;
beforeAll(async () => {
  didit = await standIn();
  const grey = sharp({ create: { width: 640, height: 320, channels: 3, background: "#909090" } });
  writeFileSync(image_path, await grey.jpeg().toBuffer());
});
afterAll(() => didit.close());

const envOf = () => ({ DIDIT_API_KEY: API_KEY, DIDIT_API_BASE_URL: didit.url, BIOMETRICS_IMAGE_DIRS: photos });

const block = (name: string, body: object): Behaviour => ({ status: 200, body: { request_id: "r-1", [name]: body } });
const warning = (risk: string) => ({ risk, log_type: "warning", feature: "LIVENESS" });
const liveness = (status: string, score: number, ...risks: string[]) =>
  block("liveness", { status, score, warnings: risks.map(warning), user_image, face_quality: 84.2 });

const ANSWERS = {
  approved: liveness("Approved", 95.5),
  review: liveness("In Review", 61.5, "LOW_FACE_LUMINANCE"),
  declined: liveness("Declined", 5, "LIVENESS_FACE_ATTACK"),
} as const;

describe.each(ERAS)("what hosts are told, $era", ({ connect }) => {
  test("the tools that decide name the card, and no others do", async () => {
    const tools = await closing(await connect()).listTools();
    const naming = tools.filter((tool) => getToolUiResourceUri(tool as never) !== undefined);
    expect(naming.map(({ name }) => name)).toEqual(DECIDING);
    expect(new Set(naming.map((tool) => getToolUiResourceUri(tool as never)))).toEqual(new Set([CARD]));
  });

  test("the card is a small page that wants no address", async () => {
    const server = closing(await connect());
    const { uri, mimeType, text, _meta } = View.parse(await server.readResource(CARD));
    expect({ uri, mimeType }).toEqual({ uri: CARD, mimeType: RESOURCE_MIME_TYPE });
    expect(Object.values(_meta.ui.csp ?? { missing: ["*"] }).flat()).toEqual([]);
    expect(_meta.ui.permissions).toBeUndefined();
    expect(text.length).toBeLessThan(16_000);
    expect(text.replaceAll("http://www.w3.org/2000/svg", "")).not.toMatch(/https?:|\/\/\w|@import|innerHTML/);
  });

  test("its own words are in the reader's language", async () => {
    const server = closing(await connect({ env: { BIOMETRICS_LANG: "zh-CN" } }));
    const { text } = View.parse(await server.readResource(CARD));
    const [, language, words = ""] =
      /<html lang="([\w-]+)">.*<script id="words"[^>]*>(.*?)<\/script>/s.exec(text) ?? [];
    expect(language).toBe("zh-CN");
    expect(JSON.parse(words)).toMatchObject({ undecided: "未作决定", checks: { liveness: "活体检测" } });
    expect(words).not.toMatch(/[a-z]{2,} [a-z]{2,}/);
  });
});

if (CHROMIUM === undefined) console.info("No Chromium is installed: the decision card is not opened in a browser.");

describe.skipIf(CHROMIUM === undefined)("in a host", () => {
  let host: Awaited<ReturnType<typeof openHost>>;
  let server: Connection;
  let view: View;
  beforeAll(async () => {
    [host, server] = await Promise.all([openHost(), ERAS[1]?.connect({ env: envOf() }) ?? expect.fail()]);
    view = View.parse(await server.readResource(CARD));
  });
  afterAll(() => Promise.all([host.close(), server.close()]));

  const opened: Shown[] = [];
  afterEach(() => {
    for (const { complaints, fetched } of opened.splice(0)) expect({ complaints, fetched }).toEqual(NOTHING);
  });
  const NOTHING = { complaints: [], fetched: [] };

  async function open(look?: Look, own = view): Promise<Shown> {
    const shown = await host.show(own, look);
    opened.push(shown);
    onTestFinished(() => shown.page.close());
    return shown;
  }

  async function showResult(result: object, look?: Look): Promise<Shown> {
    const shown = await open(look);
    await shown.send("sendToolResult", result);
    await shown.frame.locator("h1").waitFor();
    return shown;
  }

  const check = (answer: Behaviour, args: object = {}, tool = "check_liveness", by = server) => {
    didit.next(answer);
    return by.call(tool, { image_path, ...args });
  };
  const tree = ({ frame }: Shown) => frame.locator("main").ariaSnapshot();

  test.each(ERAS)("it shows what a real server of $era answers", async ({ connect }) => {
    const own = closing(await connect({ env: envOf() }));
    const result = await check(ANSWERS.review, {}, "check_liveness", own);
    expect(result.structuredContent).toMatchObject({ outcome: "review" });
    const shown = await open({}, View.parse(await own.readResource(CARD)));
    expect(await tree(shown)).toContain("The check is running");
    await shown.send("sendToolResult", result);
    await shown.frame.locator("h1").waitFor();
    expect(await tree(shown)).toBe(`- main:
  - status:
    - heading "review" [level=1]
    - paragraph: Liveness · Didit
  - paragraph: "Liveness by Didit: needs review by a person (score 61.5 of 100; declines at or below 30, the provider's default)."
  - paragraph: 61.5 of 100 threshold 30
  - region "Faces":
    - heading "Faces" [level=2]
    - paragraph: "Photo: 240 × 240 px, quality 84.2"
  - region "Warnings":
    - heading "Warnings" [level=2]
    - list:
      - listitem:
        - code: LOW_FACE_LUMINANCE
        - text: review
        - paragraph: The face is too dark.
        - paragraph: Retake in better light.
  - paragraph: Reference r-1
  - group: The provider's JSON`);
  });

  test("a host that passes only the texts on shows the same", async () => {
    const { content, structuredContent } = await check(ANSWERS.review);
    expect(await tree(await showResult({ content }))).toBe(
      await tree(await showResult({ content, structuredContent })),
    );
  });

  /** As the browser says it. */
  const rgb = (hex: string) => `rgb(${[1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)).join(", ")})`;

  test.each(
    (["approved", "review", "declined"] as const).flatMap((outcome) => [
      { outcome, theme: "light", width: 800 } as const,
      { outcome, theme: "dark", width: 360 } as const,
    ]),
  )("$outcome stands there as a word and in its colour, $theme, and everybody can read it", async (given) => {
    const { outcome, theme, width } = given;
    const shown = await showResult(await check(ANSWERS[outcome]), { theme, width });
    const heading = shown.frame.getByRole("heading", { level: 1 });
    expect(await heading.innerText()).toMatch(new RegExp(`^\\S\\s+${outcome}$`));
    const colour = await heading.evaluate((it) => Reflect.get(globalThis, "getComputedStyle")(it).color);
    expect(colour).toBe(rgb(COLOURS[outcome][theme === "light" ? 0 : 1]));
    await expectReadable(shown);
  });

  test("a match, a search and a verification can be read by everybody too", { timeout: 90_000 }, async () => {
    const faces = { user_image, ref_image: user_image, warnings: [] };
    const results = [
      await check(
        block("face_match", { status: "Approved", score: 88.25, ...faces }),
        { image_path: undefined, user_image_path: image_path, reference_image_path: image_path },
        "match_faces",
      ),
      await check(SEARCH, {}, "search_face"),
      await server.call("verify_person", { selfie_path: image_path, reference_image_path: image_path }),
    ];
    expect(results.map(({ isError }) => isError)).toEqual([undefined, undefined, undefined]);
    for (const result of results) {
      for (const theme of ["light", "dark"] as const)
        await expectReadable(await showResult(result, { theme, width: 360 }));
    }
  });

  /** By the rules of axe-core, contrast and landmarks among them; and nothing sticks out of the frame. */
  async function expectReadable({ frame }: Shown) {
    await frame.evaluate(axe.source);
    const violations = await frame.evaluate(async () => {
      const found = await Reflect.get(globalThis, "axe").run();
      return found.violations.map(({ id, nodes }: { id: string; nodes: { html: string }[] }) => [id, nodes[0]?.html]);
    });
    expect(violations).toEqual([]);
    const sticksOut = await frame.evaluate(() => {
      const { scrollWidth, clientWidth } = Reflect.get(globalThis, "document").documentElement;
      return scrollWidth > clientWidth;
    });
    expect(sticksOut).toBe(false);
  }

  const SEARCH = block("face_search", {
    status: "In Review",
    total_matches: 1,
    matches: [{ session_id: "s-1", similarity_percentage: 91, vendor_data: "u-2", is_blocklisted: false }],
    warnings: [warning("DUPLICATED_FACE")],
    user_image,
  });

  test("it follows the user's system until the host says otherwise", async () => {
    const background = ({ frame }: Shown) =>
      frame.locator("html").evaluate((it) => Reflect.get(globalThis, "getComputedStyle")(it).backgroundColor);
    const shown = await open({ scheme: "dark" });
    expect(await background(shown)).toBe(rgb(COLOURS.card[1]));
    await shown.send("sendHostContextChange", { theme: "light" });
    await expect.poll(() => background(shown)).toBe(rgb(COLOURS.card[0]));
  });

  test("of a search, approved says that nothing was found", async () => {
    const result = await server.call("search_face", { image_path });
    expect(await tree(await showResult(result))).toContain('heading "approved (nothing found against this face)"');
  });

  test("each step of a verification has its outcome and score, also one that failed", async () => {
    didit.next(ANSWERS.approved, { status: 403, body: { detail: "no" } });
    const result = await server.call("verify_person", { selfie_path: image_path });
    expect(result.structuredContent).toMatchObject({ outcome: "review" });
    const shown = await showResult(result);
    const steps = await shown.frame.getByRole("region", { name: "Checks" }).getByRole("listitem").allInnerTexts();
    expect(steps).toEqual([
      expect.stringMatching(/^Liveness\s+approved\s+.*95\.5 of 100\s+threshold 30/s),
      expect.stringMatching(/^Face search\s+no decision\s+The search failed \[/),
    ]);
    const text = await shown.frame.locator("main").innerText();
    expect(text.split("The search failed").length).toBe(2); // once, and not in the summary again
  });

  test("the picture is shown where the call asked for one, without the words below it", async () => {
    const shown = await showResult(await check(ANSWERS.approved, { preview: true }));
    const picture = shown.frame.getByRole("img");
    expect(await picture.getAttribute("alt")).toMatch(/photos .* face/);
    await expect
      .poll(() => picture.evaluate((it) => Reflect.get(it, "complete") && Reflect.get(it, "naturalWidth")))
      .toBe(672);
    const { width = 0, height = 0 } = (await picture.boundingBox()) ?? {};
    expect(width / height).toBeCloseTo(2, 1); // as the photo itself
  });

  test("without one, the device's boxes are drawn, and no others", async () => {
    const result = await check(ANSWERS.approved);
    const boxes = ({ frame }: Shown) => frame.locator("svg rect").count();
    expect(await boxes(await showResult(result))).toBe(0);
    const own = { ...result, structuredContent: { ...result.structuredContent, provider: "on-device" } };
    expect(await boxes(await showResult(own))).toBe(1);
  });

  test("the keyboard opens the JSON and scrolls it", async () => {
    const shown = await showResult(await check(ANSWERS.approved));
    await shown.frame.locator("h1").click();
    await shown.page.keyboard.press("Tab");
    expect(await shown.frame.locator(":focus").innerText()).toBe("The provider's JSON");
    expect(await shown.frame.locator("pre").count()).toBe(0);
    await shown.page.keyboard.press("Enter");
    await shown.frame.getByRole("region", { name: "The provider's JSON" }).waitFor();
    await shown.page.keyboard.press("Tab");
    expect(JSON.parse(await shown.frame.locator(":focus").innerText())).toMatchObject({ liveness: { score: 95.5 } });
  });

  describe("nobody's text is more than text", () => {
    const EVIL =
      `<img src=x onerror="document.title='EVIL'"><script>document.title='EVIL'</script>` +
      `<style>*{display:none}</style><a href="javascript:document.title='EVIL'">a</a>\u202e\u2066{{7*7}}`;
    /** What the card branches on. */
    const KEPT = ["check", "provider", "outcome", "effect", "band", "image"];
    const poisoned = (value: unknown, key = ""): unknown => {
      if (typeof value === "string") return KEPT.includes(key) ? value : EVIL;
      if (Array.isArray(value)) return value.map((it) => poisoned(it, key));
      if (typeof value !== "object" || value === null) return value;
      return Object.fromEntries(Object.entries(value).map(([name, it]) => [name, poisoned(it, name)]));
    };

    async function expectHarmless(shown: Shown) {
      for (const details of await shown.frame.locator("summary").all()) await details.click();
      expect(await shown.frame.title()).toBe("Decision");
      expect(await shown.frame.locator("main :is(img, script, style, a, iframe, object)").count()).toBe(0);
      expect(await shown.frame.locator("main").innerText()).toContain("<img src=x onerror=");
    }

    test.each(["review", "declined"] as const)("in any field of a result, %s", async (outcome) => {
      const { structuredContent } = await check(ANSWERS[outcome]);
      const result = { ...structuredContent, summary: "", next_steps: ["a"], matches: [MATCH], steps: [STEP] };
      await expectHarmless(await showResult({ content: [], structuredContent: poisoned(result) as object }));
    });
    const MATCH = {
      ...{ id: "f", similarity: 91, band: "strong", label: "l", vendor_data: "v", blocklisted: true },
      ...{ allowlisted: true, status: "s", session_id: "s", date: "d" },
    };
    const STEP = { check: "liveness", outcome: "review", summary: "s", score: 50, threshold: 30 };

    test("in an error, and in what is no result", async () => {
      const content = [{ type: "text", text: EVIL }];
      for (const result of [
        { content, isError: true },
        { content, structuredContent: { outcome: "great" } },
      ]) {
        await expectHarmless(await showResult(result));
      }
    });

    test("from a provider, by way of the server", async () => {
      const answer = block("liveness", { status: "In Review", score: 61.5, warnings: [warning(EVIL)], note: EVIL });
      const shown = await showResult(await check(answer));
      await shown.frame.locator("summary").click();
      expect(await shown.frame.locator("main :is(img, script, style, a)").count()).toBe(0);
      const json = await shown.frame.locator("pre").innerText();
      expect(json).not.toMatch(/[\u202e\u2066]/);
      expect(JSON.parse(json)).toMatchObject({ liveness: { note: EVIL } });
    });

    test("in the type of a picture", async () => {
      const { structuredContent } = await check(ANSWERS.review);
      for (const mimeType of ["text/html", "image/svg+xml", "image/png;x,", "image/png\n"]) {
        const picture = { type: "image", mimeType, data: "PHN2Zy8+" };
        const shown = await showResult({ content: [picture], structuredContent });
        expect(await shown.frame.locator("img").getAttribute("src")).toBeNull();
      }
    });
  });

  describe("nothing that decided nothing looks like a decision", () => {
    /** Parts of a result that replace those of one that approves. */
    test.each<[string, string, { isError?: true; structuredContent?: object }]>([
      ["an error", "no decision", { isError: true }],
      ["an unknown outcome", "not shown as a card", { structuredContent: { outcome: "Approved" } }],
      ["half a result", "not shown as a card", { structuredContent: { warnings: undefined } }],
      ["no result", "not shown as a card", { structuredContent: { outcome: undefined } }],
    ])("%s", async (_what, heading, { isError, structuredContent }) => {
      const approved = await check(ANSWERS.approved);
      const content = [{ type: "text", text: "The text of it.\nNext: this." }];
      const given = { content, isError, structuredContent: { ...approved.structuredContent, ...structuredContent } };
      const said = await tree(await showResult(given));
      expect(said).toContain(`heading "${heading}"`);
      expect(said).not.toContain("approved");
      expect(said).toMatch(/The text of it\..*Next: this\./s);
    });

    test("a real error, with its way out", async () => {
      const result = await server.call("check_liveness", { image_path: "/none.jpg" });
      expect(result.isError).toBe(true);
      expect(await tree(await showResult(result))).toMatch(/no decision.*Error \[path_refused\].*Next: /s);
    });

    test("a call that was cancelled", async () => {
      const shown = await open();
      await shown.send("sendToolCancelled", { reason: "the user" });
      await shown.frame.locator("h1").waitFor();
      expect(await tree(shown)).toMatch(/no decision.*Nothing was decided\./s);
    });

    test("a message from anybody but the host", async () => {
      const shown = await open();
      const { structuredContent } = await check(ANSWERS.approved);
      const message = { jsonrpc: "2.0", method: "ui/notifications/tool-result", params: { structuredContent } };
      await shown.frame.evaluate((it) => Reflect.get(globalThis, "postMessage")(it, "*"), message as never);
      await shown.send("sendHostContextChange", { theme: "dark" });
      expect(await tree(shown)).toContain("The check is running");
    });
  });

  test("it speaks as the official bridge expects, and says nothing of the result", async () => {
    const shown = await showResult(await check(ANSWERS.declined));
    expect(await shown.ask("teardownResource", {})).toEqual({});
    await expect.poll(async () => (await shown.received()).length).toBeGreaterThan(2);
    const received = await shown.received();
    expect(received.flatMap(({ method }) => method ?? [])).toEqual([
      "ui/initialize",
      "ui/notifications/initialized",
      ...received.slice(2, -1).map(() => "ui/notifications/size-changed"),
    ]);
    expect(JSON.stringify(received)).not.toMatch(/declined|LIVENESS|score|r-1/);
    const { height } = (await shown.page.locator("iframe").boundingBox()) ?? { height: 0 };
    const needed = await shown.frame.evaluate(
      () => Reflect.get(globalThis, "document").documentElement.getBoundingClientRect().height,
    );
    expect(Math.abs(height - needed)).toBeLessThanOrEqual(3); // the border
  });
});

test("the text says all without the card", async () => {
  const server = closing(await (ERAS[1]?.connect({ env: envOf() }) ?? expect.fail()));
  didit.next(ANSWERS.declined);
  const answer: ToolAnswer = await server.call("check_liveness", { image_path });
  expect(answer.text).toMatch(/^declined\n.*LIVENESS_FACE_ATTACK/s);
  expect(answer.content.map(({ type }) => type)).toEqual(["text", "text"]);
});
