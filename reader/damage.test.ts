/** Damaged blobs: the error names the blob, and no byte of them is taken for a file's. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AccelError } from '../base/error.ts';
import { TarBuilder } from '../fixtures/tar-builder.ts';
import { decodeGzipIndex } from '../formats/gzip/gzip-index.ts';
import { packTurboLayer, unpackTurboLayer } from '../formats/turbo/turbo-layer.ts';
import { fetchBytes } from '../oci/content.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { MAX_MANIFEST_SIZE, parseManifest } from '../oci/manifest.ts';
import { OCI } from '../oci/media-types.ts';
import { MemoryTarget } from '../oci/memory-target.ts';
import type { TestLayout } from '../tests/support/converter.ts';
import { openImage } from './accelerated-image.ts';
import { openFiles } from './files.ts';
import {
  convertedLayout,
  FULL,
  INDEXED,
  putFullLayer,
  putImage,
  putIndexOnlyLayer,
  treeOf,
} from './testing/test-images.ts';

let layout: TestLayout;
let full: Uint8Array;
let turbo: Uint8Array;
let source: Uint8Array;
let good: string;

beforeAll(async () => {
  const tar = new TarBuilder()
    .dir('etc/')
    .file('etc/text', 'some lines of text\n'.repeat(4000))
    .file('noise', hexNoise(300_000))
    .build();
  layout = await convertedLayout([{ tar }], { span: 65_536 });
  full = await layerBlob(FULL);
  turbo = await layerBlob(INDEXED);
  source = await layerBlob('base');
  const target = new MemoryTarget();
  await putImage(target, 'good', [putFullLayer(target, full)]);
  good = await treeText(target, 'good');
});
afterAll(() => layout.remove());

/** Hexadecimal digits without a pattern: deflate ends a block every few ten kilobytes of them. */
function hexNoise(length: number): string {
  let state = 1;
  return Array.from({ length }, () => {
    state = Math.imul(state, 1103515245) + 12345;
    return ((state >>> 16) & 15).toString(16);
  }).join('');
}

async function layerBlob(tag: string): Promise<Uint8Array> {
  const descriptor = await layout.target.resolve(tag);
  const bytes = await fetchBytes(layout.target, descriptor, MAX_MANIFEST_SIZE);
  const [layer] = parseManifest(bytes, descriptor).layers;
  return fetchBytes(layout.target, layer!, 1 << 24);
}

async function treeText(target: MemoryTarget, tag: string): Promise<string> {
  const tree = await treeOf(await openFiles(await openImage(target, tag)));
  return JSON.stringify(tree, (_, value) => (typeof value === 'bigint' ? String(value) : value));
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const out = Uint8Array.from(bytes);
  out[at]! ^= 0x10;
  return out;
}

/** The tree of an image of these layers, or the error of reading it. */
async function outcome(make: (target: MemoryTarget) => Descriptor): Promise<string | AccelError> {
  const target = new MemoryTarget();
  await putImage(target, 'damaged', [make(target)]);
  try {
    return await treeText(target, 'damaged');
  } catch (error) {
    if (error instanceof AccelError) return error;
    throw error;
  }
}

describe('a byte of a full layer flipped', () => {
  it('anywhere: an error with the blob’s digest, or nothing was said by that byte', async () => {
    const unsaid: number[] = [];
    // A prime step goes through the head, all blocks, the index and the trailer.
    for (let at = 0; at < full.length; at += 1031) {
      const blob = flipped(full, at);
      const found = await outcome((target) => putFullLayer(target, blob));
      if (typeof found === 'string') {
        expect(found).toBe(good);
        unsaid.push(at);
      } else {
        expect(found.where).toMatchObject({ layer: 1, digest: new MemoryTarget().put('', blob).digest });
        expect(found.code).toMatch(/^(zfile|tar|lsmt)-invalid$/);
      }
    }
    // Parts that are not read: blocks that no file needs, padding.
    expect(unsaid.length).toBeLessThan(full.length / 1031 / 2);
  });

  it.each([
    ['the tar head', 1030],
    ['the ZFile header', 1536 + 30],
  ])('in %s', async (_, at) => {
    expect(await outcome((target) => putFullLayer(target, flipped(full, at)))).toBeInstanceOf(AccelError);
  });
});

