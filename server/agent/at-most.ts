/** Bounds an LRUCache by a number of entries. */

/**
 * Options of an LRUCache of at most `entries` entries. Its own option `max` reserves room for all of them at once: tens of
 * megabytes that are always empty, and that each garbage collection looks through.
 */
export function atMost(entries: number): { readonly maxSize: number; readonly sizeCalculation: () => number } {
  return { maxSize: entries, sizeCalculation: () => 1 };
}
