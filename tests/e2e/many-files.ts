/** A layer with more files than an image may hold, as a gzip of a few hundred kilobytes. */
import { createGzip } from 'node:zlib';
import { TarBuilder } from '../../fixtures/tar-builder.ts';

const NAME_DIGITS = 7;
const FILES_PER_DIRECTORY = 10_000;

/** The gzipped tar of `count` empty files in directories of ten thousand, which count as files too. */
export async function manyFiles(count: number): Promise<Uint8Array> {
  const template = Buffer.from(
    new TarBuilder()
      .file(`d000/${'0'.repeat(NAME_DIGITS)}`, '')
      .build()
      .subarray(0, 512),
  );
  const chunks: Buffer[] = [];
  const gzip = createGzip({ level: 1 });
  gzip.on('data', (chunk: Buffer) => chunks.push(chunk));
  for (let from = 0; from < count; from += FILES_PER_DIRECTORY) {
    const files = Math.min(FILES_PER_DIRECTORY, count - from);
    const block = Buffer.alloc(files * 512);
    for (let i = 0; i < files; i++) writeHeader(block.subarray(i * 512, (i + 1) * 512), template, from + i);
    if (!gzip.write(block)) await new Promise((resolve) => gzip.once('drain', resolve));
  }
  gzip.end(Buffer.alloc(1024));
  await new Promise((resolve, reject) => gzip.on('end', resolve).on('error', reject));
  return Buffer.concat(chunks);
}

/** One header with the number in its name; building it field by field a million times would take a minute. */
function writeHeader(target: Buffer, template: Buffer, number: number): void {
  template.copy(target);
  const directory = String(Math.floor(number / FILES_PER_DIRECTORY)).padStart(3, '0');
  target.write(`d${directory}/${String(number).padStart(NAME_DIGITS, '0')}`, 0, 'latin1');
  target.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of target) sum += byte;
  target.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}
