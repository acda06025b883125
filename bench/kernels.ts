/**
 * The kernels beside what they replace, in one run: `node dist/bench/kernels.js [FILE]`. FILE is any uncompressed file,
 * best a tar of some hundred megabytes; without one, 64 MiB of generated content. Every round runs all candidates, so
 * that a machine that slows down slows them all; the table shows medians and the ratio to node:zlib.
 */
import { readFileSync } from 'node:fs';
import { createGunzip, gzipSync } from 'node:zlib';
import { crc32c } from '../formats/checksum/crc32c.ts';
import { packWindow, type WindowPacker } from '../formats/gzip/access-points.ts';
import { GzipStream } from '../formats/gzip/stream.ts';
import { sampleContent } from '../formats/gzip/testing/samples.ts';
import { Lz4Compressor, lz4DecompressBlock } from '../formats/kernels/lz4.ts';

const ROUNDS = 5;
const CHUNK = 1 << 20;
const BLOCK = 4096;

const file = process.argv[2];
const content: Uint8Array = file === undefined ? sampleContent(64 << 20) : readFileSync(file);
const gzip = gzipSync(content, { level: 6 });
const compressor = new Lz4Compressor();
const packed = chunksOf(content).map((chunk) => {
  const { bytes, lengths } = compressor.compress(chunk, BLOCK);
  return { bytes: bytes.slice(), lengths: lengths.slice() };
});

/** The windows of the access points, with the logs of what is read of them. */
const windows: (readonly [window: Uint8Array, references: Uint8Array | undefined])[] = [];
gunzipWithKernel(1 << 20, (window, references) => {
  windows.push([window.slice(), references?.slice()]);
  return new Uint8Array(0);
});

/** The candidates to measure: each reads all of the content once. */
const candidates: Record<string, () => void | Promise<void>> = {
  'gunzip, node:zlib, 1 MiB chunks': gunzipWithNode,
  'gunzip, kernel': () => gunzipWithKernel(),
  'gunzip, kernel, index of 1 MiB': () => gunzipWithKernel(1 << 20),
  'windows of that index, deflate kernel': () => {
    for (const [window, references] of windows) packWindow(window, references);
  },
  'LZ4 blocks of 4 KiB + crc32c, kernel': () => {
    for (const chunk of chunksOf(content)) compressor.compress(chunk, BLOCK);
  },
  'LZ4 decompression of 4 KiB, plain': decompressBlocks,
  'crc32c, plain': () => {
    for (const chunk of chunksOf(content)) crc32c(chunk);
  },
};

const seconds = new Map(Object.keys(candidates).map((name) => [name, [] as number[]]));
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, run] of Object.entries(candidates)) {
    const start = process.cpuUsage();
    await run();
    const { user, system } = process.cpuUsage(start);
    seconds.get(name)!.push((user + system) / 1e6);
  }
}

const baseline = median(seconds.values().next().value!);
process.stdout.write(`${content.length} bytes, ${gzip.length} gzip -6; medians of ${ROUNDS}, by CPU time\n`);
for (const [name, times] of seconds) {
  const time = median(times);
  const rate = (content.length / 1e6 / time).toFixed(0).padStart(6);
  process.stdout.write(`${name.padEnd(40)}${rate} MB/s  ${(baseline / time).toFixed(2)}x node:zlib\n`);
}

function chunksOf(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: Math.ceil(bytes.length / CHUNK) }, (_, i) => bytes.subarray(i * CHUNK, (i + 1) * CHUNK));
}

function gunzipWithNode(): Promise<void> {
  return new Promise((resolve, reject) => {
    const gunzip = createGunzip({ chunkSize: CHUNK });
    gunzip
      .on('data', () => undefined)
      .on('end', resolve)
      .on('error', reject);
    for (const chunk of chunksOf(gzip)) gunzip.write(chunk);
    gunzip.end();
  });
}

function gunzipWithKernel(span?: number, pack?: WindowPacker): void {
  const stream = new GzipStream({
    members: 'any',
    onOutput: () => undefined,
    ...(span === undefined ? {} : { span }),
    ...(pack === undefined ? {} : { packWindow: pack }),
  });
  for (const chunk of chunksOf(gzip)) stream.push(chunk);
  stream.finish();
}

function decompressBlocks(): void {
  const target = new Uint8Array(BLOCK);
  for (const { bytes, lengths } of packed) {
    let at = 0;
    for (const length of lengths) {
      lz4DecompressBlock(bytes.subarray(at, at + length - 4), target);
      at += length;
    }
  }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}
