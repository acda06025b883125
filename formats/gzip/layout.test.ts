import { describe, expect, test } from 'vitest';
import { specTable, structRows } from '../zfile/testing/spec-table.ts';
import { gzipHeader, gzipTrailer, indexEntry, indexHeader } from './layout.ts';

describe('formats/gzip/README.md', () => {
  const readme = new URL('README.md', import.meta.url);

  test.each([
    ['Index header', indexHeader],
    ['Index entry', indexEntry],
  ] as const)('%s: the table is the structure that the code writes', (heading, layout) => {
    expect(structRows(layout)).toEqual(specTable(readme, heading));
  });
});

test('members have a header of 10 bytes at least and a trailer of 8 (RFC 1952 §2.3)', () => {
  expect([gzipHeader.size, gzipTrailer.size]).toEqual([10, 8]);
  expect(gzipTrailer.offsets).toEqual({ crc32: 0, isize: 4 });
});
