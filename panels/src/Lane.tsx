import * as React from "react";
import { paintHighlights, type Palette, paintTree, prepare } from "./draw";
import { usePainting } from "./hooks";
import type { Colours } from "./model/colours";
import type { Row } from "./model/filters";
import { hit } from "./model/layout";
import { type CaptionTree, describe, type TreeNode } from "./model/tree";
import type { Viewport } from "./model/viewport";
import { type Store, useStore } from "./store";

/** The node under the pointer, and where that is on the screen. */
export interface Hover {
  readonly tree: CaptionTree;
  readonly node: TreeNode;
  readonly x: number;
  readonly y: number;
}

interface Props {
  readonly tree: CaptionTree;
  readonly rows: readonly Row[];
  readonly rowHeight: number;
  readonly width: number;
  readonly view: Store<Viewport>;
  readonly colours: Colours;
  readonly palette: Palette;
  readonly hits: ReadonlySet<TreeNode> | null;
  readonly hover: Store<Hover | null>;
  /** The nodes at the playhead, root first. */
  readonly path: Store<readonly TreeNode[]>;
  readonly selected: TreeNode | null;
  /** The node to light for what is selected, or hovered, in the other tree. */
  matchOf(hovered: Hover | null): TreeNode | null;
  onClick(tree: CaptionTree, node: TreeNode, event: React.MouseEvent): void;
}

/** One tree as rows of slices, with the same tree for keyboards and screen readers. */
export function Lane(props: Props) {
  const { tree, rows, rowHeight, width, view, hover, path, selected } = props;
  const height = rows.length * rowHeight;
  const bars = React.useRef<HTMLCanvasElement>(null);
  const over = React.useRef<HTMLCanvasElement>(null);
  const element = React.useRef<HTMLDivElement>(null);
  const id = React.useId();

  usePainting(() => {
    const context = bars.current && prepare(bars.current, width, height);
    if (context) paintTree(context, props, view.get());
  }, [view]);

  usePainting(() => {
    const context = over.current && prepare(over.current, width, height);
    if (!context || !element.current) return;
    const hovered = hover.get();
    const highlights = {
      path: path.get(),
      selected,
      hovered: hovered?.tree === tree ? hovered.node : null,
      matched: props.matchOf(hovered),
    };
    paintHighlights(context, props, highlights, view.get());
    // What is lit, in words: for tests, and for whoever drives the panel without seeing it.
    element.current.dataset.path = highlights.path.map((node) => node.node_id).join(" ");
    element.current.dataset.matched = highlights.matched?.node_id ?? "";
  }, [view, hover, path]);

  const nodeAt = (event: React.MouseEvent): TreeNode | null => {
    const { left, top } = event.currentTarget.getBoundingClientRect();
    return hit(rows, rowHeight, view.get(), width, event.clientX - left, event.clientY - top);
  };
  const onPointerMove = (event: React.PointerEvent) => {
    const node = event.buttons ? null : nodeAt(event);
    hover.set(node && { tree, node, x: event.clientX, y: event.clientY });
    if (element.current) element.current.style.cursor = node ? "pointer" : "";
  };
  const onClick = (event: React.MouseEvent) => {
    const node = nodeAt(event);
    if (node) props.onClick(tree, node, event);
  };

  const current = selected ?? tree.levels.find((nodes) => nodes.length)?.[0];
  return (
    <div
      ref={element}
      className="lane"
      role="tree"
      tabIndex={0}
      aria-label={tree.label}
      aria-activedescendant={current && `${id}-${current.node_id}`}
      data-tree={tree.name}
      data-count={rows.reduce((sum, row) => sum + row.nodes.length, 0)}
      data-rows={rows.map((row) => row.level ?? "leaves").join(" ")}
      style={{ height }}
      onPointerMove={onPointerMove}
      onPointerLeave={() => hover.set(null)}
      onPointerDown={() => hover.set(null)}
      onClick={onClick}
    >
      <canvas ref={bars} aria-hidden="true" style={{ width, height }} />
      <canvas ref={over} aria-hidden="true" style={{ width, height }} />
      {current && <Items {...{ tree, id, current, selected }} />}
    </div>
  );
}

/** Of very many siblings, those near the one that matters are told. */
const TOLD_SIBLINGS = 20;

/**
 * The tree as far as it is open: the selected node, its ancestors, the siblings of each, and its
 * children. Thousands of elements would slow the page down and help nobody.
 */
const Items = React.memo(function Items(props: {
  tree: CaptionTree;
  id: string;
  current: TreeNode;
  selected: TreeNode | null;
}) {
  const { tree, id, current, selected } = props;
  const open = ancestors(tree, current);
  const tell = (siblings: readonly TreeNode[]): React.ReactNode => {
    const at = siblings.findIndex((node) => node === current || open.has(node));
    const from = Math.max(at - TOLD_SIBLINGS, 0);
    return siblings.slice(from, from + 2 * TOLD_SIBLINGS + 1).flatMap((node, i) => {
      const children = tree.children.get(node.node_id) ?? [];
      const expanded = open.has(node) || (node === current && children.length > 0);
      return [
        <div
          key={node.node_id}
          id={`${id}-${node.node_id}`}
          role="treeitem"
          data-node-id={node.node_id}
          aria-label={describe(node)}
          aria-level={node.level + 1}
          aria-posinset={from + i + 1}
          aria-setsize={siblings.length}
          aria-selected={node === selected}
          aria-expanded={children.length ? expanded : undefined}
        />,
        expanded ? tell(children) : null,
      ];
    });
  };
  const roots = tree.levels.find((nodes) => nodes.length) ?? [];
  return (
    <div className="unseen" role="none">
      {tell(roots)}
    </div>
  );
});

function ancestors(tree: CaptionTree, node: TreeNode): ReadonlySet<TreeNode> {
  const found = new Set<TreeNode>();
  let parent = node.parent_id === null ? undefined : tree.byId.get(node.parent_id);
  while (parent && !found.has(parent)) {
    found.add(parent);
    parent = parent.parent_id === null ? undefined : tree.byId.get(parent.parent_id);
  }
  return found;
}

/** What the node under the pointer says, beside the pointer. */
export function Tooltip(props: {
  hover: Store<Hover | null>;
  /** A title and further lines. */
  say(hover: Hover): readonly string[];
}) {
  const hover = useStore(props.hover);
  const element = React.useRef<HTMLDivElement>(null);
  React.useLayoutEffect(() => {
    const tip = element.current;
    const frame = tip?.parentElement?.getBoundingClientRect();
    if (!tip || !frame || !hover) return;
    const left = Math.min(hover.x - frame.left + 12, frame.width - tip.offsetWidth - 8);
    const below = hover.y - frame.top + 18;
    const top = below + tip.offsetHeight > frame.height ? below - tip.offsetHeight - 28 : below;
    tip.style.transform = `translate(${Math.max(left, 4)}px, ${Math.max(top, 4)}px)`;
  });
  if (!hover) return null;
  const [title, ...more] = props.say(hover);
  return (
    <div ref={element} className="tooltip" role="tooltip">
      <strong>{title}</strong>
      {more.map((line) => (
        <span key={line}>{line}</span>
      ))}
    </div>
  );
}
