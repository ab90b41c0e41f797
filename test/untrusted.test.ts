import fc from "fast-check";
import { expect, test } from "vitest";
import { clean, plain, quoted } from "../src/untrusted.ts";

test.each([
  ["two\nlines\r\nand\ttabs", "two lines and tabs"],
  ["\u202eevil\u2066 \u200bzero\ufeff", "evil zero"],
  ["\u001b[31mred", "[31mred"],
  ["  spaced  ", "spaced"],
  ["Zoë 世界", "Zoë 世界"],
])("%j reads %j", (text, expected) => {
  expect(plain(text)).toBe(expected);
});

test.each([
  ["**Jane** [pay here](https://evil.org)", "Jane pay here(https://evil.org)"],
  ["`rm -rf` <b>x</b> ~~y~~ a|b \\", "rm -rf bx/b y ab"],
  ["_Jane_ __Doe__ &#x202e;&lt;", "Jane Doe #x202e;lt;"],
  ["\u202e**evil**\n\n# title", "evil # title"],
  ["user_42 R&D (Jane) O'Neil #7", "user_42 R&D (Jane) O'Neil #7"],
])("%j is cleaned to %j", (text, expected) => {
  expect(clean(text)).toBe(expected);
});

test("what is far too long takes no time", () => {
  const began = performance.now();
  for (const unit of ["_", "&", "x", "\u202e", "e\u0301"]) expect(clean(unit.repeat(2e6)).length).toBeLessThan(200);
  expect(performance.now() - began).toBeLessThan(500);
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
