import { describe as suite, expect, test } from "vitest";
import {
  barsOf,
  captionOf,
  type CaptionTree,
  describe,
  endsBeyond,
  formatTime,
  frameAt,
  neighbour,
  nodesBeyond,
  pathAt,
  readVideo,
  rowsOf,
  textsOf,
  ticks,
  tierOf,
  timeOf,
  type TreeNode,
  type Video,
} from "./tree";

/** root 0-10: a 0-4, b 4-10: c 4-6, d 6-10 */
const NODES = [
  ["root", null, 0, 0, 10],
  ["a", "root", 1, 0, 4],
  ["b", "root", 1, 4, 10],
  ["c", "b", 2, 4, 6],
  ["d", "b", 2, 6, 10],
].map(([node_id, parent_id, level, start, end]) => ({ node_id, parent_id, level, start, end }));

function answer(nodes: unknown, more: object = {}) {
  const trees = [{ name: "ground_truth", label: "Ground truth", source: "tree", nodes }];
  return { sample_id: "1", title: "Soup", fps: 25, frames: 250, duration: 10, trees, ...more };
}

function video(nodes: unknown = NODES, more: object = {}): Video {
  const read = readVideo(answer(nodes, more));
  if ("error" in read) throw new Error(read.error);
  return read;
}

const tree = (nodes: unknown = NODES): CaptionTree => video(nodes).trees[0]!;
const node = (id: string): TreeNode => tree().byId.get(id)!;
const ids = (nodes: readonly TreeNode[]) => nodes.map((n) => n.node_id);

suite("reading Python's answer", () => {
  test("gives levels in order of time, children and the end, whatever the order of the nodes", () => {
    const read = tree([...NODES].reverse());
    expect(read.levels.map(ids)).toEqual([["root"], ["a", "b"], ["c", "d"]]);
    expect(ids(read.children.get("b")!)).toEqual(["c", "d"]);
    expect(read.end).toBe(10);
    expect(read.fromLabels).toBe(false);
  });

  test("passes an error on", () => {
    expect(readVideo({ error: "No sample is open." })).toEqual({ error: "No sample is open." });
  });

  test.each([undefined, null, "text", {}, { fps: 0, frames: 1, duration: 1 }])(
    "says so where the answer %j has no frame rate or length",
    (value) => expect(readVideo(value)).toHaveProperty("error"),
  );

  test("leaves out nodes that cannot be placed and keeps the others", () => {
    const broken = [
      null,
      {},
      { ...NODES[1], start: "0" },
      { ...NODES[1], end: -1 },
      { ...NODES[1], level: 1e9 },
    ];
    expect([...tree([...broken, ...NODES]).byId.keys()]).toHaveLength(5);
  });

  test("takes blank texts and wrong types for missing ones", () => {
    const texts = { plm_action: " ", plm_caption: 7, gpt: { action: null, summary: { brief: "x" } } };
    const read = tree([{ ...NODES[0], ...texts }]).byId.get("root")!;
    expect(read.plm_action).toBeNull();
    expect(read.plm_caption).toBeNull();
    expect(read.gpt).toEqual({
      summary: { brief: "x", detailed: null },
      action: { brief: null, detailed: null, actor: null },
    });
  });

  test("leaves out trees without a node that can be placed", () => {
    expect(video([]).trees).toEqual([]);
    expect(video("text").trees).toEqual([]);
    expect(video([{ ...NODES[0], end: 0 }]).trees).toEqual([]);
  });
});

suite("frames and times", () => {
  test("a time's frame counts from 1 and stays within the video", () => {
    expect([-1, 0, 0.04, 1.34, 9.99, 99].map((t) => frameAt(t, video()))).toEqual([
      1, 1, 2, 35, 250, 250,
    ]);
    expect(timeOf(1, 25)).toBe(0);
    expect(timeOf(26, 25)).toBe(1);
  });

  test("after seeking to a node's start, the path leads through that node, at any frame rate", () => {
    for (const fps of [23.976, 25, 29.97, 30, 59.94]) {
      for (let cut = 0.5; cut < 9.5; cut += 0.01) {
        const middle = Math.round(cut * 100) / 100;
        const nodes = [
          NODES[0],
          { ...NODES[1], end: middle },
          { ...NODES[2], start: middle },
        ];
        const frame = frameAt(middle, { fps, frames: Math.ceil(10 * fps) });
        expect(ids(pathAt(tree(nodes), frame, fps))).toEqual(["root", "b"]);
      }
    }
  });

  test("the path runs from the root to a leaf and is empty after the tree's end", () => {
    expect(ids(pathAt(tree(), 1, 25))).toEqual(["root", "a"]);
    expect(ids(pathAt(tree(), 150, 25))).toEqual(["root", "b", "c"]);
    expect(ids(pathAt(tree(), 151, 25))).toEqual(["root", "b", "d"]);
    expect(pathAt(tree(), 251, 25)).toEqual([]);
  });

  test.each([
    [0, 0, "0:00"],
    [65.4, 0, "1:05"],
    [59.96, 1, "1:00.0"],
    [5.125, 2, "0:05.13"],
    [3600, 0, "1:00:00"],
    [3725.5, 1, "1:02:05.5"],
  ])("%d s with %d decimals reads %s", (time, digits, text) => {
    expect(formatTime(time, digits)).toBe(text);
  });
});

