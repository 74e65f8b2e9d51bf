/** Which nodes of two trees are each other's, how well they agree, and the colours that say so. */
import * as React from "react";
import {
  byActor,
  byAgreement,
  byLevel,
  type ColourBy,
  type Colours,
  type Theme,
} from "./model/colours";
import { bestMatches, type Match, type Matches } from "./model/matching";
import type { CaptionTree, TreeNode } from "./model/tree";

type Score = (tree: CaptionTree, node: TreeNode) => number | null;

export interface Comparison {
  /** The node of the other tree with the highest temporal IoU. */
  matchOf(tree: CaptionTree, node: TreeNode): Match | null;
  /** 0 to 1; null where there is nothing to compare with. */
  readonly scores: { readonly iou: Score; readonly text: Score };
  /** The score that the colours, and the list of disagreements, go by. */
  readonly scoreOf: Score;
  /** For each tree. */
  readonly colours: readonly Colours[];
  readonly colourBy: ColourBy;
  /** Whether these trees can be coloured so. */
  available(by: ColourBy): boolean;
}

/** @param wanted what to colour by, if these trees have it */
export function useComparison(
  shown: readonly CaptionTree[],
  wanted: ColourBy,
  theme: Theme,
): Comparison {
  // Only when they are asked for: colours by level are drawn without.
  const matchOf = React.useMemo(() => {
    const matches = new Map<CaptionTree, Matches>();
    return (tree: CaptionTree, node: TreeNode): Match | null => {
      const other = shown.find((t) => t !== tree);
      if (!other) return null;
      const found = matches.get(tree) ?? bestMatches(tree, other);
      matches.set(tree, found);
      return found.get(node.node_id) ?? null;
    };
  }, [shown]);

  const hasTexts = shown.some((tree) => tree.textAgreement);
  const available = (by: ColourBy) =>
    by === "iou" ? shown.length > 1 : by === "text" ? hasTexts : true;
  const colourBy = available(wanted) ? wanted : "level";
  const scores = React.useMemo(() => {
    // A run carries the scores of both: of its own nodes, and of the ground truth's.
    const text = (tree: CaptionTree, node: TreeNode): number | null => {
      const other = shown.find((t) => t !== tree);
      const known = tree.textAgreement ?? other?.reverseTextAgreement;
      return known?.get(node.node_id) ?? null;
    };
    const iou = (tree: CaptionTree, node: TreeNode): number | null =>
      shown.length > 1 ? (matchOf(tree, node)?.iou ?? 0) : null;
    return { text, iou };
  }, [shown, matchOf]);
  const scoreOf = colourBy === "text" ? scores.text : scores.iou;
  const colours = React.useMemo(() => {
    const depth = Math.max(...shown.map((tree) => tree.levels.length - 1));
    const actors = colourBy === "actor" ? byActor(shown, theme) : null;
    return shown.map((tree): Colours => {
      if (colourBy === "iou") return byAgreement((n) => scores.iou(tree, n), "IoU", theme);
      if (colourBy === "text") return byAgreement((n) => scores.text(tree, n), "text", theme);
      return actors ?? byLevel(depth, theme);
    });
  }, [shown, colourBy, theme, scores]);
  return { matchOf, scores, scoreOf, colours, colourBy, available };
}
