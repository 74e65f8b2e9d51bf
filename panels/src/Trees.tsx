/** Which trees are shown, how large they are, and what they say of the moment on screen. */
import * as React from "react";
import {
  captionOf,
  type CaptionTree,
  formatTime,
  nodesBeyond,
  shorten,
  type TreeNode,
  type Video,
} from "./model/tree";
import { spanOf, type Viewport } from "./model/viewport";
import type { Path } from "./playhead";
import { type Store, useSlowly, useStore } from "./store";

const GROUND_TRUTH = "ground_truth";

/** The trees for the two places; a name that this sample lacks gives way to the usual choice. */
export function chosenTrees(
  trees: readonly CaptionTree[],
  upperName: string | null,
  lowerName: string | null,
): readonly [CaptionTree, CaptionTree | null] {
  const named = (name: string | null) => trees.find((tree) => tree.name === name);
  const upper = named(upperName) ?? named(GROUND_TRUTH) ?? trees[0]!;
  if (lowerName === "") return [upper, null];
  const lower = named(lowerName);
  return [upper, lower && lower !== upper ? lower : (trees.find((t) => t !== upper) ?? null)];
}

export function TreeChoice(props: {
  trees: readonly CaptionTree[];
  chosen: CaptionTree | null;
  lower: boolean;
  onChoose(name: string): void;
}) {
  const { trees, chosen, lower } = props;
  if (trees.length < 2) return <strong>{chosen?.label}</strong>;
  return (
    <select
      aria-label={lower ? "Lower tree" : "Upper tree"}
      value={chosen?.name ?? ""}
      onChange={(event) => props.onChoose(event.target.value)}
    >
      {trees.map((tree) => (
        <option key={tree.name} value={tree.name}>
          {tree.label}
        </option>
      ))}
      {lower && <option value="">{chosen ? "None" : "Compare with…"}</option>}
    </select>
  );
}

export function sizeOf(tree: CaptionTree): string {
  const count = `${tree.byId.size} ${tree.byId.size === 1 ? "segment" : "segments"}`;
  const levels = `${tree.levels.length} ${tree.levels.length === 1 ? "level" : "levels"}`;
  return `${count}, ${levels}${tree.fromLabels ? ", rebuilt from labels" : ""}`;
}

export function beyondNote(late: readonly CaptionTree[], video: Video, shown: boolean): string {
  const parts = late.map((tree) => {
    const hidden = nodesBeyond(tree, video);
    const count = `${hidden} ${hidden === 1 ? "segment" : "segments"}`;
    return `${tree.label} goes on to ${formatTime(tree.end)}${shown ? "" : ` (${count} not shown)`}`;
  });
  return `This clip ends at ${formatTime(video.duration)}. ${parts.join(", ")}.`;
}

/** What is happening now, from coarse to fine; changes with the path only, not with each frame. */
export function Now(props: {
  tree: CaptionTree;
  path: Path;
  onSelect(tree: CaptionTree, node: TreeNode): void;
}) {
  const path = useSlowly(props.path, 120);
  return (
    <ol data-testid="now" data-of={props.tree.name}>
      {path.map((node) => (
        <li key={node.node_id}>
          <button
            type="button"
            className="quiet"
            title={captionOf(node).slice(0, 400)}
            onClick={() => props.onSelect(props.tree, node)}
          >
            {shorten(captionOf(node), 80)}
          </button>
        </li>
      ))}
      {path.length === 0 && <li className="hint">{props.tree.label} has nothing here</li>}
    </ol>
  );
}

/** A veil over what comes after the clip's end. */
export function Beyond(props: {
  view: Store<Viewport>;
  width: number;
  duration: number;
  end: number;
}) {
  const view = useStore(props.view);
  if (props.end <= props.duration || view.to <= props.duration) return null;
  const left = ((props.duration - view.from) / spanOf(view)) * props.width;
  return <div className="beyond" style={{ left: Math.max(left, 0) }} />;
}
