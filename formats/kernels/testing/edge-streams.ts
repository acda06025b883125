/** Deflate streams whose matches are at the edges of what the inflate kernel copies at once. */
import { noiseContent, seededRandom } from '../../gzip/testing/samples.ts';
import { BitWriter } from './bit-writer.ts';

const SHORTEST = 3;
const LONGEST = 258;
/** Bytes that one stored block holds at most. */
const STORED = 65_535;
const WINDOW = 32_768;
const NOISE = noiseContent(2 << 20);

/** `count` bytes that do not repeat, in stored blocks of which none is the last. */
function storedNoise(count: number): Buffer {
  const blocks: Uint8Array[] = [];
  for (let at = 0; at < count; at += STORED) {
    const size = Math.min(STORED, count - at);
    blocks.push(
      Uint8Array.of(0, size & 255, size >> 8, ~size & 255, (~size >> 8) & 255),
      NOISE.subarray(at, at + size),
    );
  }
  return Buffer.concat(blocks);
}

/** `before` bytes of noise, then a match of every `step`-th length from each distance, with literals between them. */
export function everyMatch(before: number, distances: readonly number[], step: number): Uint8Array {
  const random = seededRandom(before + distances.length);
  const block = new BitWriter().put(3, 3);
  for (const distance of distances)
    for (let length = SHORTEST; length <= LONGEST; length += step) {
      for (let i = random() % (Math.min(distance, 20) + 1); i >= 0; i--) block.literal(random() & 255);
      block.match(length, distance);
    }
  return Buffer.concat([storedNoise(before), block.end().bytes()]);
}

/** `before` bytes, then a single match and three literals: before a multiple of the output's pieces, it ends in the next. */
export function lateMatch(before: number, length: number, distance: number): Uint8Array {
  const block = new BitWriter().put(3, 3).match(length, distance).literal(1).literal(200).literal(3);
  return Buffer.concat([storedNoise(before), block.end().bytes()]);
}

/** A window of noise in stored blocks, a boundary, and matches that read what is before it: whole, or past it. */
export function matchesOverBoundary(): Uint8Array {
  const block = new BitWriter().put(3, 3);
  let made = 0;
  for (let round = 0; made < WINDOW + 1000; round++) {
    const length = SHORTEST + ((round * 37) % (LONGEST - SHORTEST + 1));
    const distance = Math.min(WINDOW, 1 + made + ((round * 1013) % (round % 3 === 0 ? 300 : WINDOW - 300)));
    block.match(length, distance).literal(round & 255);
    made += length + 1;
  }
  return Buffer.concat([storedNoise(WINDOW + 77), block.end().bytes()]);
}

/** A window of noise, then literals of 11 bits, each before a match of 48 bits, the most that one takes. */
export function longestCodes(): Uint8Array {
  const [literal, length, distance] = [65, 284, 29];
  // Codes of 1 to 14 bits and two of 15, which is complete; 256 has the shortest.
  const literals = new Array<number>(286).fill(0);
  literals[256] = 1;
  for (let bits = 2; bits < 15; bits++) literals[bits === 11 ? literal : bits] = bits;
  literals[0] = 15;
  literals[length] = 15;
  const distances = Array.from({ length: 30 }, (_, symbol) => (symbol < 14 ? symbol + 1 : symbol > 27 ? 15 : 0));
  const block = new BitWriter().dynamic(literals, distances);
  for (let round = 0; round < 64; round++) {
    block
      .code(canonical(literals, literal))
      .code(canonical(literals, length))
      .put(round % 31, 5);
    block.code(canonical(distances, distance)).put(round * 127, 13);
  }
  return Buffer.concat([storedNoise(WINDOW), block.code(canonical(literals, 256)).bytes()]);
}

/** The digits of a symbol's code, given the lengths of all (RFC 1951 §3.2.2). */
function canonical(lengths: readonly number[], symbol: number): string {
  const bits = lengths[symbol]!;
  let code = 0;
  for (const [other, length] of lengths.entries())
    if (length > 0 && (length < bits || (length === bits && other < symbol))) code += 2 ** (bits - length);
  return code.toString(2).padStart(bits, '0');
}
