/** The word that someone meant. */

/**
 * The one of `words` that takes the fewest edits to become `word`, if that is at most a third of its length, and `least`
 * edits are always accepted.
 */
export function nearest(word: string, words: readonly string[], least = 2): string | undefined {
  const limit = Math.max(least, Math.floor(word.length / 3));
  let best: { readonly candidate: string; readonly edits: number } | undefined;
  for (const candidate of words) {
    const edits = distance(word.toLowerCase(), candidate.toLowerCase());
    if (edits <= limit && edits < candidate.length && (best === undefined || edits < best.edits))
      best = { candidate, edits };
  }
  return best?.candidate;
}

/** Insertions, deletions, replacements and swaps of neighbours between two texts. */
function distance(left: string, right: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: right.length + 1 }, (_, column) => column);
  for (let row = 1; row <= left.length; row++) {
    const current = [row];
    for (let column = 1; column <= right.length; column++) {
      const same = left[row - 1] === right[column - 1];
      let edits = Math.min(last[column]! + 1, current[column - 1]! + 1, last[column - 1]! + (same ? 0 : 1));
      const swapped =
        row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      if (swapped) edits = Math.min(edits, beforeLast[column - 2]! + 1);
      current.push(edits);
    }
    beforeLast = last;
    last = current;
  }
  return last[right.length]!;
}
