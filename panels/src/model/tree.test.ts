import { describe as suite, expect, test } from "vitest";
import {
  captionOf,
  describe,
  endsBeyond,
  formatTime,
  frameAt,
  modelOf,
  nodesBeyond,
  pathAt,
  readVideo,
  shorten,
  textAt,
  tierOf,
  timeOf,
} from "./tree";
import { ids, node, NODES, tree, video } from "./trees.fixture";

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
    const texts = {
      plm_action: " ",
      plm_caption: 7,
      gpt: { action: null, summary: { brief: "x" } },
    };
    const read = tree([{ ...NODES[0], ...texts }]).byId.get("root")!;
    expect(read.plm_action).toBeNull();
    expect(read.plm_caption).toBeNull();
    expect(read.gpt).toEqual({
      summary: { brief: "x", detailed: null },
      action: { brief: null, detailed: null, actor: null },
    });
  });

  test("reads the transcript in order of time, without lines that cannot be placed", () => {
    const transcript = [
      { start: 4, end: 6, text: "then stir" },
      { start: 0, end: 4, text: "hello" },
      { start: 6, end: 6, text: "never" },
      { start: null, end: 1, text: "when?" },
      { start: 1, end: 2, text: null },
      null,
    ];
    const read = video(NODES, { transcript });
    expect(read.transcript.map(({ text }) => text)).toEqual(["hello", "then stir"]);
    expect(video(NODES, { transcript: "text" }).transcript).toEqual([]);
  });

  test("reads the agreement of texts for both trees, and none where there is no number", () => {
    const prediction = { a: { iou: 1, text: 0.5 }, b: { text: 0.25 }, c: { text: null }, d: 7 };
    const read = tree(NODES, { agreement: { prediction, reference: { x: { text: 1 } } } });
    expect([...read.textAgreement!]).toEqual([
      ["a", 0.5],
      ["b", 0.25],
    ]);
    expect([...read.reverseTextAgreement!]).toEqual([["x", 1]]);
    expect(tree().textAgreement).toBeNull();
    expect(tree(NODES, { agreement: "text" }).textAgreement).toBeNull();
  });

  test("reads what a person said of a node, and nothing where that is empty", () => {
    const review = { flagged: true, tags: ["late", 7], by: "Ada", at: "2026-01-01T00:00:00Z" };
    const said = tree([{ ...NODES[0], review }]).byId.get("root")!.review;
    expect(said).toEqual({ ...review, tags: ["late"], before: {} });
    expect(tree([{ ...NODES[0], review: { flagged: false } }]).byId.get("root")!.review).toBeNull();
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
        const nodes = [NODES[0], { ...NODES[1], end: middle }, { ...NODES[2], start: middle }];
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

suite("clips", () => {
  test("a tree of the clip itself does not count as longer, although it samples every 4th frame", () => {
    expect(endsBeyond(10.12, video())).toBe(false);
    expect(nodesBeyond(tree(), video(NODES, { duration: 9.9 }))).toBe(0);
  });

  test("counts the nodes that begin after the clip's end", () => {
    expect(nodesBeyond(tree(), video(NODES, { duration: 5 }))).toBe(1);
    expect(nodesBeyond(tree(), video(NODES, { duration: 4 }))).toBe(3);
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

  test("a text is found by its field, and who wrote it by the field's first part", () => {
    const refined = { ...node("c"), plm_caption: "<b>soup</b>", gpt: gpt("stir") };
    expect(textAt(refined, "gpt.action.brief")).toBe("stir");
    expect(textAt(refined, "gpt.summary.brief")).toBeNull();
    expect(textAt(refined, "plm_caption")).toBe("<b>soup</b>");
    const read = tree(NODES, { models: { gpt: "a refiner", plm_caption: "", plm_action: 3 } });
    expect(modelOf(read, "gpt.action.brief")).toBe("a refiner");
    expect(modelOf(read, "plm_caption")).toBeNull();
    expect(modelOf(read, "plm_action")).toBeNull();
  });

  test("a text is shortened by whole characters and brought into one line", () => {
    expect(shorten("stir\n the  soup", 20)).toBe("stir the soup");
    expect(shorten("🥣🥣🥣🥣", 3)).toBe("🥣🥣…");
    expect(describe({ ...node("c"), plm_action: "x".repeat(5000) }).length).toBeLessThan(200);
  });
});
