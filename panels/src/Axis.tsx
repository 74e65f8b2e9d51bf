/** The trees on one time axis, with what is around them: minimap, ruler, transcript, playhead. */
import * as React from "react";
import type { Palette } from "./draw";
import type { Playhead } from "./fiftyone";
import { useSize } from "./hooks";
import { type Hover, Lane } from "./Lane";
import type { Shown } from "./model/exports";
import type { CaptionTree, TreeNode, Video } from "./model/tree";
import type { Viewport } from "./model/viewport";
import type { Path } from "./playhead";
import { change } from "./settings";
import type { Store } from "./store";
import {
  Minimap,
  PlayheadLine,
  Ruler,
  RULER_HEIGHT,
  Transcript,
  TRANSCRIPT_HEIGHT,
  useGestures,
} from "./Timeline";
import type { Finding } from "./finding";
import { Beyond, sizeOf, TreeChoice } from "./Trees";

/** Pixels left and right of the axis. */
const MARGIN = 12;
const HEADING_HEIGHT = 30;
const MINIMAP_AND_LEGEND_HEIGHT = 70;

/** Pixels that the axis has in a timeline of this width. */
export const axisWidth = (timeline: number): number => Math.max(timeline - 2 * MARGIN, 1);

/** Pixels of the trees' part of the panel that are no rows of trees. */
export const heightAround = (trees: number, video: Video): number =>
  coveredHeight(video) + HEADING_HEIGHT * trees + MINIMAP_AND_LEGEND_HEIGHT;

/** Pixels that stay above the rows when they are scrolled. */
const coveredHeight = (video: Video): number =>
  RULER_HEIGHT + (video.transcript.length ? TRANSCRIPT_HEIGHT : 0);

interface Props {
  readonly video: Video;
  /** The upper tree and the lower one. */
  readonly shown: readonly Shown[];
  /** The element that scrolls. */
  readonly timeline: React.RefObject<HTMLDivElement>;
  readonly view: Store<Viewport>;
  /** Where the axis ends, in seconds. */
  readonly end: number;
  readonly rowHeight: number;
  readonly palette: Palette;
  readonly playhead: Playhead;
  readonly paths: readonly Path[];
  readonly finding: Finding;
  readonly hover: Store<Hover | null>;
  readonly selected: { readonly tree: CaptionTree; readonly node: TreeNode } | null;
  /** The node of the other tree that a node matches best. */
  matchOf(tree: CaptionTree, node: TreeNode): TreeNode | null;
  onClick(tree: CaptionTree, node: TreeNode, event: React.MouseEvent): void;
  onDoubleClick(): void;
  onSeek(time: number): void;
}

export function Axis(props: Props) {
  const { video, shown, timeline, view, end, rowHeight, palette, selected, matchOf } = props;
  const width = axisWidth(useSize(timeline).width);
  const gestures = useGestures({ view, end, width });

  // A row that is selected by a key may be out of sight.
  React.useEffect(() => {
    const box = timeline.current?.getBoundingClientRect();
    const at = shown.findIndex(({ tree }) => tree === selected?.tree);
    const row = shown[at]?.rows.findIndex(({ nodes }) => nodes.includes(selected!.node)) ?? -1;
    const lane = timeline.current?.querySelectorAll("[data-tree]")[at];
    if (!box || !lane || row < 0) return;
    const top = lane.getBoundingClientRect().top + row * rowHeight;
    const covered = box.top + coveredHeight(video);
    if (top < covered) timeline.current!.scrollTop += top - covered;
    else if (top + rowHeight > box.bottom)
      timeline.current!.scrollTop += top + rowHeight - box.bottom;
  }, [selected?.tree.name, selected?.node.node_id]);

  const around = { view, width, palette };
  return (
    <>
      <div className="map" style={{ marginInline: MARGIN }}>
        <Minimap {...around} end={end} trees={shown} />
      </div>
      <div className="timeline" ref={timeline}>
        <div
          className="axis"
          data-testid="axis"
          ref={gestures}
          style={{ marginInline: MARGIN, width }}
          onDoubleClick={props.onDoubleClick}
        >
          <div className="top">
            <Ruler {...around} onSeek={props.onSeek} />
            {video.transcript.length > 0 && (
              <Transcript
                {...around}
                lines={video.transcript}
                hits={props.finding.lines}
                onSeek={props.onSeek}
              />
            )}
          </div>
          {shown.map(({ tree, rows, colours }, i) => (
            <React.Fragment key={i}>
              <Heading trees={video.trees} tree={tree} lower={i === 1} />
              <Lane
                key={tree.name}
                {...{ tree, rows, colours, rowHeight, ...around }}
                hover={props.hover}
                hits={props.finding.hits}
                path={props.paths[i]!}
                selected={selected?.tree === tree ? selected.node : null}
                matchOf={(hovered) => {
                  const other = hovered ?? selected;
                  return other && other.tree !== tree ? matchOf(other.tree, other.node) : null;
                }}
                onClick={props.onClick}
              />
            </React.Fragment>
          ))}
          {shown.length === 1 && video.trees.length > 1 && (
            <Heading trees={video.trees} tree={null} lower />
          )}
          <Beyond {...{ view, width }} duration={video.duration} end={end} />
          <PlayheadLine {...{ view, width }} playhead={props.playhead} />
        </div>
      </div>
    </>
  );
}

/** Which tree is below; it can be changed there. */
function Heading({
  trees,
  tree,
  lower,
}: {
  trees: readonly CaptionTree[];
  tree: CaptionTree | null;
  lower: boolean;
}) {
  return (
    <div className="heading">
      <TreeChoice
        {...{ trees, lower }}
        chosen={tree}
        onChoose={(name) => change(lower ? { lower: name } : { upper: name })}
      />
      {tree && <span className="size">{sizeOf(tree)}</span>}
    </div>
  );
}
