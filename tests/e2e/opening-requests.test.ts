/** The requests that opening an image and reading from it make, counted between accel and a real registry. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CountingProxy, startCountingProxy } from '../../bench/counting-proxy.ts';
import { pushImage } from '../../bench/push-image.ts';
import { DEFAULT_ARTIFACT } from '../../converter/options.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { LAYER_ANNOTATION, STORED_INDEX_ANNOTATION } from '../../formats/overlaybd/annotations.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { digestOf } from '../../oci/digest.ts';
import { encodeJson } from '../../oci/manifest.ts';
import { openRegistry } from '../../oci/registry/registry-target.ts';
import { type AcceleratedImage, openImage } from '../../reader/accelerated-image.ts';
import { openFiles } from '../../reader/files.ts';
import type { OpenStackOptions } from '../../reader/stack.ts';
import { convertedLayout, FULL, INDEXED, readText, treeOf } from '../../reader/testing/test-images.ts';
import { convertWithin, request } from '../support/converter.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';

/** The manifest by its tag, the config. */
const DOCUMENTS = 2;
const SIZE = 9_000_000;

let registry: TestRegistry;
let proxy: CountingProxy;
let target: Awaited<ReturnType<typeof openRegistry>>;
let noise: Buffer;
/** The tags of the images that are laid out. */
const LAID_OUT = 'laid-out';
const LAID_OUT_INDEXED = 'laid-out-indexed';

beforeAll(async () => {
  registry = await startRegistry();
  proxy = await startCountingProxy(registry.host);
  noise = hexNoise(SIZE);
  const large = new TarBuilder()
    .dir('etc/')
    .file('noise', noise)
    .file('etc/release', 'debian')
    .file('second', noise.subarray(0, 600_000))
    .file('rest', noise.subarray(0, 2_000_000))
    .file('first', noise.subarray(600_000, 1_900_000))
    .build();
  const small = new TarBuilder().file('etc/hostname', 'here').build();
  const layout = await convertedLayout([{ tar: large }, { tar: small }], {
    algorithm: 'lz4',
    blockSize: 4096,
    span: 65_536,
  });
  const to = await openRegistry({ registry: registry.host, repository: 'opening' }, { plain: true });
  for (const tag of [FULL, INDEXED]) await pushImage(layout.target, to, tag, 'base');
  const outputs = [
    { tag: LAID_OUT, kind: 'full' as const },
    { tag: LAID_OUT_INDEXED, kind: 'index-only' as const },
  ];
  const artifact = { ...DEFAULT_ARTIFACT, layout: 'startup' as const, span: 65_536 };
  const prefetch = { lines: ['/etc/release', '/first', '/second'] };
  await convertWithin(layout.target, request({ outputs, artifact, prefetch }));
  for (const { tag } of outputs) await pushImage(layout.target, to, tag, 'base');
  await to.close();
  await layout.remove();
  target = await openRegistry({ registry: proxy.host, repository: 'opening' }, { plain: true });
});
afterAll(async () => {
  await target?.close();
  await proxy?.stop();
  await registry?.stop();
});

/** Hexadecimal digits without a pattern: deflate halves them, LZ4 finds nothing. */
function hexNoise(length: number): Buffer {
  const digits = Buffer.from('0123456789abcdef');
  const out = Buffer.alloc(length);
  for (let i = 0, state = 1; i < length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) | 0;
    out[i] = digits[(state >>> 16) & 15]!;
  }
  return out;
}

/** The image, opened from nothing, and the requests and bytes that passed. */
async function opened(tag: string, options: OpenStackOptions = {}) {
  proxy.reset();
  const image = await openImage(target, tag, options);
  return { image, ...proxy.count() };
}

/** Bytes of the layers' blobs. */
function blobBytes({ layers }: AcceleratedImage): number {
  return layers.reduce((sum, { size }) => sum + size, 0);
}

describe('opening a full image', () => {
  it('takes two requests for a large layer and one for a small one', async () => {
    const { image, requests, bytes } = await opened(FULL);
    expect(image.layers[0]!.size).toBeGreaterThan(6 << 20);
    expect(image.layers[1]!.size).toBeLessThan(65_536);
    expect(requests).toBe(DOCUMENTS + 2 + 1);
    expect(bytes).toBeLessThan(100_000);
  });

  it('the superblock and a directory come with the ends', async () => {
    const { image, requests } = await opened(FULL);
    const names = await (await openFiles(image)).names('/etc');
    expect(names.map(({ name }) => name)).toEqual(['hostname', 'release']);
    expect(proxy.count().requests).toBe(requests);
  });
});

