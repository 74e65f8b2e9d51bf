/** The word-level difference of two texts. */
import { diffArrays } from "diff";

export interface Word {
  readonly text: string;
  /** Whether the other text has it as well, in the same order. */
  readonly shared: boolean;
}

/** Texts that differ by more words have nothing in common, and finding that out takes long. */
const MOST_EDITS = 2000;

/**
 * Both texts in pieces that they share and pieces that they do not: the fewest words to leave out
 * and to put in, compared without case and without the punctuation around them.
 */
export function difference(a: string, b: string): { readonly a: Word[]; readonly b: Word[] } {
  const [left, right] = [wordsOf(a), wordsOf(b)];
  const options = { maxEditLength: MOST_EDITS };
  const changes = diffArrays(left.map(keyOf), right.map(keyOf), options);
  if (!changes) return { a: [{ text: a, shared: false }], b: [{ text: b, shared: false }] };
  const pieces: { a: Word[]; b: Word[] } = { a: [], b: [] };
  let [i, j] = [0, 0];
  for (const { count, added, removed } of changes) {
    const shared = !added && !removed;
    if (!added) pieces.a.push({ text: left.slice(i, (i += count)).join(""), shared });
    if (!removed) pieces.b.push({ text: right.slice(j, (j += count)).join(""), shared });
  }
  return pieces;
}

/** Words with the space after them, so that the pieces put together are the text. */
const wordsOf = (text: string): string[] => text.match(/\S+\s*|^\s+/gu) ?? [];

function keyOf(word: string): string {
  const bare = word.trim().toLowerCase();
  return bare.replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "") || bare;
}
