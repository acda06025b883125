import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../formats/ext4/reader.ts';
import type { LayerSegment } from '../../formats/lsmt/merge.ts';
import { decodeTrace } from '../../formats/prefetch/reader.ts';
import type { ImageConfig } from '../../oci/config.ts';
import { readCarriedPrefetch } from '../../prefetch/carried.ts';
import { parsePrefetchLines } from '../../prefetch/lines.ts';
import { resolvePrefetch } from '../../prefetch/resolve-list.ts';
import { type AcceleratedImage, openImage } from '../../reader/accelerated-image.ts';
import { type FileStat, type ImageFiles, openFiles } from '../../reader/files.ts';
import { replay } from '../../reader/testing/replay.ts';
import { treeOf } from '../../reader/testing/test-images.ts';
import { BOTH, convertWithin, request, type TestLayout, testLayout } from '../../tests/support/converter.ts';
import { NOT_UTF8, ODD_NAMES, prefetchLayers } from '../../tests/support/prefetch-image.ts';
import type { TreeEntry } from '../../tests/support/tree.ts';
import { verifyReference } from '../../verify/verify-reference.ts';
import type { ConvertEvent } from '../events.ts';
import type { ConvertRequest, ConvertResult, PrefetchRequest } from '../options.ts';
import { addPrefetch } from './add-prefetch.ts';

/** A list of every kind of line that the form `list` can say. */
const PLAIN = ['# a comment', '', '/bin/app', '/usr/bin/current', '/srv/data', '/srv/empty', '/crowd/', '/srv/zer*'];
const ODD = [...ODD_NAMES.map((name) => `/opt/${name}`), Buffer.concat([Buffer.from('/'), NOT_UTF8])];

const FULL = 'base_accelerated';
const INDEXED = 'base_containerd_accelerated';

let layout: TestLayout;
beforeAll(async () => {
  layout = await testLayout(prefetchLayers(), { config: { Cmd: ['/bin/app'] } });
});
afterAll(() => layout.remove());

async function convert(
  prefetch: PrefetchRequest,
  more: Partial<ConvertRequest> = {},
): Promise<{ result: ConvertResult; events: ConvertEvent[] }> {
  const events: ConvertEvent[] = [];
  const wanted = request({ prefetch, force: true, ...more });
  const result = await convertWithin(layout.target, wanted, { onEvent: (event) => events.push(event) });
  return { result, events };
}

/** Opens the image again with room for everything that is read, and reads its prefetch list. */
async function open(tag: string): Promise<{ image: AcceleratedImage; trace: Uint8Array }> {
  const image = await openImage(layout.target, tag, { cacheBytes: 1 << 28 });
  const carried = await readCarriedPrefetch(layout.target, image.manifest.layers);
  return { image, trace: carried!.trace };
}

/** Requests that reading every file of a list takes, the look-ups included. */
async function costOf(image: AcceleratedImage, lines: PrefetchRequest['lines']): Promise<number> {
  const { items } = await resolvePrefetch(image.device, parsePrefetchLines(lines));
  const before = image.statistics().requests;
  const files = await openFiles(image);
  for (const { path } of items.flatMap((item) => item.files)) for await (const _ of files.content(path));
  return image.statistics().requests - before;
}

describe('after the replay', () => {
  it.each([
    ['a trace', FULL, 'trace', [...PLAIN, ...ODD], undefined],
    ['a list', INDEXED, 'list', PLAIN, undefined],
    ['a list over full layers', FULL, 'list', PLAIN, 'list'],
  ] as const)('of %s reading every file of the list takes no request', async (_name, tag, form, lines, format) => {
    const { result, events } = await convert({ lines, ...(format === undefined ? {} : { format }) });
    const made = result.tags.find((one) => one.tag === tag)!.manifests[0]!.prefetch!;
    expect(made.form).toBe(form);
    expect(events.filter(({ type }) => type === 'prefetch')).toHaveLength(2);
    const { image, trace } = await open(tag);
    await replay(image, trace);
    expect(await costOf(image, lines)).toBe(0);
    // The judge must see a difference, or it judges nothing.
    expect(await costOf(image, ['/unwanted'])).toBeGreaterThan(0);
  });
});

