/** Which node of one tree is which of another: by temporal IoU, the share of time that both cover. */
import type { CaptionTree, TreeNode } from "./tree";

export interface Match {
  readonly node: TreeNode;
  readonly iou: number;
}

export type Matches = ReadonlyMap<string, Match>;

export function iouOf(a: TreeNode, b: TreeNode): number {
  const both = Math.min(a.end, b.end) - Math.max(a.start, b.start);
  if (both <= 0) return 0;
  return both / (a.end - a.start + (b.end - b.start) - both);
}

/**
 * For each node of a tree the node of the other with the highest temporal IoU.
 *
 * A descendant lies within its ancestor, so its IoU with a node n is at most what the ancestor
 * shares with n, divided by n's duration: subtrees that cannot beat the best are left out. Of equal
 * ones that of the nearest level wins, since one child can last as long as its parent.
 */
export function bestMatches(tree: CaptionTree, other: CaptionTree): Matches {
  const all = [...other.byId.values()];
  const roots = all.filter((n) => n.parent_id === null || !other.byId.has(n.parent_id));
  const matches = new Map<string, Match>();
  for (const node of tree.byId.values()) {
    let best: Match | null = null;
    const stack = [...roots];
    while (stack.length) {
      const candidate = stack.pop()!;
      const both = Math.min(node.end, candidate.end) - Math.max(node.start, candidate.start);
      if (both <= 0 || (best && both / (node.end - node.start) < best.iou)) continue;
      const iou = iouOf(node, candidate);
      if (!best || iou > best.iou || (iou === best.iou && isNearer(candidate, best.node, node))) {
        best = { node: candidate, iou };
      }
      stack.push(...(other.children.get(candidate.node_id) ?? []));
    }
    if (best) matches.set(node.node_id, best);
  }
  return matches;
}

const isNearer = (a: TreeNode, b: TreeNode, to: TreeNode): boolean =>
  Math.abs(a.level - to.level) < Math.abs(b.level - to.level);

export interface Scored {
  readonly node: TreeNode;
  /** 0 to 1; null where there was nothing to compare with. */
  readonly score: number | null;
}

/**
 * Those that agree least, the worst first: by the seconds that nothing matches, duration x
 * (1 - score). A short leaf that is a frame off would lead a list by the score alone.
 */
export function disagreements<T extends Scored>(scored: readonly T[]): T[] {
  return scored
    .filter(({ score }) => score !== null && score < 0.995)
    .sort((a, b) => lost(b) - lost(a) || a.node.start - b.node.start);
}

const lost = ({ node, score }: Scored): number => (node.end - node.start) * (1 - (score ?? 1));
