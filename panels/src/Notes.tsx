import * as React from "react";

/** A sentence above the trees, and the button that does something about it. */
export function Note(props: {
  role: "status" | "alert" | "note";
  children: string;
  button?: string;
  onClick?(): void;
}) {
  return (
    <p className="note" role={props.role}>
      <span>{props.children}</span>
      {props.button && (
        <button type="button" onClick={props.onClick}>
          {props.button}
        </button>
      )}
    </p>
  );
}