describe('a trace', () => {
  it('has exactly the blocks that mounting, looking up and reading the files takes', async () => {
    await convert({ lines: [...PLAIN, ...ODD] });
    const { image, trace } = await open(FULL);
    const named = new Set<string>();
    for (const { layer, offset, length } of decodeTrace(trace))
      for (let at = 0; at < length; at += SECTOR) named.add(`${layer}:${offset + at}`);
    const needed = await sectorsRead(image, async (files) => {
      for (const { offset, length } of files.mountExtents()) await files.device.read(offset, length);
      const paths = ['/bin/app', '/usr/bin/current', '/srv/data', '/srv/empty', '/srv/zeros', '/opt/caf\xe9'];
      for (const path of [...paths, ...ODD_NAMES.map((name) => `/opt/${Buffer.from(name).toString('latin1')}`)]) {
        const steps: FileStat[] = [];
        const stat = await files.files.lookup(path, { onStep: (step) => steps.push(step) });
        for (const step of steps) await files.files.xattrs(step);
        for await (const _ of files.files.content(stat));
      }
      for await (const stat of files.files.walk('/crowd'))
        if (stat.type === 'file') for await (const _ of files.files.content(stat));
    });
    expect([...named].sort()).toEqual([...needed].sort());
  });

  it('begins with the superblock and comes to the files in the order of the list', async () => {
    const orders = [
      ['/srv/data', '/usr/bin/['],
      ['/usr/bin/[', '/srv/data'],
    ];
    const traces: string[] = [];
    for (const lines of orders) {
      await convert({ lines });
      const { trace } = await open(FULL);
      const reads = decodeTrace(trace);
      traces.push(JSON.stringify(reads.slice(-3).map(({ layer }) => layer)));
      expect(reads.some(({ layer, length }) => layer === 1 && length === 1 << 20)).toBe(true);
    }
    expect(traces).toEqual(['[1,1,0]', '[0,1,1]']);
  });
});

