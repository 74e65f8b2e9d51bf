import * as React from "react";
import {
  type CaptionTree,
  formatTime,
  textsOf,
  tierOf,
  type TreeNode,
  type Video,
} from "./tree";

interface Props {
  readonly video: Video;
  readonly tree: CaptionTree | null;
  readonly node: TreeNode | null;
}

/** Everything that is known of the selected node. All of it is text, whatever it looks like. */
export const Details = React.memo(function Details({ video, tree, node }: Props) {
  if (!tree || !node) {
    return (
      <section className="details" aria-label="Details">
        <p className="hint">
          Click a segment to go there and read its captions. <kbd>←</kbd> <kbd>→</kbd> move in time,{" "}
          <kbd>↑</kbd> <kbd>↓</kbd> to the parent and the first child, <kbd>Enter</kbd> seeks.
        </p>
      </section>
    );
  }
  const texts = textsOf(node);
  const seconds = (node.end - node.start).toFixed(2);
  return (
    <section className="details" aria-label="Details">
      <p className="facts">
        <strong>{tree.label}</strong>
        <span data-testid="details-time">
          {formatTime(node.start, 2)} – {formatTime(node.end, 2)}
        </span>
        <span>{seconds} s</span>
        <span>level {node.level}</span>
        <span>{tierOf(tree, node)}</span>
        {node.start >= video.duration && <span className="warning">after the clip’s end</span>}
      </p>
      {texts.length === 0 && <p className="hint">This segment has no captions.</p>}
      <dl>
        {texts.map(({ heading, field, text }) => (
          <React.Fragment key={field}>
            <dt title={field}>{heading}</dt>
            <dd data-field={field}>{text}</dd>
          </React.Fragment>
        ))}
      </dl>
    </section>
  );
});
