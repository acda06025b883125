/** Images opened in place show the tree that their layers say: ours in both modes, and the reference's. */
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { demoLayers } from '../fixtures/demo-layers.ts';
import type { LayerSpec } from '../fixtures/image-builder.ts';
import { TarBuilder } from '../fixtures/tar-builder.ts';
import { LAYER_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import { fetchBytes } from '../oci/content.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/manifest.ts';
import { OCI } from '../oci/media-types.ts';
import { MemoryTarget } from '../oci/memory-target.ts';
import { IMAGES } from '../tests/e2e/images.ts';
import type { TestLayout } from '../tests/support/converter.ts';
import { expectedTree } from '../tests/support/expected-tree.ts';
import { parseReference, REFERENCE_PATH, referenceLine } from '../tests/support/goldens.ts';
import { diffTrees } from '../tests/support/tree.ts';
import { openImage } from './accelerated-image.ts';
import { openFiles } from './files.ts';
import { convertedLayout, FULL, goldenTarget, INDEXED, putImage, readText, treeOf } from './testing/test-images.ts';

async function treesDiffer(layout: TestLayout, tag: string, tars: readonly Uint8Array[]): Promise<string[]> {
  const image = await openImage(layout.target, tag);
  const { bytes, requests } = image.statistics();
  expect(bytes).toBeGreaterThan(0);
  expect(requests).toBeGreaterThan(2);
  return diffTrees(await expectedTree(tars), await treeOf(await openFiles(image)));
}

describe('a converted image reads as its layers say', () => {
  it.each(IMAGES)('$name', async ({ layers }) => {
    const tars = await layers();
    const layout = await convertedLayout(tars.map((tar) => ({ tar })));
    try {
      for (const tag of [FULL, INDEXED]) expect(await treesDiffer(layout, tag, tars), tag).toEqual([]);
    } finally {
      await layout.remove();
    }
  });

  const variants: readonly (readonly [
    string,
    Partial<Parameters<typeof convertedLayout>[1]>,
    LayerSpec['compression'],
  ])[] = [
    ['lz4 in blocks of 64 KiB', { blockSize: 65_536 }, 'gzip'],
    ['zstd', { algorithm: 'zstd' }, 'gzip'],
    ['source layers that are plain tars', {}, 'none'],
    ['source layers in zstd', {}, 'zstd'],
    ['an index with a point each 64 KiB', { span: 65_536 }, 'gzip'],
  ];
  it.each(variants)('the demo image, %s', async (_, artifact, compression) => {
    const layers = demoLayers().map((layer) => ({ ...layer, compression: compression ?? 'gzip' }));
    const layout = await convertedLayout(layers, artifact);
    try {
      const tars = layers.map(({ tar }) => tar);
      for (const tag of [FULL, INDEXED]) expect(await treesDiffer(layout, tag, tars), tag).toEqual([]);
    } finally {
      await layout.remove();
    }
  });
});

describe('the reference’s image', () => {
  it.each(['full', 'turbo'])('%s: the tree that its own runtime shows', async (tag) => {
    const image = await openImage(await goldenTarget(), tag);
    const expected = parseReference(await readFile(REFERENCE_PATH, 'latin1'));
    // The directory that mkfs created is left out, and not counted in the root.
    for (const path of ['/', '/lost+found']) expected.delete(path);
    const entries = (await treeOf(await openFiles(image))).filter(({ path }) => path !== '/');
    expect(entries.map(referenceLine).sort()).toEqual([...expected.values()].sort());
    expect(image.layers.map(({ kind }) => kind)).toEqual(Array(2).fill(tag === 'full' ? 'full' : 'index-only'));
  });
});

describe('what is opened', () => {
  let layout: TestLayout;
  const tars = [
    new TarBuilder().dir('etc/').file('etc/a', 'lower').file('big', 'x'.repeat(300_000)).build(),
    new TarBuilder().file('etc/a', 'upper').build(),
  ];
  beforeAll(async () => {
    layout = await convertedLayout([{ tar: tars[0]! }, { tar: tars[1]!, compression: 'zstd' }]);
  });
  afterAll(() => layout.remove());

  it('a mixed stack: an index-only layer below, a full one above', async () => {
    const image = await openImage(layout.target, INDEXED);
    expect(image.layers.map(({ kind }) => kind)).toEqual(['index-only', 'full']);
    const files = await openFiles(image);
    expect(await readText(files, '/etc/a')).toBe('upper');
    expect(await readText(files, '/big')).toBe('x'.repeat(300_000));
    const [lower, upper] = image.layers;
    expect(lower).toMatchObject({ algorithm: 'lz4', blockSize: 4096, source: { mediaType: OCI.layerGzip } });
    expect(lower?.gzipIndex?.compressedSize).toBe(lower?.source?.size);
    expect(lower?.diffId).toBe(image.config.rootfs.diff_ids[0]);
    expect(upper).toMatchObject({ index: 1, algorithm: 'zstd', blockSize: 32_768 });
    expect(image.platform).toBe('linux/amd64');
  });

  it('an ordinary image is refused, with the way out', async () => {
    await expect(openImage(layout.target, 'base')).rejects.toMatchObject({
      code: 'image-unsupported',
      where: { image: `${layout.target.name}:base` },
      hint: expect.stringContaining('accel convert'),
    });
  });

  it('an absent tag is not-found', async () => {
    await expect(openImage(layout.target, 'absent')).rejects.toMatchObject({ code: 'not-found' });
  });

  it('an acceleration layer is no part of the stack', async () => {
    const target = new MemoryTarget();
    const { manifest } = await openImage(layout.target, FULL);
    for (const { mediaType, digest, size } of manifest.layers)
      target.put(mediaType, await fetchBytes(layout.target, { mediaType, digest, size }, 1 << 24));
    const annotations = {
      [LAYER_ANNOTATION.accelerationLayer]: 'yes',
      [LAYER_ANNOTATION.blobDigest]: 'sha256:0',
    };
    const list: Descriptor = { ...target.put(OCI.layerGzip, Buffer.from('not read')), annotations };
    await putImage(target, 'traced', [...manifest.layers, list]);
    const image = await openImage(target, 'traced');
    expect(image.layers.map(({ kind }) => kind)).toEqual(['full', 'full', 'acceleration']);
    expect(await readText(await openFiles(image), '/etc/a')).toBe('upper');
  });

  it('an aborted signal ends it', async () => {
    const controller = new AbortController();
    const files = await openFiles(await openImage(layout.target, INDEXED, { signal: controller.signal }));
    controller.abort();
    await expect(readText(files, '/big')).rejects.toMatchObject({ code: 'aborted' });
  });
});

describe('the image of an index', () => {
  async function indexed(platforms: readonly (string | undefined)[]): Promise<MemoryTarget> {
    const target = await goldenTarget();
    const image = await target.resolve('full');
    const manifests = platforms.map((platform) => {
      const [os = '', architecture = ''] = platform?.split('/') ?? [];
      return { ...image, ...(platform === undefined ? {} : { platform: { os, architecture } }) };
    });
    const attestation = {
      ...target.put(OCI.manifest, encodeJson({ schemaVersion: 2 })),
      platform: { os: 'unknown', architecture: 'unknown' },
    };
    const index = { schemaVersion: 2, mediaType: OCI.index, manifests: [...manifests, attestation] };
    await target.tag(target.put(OCI.index, encodeJson(index)), 'index');
    return target;
  }
  const host = `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`;

  it.each([
    ['the only one', ['linux/s390x'], undefined],
    ['the one of this machine', ['linux/s390x', host], undefined],
    ['the one that is asked for', ['linux/s390x', host], 'linux/s390x'],
  ])('%s', async (_, platforms, platform) => {
    const image = await openImage(await indexed(platforms), 'index', { platform });
    expect(image.manifest.layers).toHaveLength(2);
  });

  it.each([
    ['not there', ['linux/s390x', host], 'linux/ppc64le'],
    ['none for this machine', ['linux/s390x', 'linux/ppc64le'], undefined],
  ])('%s: the error lists the platforms', async (_, platforms, platform) => {
    await expect(openImage(await indexed(platforms), 'index', { platform })).rejects.toMatchObject({
      code: 'not-found',
      found: platforms.join(', '),
    });
  });
});
