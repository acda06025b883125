/**
 * The plain-TypeScript twin of the kernel for the levels of LZ4: the blocks that it must make, written for the reader.
 * Tests hold the kernel against it; nothing else uses it.
 */
const MIN_MATCH = 4;
const MATCH_MARGIN = 12;
const LAST_LITERALS = 5;
const NIBBLE = 15;
/** The longest match that a token holds without more bytes. */
const TOKEN_MATCH = 18;
/** Positions that a match of this length covers are not searched for longer ones. */
const LONG = 128;

/** A match that starts at some position: the bytes before `end` are those `distance` before them. */
interface Match {
  readonly end: number;
  readonly distance: number;
}

/** A sequence of a block: literals, and the match after them; the last one has none. */
export interface Sequence {
  readonly literals: Uint8Array;
  readonly distance: number;
  readonly length: number;
}

/** The sequences of a block, for which `attempts` earlier positions are looked at; `blockSize` is that of a whole block. */
export function highSequences(block: Uint8Array, blockSize: number, attempts: number): Sequence[] {
  const taken = chooseMatches(block.length, findMatches(block, linkPositions(block, blockSize), attempts));
  const sequences: Sequence[] = [];
  let anchor = 0;
  for (let at = 0; at < block.length; ) {
    const match = taken[at];
    if (match === undefined) at++;
    else {
      sequences.push({ literals: block.subarray(anchor, at), distance: match.distance, length: match.end - at });
      at = match.end;
      anchor = at;
    }
  }
  return [...sequences, { literals: block.subarray(anchor), distance: 0, length: MIN_MATCH }];
}

/** For each position the one before it whose four bytes have the same hash, or -1. */
function linkPositions(block: Uint8Array, blockSize: number): number[] {
  const view = new DataView(block.buffer, block.byteOffset, block.length);
  const shift = 32 - Math.min(15, Math.ceil(Math.log2(blockSize)));
  const heads = new Map<number, number>();
  const before: number[] = [];
  for (let at = 0; at + MIN_MATCH + LAST_LITERALS <= block.length; at++) {
    const hash = Math.imul(view.getUint32(at, true), 2_654_435_761) >>> shift;
    before.push(heads.get(hash) ?? -1);
    heads.set(hash, at);
  }
  return before;
}

/** The match that goes farthest from each position where one may start. */
function findMatches(block: Uint8Array, before: readonly number[], attempts: number): (Match | undefined)[] {
  const matchEnd = block.length - LAST_LITERALS;
  const known: (Match | undefined)[] = [];
  const found: (Match | undefined)[] = [];
  let best: Match = { end: 0, distance: 0 };
  let searched = -1;
  for (let at = 0; at <= block.length - MATCH_MARGIN; at++) {
    best = farther(best, known[at]);
    while (best.end < matchEnd && best.end < at + LONG) {
      // A match that goes farther holds the byte after this one too, and so these four: the fewest positions share them.
      const pivot = Math.max(at, best.end - 3);
      if (pivot === searched) break;
      searched = pivot;
      let candidate = before[pivot]!;
      for (let tries = 0; candidate >= 0 && tries < attempts && best.end < matchEnd; tries++) {
        const distance = pivot - candidate;
        let end = pivot;
        while (end < matchEnd && block[end] === block[end - distance]) end++;
        if (end > best.end && end >= pivot + MIN_MATCH) {
          let start = pivot;
          while (start > at && start > distance && block[start - 1] === block[start - 1 - distance]) start--;
          if (start === at) best = { end, distance };
          else known[start] = farther({ end, distance }, known[start]);
        }
        candidate = before[candidate]!;
      }
    }
    found.push(best.end >= at + MIN_MATCH ? best : undefined);
  }
  return found;
}

/** Of two matches the one that ends later, or is from farther away. */
function farther(one: Match, other: Match | undefined): Match {
  if (other === undefined || one.end > other.end) return one;
  return one.end === other.end && one.distance >= other.distance ? one : other;
}

/** The matches of the cheapest way through the block, counted from its end. */
function chooseMatches(size: number, found: readonly (Match | undefined)[]): (Match | undefined)[] {
  const taken: (Match | undefined)[] = [];
  const cost = Array.from({ length: size + 1 }, (_, at) => size - at);
  let literals = size - found.length;
  for (let at = found.length - 1; at >= 0; at--) {
    literals++;
    cost[at] = cost[at + 1]! + 1 + (literals >= NIBBLE && (literals - NIBBLE) % 255 === 0 ? 1 : 0);
    const match = found[at];
    if (match === undefined) continue;
    for (const end of [match.end, Math.min(match.end, at + TOKEN_MATCH)]) {
      const length = end - at;
      const bytes = length <= TOKEN_MATCH ? 3 : 4 + Math.floor((length - TOKEN_MATCH - 1) / 255);
      if (cost[end]! + bytes >= cost[at]!) continue;
      cost[at] = cost[end]! + bytes;
      taken[at] = { end, distance: match.distance };
      literals = 0;
    }
  }
  return taken;
}
