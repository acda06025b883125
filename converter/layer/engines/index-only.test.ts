import { describe, expect, it, onTestFinished } from 'vitest';
import { collect } from '../../../base/byte-source.ts';
import { TarBuilder } from '../../../fixtures/tar-builder.ts';
import { TarApplier } from '../../../formats/ext4/apply-tar.ts';
import { Ext4Image } from '../../../formats/ext4/ext4-image.ts';
import { readLsmtIndex } from '../../../formats/lsmt/reader.ts';
import { TarParser } from '../../../formats/tar/parser.ts';
import { unpackTurboLayer } from '../../../formats/turbo/turbo-layer.ts';
import { makeBlockCompressor } from '../../../formats/zfile/compressor.ts';
import { ZFileReader } from '../../../formats/zfile/reader.ts';
import { wipingCompressor } from '../../../formats/zfile/testing/test-compressors.ts';
import type { BlockCompressor } from '../../../formats/zfile/writer.ts';
import { Spool } from '../spool.ts';
import { IndexOnlyEngine } from './index-only.ts';

const VIRTUAL_SIZE = 2 ** 30;

/** The device of one index-only layer, put together by the segments alone, and its file's bytes by the file's extents. */
async function indexed(tar: Uint8Array, given?: BlockCompressor) {
  const image = new Ext4Image({ virtualSize: VIRTUAL_SIZE });
  const compressor = given ?? makeBlockCompressor({ algorithm: 'lz4', blockSize: 4096 });
  const spool = await Spool.create();
  onTestFinished(() => spool.remove());
  const [metadata, file] = [await spool.file(), await spool.file()];
  const engine = new IndexOnlyEngine({ virtualSize: VIRTUAL_SIZE, compressor, metadata, file });
  onTestFinished(() => engine.close());
  image.beginLayer();
  const parser = new TarParser(new TarApplier(image, engine, () => undefined));
  for (let at = 0; at < tar.length; at += 777) parser.push(tar.subarray(at, at + 777));
  parser.end();
  for (const { first, count } of image.discarded) engine.discard(first * 4096, count * 4096);
  for (const { block, bytes } of image.commit()) engine.metadata(block * 4096, bytes);
  const descriptor = { mediaType: 'tar', digest: `sha256:${'1'.repeat(64)}`, size: tar.length };
  const source = { descriptor, compression: 'none', tarSize: tar.length, gzip: undefined } as const;
  const blob = await engine.finish(source);
  const { fsMeta } = await unpackTurboLayer(await collect(blob.content.open(), blob.size));
  const zfile = await ZFileReader.open(
    async (offset, length) => fsMeta.subarray(offset, offset + length),
    fsMeta.length,
  );
  const index = await readLsmtIndex((offset, length) => zfile.read(offset, length), zfile.size);
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const out = new Uint8Array(length);
    for (let i = 0; i < index.count; i++) {
      const segment = index.segment(i);
      const from = Math.max(segment.offset, offset);
      const to = Math.min(segment.offset + segment.length, offset + length);
      if (from >= to) continue;
      const at = segment.moffset + from - segment.offset;
      out.set(segment.tag === 1 ? tar.subarray(at, at + to - from) : await zfile.read(at, to - from), from - offset);
    }
    return out;
  };
  return {
    metadata: await zfile.read(0, zfile.size),
    segments: Array.from({ length: index.count }, (_, i) => index.segment(i)),
    async content(name: string): Promise<Uint8Array> {
      const inode = image.lookup(image.root, name);
      const out = new Uint8Array(Math.ceil(image.sizeOf(inode) / 4096) * 4096);
      for (const { logical, physical, count } of image.extentsOf(inode))
        out.set(await read(physical * 4096, count * 4096), logical * 4096);
      return out;
    },
  };
}

function sparse(map: readonly (readonly [number, number])[], size: number): Record<string, string> {
  return {
    'GNU.sparse.major': '0',
    'GNU.sparse.minor': '1',
    'GNU.sparse.name': 'holes',
    'GNU.sparse.size': String(size),
    'GNU.sparse.numblocks': String(map.length),
    'GNU.sparse.map': map.flat().join(','),
  };
}

describe('IndexOnlyEngine', () => {
  it.each([1, 511, 512, 513, 4096, 4097, 100_000])(
    'refers to the sectors of a file of %d bytes and to none behind',
    async (size) => {
      const data = Uint8Array.from({ length: size }, (_, i) => 1 + (i % 250));
      const layer = await indexed(new TarBuilder().file('a', data).file('b', 'next').build());
      const mapped = layer.segments.filter((segment) => segment.tag === 1);
      expect(mapped.reduce((sum, segment) => sum + segment.length, 0)).toBe((Math.ceil(size / 512) + 1) * 512);
      const expected = new Uint8Array(Math.ceil(size / 4096) * 4096);
      expected.set(data);
      // Behind the last byte the device holds zeros: the tar's padding, then nothing.
      expect(Buffer.from(await layer.content('a')).equals(Buffer.from(expected))).toBe(true);
    },
  );

  it.each([
    [
      'aligned',
      [
        [0, 4096],
        [16_384, 4096],
      ],
      20_480,
    ],
    [
      'ends of runs inside of a sector',
      [
        [0, 1000],
        [8192, 700],
      ],
      8892,
    ],
    ['a hole at the end', [[0, 1000]], 9000],
    [
      'runs that share a block',
      [
        [0, 512],
        [1024, 512],
        [2048, 100],
      ],
      4096,
    ],
    [
      'runs that share a sector',
      [
        [0, 100],
        [200, 100],
        [300, 100],
      ],
      400,
    ],
    [
      'nothing aligned',
      [
        [3, 5000],
        [9001, 5000],
        [14_500, 1],
      ],
      15_000,
    ],
  ] as const)('reads a sparse file right: %s', async (_, map, size) => {
    const packed: number[] = [];
    const expected = new Uint8Array(Math.ceil(size / 4096) * 4096);
    for (const [offset, length] of map) {
      for (let i = 0; i < length; i++) {
        packed.push(1 + ((offset + i) % 251));
        expected[offset + i] = 1 + ((offset + i) % 251);
      }
    }
    const tar = new TarBuilder()
      .file('x', 'before')
      .file('holes', Uint8Array.from(packed), { pax: sparse(map, size) })
      .file('y', 'behind')
      .build();
    const layer = await indexed(tar);
    expect(Buffer.from(await layer.content('holes')).equals(Buffer.from(expected))).toBe(true);
  });

  it('maps nothing of a file that a later entry of the layer replaced', async () => {
    const layer = await indexed(new TarBuilder().file('a', 'x'.repeat(50_000)).file('a', 'short').build());
    const mapped = layer.segments.filter((segment) => segment.tag === 1);
    expect(mapped.map((segment) => segment.length)).toEqual([512]);
  });
});

it('metadata of several batches does not depend on memory that the compressor fills again', async () => {
  const tar = new TarBuilder();
  for (let i = 0; i < 10_000; i++) tar.file(`d${i % 7}/file-${i}`, '');
  const bytes = tar.build();
  const plain = makeBlockCompressor({ algorithm: 'lz4', blockSize: 4096 });
  let released = 0;
  const reusing = wipingCompressor(plain, () => {
    released++;
  });
  const { metadata } = await indexed(bytes, reusing);
  expect(released).toBeGreaterThan(1);
  expect(Buffer.from(metadata).equals(Buffer.from((await indexed(bytes)).metadata))).toBe(true);
});
