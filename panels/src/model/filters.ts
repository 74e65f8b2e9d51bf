/** Which nodes of a tree are on screen, and in which rows. */
import { type CaptionTree, type Tier, tierOf, type TreeNode } from "./tree";

export interface Filters {
  /** The deepest level that is shown; null for all. */
  readonly maxLevel: number | null;
  readonly tiers: readonly Tier[];
  /** Seconds. */
  readonly minDuration: number;
  readonly flaggedOnly: boolean;
}

export const TIERS: readonly Tier[] = ["root", "mid", "leaf"];
export const NO_FILTERS: Filters = {
  maxLevel: null,
  tiers: TIERS,
  minDuration: 0,
  flaggedOnly: false,
};

export function isFiltering(filters: Filters): boolean {
  return (
    filters.maxLevel !== null ||
    filters.tiers.length < TIERS.length ||
    filters.minDuration > 0 ||
    filters.flaggedOnly
  );
}

export function passes(tree: CaptionTree, node: TreeNode, filters: Filters): boolean {
  return (
    (filters.maxLevel === null || node.level <= filters.maxLevel) &&
    node.end - node.start >= filters.minDuration &&
    (!filters.flaggedOnly || node.review?.flagged === true) &&
    (filters.tiers.length === TIERS.length || filters.tiers.includes(tierOf(tree, node)))
  );
}

/** The nodes of one row in order of time. */
export interface Row {
  /** Null where a row has nodes of several levels. */
  readonly level: number | null;
  readonly nodes: readonly TreeNode[];
  /** For each node the latest end up to it: where the search for a time can begin. */
  readonly ends: readonly number[];
}

/**
 * The rows of a tree: a row a level, levels without a node to show left out.
 *
 * Nodes that begin at `end` or later, where the axis ends, are none to show.
 *
 * Leaves tile the video at whatever level they are: where nothing else is shown, one row holds all.
 */
export function rowsOf(tree: CaptionTree, filters: Filters, end: number): Row[] {
  const levels = tree.levels.map((nodes) =>
    nodes.filter((node) => node.start < end && passes(tree, node, filters)),
  );
  if (filters.tiers.length === 1 && filters.tiers[0] === "leaf") {
    const leaves = levels.flat().sort((a, b) => a.start - b.start);
    return leaves.length ? [row(null, leaves)] : [];
  }
  return levels.flatMap((nodes, level) => (nodes.length ? [row(level, nodes)] : []));
}

function row(level: number | null, nodes: readonly TreeNode[]): Row {
  let latest = 0;
  return { level, nodes, ends: nodes.map((node) => (latest = Math.max(latest, node.end))) };
}
