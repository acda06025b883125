import { describe, expect, it } from 'vitest';
import { ZFileReader } from '../zfile/reader.ts';
import { fullGoldens, goldenZFile, readerOf, warpGoldens } from '../zfile/testing/goldens.ts';
import { decodeHeader, encodeHeader, LSMT_SPACE } from './layout.ts';
import { readLsmtIndex } from './reader.ts';
import type { Segment } from './segment-table.ts';
import { MemoryLayer } from './testing/device-model.ts';

/** The facts of fixtures/goldens/annotated.txt about each: segments, entries with padding, uuid. */
const ANNOTATED: Readonly<Record<string, [number, number, string]>> = {
  'full/l0/overlaybd.commit': [515, 768, 'C5CAF5F3-F151-091C-278C-B8F04EAD58B5'],
  'full/l1/overlaybd.commit': [517, 768, 'EF59032F-6136-B661-549D-08D61718131D'],
  'turbo/l0/ext4.fs.meta': [756, 756, '00000000-0000-0000-0000-000000000000'],
  'turbo/l1/ext4.fs.meta': [535, 535, '00000000-0000-0000-0000-000000000000'],
};

describe.each([...fullGoldens, ...warpGoldens])('golden %s', (name) => {
  const content = (async () => {
    const zfile = goldenZFile(name);
    const reader = await ZFileReader.open(readerOf(zfile), zfile.length);
    return reader.read(0, reader.size);
  })();

  it('reads as annotated', async () => {
    const file = await content;
    const index = await readLsmtIndex(readerOf(file), file.length);
    expect(index.virtualSize).toBe(name.startsWith('edge/') ? 2 ** 30 : 2 ** 36);
    expect(index.remote).toBe(warpGoldens.includes(name));
    const annotated = ANNOTATED[name];
    if (annotated !== undefined) expect([index.count, index.entries, index.uuid]).toEqual(annotated);
  });

  it('has header and trailer that encode to the same bytes', async () => {
    const file = await content;
    const header = file.subarray(0, LSMT_SPACE);
    const trailer = file.subarray(file.length - LSMT_SPACE);
    expect(encodeHeader(decodeHeader(header, 'header'))).toEqual(header);
    expect(encodeHeader(decodeHeader(trailer, 'trailer'))).toEqual(trailer);
  });

  it('is written again byte for byte from its segments', async () => {
    const file = await content;
    const index = await readLsmtIndex(readerOf(file), file.length);
    const layer = new MemoryLayer({
      virtualSize: index.virtualSize,
      uuid: index.uuid,
      parentUuid: index.parentUuid,
      padIndex: !index.remote,
      detectZeros: false,
    });
    const segments: Segment[] = Array.from({ length: index.count }, (_, i) => index.segment(i));
    // Data in the order of the file; the writer finds the order of the device again.
    for (const { offset, length, moffset, tag } of segments.sort((a, b) => a.tag - b.tag || a.moffset - b.moffset))
      if (tag === 0) layer.writer.writeBlocks(offset, file.subarray(moffset, moffset + length));
      else layer.writer.mapRemote(offset, moffset, length);
    expect(Buffer.compare(layer.finish(), file)).toBe(0);
  });
});
