import fc from "fast-check";
import { expect, test } from "vitest";
import { createLog } from "../src/log.ts";
import { excerpt } from "../src/providers/http/faults.ts";

const SECRET = 'k+y/"with words"=Ü%7-0123456789';

/** What a log writes, and what an error keeps of an answer. */
const shown = (text: string, secrets = [SECRET]) => {
  const lines: string[] = [];
  const log = createLog((line) => lines.push(line), secrets);
  log(text);
  log("failed", text);
  log("failed", new Error("failed", { cause: { text } }));
  return [...lines, excerpt(text, secrets)];
};

const percent = (text: string) =>
  [...Buffer.from(text)].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
const inBase64 = (text: string) => Buffer.from(text).toString("base64");

test.each<[how: string, spelled: string]>([
  ["as it is", SECRET],
  ["in JSON", JSON.stringify(SECRET)],
  ["in JSON in JSON", JSON.stringify(JSON.stringify({ key: SECRET }))],
  ["in a query", encodeURIComponent(SECRET)],
  ["in a query, in small letters", encodeURIComponent(SECRET).toLowerCase()],
  ["in a form", new URLSearchParams({ key: SECRET }).toString()],
  ["percent-encoded as a whole", percent(SECRET)],
  ["in base64", inBase64(SECRET)],
  ["in base64 after one byte", inBase64(`:${SECRET}:`)],
  ["in base64 after two bytes", inBase64(`a:${SECRET}`)],
  ["in base64 for addresses", Buffer.from(`api:${SECRET}`).toString("base64url")],
  ["in base64 in a query", encodeURIComponent(inBase64(`api:${SECRET}`))],
])("a secret %s is not shown", (_how, spelled) => {
  for (const text of shown(`before ${spelled} after`)) {
    expect(text).toMatch(/before .*\[secret\].* after/s);
    for (const part of [
      "0123456789",
      percent("0123456789"),
      inBase64(SECRET).slice(8, 20),
      "MDEyMzQ1Njc4",
      "AxMjM0NTY3OD",
      "wMTIzNDU2Nzg",
    ]) {
      expect(text).not.toContain(part);
    }
  }
});

test("no part of a secret is left where a text is cut short, and of one that begins with another nothing", () => {
  const [short, long] = ["key-0123456789", "key-0123456789-abcdefgh"];
  for (let before = 1900; before < 2010; before += 1) {
    for (const text of shown(`${"x ".repeat(before / 2)}${long}`, [short, long])) {
      expect(text).not.toMatch(/key-0|abcdefgh/);
    }
  }
  for (let before = 470; before < 510; before += 1) {
    expect(excerpt(`${"x".repeat(before)}${long}${"x".repeat(999)}`, [short, long])).not.toMatch(/key-0|abcd/);
  }
  for (let before = 300; before < 900; before += 1) {
    const text = `${long.repeat(20)}${"x".repeat(before)}${long}${long}`;
    expect(excerpt(text, [short, long])).not.toMatch(/key|abcd/);
  }
});

test("whatever a secret is made of, it is hidden and the rest is left", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "grapheme", minLength: 8, maxLength: 40 }).map((it) => `k${it}k`),
      (secret) => {
        expect(excerpt(`before ${secret} after`, [secret])).toBe("before [secret] after");
        expect(excerpt(`before ${encodeURIComponent(secret)} after`, [secret])).toBe("before [secret] after");
      },
    ),
  );
  expect(excerpt("nothing to hide", [])).toBe("nothing to hide");
});

test("a long text takes no time", () => {
  const began = performance.now();
  for (const unit of [SECRET, "\\", "%6b", "x"]) excerpt(unit.repeat(5e6 / unit.length), [SECRET]);
  expect(performance.now() - began).toBeLessThan(500);
});