describe('the image', () => {
  it('is the same with any number of workers, from layers that were converted before, and when the list is added later', async () => {
    const prefetch = { lines: PLAIN };
    const { result } = await convert(prefetch, { workers: 0 });
    const digests = result.tags.map(({ digest }) => digest);
    const again = await convert(prefetch, { workers: 2 });
    expect(again.result.tags.map(({ digest }) => digest)).toEqual(digests);
    await convert({ lines: ['/srv/data'] }, { force: false, cache: true });
    const reused = await convert(prefetch, { force: false, cache: true });
    expect(reused.events.filter(({ type }) => type === 'layer-reused')).toHaveLength(2);
    expect(reused.result.tags.map(({ digest }) => digest)).toEqual(digests);
    const plain = await convertWithin(layout.target, request({ force: true, noPrefetch: true }));
    for (const { tag, digest } of result.tags) {
      const added = await addPrefetch({ target: layout.target, tagOrDigest: tag, prefetch });
      expect(added).toMatchObject({ tag, digest, upToDate: false });
      expect(plain.tags.map((one) => one.digest)).not.toContain(digest);
      expect((await addPrefetch({ target: layout.target, tagOrDigest: tag, prefetch })).upToDate).toBe(true);
    }
  });

  it('stays with the same list, and changes with another list, another order, or no list', async () => {
    const once = await convert({ lines: ['/srv/data', '/srv/empty'] });
    const same = await convert({ lines: ['# the same', ' /srv/data', '', '/srv/empty'] }, { force: false });
    expect(same.result.tags.map(({ upToDate }) => upToDate)).toEqual([true, true]);
    expect(same.result.tags[0]!.manifests[0]!.layers).toHaveLength(2);
    const digests = [once.result.tags[0]!.digest];
    for (const prefetch of [
      { lines: ['/srv/empty', '/srv/data'] },
      { lines: ['/srv/data'] },
      { lines: ['/srv/data'], format: 'list' as const },
    ]) {
      const { result } = await convert(prefetch, { force: false });
      expect(result.tags.map(({ upToDate }) => upToDate)).toEqual([false, false]);
      digests.push(result.tags[0]!.digest);
    }
    const plain = await convertWithin(layout.target, request({ noPrefetch: true }));
    expect(plain.tags.map(({ upToDate }) => upToDate)).toEqual([false, false]);
    expect(new Set([...digests, plain.tags[0]!.digest]).size).toBe(5);
  });

  it('has a config in which the layer counts: diff_id, and a step of the history as old as the image', async () => {
    const plain = await convertWithin(layout.target, request({ force: true, noPrefetch: true }));
    const { result } = await convert({ lines: PLAIN });
    const before = await openImage(layout.target, plain.tags[0]!.digest);
    const { image } = await open(FULL);
    const carried = await readCarriedPrefetch(layout.target, image.manifest.layers);
    const { rootfs, history = [], ...rest } = image.config;
    const { rootfs: plainRoot, history: plainHistory = [], ...plainRest } = before.config;
    expect(rest).toEqual(plainRest);
    expect(rootfs.diff_ids).toEqual([...plainRoot.diff_ids, carried!.diffId]);
    expect(history?.slice(0, -1)).toEqual(plainHistory);
    expect(history?.at(-1)).toEqual({ ...createdOf(before.config), created_by: 'Acceleration Layer' });
    expect(image.manifest.layers.slice(0, -1)).toEqual(before.manifest.layers);
    expect(image.manifest.layers.at(-1)).toMatchObject({
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      annotations: {
        'containerd.io/snapshot/overlaybd/acceleration-layer': 'yes',
        'containerd.io/snapshot/overlaybd/version': '0.1.0',
        'containerd.io/snapshot/overlaybd/blob-fs-type': 'ext4',
        'containerd.io/snapshot/overlaybd/blob-digest': carried!.descriptor.digest,
        'containerd.io/snapshot/overlaybd/blob-size': String(carried!.descriptor.size),
      },
    });
    expect(result.tags[0]!.manifests[0]!.size).toBe(
      image.manifest.layers.reduce((sum, layer) => sum + layer.size, image.manifest.config.size),
    );
  });

  it('verifies, and its device is that of the image without the list', async () => {
    await convertWithin(layout.target, request({ force: true }));
    const plain = await contentOf(await openImage(layout.target, FULL));
    await convert({ lines: PLAIN });
    for (const tag of [FULL, INDEXED]) {
      const named = { target: layout.target, tagOrDigest: tag };
      const verified = await verifyReference({ accelerated: named, platforms: [], quick: false });
      expect(verified).toMatchObject({ identical: true, images: [{ warnings: [], compared: { layers: 3 } }] });
    }
    expect(await contentOf((await open(FULL)).image)).toEqual(plain);
  });

  it('without upload gets the layer it would have had', async () => {
    const { result } = await convert({ lines: PLAIN });
    const dry = await convert({ lines: PLAIN }, { noUpload: true });
    expect(dry.result.tags.map(({ digest }) => digest)).toEqual(result.tags.map(({ digest }) => digest));
  });
});

describe('a line that names nothing', () => {
  const LINES = ['/srv/data', '/absent', '/no/such/*', '/crowd', '/srv/*.none', '/dangling/'];

  it('is reported with its number, and the rest is prefetched', async () => {
    const { result } = await convert({ lines: LINES }, { outputs: [BOTH[0]!] });
    expect(result.warnings).toEqual([
      'linux/amd64: prefetch line 2 (/absent): there is no such file in the image',
      'linux/amd64: prefetch line 3 (/no/such/*): nothing in the image matches',
      'linux/amd64: prefetch line 4 (/crowd): this is a directory; end it with a slash to prefetch what is in it',
      'linux/amd64: prefetch line 5 (/srv/*.none): nothing in the image matches',
      'linux/amd64: prefetch line 6 (/dangling/): there is no such file in the image',
    ]);
    expect(result.tags[0]!.manifests[0]!.prefetch).toMatchObject({ files: 1, bytes: 1_500_000 });
  });

  it('is not-found with strict, and nothing is tagged', async () => {
    await convertWithin(layout.target, request({ force: true }));
    const before = await layout.target.resolve(FULL);
    await expect(convert({ lines: LINES, strict: true })).rejects.toMatchObject({
      code: 'not-found',
      where: { platform: 'linux/amd64' },
      found: expect.stringContaining('line 2 (/absent)'),
    });
    expect(await layout.target.resolve(FULL)).toEqual(before);
  });

  it('that is no path is usage before any work', async () => {
    await expect(convert({ lines: ['/fine', 'relative'] })).rejects.toMatchObject({
      code: 'usage',
      where: { line: 2 },
    });
  });

  it('alone leaves the image without an acceleration layer', async () => {
    const { result } = await convert({ lines: ['/absent'] }, { outputs: [BOTH[0]!] });
    expect(result.warnings.at(-1)).toContain('no acceleration layer');
    expect(result.tags[0]!.manifests[0]!.prefetch).toBeUndefined();
  });
});

