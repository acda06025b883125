/** A layer with more files than an image may hold, as ten megabytes of gzip. */
import { createGzip } from 'node:zlib';
import { TarBuilder } from '../../fixtures/tar-builder.ts';

const NAME_DIGITS = 7;
const FILES_PER_DIRECTORY = 10_000;
/** Where a tar header has its checksum. */
const CHECKSUM_AT = 148;

/** The gzipped tar of `count` empty files in directories of ten thousand, which count as files too. */
export async function manyFiles(count: number): Promise<Uint8Array> {
  const template = Buffer.from(
    new TarBuilder()
      .file(`d000/${'0'.repeat(NAME_DIGITS)}`, '')
      .build()
      .subarray(0, 512),
  );
  const sum = Number.parseInt(template.toString('latin1', CHECKSUM_AT, CHECKSUM_AT + 6), 8);
  const chunks: Buffer[] = [];
  const gzip = createGzip({ level: 1 });
  gzip.on('data', (chunk: Buffer) => chunks.push(chunk));
  for (let from = 0; from < count; from += FILES_PER_DIRECTORY) {
    const files = Math.min(FILES_PER_DIRECTORY, count - from);
    const block = Buffer.alloc(files * 512);
    for (let i = 0; i < files; i++) writeHeader(block.subarray(i * 512, (i + 1) * 512), template, sum, from + i);
    if (!gzip.write(block)) await new Promise((resolve) => gzip.once('drain', resolve));
  }
  gzip.end(Buffer.alloc(1024));
  await new Promise((resolve, reject) => gzip.on('end', resolve).on('error', reject));
  return Buffer.concat(chunks);
}

/**
 * One header with the number in its name. Its checksum is the template's, whose digits are all zeros, and what the
 * digits add: summing up 512 bytes a million times would take longer than the test.
 */
function writeHeader(target: Buffer, template: Buffer, templateSum: number, number: number): void {
  template.copy(target);
  const directory = String(Math.floor(number / FILES_PER_DIRECTORY)).padStart(3, '0');
  const digits = `${directory}${String(number).padStart(NAME_DIGITS, '0')}`;
  target.write(`d${digits.slice(0, 3)}/${digits.slice(3)}`, 0, 'latin1');
  let sum = templateSum;
  for (const digit of digits) sum += Number(digit);
  target.write(`${sum.toString(8).padStart(6, '0')}\0 `, CHECKSUM_AT, 'latin1');
}
