import { describe, expect, test } from "vitest";
import { byLevel } from "./colours";
import { toJson, toMarkdown, toSvg, visibleNodes } from "./exports";
import { NO_FILTERS, rowsOf } from "./filters";
import { ids, NODES, tree } from "./trees.fixture";

const MARKUP = '<img src=x onerror=alert(1)> & "stir" *now* \u0007';
const captioned = tree(NODES.map((n) => ({ ...n, plm_action: MARKUP })));
const shown = [
  { tree: captioned, rows: rowsOf(captioned, NO_FILTERS, 10), colours: byLevel(2, "dark") },
];
const ALL = { from: 0, to: 10 };

describe("exports", () => {
  test("hold what is on screen, parents before their children", () => {
    expect(ids(visibleNodes(shown[0]!, ALL))).toEqual(["root", "a", "b", "c", "d"]);
    expect(ids(visibleNodes(shown[0]!, { from: 7, to: 8 }))).toEqual(["root", "b", "d"]);
    const filtered = { rows: rowsOf(captioned, { ...NO_FILTERS, maxLevel: 0 }, 10) };
    expect(ids(visibleNodes(filtered, ALL))).toEqual(["root"]);
  });

  test("JSON gives the nodes back as they were", () => {
    const { title, trees } = JSON.parse(toJson("Soup", shown, ALL));
    expect(title).toBe("Soup");
    expect(trees[0].nodes).toHaveLength(5);
    expect(trees[0].nodes[0].plm_action).toBe(MARKUP);
  });

  test("Markdown is a nested list in which captions are text", () => {
    const lines = toMarkdown("# Soup", shown, ALL).split("\n");
    expect(lines[0]).toBe("# \\# Soup");
    expect(lines).toContain(
      '    - 0:04.00–0:06.00 \\<img src=x onerror=alert(1)\\> & "stir" \\*now\\*',
    );
  });

  test("SVG is well-formed whatever captions hold, and has a bar a node", () => {
    const svg = toSvg(MARKUP, shown, ALL, { background: "#000", text: "#fff", barText: "#fff" });
    expect(svg).not.toContain("<img");
    expect(svg).not.toContain("\u0007");
    expect(svg.match(/<title>/g)).toHaveLength(5);
    expect(svg).toContain("&lt;img src=x onerror=alert(1)&gt; &amp;");
  });
});
