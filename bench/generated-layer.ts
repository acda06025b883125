/** Tars that are made while they are read: of any size, and the same bytes each time. */
import { headerBlock, padded } from '../fixtures/tar-header.ts';
import { fill, Random } from './content.ts';

/** A tar; each call reads it from its start. The chunks are the reader's to keep. */
export type GeneratedLayer = () => Iterable<Uint8Array>;

const CHUNK = 1 << 20;
const BLOCK = 4096;
const FILES_PER_DIRECTORY = 1000;
/** Bytes of a small file: 0 to this, by its number. */
const SMALL_FILE = 100;
const MTIME = 1_700_000_000;
/** Bytes at the start of each block of content that are not the template's: no two blocks are the same. */
const STAMP = 8;

/** `count` files of up to a hundred bytes, a thousand in each directory, directories with entries of their own. */
export function filesLayer(count: number): GeneratedLayer {
  return function* () {
    let parts: Uint8Array[] = [];
    let size = 0;
    for (let number = 0; number < count; number++) {
      const directory = `tree/${String(Math.floor(number / FILES_PER_DIRECTORY)).padStart(5, '0')}`;
      if (number % FILES_PER_DIRECTORY === 0) parts.push(header(`${directory}/`, 0, '5'));
      const content = Buffer.from(`${number} `.repeat(20)).subarray(0, number % (SMALL_FILE + 1));
      parts.push(header(`${directory}/file-${number}`, content.length, '0'), padding(content));
      size += 2 * BLOCK;
      if (size < CHUNK) continue;
      yield Buffer.concat(parts);
      parts = [];
      size = 0;
    }
    yield Buffer.concat([...parts, new Uint8Array(1024)]);
  };
}

/** Files of `fileSize` bytes that hold `total` bytes together, the last one what is left. */
export function bytesLayer(total: number, fileSize: number): GeneratedLayer {
  return function* () {
    const chunk = template();
    let stamp = 0;
    for (let number = 0, left = total; left > 0; number++) {
      const size = Math.min(fileSize, left);
      left -= size;
      yield header(`data/${number}`, size, '0');
      for (let at = 0; at < size; at += CHUNK) {
        for (let block = 0; block < CHUNK; block += BLOCK) chunk.writeDoubleLE(++stamp, block);
        yield Uint8Array.prototype.slice.call(chunk, 0, Math.min(CHUNK, size - at));
      }
      yield new Uint8Array(padded(size) - size);
    }
    yield new Uint8Array(1024);
  };
}

/** One small file that no other number has. */
export function smallLayer(number: number): GeneratedLayer {
  return () => {
    const content = Buffer.from(`layer ${number}\n`);
    return [header(`layer-${number}`, content.length, '0'), padding(content), new Uint8Array(1024)];
  };
}

/** A megabyte in which each block is a little text over and over: it compresses to about a fortieth. */
function template(): Buffer {
  const chunk = Buffer.alloc(CHUNK);
  const text = new Uint8Array(64);
  const random = new Random(11);
  for (let block = 0; block < CHUNK; block += BLOCK) {
    fill(text, 'text', random);
    for (let at = STAMP; at < BLOCK; at += text.length) chunk.set(text.subarray(0, BLOCK - at), block + at);
  }
  return chunk;
}

function header(name: string, size: number, typeflag: string): Uint8Array {
  return headerBlock({ name, size, typeflag, mode: typeflag === '5' ? 0o755 : 0o644, mtime: MTIME });
}

function padding(content: Uint8Array): Uint8Array {
  const block = Buffer.alloc(padded(content.length));
  block.set(content);
  return block;
}
