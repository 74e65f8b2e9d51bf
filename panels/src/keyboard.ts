import type * as React from "react";
import type { CaptionTree } from "./model/tree";

/** What a key does in a tree; letters are in lower case. */
export type Keys = Readonly<Record<string, (tree: CaptionTree, shift: boolean) => void>>;

/** Keys that scroll or press a button, unless a tree has the focus. */
const IN_TREES = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Enter"];

/** @param usual the tree that keys act on where none has the focus */
export function pressed(
  event: React.KeyboardEvent,
  keys: Keys,
  shown: readonly CaptionTree[],
  usual: CaptionTree,
): void {
  if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
  const target = event.target as Element;
  if (target.closest("input, select, summary, [role=menu]")) return;
  const name = target.closest<HTMLElement>("[data-tree]")?.dataset.tree;
  const focused = shown.find((tree) => tree.name === name);
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!Object.hasOwn(keys, key) || (!focused && IN_TREES.includes(key))) return;
  keys[key]!(focused ?? usual, event.shiftKey);
  // The App has shortcuts of its own: it would move to another sample on an arrow key.
  event.preventDefault();
  event.stopPropagation();
}
