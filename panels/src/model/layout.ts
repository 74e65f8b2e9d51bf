/** Where the nodes of a tree are on the screen: rows under each other, slices along the time axis. */
import type { Row } from "./filters";
import { type CaptionTree, firstIndex, type TreeNode } from "./tree";
import { type Viewport, xOf } from "./viewport";

const [LOWEST_ROW, HIGHEST_ROW] = [15, 26];

/** Pixels a row, so that all rows share `height` as far as captions stay readable. */
export function rowHeight(rows: number, height: number): number {
  return Math.min(Math.max(Math.floor(height / Math.max(rows, 1)), LOWEST_ROW), HIGHEST_ROW);
}

export interface Slice {
  /** The longest of the nodes that the slice stands for. */
  readonly node: TreeNode;
  /** Pixels, cut off a little outside of the screen. */
  readonly x: number;
  readonly width: number;
  readonly count: number;
}

/** How far slices reach out of the screen: canvases draw no numbers of millions well. */
const OUTSIDE = 8;

/**
 * What to draw of a row: nodes on screen from left to right; nodes narrower than a pixel that share
 * one are merged, so there are never more slices than pixels, and no holes between neighbours.
 */
export function slicesOf(row: Row, view: Viewport, width: number): Slice[] {
  const slices: Slice[] = [];
  const { nodes, ends } = row;
  for (let i = firstIndex(ends, (end) => end > view.from); i < nodes.length; i++) {
    const node = nodes[i]!;
    if (node.start >= view.to) break;
    if (node.end <= view.from) continue;
    const left = Math.max(xOf(node.start, view, width), -OUTSIDE);
    const right = Math.min(xOf(node.end, view, width), width + OUTSIDE);
    const last = slices[slices.length - 1];
    if (last && right - left < 1 && last.width <= 1 && right < last.x + 1.5) {
      const longer = node.end - node.start > last.node.end - last.node.start;
      slices[slices.length - 1] = {
        node: longer ? node : last.node,
        x: last.x,
        width: 1,
        count: last.count + 1,
      };
    } else {
      slices.push({ node, x: left, width: Math.max(right - left, 1), count: 1 });
    }
  }
  return slices;
}

/** The node at a point of a tree's drawing, or the nearest within a pixel. */
export function hit(
  rows: readonly Row[],
  height: number,
  view: Viewport,
  width: number,
  x: number,
  y: number,
): TreeNode | null {
  const row = rows[Math.floor(y / height)];
  if (!row || x < 0 || x > width) return null;
  const pixel = (view.to - view.from) / width;
  const time = view.from + x * pixel;
  let found: TreeNode | null = null;
  for (let i = firstIndex(row.ends, (end) => end > time - pixel); i < row.nodes.length; i++) {
    const node = row.nodes[i]!;
    if (node.start > time + pixel) break;
    if (node.start <= time && time < node.end) return node;
    if (node.end > time - pixel) found ??= node;
  }
  return found;
}

/**
 * The node that an arrow key leads to: left and right to the neighbour in time in the same row, up
 * to the nearest ancestor that is shown, down to the first descendant that is. Null where there is
 * none.
 */
export function neighbour(
  tree: CaptionTree,
  rows: readonly Row[],
  node: TreeNode,
  key: string,
): TreeNode | null {
  const index = rows.findIndex(({ nodes }) => nodes.includes(node));
  const row = rows[index]?.nodes ?? [];
  if (key === "ArrowLeft") return row[row.indexOf(node) - 1] ?? null;
  if (key === "ArrowRight") return (index < 0 ? null : row[row.indexOf(node) + 1]) ?? null;
  if (key === "ArrowUp") {
    const shown = new Set(rows.flatMap(({ nodes }) => nodes));
    let parent = node.parent_id === null ? undefined : tree.byId.get(node.parent_id);
    for (let steps = 0; parent && !shown.has(parent) && steps < tree.levels.length; steps++) {
      parent = parent.parent_id === null ? undefined : tree.byId.get(parent.parent_id);
    }
    return parent && shown.has(parent) ? parent : null;
  }
  if (key === "ArrowDown") {
    for (const { nodes } of rows.slice(index + 1)) {
      const below = nodes.find(
        (n) => n.level > node.level && n.start >= node.start - 1e-6 && n.end <= node.end + 1e-6,
      );
      if (below) return below;
    }
  }
  return null;
}