describe('an index-only layer', () => {
  it('a byte flipped in its blob: the digest differs', async () => {
    const target = new MemoryTarget();
    const layer = putIndexOnlyLayer(target, turbo, target.put(OCI.layerGzip, source));
    await putImage(target, 'damaged', [layer]);
    const lying: MemoryTarget = Object.create(target, {
      fetch: {
        value: async (descriptor: Descriptor) => {
          if (descriptor.digest !== layer.digest) return target.fetch(descriptor);
          const other = new MemoryTarget();
          other.put(descriptor.mediaType, flipped(turbo, 500));
          return (async function* () {
            yield flipped(turbo, 500);
            throw new AccelError('digest-mismatch', 'as the target says');
          })();
        },
      },
      resolve: { value: (tag: string) => target.resolve(tag) },
    });
    await expect(openImage(lying, 'damaged')).rejects.toMatchObject({
      code: 'digest-mismatch',
      where: { layer: 1, digest: layer.digest },
    });
  });

  async function repacked(
    change: (parts: { fsMeta: Uint8Array; gzipIndex: Uint8Array }) => void,
  ): Promise<string | AccelError> {
    const parts = await unpackTurboLayer(turbo);
    const copy = { fsMeta: Uint8Array.from(parts.fsMeta), gzipIndex: Uint8Array.from(parts.gzipIndex!) };
    change(copy);
    const { blob } = await packTurboLayer(copy);
    return outcome((target) => putIndexOnlyLayer(target, blob, target.put(OCI.layerGzip, source)));
  }

  it('repacked as it was', async () => {
    expect(await repacked(() => undefined)).toBe(good);
  });

  it('a byte flipped in its file-system metadata', async () => {
    let errors = 0;
    for (let at = 700; at < 6000; at += 499) {
      const found = await repacked(({ fsMeta }) => {
        fsMeta[at]! ^= 1;
      });
      if (typeof found === 'string') expect(found).toBe(good);
      else {
        errors++;
        expect(found).toMatchObject({
          code: 'zfile-invalid',
          where: { layer: 1, digest: expect.stringMatching(/^sha256/) },
        });
      }
    }
    expect(errors).toBeGreaterThan(5);
  });

  it('a byte flipped in each window of its gzip index: reading from there names the source layer', async () => {
    const { fsMeta, gzipIndex } = await unpackTurboLayer(turbo);
    const { points, uncompressedSize } = decodeGzipIndex(gzipIndex!);
    expect(points.length).toBeGreaterThan(2);
    for (const [i, { window, outputOffset }] of points.entries()) {
      const damaged = Uint8Array.from(gzipIndex!);
      damaged[window.byteOffset - gzipIndex!.byteOffset + (window.length >> 1)]! ^= 1;
      const { blob } = await packTurboLayer({ fsMeta, gzipIndex: damaged });
      const target = new MemoryTarget();
      const layer = target.put(OCI.layerGzip, source);
      await putImage(target, 'damaged', [putIndexOnlyLayer(target, blob, layer)]);
      const image = await openImage(target, 'damaged');
      // The device bytes that lie in this point's span of the tar, and in no earlier one's.
      const { lsmt } = image.layers[0]!;
      const end = points[i + 1]?.outputOffset ?? uncompressedSize;
      const segments = Array.from({ length: lsmt!.count }, (_, n) => lsmt!.segment(n)).filter(({ tag }) => tag === 1);
      const from = segments.find(({ moffset, length }) => moffset + length > outputOffset && moffset < end)!;
      const skip = Math.max(0, outputOffset - from.moffset);
      await expect(image.device.read(from.offset + skip, 16)).rejects.toMatchObject({
        code: 'turbo-invalid',
        where: { layer: 1, digest: layer.digest },
      });
    }
  });

  it('over another source layer of the same size', async () => {
    const other = Uint8Array.from(source).fill(0x42, 100);
    const found = await outcome((target) => putIndexOnlyLayer(target, turbo, target.put(OCI.layerGzip, other)));
    expect(found).toMatchObject({ code: 'gzip-invalid' });
  });

  it('over a source layer that is shorter', async () => {
    const found = await outcome((target) =>
      putIndexOnlyLayer(target, turbo, target.put(OCI.layerGzip, source.subarray(0, source.length - 1))),
    );
    expect(found).toMatchObject({ code: 'size-mismatch' });
  });

  it('over a source layer that is said to be a plain tar', async () => {
    const found = await outcome((target) => putIndexOnlyLayer(target, turbo, target.put(OCI.layer, source)));
    expect(found).toMatchObject({ code: 'turbo-invalid' });
  });

  it('over a plain tar that ends before the files do', async () => {
    const tar = new TarBuilder().file('f', 'x'.repeat(10_000)).build();
    const plain = await convertedLayout([{ tar, compression: 'none' }]);
    try {
      const image = await openImage(plain.target, INDEXED);
      const blob = await fetchBytes(plain.target, image.manifest.layers[0]!, 1 << 24);
      const found = await outcome((target) =>
        putIndexOnlyLayer(target, blob, target.put(OCI.layer, tar.subarray(0, 5000))),
      );
      expect(found).toMatchObject({ code: 'turbo-invalid', where: { source: expect.any(String) } });
    } finally {
      await plain.remove();
    }
  });
});
