/** Layers that are laid out for a start: the same device and tree, and fewer places that a start reads. */
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { buildLayout, type ImageOptions, type LayerSpec } from '../fixtures/image-builder.ts';
import { TarBuilder } from '../fixtures/tar-builder.ts';
import { RECORD_ANNOTATION, STARTUP_SIZE_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import { inspectReference } from '../inspect/inspect-reference.ts';
import { openLayout } from '../oci/layout-target.ts';
import { openImage } from '../reader/accelerated-image.ts';
import { openFiles } from '../reader/files.ts';
import {
  BOTH,
  CountingTarget,
  convertWithin,
  request,
  type TestLayout,
  testLayout,
} from '../tests/support/converter.ts';
import { differingBlocks, readBlocks } from '../tests/support/device-blocks.ts';
import { tempDirectory } from '../tests/support/tools.ts';
import { buildStack, stacks } from '../verify/source-tree/testing/stacks.ts';
import { verifyReference } from '../verify/verify-reference.ts';
import type { ConvertEvent } from './events.ts';
import { type ArtifactOptions, type ConvertRequest, DEFAULT_ARTIFACT } from './options.ts';

const INDEX_ONLY = { tag: 'indexed', kind: 'index-only' } as const;
const CHUNK = 256 * 1024;

let layout: TestLayout | undefined;
afterEach(() => layout?.remove());

async function use(layers: readonly LayerSpec[], options: ImageOptions = {}): Promise<CountingTarget> {
  await layout?.remove();
  layout = await testLayout(layers, options);
  return new CountingTarget(layout.target);
}

function laidOut(overrides: Partial<ConvertRequest> = {}, artifact: Partial<ArtifactOptions> = {}): ConvertRequest {
  return request({ artifact: { ...DEFAULT_ARTIFACT, layout: 'startup', ...artifact }, force: true, ...overrides });
}

async function differences(target: CountingTarget, tag: string) {
  const { images } = await verifyReference({ accelerated: { target, tagOrDigest: tag }, platforms: [], quick: false });
  return images.flatMap((image) => image.differences);
}

/** Bytes that do not compress. */
function noise(seed: number, length: number): Uint8Array {
  let state = seed + 1;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 24;
  });
}

/** Twelve small files that a start reads, each between half a MiB that it does not, in two layers. */
const WANTED = Array.from({ length: 12 }, (_, i) => `usr/lib/wanted-${i}`);
function scattered(): LayerSpec[] {
  return [0, 1].map((layer) => {
    const tar = new TarBuilder();
    if (layer === 0) tar.dir('usr/').dir('usr/lib/').dir('etc/').file('etc/os-release', 'NAME=test\n');
    WANTED.slice(layer * 6, layer * 6 + 6).forEach((path, i) => {
      tar.file(`usr/lib/between-${layer}-${i}`, noise(100 * layer + i, 1 << 19));
      tar.file(path, noise(1000 + 10 * layer + i, 9000));
    });
    return { tar: tar.build(), compression: 'gzip' as const };
  });
}
const LIST = { lines: WANTED.map((path) => `/${path}`) };

interface Cost {
  readonly chunks: number;
  readonly requests: number;
}

/** The cost of a start that reads every wanted file, from nothing. */
async function startOf(target: CountingTarget, tag: string): Promise<Cost> {
  const ranges: { readonly digest: string; readonly offset: number; readonly length: number }[] = [];
  const image = await openImage(target, tag, {
    onRange: (digest, offset, length) => ranges.push({ digest, offset, length }),
  });
  const files = await openFiles(image);
  await files.names('/');
  for (const path of WANTED) for await (const _ of files.content(`/${path}`));
  const layers = new Set(image.layers.map(({ descriptor }) => descriptor.digest));
  const chunks = new Set<string>();
  for (const { digest, offset, length } of ranges.filter((range) => layers.has(range.digest)))
    for (let at = Math.floor(offset / CHUNK); at * CHUNK < offset + length; at++) chunks.add(`${digest} ${at}`);
  return { chunks: chunks.size, requests: image.statistics().requests };
}

