/**
 * The half-MD4 hash by which ext4 orders the names of an indexed directory (feature `dir_index`), in the variant that
 * takes name bytes as unsigned (superblock flag `unsigned_directory_hash`).
 */

/** `s_def_hash_version` of half-MD4. */
export const HASH_HALF_MD4 = 1;
/** `s_flags` bit: name bytes are unsigned in the hash. */
export const FLAG_UNSIGNED_HASH = 0x2;

/** Hash value that the kernel reserves for the end of a directory. */
const END_OF_DIRECTORY = 0xffff_fffe;
const WORDS = 8;
const K2 = 0x5a82_7999;
const K3 = 0x6ed9_eba1;

/** Hash of a name: `major` decides the leaf (its lowest bit is always 0), `minor` breaks ties. */
export interface NameHash {
  readonly major: number;
  readonly minor: number;
}

/** What MD4 starts from: the seed of a file system that has none, as the reference's empty one. */
const NO_SEED = Uint32Array.of(0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476);

/** Hashes `name` (Latin-1, a character for each byte) under the superblock's `s_hash_seed` (four little-endian words). */
export function hashName(name: string, seed: Uint32Array): NameHash {
  const buffer = Uint32Array.from(seed.some((word) => word !== 0) ? seed : NO_SEED);
  const words = new Uint32Array(WORDS);
  for (let from = 0; from < name.length; from += WORDS * 4) {
    fillWords(name, from, words);
    transform(buffer, words);
  }
  const major = (buffer[1]! & ~1) >>> 0;
  return { major: major === END_OF_DIRECTORY ? END_OF_DIRECTORY - 2 : major, minor: buffer[2]! };
}

/** The next 32 bytes of the name as big-endian words, filled up with the length that was left. */
function fillWords(name: string, from: number, words: Uint32Array): void {
  const left = name.length - from;
  // A name has at most 255 bytes, so the length fits each byte of the padding.
  const pad = Math.imul(left, 0x0101_0101) >>> 0;
  const length = Math.min(left, WORDS * 4);
  let word = 0;
  for (let i = 0; i < length; i++) {
    if ((i & 3) === 0) words[word] = pad;
    words[word] = (words[word]! << 8) | name.charCodeAt(from + i);
    if ((i & 3) === 3) word++;
  }
  if ((length & 3) !== 0) word++;
  words.fill(pad, length === 0 ? 0 : word);
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

/** MD4's compression with eight words and three rounds of eight steps. */
function transform(buffer: Uint32Array, x: Uint32Array): void {
  let a = buffer[0]!;
  let b = buffer[1]!;
  let c = buffer[2]!;
  let d = buffer[3]!;
  const f = (p: number, q: number, r: number): number => r ^ (p & (q ^ r));
  const g = (p: number, q: number, r: number): number => ((p & q) + ((p ^ q) & r)) | 0;
  const h = (p: number, q: number, r: number): number => p ^ q ^ r;
  const round = (
    mix: (p: number, q: number, r: number) => number,
    order: readonly number[],
    constant: number,
    shifts: readonly [number, number, number, number],
  ): void => {
    for (let i = 0; i < WORDS; i += 4) {
      a = rotate((a + mix(b, c, d) + x[order[i]!]! + constant) | 0, shifts[0]);
      d = rotate((d + mix(a, b, c) + x[order[i + 1]!]! + constant) | 0, shifts[1]);
      c = rotate((c + mix(d, a, b) + x[order[i + 2]!]! + constant) | 0, shifts[2]);
      b = rotate((b + mix(c, d, a) + x[order[i + 3]!]! + constant) | 0, shifts[3]);
    }
  };
  round(f, [0, 1, 2, 3, 4, 5, 6, 7], 0, [3, 7, 11, 19]);
  round(g, [1, 3, 5, 7, 0, 2, 4, 6], K2, [3, 5, 9, 13]);
  round(h, [3, 7, 2, 6, 1, 5, 0, 4], K3, [3, 9, 11, 15]);
  buffer[0] = buffer[0]! + a;
  buffer[1] = buffer[1]! + b;
  buffer[2] = buffer[2]! + c;
  buffer[3] = buffer[3]! + d;
}
