import { describe, expect, test } from "vitest";
import { isFiltering, NO_FILTERS, rowsOf, type Filters } from "./filters";
import { hit, neighbour, rowHeight, slicesOf } from "./layout";
import { complete, ids, NODES, tree } from "./trees.fixture";

const rows = (filters: Partial<Filters> = {}, nodes: unknown = NODES) =>
  rowsOf(tree(nodes), { ...NO_FILTERS, ...filters }, 10);
const shown = (filters: Partial<Filters>) => rows(filters).map(({ nodes }) => ids(nodes));

describe("rows", () => {
  test("are the levels, without those that have nothing to show", () => {
    expect(shown({})).toEqual([["root"], ["a", "b"], ["c", "d"]]);
    expect(shown({ maxLevel: 1 })).toEqual([["root"], ["a", "b"]]);
    expect(shown({ minDuration: 4 })).toEqual([["root"], ["a", "b"], ["d"]]);
    expect(shown({ minDuration: 5 })).toEqual([["root"], ["b"]]);
    expect(shown({ tiers: ["mid"] })).toEqual([["b"]]);
    expect(shown({ tiers: [] })).toEqual([]);
    expect(shown({ flaggedOnly: true })).toEqual([]);
  });

  test("leaves alone share one row, whatever their levels", () => {
    expect(shown({ tiers: ["leaf"] })).toEqual([["a", "c", "d"]]);
    expect(rows({ tiers: ["leaf"] })[0]!.level).toBeNull();
    expect(shown({ tiers: ["leaf"], minDuration: 4 })).toEqual([["a", "d"]]);
  });

  test("it is known whether anything is filtered", () => {
    expect(isFiltering(NO_FILTERS)).toBe(false);
    expect(isFiltering({ ...NO_FILTERS, maxLevel: 3 })).toBe(true);
    expect(isFiltering({ ...NO_FILTERS, tiers: ["leaf"] })).toBe(true);
  });

  test("share the height as long as captions can be read", () => {
    expect([rowHeight(6, 120), rowHeight(6, 1000), rowHeight(6, 0), rowHeight(0, 100)]).toEqual([
      20, 26, 15, 26,
    ]);
  });
});

describe("slices", () => {
  test("lie where their times are", () => {
    expect(slicesOf(rows()[1]!, { from: 0, to: 10 }, 100)).toMatchObject([
      { node: { node_id: "a" }, x: 0, width: 40, count: 1 },
      { node: { node_id: "b" }, x: 40, width: 60, count: 1 },
    ]);
  });

  test("are only of nodes on screen and reach little out of it", () => {
    const zoomed = slicesOf(rows()[2]!, { from: 6.4, to: 6.6 }, 100);
    expect(zoomed).toMatchObject([{ node: { node_id: "d" }, x: -8, width: 116 }]);
    expect(slicesOf(rows()[2]!, { from: 0, to: 4 }, 100)).toEqual([]);
  });

  test("are never more than pixels, and have no holes between neighbours", () => {
    const many = Array.from({ length: 5000 }, (_, i) => ({
      ...NODES[0],
      node_id: `${i}`,
      start: i / 500,
      end: (i + 1) / 500,
    }));
    const slices = slicesOf(rows({}, many)[0]!, { from: 0, to: 10 }, 300);
    expect(slices.length).toBeLessThanOrEqual(301);
    expect(slices.reduce((n, slice) => n + slice.count, 0)).toBe(5000);
    let until = 0;
    for (const { x, width } of slices) {
      expect(x - until).toBeLessThan(1);
      until = x + width;
    }
    expect(until).toBeGreaterThan(299);
  });

  test("nodes that overlap, as labels made elsewhere can, are all found on screen", () => {
    const nodes = [
      { ...NODES[0], node_id: "long", start: 0, end: 9 },
      { ...NODES[0], node_id: "short", start: 1, end: 2 },
    ];
    const [row] = rows({}, nodes);
    expect(slicesOf(row!, { from: 5, to: 6 }, 100).map((s) => s.node.node_id)).toEqual(["long"]);
    expect(hit([row!], 20, { from: 0, to: 10 }, 100, 70, 5)?.node_id).toBe("long");
  });
});

describe("the node at a point", () => {
  const at = (x: number, y: number) => hit(rows(), 20, { from: 0, to: 10 }, 100, x, y)?.node_id;
  test("is the one that is drawn there", () => {
    expect([at(5, 5), at(39, 25), at(41, 25), at(50, 45)]).toEqual(["root", "a", "b", "c"]);
  });

  test("is none beside the bars", () => {
    expect([at(5, 45), at(5, 65), at(-3, 5), at(103, 5)]).toEqual(Array(4).fill(undefined));
  });

  test("is the nearest within a pixel, so that the narrowest can be pointed at", () => {
    const nodes = [NODES[0], { ...NODES[1], start: 5, end: 5.01 }];
    expect(hit(rows({}, nodes), 20, { from: 0, to: 10 }, 100, 49.5, 25)?.node_id).toBe("a");
  });
});

describe("moving from node to node", () => {
  const from = (id: string, key: string, filters: Partial<Filters> = {}, end = 10) => {
    const read = tree();
    const visible = rowsOf(read, { ...NO_FILTERS, ...filters }, end);
    return neighbour(read, visible, read.byId.get(id)!, key)?.node_id;
  };

  test.each([
    ["b", "ArrowLeft", "a"],
    ["a", "ArrowRight", "b"],
    ["d", "ArrowUp", "b"],
    ["b", "ArrowDown", "c"],
    ["a", "ArrowLeft", undefined],
    ["d", "ArrowRight", undefined],
    ["root", "ArrowUp", undefined],
    ["a", "ArrowDown", undefined],
    ["a", "Home", undefined],
  ])("from %s, %s leads to %s", (id, key, to) => expect(from(id, key)).toBe(to));

  test("does not leave the axis", () => {
    expect(from("c", "ArrowRight", {}, 5)).toBeUndefined();
  });

  test("skips what is not shown", () => {
    expect(from("d", "ArrowUp", { tiers: ["root", "leaf"] })).toBe("root");
    expect(from("root", "ArrowDown", { tiers: ["root", "leaf"] })).toBe("a");
    expect(from("a", "ArrowRight", { tiers: ["leaf"] })).toBe("c");
  });

  test("5,000 nodes are laid out within a few milliseconds", () => {
    const read = tree(complete(12));
    const started = performance.now();
    const all = rowsOf(read, NO_FILTERS, 4096);
    for (let i = 0; i < 10; i++) all.map((row) => slicesOf(row, { from: 0, to: 4096 }, 800));
    expect(performance.now() - started).toBeLessThan(500);
  });
});