describe('a start', () => {
  it.each(['lz4', 'zstd'] as const)('finds what it reads in the first chunk of each layer: %s', async (algorithm) => {
    const target = await use(scattered());
    const artifact = { algorithm, blockSize: algorithm === 'lz4' ? 4096 : 32_768 };
    const outputs = [BOTH[0]!];
    await convertWithin(target, request({ artifact: { ...DEFAULT_ARTIFACT, ...artifact }, outputs, force: true }));
    const before = await startOf(target, 'base_accelerated');
    await convertWithin(target, laidOut({ outputs, prefetch: LIST }, artifact));
    const after = await startOf(target, 'base_accelerated');
    // Of two layers the first chunk, and the one or two that its index and trailer are in.
    expect(before.chunks).toBeGreaterThanOrEqual(14);
    expect(after.chunks).toBeLessThanOrEqual(6);
    expect(after.requests).toBeLessThanOrEqual(before.requests / 2);
    expect(await differences(target, 'base_accelerated')).toEqual([]);
  });

  it('reads less of the source layers of an index-only image', async () => {
    const target = await use(scattered());
    await convertWithin(target, request({ outputs: [INDEX_ONLY], force: true }));
    const before = await sourceBytes(target);
    await convertWithin(target, laidOut({ outputs: [INDEX_ONLY], prefetch: LIST }));
    const after = await sourceBytes(target);
    // The reader stops at the end of what is read; access points say where to begin.
    expect(after.read).toBeLessThan(before.read * 0.65);
    expect(after.points).toBeGreaterThan(before.points);
    // Resolving, manifest and config; each layer's own blob, which is small; each file, all of which are half a megabyte apart.
    expect((await startOf(target, 'indexed')).requests).toBe(3 + 2 + WANTED.length);
    expect(await differences(target, 'indexed')).toEqual([]);
  });
});

async function sourceBytes(target: CountingTarget): Promise<{ read: number; points: number }> {
  let read = 0;
  const sources = new Set<string>();
  const image = await openImage(target, 'indexed', {
    onRange: (digest, _, length) => {
      if (sources.has(digest)) read += length;
    },
  });
  for (const { sourceDigest } of image.layers) sources.add(sourceDigest ?? '');
  const files = await openFiles(image);
  for (const path of WANTED) for await (const _ of files.content(`/${path}`));
  return { read, points: image.layers.reduce((sum, { gzipIndex }) => sum + (gzipIndex?.points.length ?? 0), 0) };
}

