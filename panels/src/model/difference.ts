/** The word-level difference of two texts. */

export interface Word {
  readonly text: string;
  /** Whether the other text has it as well, in the same order. */
  readonly shared: boolean;
}

/** Beyond this many pairs of words the table would take a noticeable time. */
const MOST_PAIRS = 4_000_000;

/**
 * Both texts in pieces that they share and pieces that they do not: a longest common subsequence
 * of words, compared without case and without the punctuation around them.
 */
export function difference(a: string, b: string): { readonly a: Word[]; readonly b: Word[] } {
  const [left, right] = [wordsOf(a), wordsOf(b)];
  if (left.length * right.length > MOST_PAIRS) {
    return { a: [{ text: a, shared: false }], b: [{ text: b, shared: false }] };
  }
  const [keysA, keysB] = [left.map(keyOf), right.map(keyOf)];
  const columns = right.length + 1;
  const lengths = new Uint32Array((left.length + 1) * columns);
  for (let i = left.length - 1; i >= 0; i--) {
    for (let j = right.length - 1; j >= 0; j--) {
      const at = i * columns + j;
      lengths[at] =
        keysA[i] === keysB[j]
          ? lengths[at + columns + 1]! + 1
          : Math.max(lengths[at + columns]!, lengths[at + 1]!);
    }
  }
  const [sharedA, sharedB] = [left.map(() => false), right.map(() => false)];
  for (let i = 0, j = 0; i < left.length && j < right.length; ) {
    if (keysA[i] === keysB[j]) {
      sharedA[i++] = sharedB[j++] = true;
    } else if (lengths[(i + 1) * columns + j]! >= lengths[i * columns + j + 1]!) i++;
    else j++;
  }
  return { a: joined(left, sharedA), b: joined(right, sharedB) };
}

/** Words with the space after them, so that the pieces put together are the text. */
const wordsOf = (text: string): string[] => text.match(/\S+\s*|^\s+/gu) ?? [];

function keyOf(word: string): string {
  const bare = word.trim().toLowerCase();
  return bare.replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "") || bare;
}

function joined(words: readonly string[], shared: readonly boolean[]): Word[] {
  const pieces: { text: string; shared: boolean }[] = [];
  words.forEach((text, i) => {
    const last = pieces[pieces.length - 1];
    if (last?.shared === shared[i]) last!.text += text;
    else pieces.push({ text, shared: shared[i]! });
  });
  return pieces;
}
