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

type Select = (tree: CaptionTree, node: TreeNode, bringOnScreen: boolean) => void;

/** Select the place after the one that is at `at` (-1 for none), or the one before it. */
function step(places: readonly Place[], at: number, by: 1 | -1, select: Select): void {
  if (places.length === 0) return;
  const next = at >= 0 ? at + by : by > 0 ? 0 : places.length - 1;
  const { tree, node } = places[(next + places.length) % places.length]!;
  select(tree, node, true);
}

export interface Finding {
  readonly count: number;
  /** The hit that is selected, from 0; -1 for none. */
  readonly at: number;
  /** Goes to the next hit, or to the one before. */
  step(by: 1 | -1): void;
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
  const at = places.findIndex(({ node }) => node === selected);
  return {
    count: places.length,
    at,
    step: (by) => step(places, at, by, select),
    ...{ query, setQuery, pattern, hits, lines },
  };
}

/**
 * A function that goes to the next of the segments of both trees that agree least, the worst first,
 * or to the one before; it answers whether there is any. They are looked for when it is first called.
 */
export function useDisagreements(
  shown: readonly CaptionTree[],
  rows: readonly (readonly Row[])[],
  scoreOf: (tree: CaptionTree, node: TreeNode) => number | null,
  selected: TreeNode | null,
  select: Select,
): (by: 1 | -1) => boolean {
  const worst = React.useMemo(() => {
    let found: readonly Place[] | null = null;
    return () =>
      (found ??= disagreements(
        shown.flatMap((tree, i) =>
          rows[i]!.flatMap((row) =>
            row.nodes.map((node) => ({ tree, node, score: scoreOf(tree, node) })),
          ),
        ),
      ));
  }, [shown, rows, scoreOf]);
  return (by) => {
    const at = worst().findIndex(({ node }) => node === selected);
    step(worst(), at, by, select);
    return worst().length > 0;
  };
}
