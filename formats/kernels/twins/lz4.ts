/**
 * The plain-TypeScript twin of the LZ4 kernel: the same contract, written for the reader. Tests hold the kernel
 * against it; nothing else uses it.
 */
import { CRC32C_BLOCK_SALT, crc32c } from '../../checksum/crc32c.ts';
import { type BlockCompressor, type CompressedBlocks, checkBatch } from '../lz4.ts';
import { lz4Attempts } from '../lz4-levels.ts';
import { highSequences } from './lz4-high.ts';

const HASH_SLOTS = 1 << 13;
const MIN_MATCH = 4;
const MATCH_MARGIN = 12;
const LAST_LITERALS = 5;
const SKIP_TRIGGER = 6;

/** The plain {@link BlockCompressor}. */
export class Lz4CompressorTwin implements BlockCompressor {
  compress(input: Uint8Array, blockSize: number, level?: number): CompressedBlocks {
    checkBatch(input.length, blockSize);
    const bytes: number[] = [];
    const lengths: number[] = [];
    for (let start = 0; start < input.length; start += blockSize) {
      const content = input.subarray(start, start + blockSize);
      const block = level === undefined ? compressBlock(content) : compressHigh(content, blockSize, lz4Attempts(level));
      const checksum = crc32c(Uint8Array.from(block), CRC32C_BLOCK_SALT);
      for (const byte of block) bytes.push(byte);
      for (let shift = 0; shift < 32; shift += 8) bytes.push((checksum >>> shift) & 255);
      lengths.push(block.length + 4);
    }
    return { bytes: Uint8Array.from(bytes), lengths: Uint32Array.from(lengths) };
  }
}

/** One block, after the decisions of LZ4_compress_fast with acceleration 1 and 16-bit positions. */
function compressBlock(block: Uint8Array): number[] {
  const out: number[] = [];
  const table = new Uint16Array(HASH_SLOTS);
  const view = new DataView(block.buffer, block.byteOffset, block.length);
  const word = (at: number): number => view.getUint32(at, true);
  const slot = (at: number): number => Math.imul(word(at), 2_654_435_761) >>> 19;
  const lastStart = block.length - MATCH_MARGIN + 1;
  let anchor = 0;
  let at = 1;

  while (block.length > MATCH_MARGIN) {
    let match = -1;
    let tries = 1 << SKIP_TRIGGER;
    let ahead = at;
    for (let step = 1; ; step = tries++ >>> SKIP_TRIGGER) {
      at = ahead;
      ahead += step;
      if (ahead > lastStart) break;
      const candidate = table[slot(at)]!;
      table[slot(at)] = at;
      if (word(candidate) === word(at)) {
        match = candidate;
        break;
      }
    }
    if (match < 0) break;
    while (at > anchor && match > 0 && block[at - 1] === block[match - 1]) {
      at--;
      match--;
    }

    // A match may follow a match without literals between: then the table is asked without a search.
    for (;;) {
      let length = MIN_MATCH;
      while (at + length < block.length - LAST_LITERALS && block[at + length] === block[match + length]) length++;
      emit(out, block.subarray(anchor, at), at - match, length);
      at += length;
      anchor = at;
      if (at >= lastStart) break;
      table[slot(at - 2)] = at - 2;
      match = table[slot(at)]!;
      table[slot(at)] = at;
      if (word(match) !== word(at)) break;
    }
    if (at >= lastStart) break;
    at++;
  }
  emit(out, block.subarray(anchor), 0, MIN_MATCH);
  return out;
}

function compressHigh(content: Uint8Array, blockSize: number, attempts: number): number[] {
  const out: number[] = [];
  for (const { literals, distance, length } of highSequences(content, blockSize, attempts))
    emit(out, literals, distance, length);
  return out;
}

/** Appends a sequence; distance 0 stands for the last one, which has no match. */
function emit(out: number[], literals: Uint8Array, distance: number, length: number): void {
  const code = length - MIN_MATCH;
  out.push((Math.min(literals.length, 15) << 4) | Math.min(code, 15));
  extend(out, literals.length);
  for (const byte of literals) out.push(byte);
  if (distance === 0) return;
  out.push(distance & 255, distance >>> 8);
  extend(out, code);
}

function extend(out: number[], value: number): void {
  if (value < 15) return;
  let rest = value - 15;
  for (; rest >= 255; rest -= 255) out.push(255);
  out.push(rest);
}