describe('names that the list form cannot say', () => {
  it('are each reported for the containerd image only', async () => {
    const { result } = await convert({ lines: ['/srv/data', ...ODD] });
    const told = result.warnings.filter((warning) =>
      warning.startsWith('linux/amd64: containerd image: prefetch line'),
    );
    expect(told).toHaveLength(ODD.length);
    expect(result.warnings).toHaveLength(ODD.length);
    expect(result.tags.map(({ manifests }) => manifests[0]!.prefetch)).toMatchObject([
      { form: 'trace', files: 1 + ODD.length },
      { form: 'list', entries: 1 },
    ]);
  });

  it('are prefetched by their directory', async () => {
    const { result } = await convert({ lines: ['/opt/'] });
    expect(result.warnings).toEqual([]);
    const { image, trace } = await open(INDEXED);
    expect(Buffer.from(trace).toString()).toBe('/opt/\n');
    await replay(image, trace);
    expect(await costOf(image, ODD)).toBe(0);
  });
});

describe('a stack of both kinds of layers', () => {
  let mixed: TestLayout;
  beforeAll(async () => {
    mixed = await testLayout(prefetchLayers('zstd'));
  });
  afterAll(() => mixed.remove());

  it.each([
    ['above', ['/srv/data'], 'trace'],
    ['below', ['/opt/'], 'list'],
    ['more of it above', ['/srv/data', '/crowd/'], 'list'],
  ] as const)('with the files %s', async (_where, lines, form) => {
    const prefetch = { lines };
    const result = await convertWithin(mixed.target, request({ prefetch, force: true }));
    expect(result.tags[1]!.manifests[0]!.layers.map(({ kind }) => kind)).toEqual(['index-only', 'full']);
    expect(result.tags.map(({ manifests }) => manifests[0]!.prefetch!.form)).toEqual(['trace', form]);
    const image = await openImage(mixed.target, INDEXED, { cacheBytes: 1 << 28 });
    await replay(image, (await readCarriedPrefetch(mixed.target, image.manifest.layers))!.trace);
    expect(await costOf(image, lines)).toBe(0);
    await convertWithin(mixed.target, request({ force: true }));
    const added = await addPrefetch({ target: mixed.target, tagOrDigest: INDEXED, prefetch });
    expect(added.digest).toBe(result.tags[1]!.digest);
  });
});

const SECTOR = 512;

/** Sectors of the layers, `layer:offset`, that `body` reads through a device of its own. */
async function sectorsRead(
  image: AcceleratedImage,
  body: (opened: { files: ImageFiles; device: BlockDevice; mountExtents: ImageFiles['mountExtents'] }) => Promise<void>,
): Promise<Set<string>> {
  const sectors = new Set<string>();
  const note = ({ zeroed, layer, moffset, length }: LayerSegment): void => {
    if (zeroed) return;
    for (let at = 0; at < length; at += SECTOR) sectors.add(`${layer}:${moffset + at}`);
  };
  const device: BlockDevice = {
    size: image.device.size,
    read(offset, length) {
      // Whole blocks, as a kernel reads them.
      const start = Math.floor(offset / BLOCK) * BLOCK;
      const end = Math.ceil((offset + length) / BLOCK) * BLOCK;
      for (const segment of image.device.segments(start, end - start)) note(segment);
      return image.device.read(offset, length);
    },
  };
  const files = await openFiles({ device });
  await body({ files, device, mountExtents: () => files.mountExtents() });
  return sectors;
}

const BLOCK = 4096;

/** A hash of every path with its content. */
async function contentOf(image: AcceleratedImage): Promise<TreeEntry[]> {
  return treeOf(await openFiles(image));
}

function createdOf({ created }: ImageConfig): { created?: unknown } {
  return created === undefined ? {} : { created };
}
