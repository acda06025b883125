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

/** The start value of MD4: the seed of a file system that has none, as the reference's empty one. */
const NO_SEED = Uint32Array.of(0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476);

/** Computes hashes under the superblock's `s_hash_seed` (four little-endian words). */
export class NameHasher {
  /** The hash of the name that was given last. */
  major = 0;
  /** See {@link NameHash.minor}. */
  minor = 0;
  readonly #seed: Int32Array;
  readonly #words = new Int32Array(WORDS);
  readonly #state = new Int32Array(4);

  constructor(seed: Uint32Array) {
    this.#seed = Int32Array.from(seed.some((word) => word !== 0) ? seed : NO_SEED);
  }

  /** Hashes a name: `length` bytes of `bytes` from `start` on. */
  hash(bytes: Uint8Array, start: number, length: number): void {
    const state = this.#state;
    const seed = this.#seed;
    for (let i = 0; i < 4; i++) state[i] = seed[i]!;
    for (let done = 0; done < length; done += WORDS * 4) {
      fillWords(bytes, start + done, length - done, this.#words);
      transform(state, this.#words);
    }
    const major = (state[1]! & ~1) >>> 0;
    this.major = major === END_OF_DIRECTORY ? END_OF_DIRECTORY - 2 : major;
    this.minor = state[2]! >>> 0;
  }
}

/** Hashes `name` (Latin-1, a character for each byte) under the superblock's `s_hash_seed` (four little-endian words). */
export function hashName(name: string, seed: Uint32Array): NameHash {
  const hasher = new NameHasher(seed);
  const bytes = Buffer.from(name, 'latin1');
  hasher.hash(bytes, 0, bytes.length);
  return { major: hasher.major, minor: hasher.minor };
}

/** Up to 32 bytes from `from` on, of `left`, as big-endian words, filled up with the length that was left. */
function fillWords(name: Uint8Array, from: number, left: number, words: Int32Array): void {
  // A name has at most 255 bytes, so the length fits each byte of the padding.
  const pad = Math.imul(left, 0x0101_0101);
  const length = Math.min(left, WORDS * 4);
  let at = from;
  let word = 0;
  for (const whole = length >>> 2; word < whole; word++, at += 4)
    words[word] = (name[at]! << 24) | (name[at + 1]! << 16) | (name[at + 2]! << 8) | name[at + 3]!;
  if ((length & 3) !== 0) {
    let value = pad;
    for (const end = from + length; at < end; at++) value = (value << 8) | name[at]!;
    words[word++] = value;
  }
  while (word < WORDS) words[word++] = pad;
}

/** MD4's compression with eight words and three rounds of eight steps. */
function transform(state: Int32Array, x: Int32Array): void {
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  for (let i = 0; i < WORDS; i += 4) {
    a = step(a, d ^ (b & (c ^ d)), x[i]!, 3);
    d = step(d, c ^ (a & (b ^ c)), x[i + 1]!, 7);
    c = step(c, b ^ (d & (a ^ b)), x[i + 2]!, 11);
    b = step(b, a ^ (c & (d ^ a)), x[i + 3]!, 19);
  }
  for (let i = 1; i >= 0; i--) {
    a = step(a, (b & c) + ((b ^ c) & d), x[i]! + K2, 3);
    d = step(d, (a & b) + ((a ^ b) & c), x[i + 2]! + K2, 5);
    c = step(c, (d & a) + ((d ^ a) & b), x[i + 4]! + K2, 9);
    b = step(b, (c & d) + ((c ^ d) & a), x[i + 6]! + K2, 13);
  }
  for (let i = 3; i >= 1; i -= 2) {
    a = step(a, b ^ c ^ d, x[i]! + K3, 3);
    d = step(d, a ^ b ^ c, x[i + 4]! + K3, 9);
    c = step(c, d ^ a ^ b, x[i - 1]! + K3, 11);
    b = step(b, c ^ d ^ a, x[i + 3]! + K3, 15);
  }
  state[0] = state[0]! + a;
  state[1] = state[1]! + b;
  state[2] = state[2]! + c;
  state[3] = state[3]! + d;
}

function step(value: number, mixed: number, word: number, bits: number): number {
  const sum = (value + mixed + word) | 0;
  return (sum << bits) | (sum >>> (32 - bits));
}
