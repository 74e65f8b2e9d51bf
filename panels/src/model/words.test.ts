import { describe, expect, test } from "vitest";
import { difference } from "./difference";
import { find, inOrder, patternOf, piecesOf } from "./search";
import { ids, NODES, tree } from "./trees.fixture";

describe("search", () => {
  const captioned = tree(
    NODES.map((n, i) => ({
      ...n,
      plm_caption: ["Stir the soup", "stir\nThe  Soup", "<b>salt</b>", "a+b", "قلّب الحساء 🥣"][i],
    })),
  );
  const found = (query: string) => ids(find([...captioned.byId.values()], patternOf(query)!));

  test("finds words in any text, whatever the case and the space between them", () => {
    expect(found("stir the soup")).toEqual(["root", "a"]);
    expect(found("SOUP")).toEqual(["root", "a"]);
    expect(found("nothing")).toEqual([]);
  });

  test("takes what is typed literally, in any script", () => {
    expect([found("<b>"), found("a+b"), found("الحساء"), found("🥣"), found(".*")]).toEqual([
      ["b"],
      ["c"],
      ["d"],
      ["d"],
      [],
    ]);
  });

  test("looks for nothing where nothing is typed", () => {
    expect([patternOf(""), patternOf("  \n")]).toEqual([null, null]);
    expect(piecesOf("soup", null)).toEqual([{ text: "soup", hit: false }]);
  });

  test("cuts a text into pieces that together are the text", () => {
    const pieces = piecesOf("Soup, soup and SOUP", patternOf("soup"));
    expect(pieces.map(({ text }) => text).join("")).toBe("Soup, soup and SOUP");
    expect(pieces.filter(({ hit }) => hit).map(({ text }) => text)).toEqual([
      "Soup",
      "soup",
      "SOUP",
    ]);
    // The lower case of this letter has two characters.
    expect(piecesOf("İİ soup", patternOf("soup")).at(-1)).toEqual({ text: "soup", hit: true });
  });

  test("hits are stepped through by time, coarse ones first", () => {
    const all = [...captioned.byId.values()].reverse().map((node) => ({ tree: captioned, node }));
    expect(inOrder(all).map(({ node }) => node.node_id)).toEqual(["root", "a", "b", "c", "d"]);
  });
});

describe("the difference of two texts", () => {
  const only = (words: { text: string; shared: boolean }[]) =>
    words.filter(({ shared }) => !shared).map(({ text }) => text.trim());

  test("is told word by word, without case and punctuation", () => {
    const { a, b } = difference("Stir the hot soup.", "stir the cold soup slowly");
    expect(only(a)).toEqual(["hot"]);
    expect(only(b)).toEqual(["cold", "slowly"]);
  });

  test("keeps both texts as they are", () => {
    const texts = ["  two\nlines <b>", "قلّب الحساء 🥣 !", "", "x"] as const;
    for (const left of texts) {
      for (const right of texts) {
        const { a, b } = difference(left, right);
        expect(a.map(({ text }) => text).join("")).toBe(left);
        expect(b.map(({ text }) => text).join("")).toBe(right);
      }
    }
  });

  test("a text is the same as itself and shares nothing with none", () => {
    expect(difference("a b c", "a b c").a).toEqual([{ text: "a b c", shared: true }]);
    expect(only(difference("a b", "").a)).toEqual(["a b"]);
  });

  test("texts of 5,000 characters take well under a second", () => {
    const started = performance.now();
    difference("lorem ipsum ".repeat(420), "ipsum dolor ".repeat(420));
    expect(performance.now() - started).toBeLessThan(500);
  });
});
