import { readVideo, type CaptionTree, type TreeNode, type Video } from "./tree";

/** root 0-10: a 0-4, b 4-10: c 4-6, d 6-10 */
export const NODES = [
  ["root", null, 0, 0, 10],
  ["a", "root", 1, 0, 4],
  ["b", "root", 1, 4, 10],
  ["c", "b", 2, 4, 6],
  ["d", "b", 2, 6, 10],
].map(([node_id, parent_id, level, start, end]) => ({ node_id, parent_id, level, start, end }));

export function answer(nodes: unknown, more: object = {}, ofTree: object = {}) {
  const tree = { name: "ground_truth", label: "Ground truth", source: "tree", nodes, ...ofTree };
  const trees = [tree];
  return { sample_id: "1", title: "Soup", fps: 25, frames: 250, duration: 10, trees, ...more };
}

export function video(nodes: unknown = NODES, more: object = {}, ofTree: object = {}): Video {
  const read = readVideo(answer(nodes, more, ofTree));
  if ("error" in read) throw new Error(read.error);
  return read;
}

export const tree = (nodes: unknown = NODES, ofTree: object = {}): CaptionTree =>
  video(nodes, {}, ofTree).trees[0]!;
export const node = (id: string): TreeNode => tree().byId.get(id)!;
export const ids = (nodes: readonly { readonly node_id: string }[]) => nodes.map((n) => n.node_id);

/** A complete binary tree of 2 ** depth leaves that last a second each. */
export function complete(depth: number): object[] {
  const nodes: object[] = [];
  for (let level = 0; level <= depth; level++) {
    const seconds = 2 ** (depth - level);
    for (let i = 0; i < 2 ** level; i++) {
      nodes.push({
        node_id: `${level}.${i}`,
        parent_id: level ? `${level - 1}.${i >> 1}` : null,
        level,
        start: i * seconds,
        end: (i + 1) * seconds,
      });
    }
  }
  return nodes;
}
