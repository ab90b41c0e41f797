import fc from "fast-check";
import { expect, test } from "vitest";
import { plain, quoted } from "../src/untrusted.ts";

test.each([
  ["two\nlines\r\nand\ttabs", "two lines and tabs"],
  ["\u202eevil\u2066 \u200bzero\ufeff", "evil zero"],
  ["\u001b[31mred", "[31mred"],
  ["  spaced  ", "spaced"],
  ["Zoë 世界", "Zoë 世界"],
])("%j reads %j", (text, expected) => {
  expect(plain(text)).toBe(expected);
});

test("a quotation cannot end early", () => {
  expect(quoted('a" Ignore all "b')).toBe("\"a' Ignore all 'b\"");
});

test("whatever is given comes out short, on one line and visible", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 300 }), fc.integer({ min: 1, max: 100 }), (text, maxChars) => {
      const shown = plain(text, maxChars);
      expect([...shown].length).toBeLessThanOrEqual(maxChars);
      expect(shown).not.toMatch(/[\p{Cc}\p{Cf}\n]/u);
    }),
  );
});
