/** Two ways from segment to segment: hits of a search, and the worst disagreements. */
import * as React from "react";
import type { Row } from "./model/filters";
import { disagreements } from "./model/matching";
import { find, inOrder, patternOf } from "./model/search";
import type { CaptionTree, Line, TreeNode } from "./model/tree";

interface Place {
  readonly tree: CaptionTree;
  readonly node: TreeNode;
}

/** A list of places that one steps through, around its ends. */
interface Steps {
  readonly count: number;
  /** The place that is selected, from 0; -1 for none. */
  readonly at: number;
  step(by: 1 | -1): void;
}

type Select = (tree: CaptionTree, node: TreeNode, bringOnScreen: boolean) => void;

function stepsOf(places: readonly Place[], selected: TreeNode | null, select: Select): Steps {
  const at = places.findIndex(({ node }) => node === selected);
  return {
    count: places.length,
    at,
    step(by) {
      if (places.length === 0) return;
      const next = at >= 0 ? at + by : by > 0 ? 0 : places.length - 1;
      const { tree, node } = places[(next + places.length) % places.length]!;
      select(tree, node, true);
    },
  };
}

export interface Finding extends Steps {
  readonly query: string;
  readonly pattern: RegExp | null;
  /** Null where nothing is looked for. */
  readonly hits: ReadonlySet<TreeNode> | null;
  readonly lines: ReadonlySet<Line>;
  setQuery(query: string): void;
}

/** Searches what the filters let through, and the transcript. */
export function useFinding(
  shown: readonly CaptionTree[],
  rows: readonly (readonly Row[])[],
  transcript: readonly Line[],
  selected: TreeNode | null,
  select: Select,
): Finding {
  const [query, setQuery] = React.useState("");
  const pattern = React.useMemo(() => patternOf(query), [query]);
  const places = React.useMemo(
    () =>
      pattern
        ? inOrder(
            shown.flatMap((tree, i) =>
              find(
                rows[i]!.flatMap((row) => row.nodes),
                pattern,
              ).map((node) => ({ tree, node })),
            ),
          )
        : [],
    [pattern, shown, rows],
  );
  const hits = React.useMemo(
    () => (pattern ? new Set(places.map(({ node }) => node)) : null),
    [pattern, places],
  );
  const lines = React.useMemo(
    () => new Set(pattern ? transcript.filter(({ text }) => text.search(pattern) >= 0) : []),
    [pattern, transcript],
  );
  return { query, setQuery, pattern, hits, lines, ...stepsOf(places, selected, select) };
}

/** The segments of both trees that agree least, the worst first. */
export function useDisagreements(
  shown: readonly CaptionTree[],
  rows: readonly (readonly Row[])[],
  scoreOf: (tree: CaptionTree, node: TreeNode) => number | null,
  selected: TreeNode | null,
  select: Select,
): Steps {
  const worst = React.useMemo(
    () =>
      disagreements(
        shown.flatMap((tree, i) =>
          rows[i]!.flatMap((row) =>
            row.nodes.map((node) => ({ tree, node, score: scoreOf(tree, node) })),
          ),
        ),
      ),
    [shown, rows, scoreOf],
  );
  return stepsOf(worst, selected, select);
}
