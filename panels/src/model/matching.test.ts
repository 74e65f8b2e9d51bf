import { describe, expect, test } from "vitest";
import { bestMatches, disagreements, iouOf } from "./matching";
import { complete, node, NODES, tree } from "./trees.fixture";

describe("temporal IoU", () => {
  test("is the time that both cover as a share of the time that either does", () => {
    expect(iouOf(node("a"), node("a"))).toBe(1);
    expect(iouOf(node("root"), node("a"))).toBeCloseTo(0.4);
    expect(iouOf(node("a"), node("b"))).toBe(0);
  });
});

describe("best matches", () => {
  const matched = (a: unknown, b: unknown) =>
    Object.fromEntries(
      [...bestMatches(tree(a), tree(b))].map(([id, m]) => [id, [m.node.node_id, m.iou]]),
    );

  test("a tree matches itself, node by node", () => {
    for (const [id, [match, iou]] of Object.entries(matched(NODES, NODES))) {
      expect([match, iou]).toEqual([id, 1]);
    }
  });

  test("of equal ones the one of the nearest level wins", () => {
    const chain = [NODES[0], { ...NODES[0], node_id: "same", parent_id: "root", level: 1 }];
    expect(matched(chain, chain)).toEqual({ root: ["root", 1], same: ["same", 1] });
  });

  test("are those that trying every pair gives", () => {
    let seed = 7;
    const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
    const randomTree = () => {
      const nodes: { node_id: string; start: number; end: number }[] = [];
      const split = (parent: string | null, level: number, start: number, end: number) => {
        const id = `${nodes.length}`;
        nodes.push({ node_id: id, parent_id: parent, level, start, end } as never);
        if (end - start < 1 || level > 7) return;
        const cut = start + (end - start) * (0.1 + 0.8 * random());
        split(id, level + 1, start, cut);
        split(id, level + 1, cut, end);
      };
      split(null, 0, 0, 60);
      return tree(nodes);
    };
    const [a, b] = [randomTree(), randomTree()];
    const found = bestMatches(a, b);
    for (const n of a.byId.values()) {
      const best = Math.max(...[...b.byId.values()].map((m) => iouOf(n, m)));
      expect(found.get(n.node_id)!.iou).toBeCloseTo(best, 12);
    }
  });

  test("a node after the other tree's end has none", () => {
    const late = [...NODES, { ...NODES[1], node_id: "late", start: 20, end: 30 }];
    expect(matched(late, NODES)).not.toHaveProperty("late");
  });

  test("nodes whose parent has no label are found as well", () => {
    expect(matched(NODES, [{ ...NODES[3], parent_id: "lost" }]).c).toEqual(["c", 1]);
  });

  test("two trees of 8,191 nodes take less than a second", () => {
    const big = tree(complete(12));
    const started = performance.now();
    expect(bestMatches(big, big).size).toBe(8191);
    expect(performance.now() - started).toBeLessThan(1000);
  });
});

describe("disagreements", () => {
  test("come with the most unmatched seconds first; what agrees or was not compared is none", () => {
    const scores: Record<string, number | null> = { root: 0.9, a: 0.1, b: 0.8, c: 1, d: null };
    const nodes = [...tree().byId.values()];
    const found = disagreements(nodes.map((node) => ({ node, score: scores[node.node_id]! })));
    expect(found.map(({ node: { node_id }, score }) => [node_id, score])).toEqual([
      ["a", 0.1],
      ["b", 0.8],
      ["root", 0.9],
    ]);
  });
});
