import * as React from "react";
import { difference, type Word } from "./model/difference";
import type { Match } from "./model/matching";
import { piecesOf } from "./model/search";
import {
  type CaptionTree,
  formatTime,
  modelOf,
  TEXT_FIELDS,
  textAt,
  type TextField,
  tierOf,
  type TreeNode,
  type Video,
} from "./model/tree";
import { type Act, ReviewForm } from "./ReviewForm";

interface Props {
  readonly video: Video;
  readonly tree: CaptionTree | null;
  readonly node: TreeNode | null;
  /** The tree beside it, and the node there that matches best. */
  readonly other: CaptionTree | null;
  readonly match: Match | null;
  readonly textScore: number | null;
  readonly pattern: RegExp | null;
  readonly act: Act;
  onSelect(tree: CaptionTree, node: TreeNode): void;
}

/** Everything that is known of the selected node, beside its match. All of it is text. */
export const Details = React.memo(function Details(props: Props) {
  const { video, tree, node, other, match, pattern } = props;
  const [differences, setDifferences] = React.useState(true);
  if (!tree || !node) {
    return (
      <section className="details" aria-label="Details">
        <Help />
      </section>
    );
  }
  const fields = TEXT_FIELDS.filter(
    ({ field }) => textAt(node, field) || (match && textAt(match.node, field)),
  );
  return (
    <section className="details" aria-label="Details">
      <div className={match ? "pair" : "single"}>
        <div className="cell corner">
          {match && (
            <label className="check">
              <input
                type="checkbox"
                checked={differences}
                onChange={(event) => setDifferences(event.target.checked)}
              />
              Differences
            </label>
          )}
        </div>
        <Facts video={video} tree={tree} node={node} testId="details-node" />
        {match && other && (
          <Facts video={video} tree={other} node={match.node} testId="details-match">
            <span className="iou" data-testid="iou" title="temporal IoU: the share of time in both">
              IoU {match.iou.toFixed(2)}
            </span>
            {props.textScore !== null && <span>text {props.textScore.toFixed(2)}</span>}
            <button
              type="button"
              className="quiet"
              onClick={() => props.onSelect(other, match.node)}
            >
              Select
            </button>
          </Facts>
        )}
        {fields.length === 0 && video.whole && (
          <p className="hint wide">This segment has no captions.</p>
        )}
        {fields.map(({ field, heading }) => {
          const [a, b] = [textAt(node, field), match ? textAt(match.node, field) : null];
          const words = differences && a && b ? difference(a, b) : null;
          return (
            <React.Fragment key={field}>
              <div className="cell term" title={field}>
                {heading}
              </div>
              <Text
                tree={tree}
                field={field}
                text={a}
                words={words?.a}
                side="node"
                {...{ pattern }}
              />
              {match && other && (
                <Text
                  tree={other}
                  field={field}
                  text={b}
                  words={words?.b}
                  side="match"
                  {...{ pattern }}
                />
              )}
            </React.Fragment>
          );
        })}
      </div>
      {!video.whole && <p className="hint">The long texts are not here yet.</p>}
      <ReviewForm key={`${tree.name} ${node.node_id}`} tree={tree} node={node} act={props.act} />
    </section>
  );
});

function Facts(props: {
  video: Video;
  tree: CaptionTree;
  node: TreeNode;
  testId: string;
  children?: React.ReactNode;
}) {
  const { video, tree, node } = props;
  return (
    <p className="cell facts" data-testid={props.testId} data-node-id={node.node_id}>
      <strong>{tree.label}</strong>
      <span data-testid="details-time">
        {formatTime(node.start, 2)} – {formatTime(node.end, 2)}
      </span>
      <span>{(node.end - node.start).toFixed(2)} s</span>
      <span>level {node.level}</span>
      <span>{tierOf(tree, node)}</span>
      {node.start >= video.duration && <span className="warning">after the clip’s end</span>}
      {props.children}
    </p>
  );
}

function Text(props: {
  tree: CaptionTree;
  field: TextField;
  text: string | null;
  words: readonly Word[] | undefined;
  pattern: RegExp | null;
  side: "node" | "match";
}) {
  const { tree, field, text, words, pattern, side } = props;
  if (!text) return <div className="cell text none">—</div>;
  const model = modelOf(tree, field);
  return (
    <div className="cell text" dir="auto" data-field={field} data-side={side}>
      {(words ?? [{ text, shared: true }]).map((word, i) => {
        const pieces = piecesOf(word.text, pattern).map((piece, j) =>
          piece.hit ? <mark key={j}>{piece.text}</mark> : piece.text,
        );
        return word.shared ? (
          <React.Fragment key={i}>{pieces}</React.Fragment>
        ) : (
          <em key={i} className={side === "node" ? "only" : "only other"}>
            {pieces}
          </em>
        );
      })}
      <span className="byline" dir="ltr">
        {model && <span title="the model that wrote it">{model}</span>}
        <Copy text={text} />
      </span>
    </div>
  );
}

function Copy({ text }: { text: string }) {
  const [done, setDone] = React.useState(false);
  React.useEffect(() => {
    if (!done) return undefined;
    const timer = setTimeout(() => setDone(false), 1500);
    return () => clearTimeout(timer);
  }, [done]);
  const copy = () => void navigator.clipboard?.writeText(text).then(() => setDone(true));
  return (
    <button type="button" className="quiet copy" aria-label="Copy this text" onClick={copy}>
      {done ? "Copied" : "Copy"}
    </button>
  );
}

const KEYS: readonly (readonly [string, string])[] = [
  ["←  →", "the segment before, after"],
  ["↑  ↓", "the parent, the first child"],
  ["Enter", "go to the segment’s start"],
  ["P", "play just this segment"],
  ["L", "loop it"],
  ["M", "its match in the other tree"],
  ["N", "the next disagreement"],
  ["W  S", "zoom in, out"],
  ["A  D", "move left, right"],
  ["F", "fit the segment"],
  ["0", "show everything"],
  ["/", "search"],
];

function Help() {
  return (
    <>
      <p className="hint">
        Click a segment to go there and read it beside its match in the other tree; Shift+click
        plays just that segment. The wheel zooms, dragging moves.
      </p>
      <ul className="keys">
        {KEYS.map(([key, what]) => (
          <li key={key}>
            <kbd>{key}</kbd> {what}
          </li>
        ))}
      </ul>
    </>
  );
}
