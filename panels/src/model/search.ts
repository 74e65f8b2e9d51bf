/** Finding words in every text of a tree. */
import { type CaptionTree, TEXT_FIELDS, textAt, type TreeNode } from "./tree";

/** Matches a query as it is typed, whatever the case; null where there is nothing to look for. */
export function patternOf(query: string): RegExp | null {
  const words = query.trim().split(/\s+/).filter(Boolean);
  if (words.length === 0) return null;
  // Captions break lines and double spaces where a person types one.
  return new RegExp(words.map((w) => w.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("\\s+"), "giu");
}

/** The nodes with a text that the pattern matches. */
export function find(nodes: readonly TreeNode[], pattern: RegExp): TreeNode[] {
  const one = new RegExp(pattern.source, "iu"); // a global one remembers where it was
  return nodes.filter((node) =>
    TEXT_FIELDS.some(({ field }) => one.test(textAt(node, field) ?? "")),
  );
}

export interface Hit {
  readonly tree: CaptionTree;
  readonly node: TreeNode;
}

/** Hits of all trees in the order in which a person steps through them: by time, coarse ones first. */
export function inOrder(hits: readonly Hit[]): Hit[] {
  return [...hits].sort(
    (a, b) => a.node.start - b.node.start || a.node.level - b.node.level || b.node.end - a.node.end,
  );
}

export interface Piece {
  readonly text: string;
  readonly hit: boolean;
}

/** A text in pieces that match and pieces that do not. */
export function piecesOf(text: string, pattern: RegExp | null): Piece[] {
  if (!pattern) return [{ text, hit: false }];
  const pieces: Piece[] = [];
  let until = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > until) pieces.push({ text: text.slice(until, match.index), hit: false });
    pieces.push({ text: match[0], hit: true });
    until = match.index + match[0].length;
  }
  if (until < text.length) pieces.push({ text: text.slice(until), hit: false });
  return pieces;
}
