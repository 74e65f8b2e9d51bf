import * as React from "react";
import type { CaptionTree, TreeNode } from "./model/tree";

/** What a person says of a segment by hand; it is kept with the run, with who and when. */
export interface Edit {
  readonly flagged: boolean;
  readonly tags: readonly string[];
  /** Null for what stays as it is. */
  readonly action: string | null;
  readonly actor: string | null;
}

/** Answers with a sentence where it could not be saved, and null where it was. */
export type Act = (tree: CaptionTree, node: TreeNode, edit: Edit) => Promise<string | null>;

export function ReviewForm(props: { tree: CaptionTree; node: TreeNode; act: Act }) {
  const { tree, node, act } = props;
  // A node that was not refined has the captioner's action, and no actor.
  const before = {
    flagged: node.review?.flagged ?? false,
    tags: node.review?.tags.join(", ") ?? "",
    action: (node.gpt ? node.gpt.action.brief : node.plm_action) ?? "",
    actor: node.gpt?.action.actor ?? "",
  };
  const [open, setOpen] = React.useState(false);
  const [edit, setEdit] = React.useState(before);
  const [state, setState] = React.useState<{ busy: boolean; problem: string | null }>({
    busy: false,
    problem: null,
  });
  if (!tree.editable) {
    return (
      <p className="hint review">
        {tree.label} is read only. Flags and corrections are kept with a run: select the segment
        there.
      </p>
    );
  }
  const save = async (wanted: typeof before) => {
    setState({ busy: true, problem: null });
    const problem = await act(tree, node, {
      flagged: wanted.flagged,
      tags: wanted.tags.split(",").flatMap((tag) => tag.trim() || []),
      action: wanted.action === before.action ? null : wanted.action,
      actor: wanted.actor === before.actor ? null : wanted.actor,
    });
    setState({ busy: false, problem });
    if (!problem) setOpen(false);
  };
  const { review } = node;
  return (
    <form
      className="review"
      aria-label="Review"
      onSubmit={(event) => {
        event.preventDefault();
        void save(edit);
      }}
      onKeyDown={(event) => event.stopPropagation()}
    >
      <p className="actions">
        <button
          type="button"
          aria-pressed={before.flagged}
          disabled={state.busy}
          onClick={() => void save({ ...before, flagged: !before.flagged })}
        >
          {before.flagged ? "⚑ Flagged" : "⚐ Flag"}
        </button>
        {!open && (
          <button
            type="button"
            onClick={() => {
              setEdit(before);
              setOpen(true);
            }}
          >
            Correct or tag…
          </button>
        )}
        {node.review?.tags.map((tag) => (
          <span key={tag} className="tag">
            {tag}
          </span>
        ))}
        {review && (
          <span className="hint">
            {Object.keys(review.before).length ? "corrected" : "marked"} by {review.by},{" "}
            {review.at.slice(0, 16).replace("T", " ")}
          </span>
        )}
      </p>
      {open && (
        <p className="fields">
          <label>
            Action
            <input
              dir="auto"
              value={edit.action}
              onChange={(event) => setEdit({ ...edit, action: event.target.value })}
            />
          </label>
          {node.gpt && (
            <label>
              Actor
              <input
                dir="auto"
                value={edit.actor}
                onChange={(event) => setEdit({ ...edit, actor: event.target.value })}
              />
            </label>
          )}
          <label>
            Tags
            <input
              dir="auto"
              placeholder="separated by commas"
              value={edit.tags}
              onChange={(event) => setEdit({ ...edit, tags: event.target.value })}
            />
          </label>
          <button type="submit" disabled={state.busy}>
            Save
          </button>
          <button type="button" className="quiet" onClick={() => setOpen(false)}>
            Cancel
          </button>
        </p>
      )}
      {state.problem && (
        <p className="warning" role="alert">
          {state.problem}
        </p>
      )}
    </form>
  );
}
