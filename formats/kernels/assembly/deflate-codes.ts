/**
 * Prefix codes of limited length for symbols by how often they occur (RFC 1951 §3.2.2): Huffman's tree, cut at the limit, and
 * codes of that length moved up the tree until they fit.
 */

const SORTED: usize = 0x1800; // count << 9 | symbol of what occurs, ascending: 286 words
const WEIGHTS: usize = 0x2000; // of leaves as sorted, then of the nodes above them: 571 words
const PARENTS: usize = 0x2a00; // their parents, and then their depths: 571 words
const OF_LENGTH: usize = 0x3400; // codes of each length, and then the next of them: 16 words
const SYMBOL_BITS: u32 = 9;

/**
 * Gives each of `symbols` symbols a code length, a byte each at `lengths`: 1 to `limit`, at most 15, or 0 for those that do not
 * occur. A single one that does gets a bit. Counts add up to less than 2^22.
 */
export function makeLengths(counts: usize, symbols: usize, limit: u32, lengths: usize): void {
  memory.fill(lengths, 0, symbols);
  const leaves = sortCounts(counts, symbols);
  if (leaves == 0) return;
  if (leaves == 1) {
    store<u8>(lengths + symbolAt(0), 1);
    return;
  }
  joinNodes(leaves);
  countLengths(leaves, limit);
  let place: usize = 0;
  for (let length = limit; length > 0; length--) {
    for (let codes = word(OF_LENGTH, length); codes > 0; codes--) store<u8>(lengths + symbolAt(place++), length as u8);
  }
}

/** Sorts what occurs, the rarest first, and the lower symbol first of those that are as rare; returns how many they are. */
function sortCounts(counts: usize, symbols: usize): usize {
  let leaves: usize = 0;
  for (let symbol: usize = 0; symbol < symbols; symbol++) {
    const count = word(counts, symbol);
    if (count == 0) continue;
    setWord(SORTED, leaves++, (count << SYMBOL_BITS) | (symbol as u32));
  }
  for (let gap: usize = 121; gap > 0; gap /= 3) {
    for (let i = gap; i < leaves; i++) {
      const key = word(SORTED, i);
      let to = i;
      for (; to >= gap && word(SORTED, to - gap) > key; to -= gap) setWord(SORTED, to, word(SORTED, to - gap));
      setWord(SORTED, to, key);
    }
  }
  for (let i: usize = 0; i < leaves; i++) setWord(WEIGHTS, i, word(SORTED, i) >>> SYMBOL_BITS);
  return leaves;
}

/** Joins the two lightest nodes until one is left. New nodes come in the order of their weights, behind the leaves. */
function joinNodes(leaves: usize): void {
  let leaf: usize = 0;
  let node = leaves;
  for (let made = leaves; made < 2 * leaves - 1; made++) {
    let weight: u32 = 0;
    for (let child = 0; child < 2; child++) {
      const isLeaf = leaf < leaves && (node == made || word(WEIGHTS, leaf) <= word(WEIGHTS, node));
      const taken = isLeaf ? leaf++ : node++;
      weight += word(WEIGHTS, taken);
      setWord(PARENTS, taken, made as u32);
    }
    setWord(WEIGHTS, made, weight);
  }
}

/** Counts the leaves at each depth; those below the limit find room higher up. */
function countLengths(leaves: usize, limit: u32): void {
  memory.fill(OF_LENGTH, 0, 16 << 2);
  setWord(PARENTS, 2 * leaves - 2, 0);
  let room: i32 = (1 as i32) << limit; // codes of the longest length that are left
  for (let i: usize = 2 * leaves - 2; i-- > 0; ) {
    const depth = word(PARENTS, word(PARENTS, i)) + 1;
    setWord(PARENTS, i, depth);
    if (i >= leaves) continue;
    const length = min(depth, limit);
    setWord(OF_LENGTH, length, word(OF_LENGTH, length) + 1);
    room -= (1 as i32) << (limit - length);
  }
  // A leaf becomes a node with itself and one of the longest codes below it, whose own place is free then.
  for (; room < 0; room++) {
    let length = limit - 1;
    while (word(OF_LENGTH, length) == 0) length--;
    setWord(OF_LENGTH, length, word(OF_LENGTH, length) - 1);
    setWord(OF_LENGTH, length + 1, word(OF_LENGTH, length + 1) + 2);
    setWord(OF_LENGTH, limit, word(OF_LENGTH, limit) - 1);
  }
}

/** Makes the codes of lengths, first bit lowest, as `length << 16 | code`, a word for each symbol at `codes`. */
export function makeCodes(lengths: usize, symbols: usize, codes: usize): void {
  memory.fill(OF_LENGTH, 0, 16 << 2);
  for (let symbol: usize = 0; symbol < symbols; symbol++) {
    const length = load<u8>(lengths + symbol);
    setWord(OF_LENGTH, length, word(OF_LENGTH, length) + 1);
  }
  let code: u32 = 0;
  let shorter: u32 = 0;
  for (let length: usize = 1; length < 16; length++) {
    code = (code + shorter) << 1;
    shorter = word(OF_LENGTH, length);
    setWord(OF_LENGTH, length, code);
  }
  for (let symbol: usize = 0; symbol < symbols; symbol++) {
    const length = load<u8>(lengths + symbol) as u32;
    if (length == 0) continue;
    const next = word(OF_LENGTH, length);
    setWord(OF_LENGTH, length, next + 1);
    setWord(codes, symbol, (length << 16) | (reversed(next) >>> (32 - length)));
  }
}

/** The bits of a code of up to 16, in the upper half and turned around. */
function reversed(code: u32): u32 {
  let bits = bswap(code);
  bits = ((bits & 0x0f0f0f0f) << 4) | ((bits >>> 4) & 0x0f0f0f0f);
  bits = ((bits & 0x33333333) << 2) | ((bits >>> 2) & 0x33333333);
  return ((bits & 0x55555555) << 1) | ((bits >>> 1) & 0x55555555);
}

// @ts-ignore: decorator
@inline
function symbolAt(place: usize): usize {
  return (word(SORTED, place) & ((1 << SYMBOL_BITS) - 1)) as usize;
}

// @ts-ignore: decorator
@inline
/** A word of a table. */
export function word(table: usize, index: usize): u32 {
  return load<u32>(table + (index << 2));
}

// @ts-ignore: decorator
@inline
/** Sets a word of a table. */
export function setWord(table: usize, index: usize, value: u32): void {
  store<u32>(table + (index << 2), value);
}
