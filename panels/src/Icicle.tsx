import * as React from "react";
import { type Player, useFrame } from "./fiftyone";
import {
  type Bar,
  barsOf,
  type CaptionTree,
  captionOf,
  describe,
  LABEL_WIDTH,
  neighbour,
  pathAt,
  type Rows,
  type TreeNode,
} from "./tree";

/** How trees are placed on the screen; both icicles share it, so that they can be compared. */
export interface Scale {
  /** Seconds from the axis's start to its end. */
  readonly span: number;
  /** Pixels. */
  readonly width: number;
  /** The deepest level of any tree: levels take their colours from it. */
  readonly depth: number;
}

interface Props {
  readonly tree: CaptionTree;
  readonly scale: Scale;
  readonly rows: Rows;
  readonly selected: TreeNode | null;
  readonly player: Player | null;
  readonly fps: number;
  onSelect(tree: CaptionTree, node: TreeNode): void;
  onSeek(node: TreeNode): void;
}

/** One tree as rows of bars: a row a level, a bar a node, each under the node that contains it. */
export function Icicle(props: Props) {
  const { tree, scale, rows, selected, player, fps, onSelect, onSeek } = props;
  const element = React.useRef<HTMLDivElement>(null);
  const focusNext = React.useRef(false);

  React.useEffect(() => {
    if (!focusNext.current) return;
    focusNext.current = false;
    element.current?.querySelector<HTMLElement>("[aria-selected=true]")?.focus();
  }, [selected]);

  const nodeOf = (event: React.SyntheticEvent): TreeNode | undefined => {
    const bar = (event.target as Element).closest<HTMLElement>("[data-node-id]");
    return bar ? tree.byId.get(bar.dataset.nodeId ?? "") : undefined;
  };

  const onClick = (event: React.MouseEvent) => {
    const node = nodeOf(event);
    if (!node) return;
    onSelect(tree, node);
    onSeek(node);
  };

  const onKeyDown = (event: React.KeyboardEvent) => {
    const node = nodeOf(event);
    if (!node || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Enter") {
      onSelect(tree, node);
      onSeek(node);
    } else if (event.key.startsWith("Arrow")) {
      const target = neighbour(tree, node, event.key, scale.span);
      if (target) {
        focusNext.current = true;
        onSelect(tree, target);
      }
    } else {
      return;
    }
    // The App would move to another sample on an arrow key.
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div
      ref={element}
      className="icicle"
      role="tree"
      aria-label={tree.label}
      data-tree={tree.name}
      style={{ height: rows.height }}
      onClick={onClick}
      onKeyDown={onKeyDown}
    >
      {tree.levels.map((nodes, level) => (
        <Row
          key={level}
          nodes={nodes}
          level={level}
          scale={scale}
          top={rows.tops[level] ?? 0}
          height={rows.heights[level] ?? 0}
          selected={selected?.level === level ? selected.node_id : null}
          focusable={selected?.node_id ?? tree.levels[0]?.[0]?.node_id ?? null}
        />
      ))}
      <ActivePath tree={tree} scale={scale} rows={rows} player={player} fps={fps} />
    </div>
  );
}

interface RowProps {
  readonly nodes: readonly TreeNode[];
  readonly level: number;
  readonly scale: Scale;
  readonly top: number;
  readonly height: number;
  readonly selected: string | null;
  /** The node that the Tab key leads to. */
  readonly focusable: string | null;
}

function barStyle({ x, width }: Bar): React.CSSProperties {
  // A pixel between neighbours, where there is room for one.
  return { left: x, width: width > 4 ? width - 1 : width };
}

const Row = React.memo(function Row(props: RowProps) {
  const { nodes, level, scale, top, height, selected, focusable } = props;
  const bars = React.useMemo(
    () => barsOf(nodes, scale.span, scale.width, selected),
    [nodes, scale, selected],
  );
  const style = {
    top,
    height,
    "--depth": scale.depth ? (level / scale.depth).toFixed(3) : 0,
    "--line": `${height - 1}px`,
  } as React.CSSProperties;
  return (
    <div className="row" role="none" style={style}>
      {bars.map((bar) => {
        const { node, width, cut } = bar;
        return (
          <div
            key={node.node_id}
            className={cut ? "bar cut" : "bar"}
            role="treeitem"
            aria-label={describe(node)}
            aria-level={level + 1}
            aria-selected={node.node_id === selected}
            tabIndex={node.node_id === focusable ? 0 : -1}
            data-node-id={node.node_id}
            title={describe(node)}
            style={barStyle(bar)}
          >
            {width >= LABEL_WIDTH ? captionOf(node) : null}
          </div>
        );
      })}
    </div>
  );
});

type ActivePathProps = Pick<Props, "tree" | "scale" | "rows" | "player" | "fps">;

/** Brings out the nodes that contain the playhead, drawn apart so that playing redraws no bars. */
function ActivePath({ tree, scale, rows, player, fps }: ActivePathProps) {
  const frame = useFrame(player);
  if (frame === null) return null;
  return (
    <div className="path" aria-hidden="true">
      {pathAt(tree, frame, fps).flatMap((node) =>
        barsOf([node], scale.span, scale.width).map((bar) => (
          <div
            key={node.node_id}
            className="active"
            data-active-node={node.node_id}
            style={{
              ...barStyle(bar),
              top: rows.tops[node.level],
              height: (rows.heights[node.level] ?? 1) - 1,
            }}
          />
        )),
      )}
    </div>
  );
}