describe('an image that is laid out for a start', () => {
  it('gives metadata and the first files with the ends, and the others of the start in large pieces', async () => {
    const { image, requests, bytes } = await opened(LAID_OUT);
    expect(requests).toBe(DOCUMENTS + 2 + 1);
    expect(bytes).toBeLessThan(262_144 + 100_000);
    const files = await openFiles(image);
    await files.names('/');
    expect(await readText(files, '/etc/release')).toBe('debian');
    expect(proxy.count().requests).toBe(requests);
    const text = (await readText(files, '/first')) + (await readText(files, '/second'));
    expect(Buffer.from(text)).toEqual(Buffer.concat([noise.subarray(600_000, 1_900_000), noise.subarray(0, 600_000)]));
    // Some 950 kB of compressed digits, of which a quarter of a megabyte came before.
    expect(proxy.count().requests).toBe(requests + 1);
    expect(proxy.count().bytes).toBeLessThan(1_150_000);
  });

  it('index-only, gives its windows with the metadata, and near files of the source in one request', async () => {
    const { image, requests } = await opened(LAID_OUT_INDEXED);
    expect(requests).toBe(DOCUMENTS + 2 + 1);
    const files = await openFiles(image);
    // The files lie in the order release, second, rest, first: two parts of the source layer.
    expect(Buffer.from(await readText(files, '/second'))).toEqual(noise.subarray(0, 600_000));
    expect(await readText(files, '/etc/release')).toBe('debian');
    expect(proxy.count().requests).toBe(requests + 1);
    expect(Buffer.from(await readText(files, '/first'))).toEqual(noise.subarray(600_000, 1_900_000));
    expect(proxy.count().requests).toBe(requests + 2);
  });
});

describe('opening an index-only image', () => {
  it('takes the metadata and the entries of the index, in two requests, and the small layer whole', async () => {
    const { image, requests, bytes } = await opened(INDEXED);
    const [large] = image.layers;
    const at = Number(large!.descriptor.annotations![STORED_INDEX_ANNOTATION]);
    expect(large!.size - at).toBeGreaterThan(65_536);
    expect(image.layers[1]!.descriptor.annotations![STORED_INDEX_ANNOTATION]).toBeUndefined();
    expect(requests).toBe(DOCUMENTS + 2 + 1);
    const documents = image.descriptor.size + image.manifest.config.size;
    expect(bytes - documents - image.layers[1]!.size).toBeLessThan(at + 338 + 2048 + (large!.size - at) / 96 + 1);
    expect(large!.diffId).toBeUndefined();
  });

  it('a read takes a page of windows and the source layer from the access point to the end of the read', async () => {
    const { image, requests, bytes } = await opened(INDEXED);
    const files = await openFiles(image);
    const stat = await files.stat('/noise');
    const before = proxy.count();
    expect(before.requests).toBe(requests);
    const pieces: Uint8Array[] = [];
    for await (const piece of files.content(stat, 5_000_000, 5_000_016)) pieces.push(piece);
    expect(Buffer.concat(pieces)).toEqual(noise.subarray(5_000_000, 5_000_016));
    expect(proxy.count().requests).toBe(requests + 2);
    // A span of 64 KiB, half of it compressed, what the guess adds, and two pages of windows: one lies in both.
    expect(proxy.count().bytes - bytes).toBeLessThan(40_000 + 17_000 + 2 * 16_384);
  });

  it('whole, its digest is checked and known', async () => {
    const { image, requests, bytes } = await opened(INDEXED, { checksDigests: true });
    expect(requests).toBe(DOCUMENTS + 2);
    expect(bytes).toBe(image.descriptor.size + image.manifest.config.size + blobBytes(image));
    expect(image.layers.map(({ diffId }) => diffId)).toEqual(image.config.rootfs.diff_ids);
  });

  it('has the same tree as the full image', async () => {
    const [indexed, full] = [await opened(INDEXED), await opened(FULL)];
    const tree = await treeOf(await openFiles(indexed.image));
    expect(tree).toEqual(await treeOf(await openFiles(full.image)));
    expect(tree.map(({ path }) => path)).toContain('/noise');
  });

  it.each([
    ['before the index', (at: number) => String(at - 1)],
    ['after its start', (at: number) => String(at + 5)],
    ['at the end of the blob', (_: number, size: number) => String(size - 1)],
    ['outside', (_: number, size: number) => String(size)],
    ['no number', () => 'x'],
  ])('an annotation that points %s is refused', async (_, change) => {
    const { image } = await opened(INDEXED);
    const lying = image.manifest.layers.map((layer): Descriptor => {
      const at = layer.annotations?.[STORED_INDEX_ANNOTATION];
      if (at === undefined) return layer;
      return {
        ...layer,
        annotations: { ...layer.annotations, [STORED_INDEX_ANNOTATION]: change(Number(at), layer.size) },
      };
    });
    const bytes = encodeJson({ ...image.manifest, layers: lying });
    const descriptor = { ...image.descriptor, digest: digestOf(bytes), size: bytes.length };
    await target.push(descriptor, {
      async *open() {
        yield bytes;
      },
    });
    await target.tag(descriptor, 'lying');
    await expect(openImage(target, 'lying')).rejects.toMatchObject({
      code: 'turbo-invalid',
      where: { layer: 1, digest: image.layers[0]!.descriptor.annotations![LAYER_ANNOTATION.blobDigest] },
    });
  });
});