suite("the time axis", () => {
  test("ticks are round, within the span and far enough apart", () => {
    for (const span of [0.3, 3, 20, 90, 345.55, 4000, 90000]) {
      const marks = ticks(span, 500);
      expect(marks.length).toBeGreaterThan(0);
      expect(marks.at(-1)!.time).toBeLessThanOrEqual(span + 1e-9);
      expect(new Set(marks.map((m) => m.label)).size).toBe(marks.length);
      if (marks.length > 1) expect((marks[1]!.time / span) * 500).toBeGreaterThanOrEqual(63.9);
    }
    expect(ticks(90, 500).map((m) => m.label).slice(0, 3)).toEqual(["0:00", "0:15", "0:30"]);
  });

  test("an axis without width or length has no ticks", () => {
    expect([...ticks(0, 100), ...ticks(10, 0)]).toEqual([]);
  });

  test("a tree of the clip itself does not count as longer, although it samples every 4th frame", () => {
    expect(endsBeyond(10.12, video())).toBe(false);
    expect(nodesBeyond(tree(), video(NODES, { duration: 9.9 }))).toBe(0);
  });

  test("counts the nodes that begin after the clip's end", () => {
    expect(nodesBeyond(tree(), video(NODES, { duration: 5 }))).toBe(1);
    expect(nodesBeyond(tree(), video(NODES, { duration: 4 }))).toBe(3);
  });
});

suite("bars", () => {
  test("lie where their times are and are cut at the end of the axis", () => {
    expect(barsOf(tree().levels[1]!, 5, 100)).toMatchObject([
      { node: { node_id: "a" }, x: 0, width: 80, cut: false },
      { node: { node_id: "b" }, x: 80, width: 20, cut: true },
    ]);
  });

  test("nodes after the end of the axis have none", () => {
    expect(barsOf(tree().levels[2]!, 4, 100)).toEqual([]);
  });

  test("there are never more of them than pixels, and no holes between neighbours", () => {
    const many = Array.from({ length: 5000 }, (_, i) => ({
      ...NODES[0],
      node_id: `${i}`,
      start: i / 500,
      end: (i + 1) / 500,
    }));
    const bars = barsOf(tree(many).levels[0]!, 10, 300);
    expect(bars.length).toBeLessThanOrEqual(301);
    let until = 0;
    for (const { x, width } of bars) {
      expect(x - until).toBeLessThan(1);
      until = x + width;
    }
    expect(until).toBeGreaterThan(299);
  });

  test("a node that is to be kept has one, however narrow", () => {
    const pair = [0, 1].map((i) => ({ ...NODES[0], node_id: `${i}`, start: i / 10, end: (i + 1) / 10 }));
    const nodes = tree(pair).levels[0]!;
    expect(barsOf(nodes, 10, 10)).toHaveLength(1);
    expect(barsOf(nodes, 10, 10, "1")).toHaveLength(2);
  });

  test("rows of all trees share the height as long as they can be read", () => {
    const heights = (height: number) =>
      rowsOf([tree(), tree()], 10, 400, height).map((rows) => rows.heights);
    expect(heights(120)).toEqual([
      [20, 20, 20],
      [20, 20, 20],
    ]);
    expect(heights(1000)[0]).toEqual([28, 28, 28]);
    expect(heights(0)[0]).toEqual([14, 14, 14]);
  });

  test("rows without room for a single caption are thin, and rows lie one under the other", () => {
    const [rows] = rowsOf([tree()], 10, 60, 47);
    expect(rows).toEqual({ tops: [0, 20, 40], heights: [20, 20, 7], height: 47 });
  });
});

suite("moving from node to node", () => {
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
  ])("from %s, %s leads to %s", (from, key, to) => {
    const read = tree();
    expect(neighbour(read, read.byId.get(from)!, key, 10)?.node_id).toBe(to);
  });

  test("does not leave the axis", () => {
    const read = tree();
    expect(neighbour(read, read.byId.get("c")!, "ArrowRight", 5)).toBeNull();
  });
});

suite("words", () => {
  test("a root without children is a root, and any other childless node a leaf", () => {
    expect(tierOf(tree(), node("root"))).toBe("root");
    expect(tierOf(tree(), node("b"))).toBe("mid");
    expect(tierOf(tree(), node("a"))).toBe("leaf");
    expect(tierOf(tree([NODES[0]]), node("root"))).toBe("root");
  });

  const gpt = (brief: string | null) => ({
    summary: { brief: null, detailed: null },
    action: { brief, detailed: null, actor: null },
  });

  test("a caption is the brief action, else the clip's action, else a caption", () => {
    const bare = node("a");
    const spoken = { ...bare, llama3_caption: "a photo of soup" };
    expect(captionOf(bare)).toBe("No caption");
    expect(captionOf(spoken)).toBe("a photo of soup");
    expect(captionOf({ ...spoken, plm_caption: "soup boils" })).toBe("soup boils");
    expect(captionOf({ ...spoken, plm_action: "boil soup" })).toBe("boil soup");
    expect(captionOf({ ...spoken, plm_action: "boil soup", gpt: gpt("stir") })).toBe("stir");
    expect(captionOf({ ...spoken, plm_action: "boil soup", gpt: gpt("N/A") })).toBe("boil soup");
  });

  test("a description names the caption and the times", () => {
    expect(describe({ ...node("c"), plm_action: "stir" })).toBe("stir, 4.00 to 6.00 s");
  });

  test("texts are listed with their fields, missing ones left out", () => {
    expect(textsOf({ ...node("c"), plm_caption: "<b>soup</b>", gpt: gpt("stir") })).toEqual([
      { heading: "Action", field: "gpt.action.brief", text: "stir" },
      { heading: "Clip caption", field: "plm_caption", text: "<b>soup</b>" },
    ]);
  });
});