describe('the image', () => {
  it('says so: in annotations of the manifest and of its layers, and in what inspect finds', async () => {
    const target = await use(scattered());
    const result = await convertWithin(target, laidOut({ prefetch: LIST }));
    const { manifest } = await openImage(target, 'base_accelerated');
    expect(manifest.annotations?.[RECORD_ANNOTATION.layout]).toBe('startup');
    expect(manifest.annotations?.[RECORD_ANNOTATION.options]).toContain(',layout=startup,');
    const sizes = manifest.layers.slice(0, 2).map(({ annotations }) => Number(annotations?.[STARTUP_SIZE_ANNOTATION]));
    // Six files of 9000 bytes, and metadata.
    for (const size of sizes) {
      expect(size).toBeGreaterThan(6 * 9000);
      expect(size).toBeLessThan(130_000);
    }
    const { images } = await inspectReference(target, 'base_accelerated');
    expect(images[0]).toMatchObject({
      layout: 'startup',
      layers: [{ startupSize: sizes[0] }, { startupSize: sizes[1] }, { kind: 'acceleration' }],
    });
    expect(result.tags.map(({ upToDate }) => upToDate)).toEqual([false, false]);
    const again = await convertWithin(target, laidOut({ prefetch: LIST, force: false }));
    expect(again.tags.map(({ upToDate }) => upToDate)).toEqual([true, true]);
    const plain = await convertWithin(target, request({ prefetch: LIST }));
    expect(plain.tags.map(({ upToDate }) => upToDate)).toEqual([false, false]);
  });

  it('is that of its command where no list is given, and names every layer once in the events', async () => {
    const tar = new TarBuilder().dir('usr/').dir('usr/bin/');
    for (let i = 0; i < 8; i++) tar.file(`usr/bin/other-${i}`, noise(i, 200_000));
    tar.file('usr/bin/app', '#!/usr/bin/none\n', { mode: 0o755 });
    const target = await use([{ tar: tar.build() }], { config: { Cmd: ['/usr/bin/app'] } });
    const events: ConvertEvent[] = [];
    const result = await convertWithin(target, laidOut(), { onEvent: (event) => events.push(event) });
    const made = events.filter((event) => event.type === 'layer-converted');
    expect(made).toHaveLength(1);
    expect(made[0]!.outputs.map(({ digest }) => digest).sort()).toEqual(
      result.tags.map(({ manifests }) => manifests[0]!.layers[0]!.digest).sort(),
    );
    const image = await openImage(target, 'base_accelerated');
    const files = await openFiles(image);
    const [extent] = await files.extents(await files.stat('/usr/bin/app'));
    const [part] = [...image.device.segments(extent!.offset, 512)];
    // Behind metadata, and before 1.6 MB of other files.
    expect(part!.moffset).toBeLessThan(100_000);
  });

  it('takes layers over that were laid out for the same start, and no others', async () => {
    const target = await use(scattered());
    const reused = async (wanted: ConvertRequest): Promise<number> => {
      let count = 0;
      await convertWithin(target, wanted, { onEvent: ({ type }) => (count += type === 'layer-reused' ? 1 : 0) });
      return count;
    };
    const recorded = (wanted: ConvertRequest): ConvertRequest => ({ ...wanted, cache: true, force: false });
    const [first, second] = ['one', 'two'].map((tag) => ({ outputs: [{ tag, kind: 'full' as const }] }));
    expect(await reused(recorded(request(first)))).toBe(0);
    expect(await reused(recorded(laidOut({ ...second, prefetch: LIST })))).toBe(0);
    const other = { outputs: [{ tag: 'three', kind: 'full' as const }] };
    expect(await reused(recorded(laidOut({ ...other, prefetch: { lines: LIST.lines.slice(1) } })))).toBe(0);
    const same = { outputs: [{ tag: 'four', kind: 'full' as const }] };
    expect(await reused(recorded(laidOut({ ...same, prefetch: LIST })))).toBe(2);
    const [two, four] = await Promise.all(['two', 'four'].map((tag) => target.resolve(tag)));
    expect(four!.digest).toBe(two!.digest);
  });
});

it('random stacks: the device is the same block by block, with any number of threads', {
  timeout: 240_000,
}, async () => {
  let verified = 0;
  let moved = 0;
  const property = fc.asyncProperty(stacks, fc.constantFrom(4096, 16_384), async (stack, blockSize) => {
    const { path, remove } = await tempDirectory('accel-startup-random-');
    try {
      const layers = buildStack(stack).map((tar) => ({ tar, compression: 'none' as const }));
      await buildLayout(path, 'base', layers);
      const target = new CountingTarget(await openLayout(path));
      const artifact = { ...DEFAULT_ARTIFACT, blockSize };
      const plain = await convertWithin(target, request({ artifact })).catch(() => undefined);
      // Two of three stacks are refused, and do not count.
      fc.pre(plain !== undefined);
      const device = await readBlocks((await openImage(target, 'base_accelerated')).device);
      const prefetch = { lines: ['/b/', '/a', '/a/', '/c/*'] };
      const made = await convertWithin(target, laidOut({ prefetch }, { blockSize }));
      for (const { tag } of BOTH) {
        const image = await openImage(target, tag);
        expect(differingBlocks(device, await readBlocks(image.device))).toEqual([]);
        moved += image.manifest.layers.filter(({ annotations }) => annotations?.[STARTUP_SIZE_ANNOTATION]).length;
      }
      if (verified++ % 20 !== 0) return;
      expect(await differences(target, 'base_accelerated')).toEqual([]);
      const again = await convertWithin(target, laidOut({ prefetch, workers: 2 }, { blockSize }));
      expect(again.tags.map(({ digest }) => digest)).toEqual(made.tags.map(({ digest }) => digest));
    } finally {
      await remove();
    }
  });
  await fc.assert(property, { numRuns: Number(process.env.FUZZ_RUNS ?? 20) });
  expect(moved).toBeGreaterThan(verified);
});
