import { describe, expect, test } from "vitest";
import { byActor, byAgreement, byLevel, NEUTRAL } from "./colours";
import { node, NODES, tree } from "./trees.fixture";

const acting = (actor: string | null) => ({
  gpt: { summary: null, action: { brief: "x", detailed: null, actor } },
});

describe("colours", () => {
  test("every level has its own, and the legend names each, of very many every fifth", () => {
    const { of, legend } = byLevel(2, "dark");
    expect(new Set(["root", "a", "c"].map((id) => of(node(id)))).size).toBe(3);
    expect(legend).toHaveLength(3);
    expect(legend[0]!.colour).toBe(of(node("root")));
    expect(of(node("root"))).not.toBe(byLevel(2, "light").of(node("root")));
    expect(byLevel(0, "dark").legend).toHaveLength(1);
    const deep = byLevel(12, "dark").legend.map(({ label }) => label);
    expect(deep.filter(Boolean)).toEqual(["level 0, the whole video", "5", "10", "12"]);
  });

  test("actors are told apart whatever the case; none named, or N/A, is neutral", () => {
    const read = tree([
      { ...NODES[0], ...acting("A cook") },
      { ...NODES[1], ...acting("a cook ") },
      { ...NODES[2], ...acting("A hand") },
      { ...NODES[3], ...acting("N/A") },
      NODES[4],
    ]);
    const { of, legend } = byActor([read], "light");
    const colours = [...read.byId.values()].map(of);
    expect(colours[0]).toBe(colours[1]);
    expect(colours[0]).not.toBe(colours[2]);
    expect(colours.slice(3)).toEqual([NEUTRAL.light, NEUTRAL.light]);
    expect(legend.map(({ label }) => label)).toEqual(["a cook", "a hand", "no actor named"]);
  });

  test("many actors: those that act longest are told apart, the others share a colour", () => {
    const many = Array.from({ length: 12 }, (_, i) => ({
      ...NODES[1],
      node_id: `${i}`,
      end: 12 - i,
      ...acting(`actor ${i}`),
    }));
    const read = tree(many);
    const { of, legend } = byActor([read], "dark");
    expect(new Set([...read.byId.values()].map(of)).size).toBe(9);
    expect(legend.at(-2)!.label).toBe("4 others");
  });

  test("agreement runs from one colour to another; what was not compared is neutral", () => {
    const scores: Record<string, number | null> = { root: 0, a: 0.5, b: 1, c: null };
    const { of, legend } = byAgreement((n) => scores[n.node_id]!, "IoU", "dark");
    expect(new Set(["root", "a", "b"].map((id) => of(node(id)))).size).toBe(3);
    expect(of(node("c"))).toBe(NEUTRAL.dark);
    expect(legend.map(({ label }) => label)).toEqual([
      "IoU 0",
      "0.25",
      "0.5",
      "0.75",
      "1",
      "not compared",
    ]);
  });
});
