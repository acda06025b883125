/** Content and gzip streams of every kind that deflate knows, for tests and benchmarks: the same bytes on each run. */
import { execFileSync } from 'node:child_process';
import { constants, gzipSync as zlibGzip } from 'node:zlib';
import { gzipSync as fflateGzip } from 'fflate';

/** Random numbers that are the same on each run: unsigned 32-bit, xorshift. */
export function seededRandom(seed: number): () => number {
  let state = seed || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** `size` bytes that no compressor can shrink. */
export function noiseContent(size: number, seed = 1): Uint8Array {
  const random = seededRandom(seed);
  return Uint8Array.from({ length: size }, () => random() >>> 9);
}

/**
 * `size` bytes in the manner of a layer's tar: stretches of text, of records that repeat at odd distances, of noise and
 * of zeros, each up to `stretch` bytes long.
 */
export function sampleContent(size: number, seed = 1, stretch = 40_000): Uint8Array {
  const random = seededRandom(seed);
  const words = Array.from({ length: 500 }, () =>
    Array.from({ length: 2 + (random() % 9) }, () => String.fromCharCode(97 + (random() % 26))).join(''),
  );
  const content = new Uint8Array(size);
  for (let at = 0; at < size; ) {
    const end = Math.min(size, at + 1 + (random() % stretch));
    const kind = random() % 5;
    if (kind === 0) {
      for (; at < end; at++) content[at] = random();
    } else if (kind === 1) {
      at = end;
    } else if (kind === 2) {
      const period = 1 + (random() % 300);
      for (const from = at; at < end; at++)
        content[at] = at - from < period || random() % 97 === 0 ? random() : content[at - period]!;
    } else {
      while (at < end) {
        const word = Buffer.from(`${words[random() % words.length]} `).subarray(0, end - at);
        content.set(word, at);
        at += word.length;
      }
    }
  }
  return content;
}

/** Writers of gzip by name: libraries, strategies that force each block type, and foreign programs. */
export const gzipWriters: Readonly<Record<string, (content: Uint8Array) => Uint8Array>> = {
  'zlib level 1': (content) => zlibGzip(content, { level: 1 }),
  'zlib level 9, small memory': (content) => zlibGzip(content, { level: 9, memLevel: 1 }),
  'zlib stored': (content) => zlibGzip(content, { level: 0 }),
  'zlib Z_RLE': (content) => zlibGzip(content, { strategy: constants.Z_RLE }),
  'zlib Z_HUFFMAN_ONLY': (content) => zlibGzip(content, { strategy: constants.Z_HUFFMAN_ONLY }),
  'zlib Z_FIXED': (content) => zlibGzip(content, { strategy: constants.Z_FIXED }),
  'zlib Z_FIXED, small memory': (content) => zlibGzip(content, { strategy: constants.Z_FIXED, memLevel: 2 }),
  'fflate level 9': (content) => fflateGzip(content, { level: 9, mtime: 0 }),
  'gzip -1': (content) => runTool('gzip', ['-1', '-n'], content),
  'gzip -6': (content) => runTool('gzip', ['-6', '-n'], content),
  'gzip -9': (content) => runTool('gzip', ['-9', '-n'], content),
  'pigz -6': (content) => runTool('pigz', ['-6', '-n', '-p', '2', '-b', '128'], content),
};

/** Runs a program of the system with `input` on stdin and returns its stdout; a missing program is an error. */
export function runTool(tool: string, args: readonly string[], input: Uint8Array): Uint8Array {
  return execFileSync(tool, args, { input, maxBuffer: 1 << 28, stdio: ['pipe', 'pipe', 'pipe'] });
}
