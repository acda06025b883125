import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildLayout, type LayerSpec } from '../../fixtures/image-builder.ts';
import { openLayout } from '../../oci/layout-target.ts';
import { OCI } from '../../oci/media-types.ts';
import { MemoryTarget } from '../../oci/memory-target.ts';
import {
  BOTH,
  CountingTarget,
  convertWithin,
  request,
  smallTar,
  type TestLayout,
  testLayout,
} from '../../tests/support/converter.ts';
import type { ConvertEvent } from '../events.ts';
import { type ConvertResult, DEFAULT_ARTIFACT } from '../options.ts';
import { CACHE_TAG, LayerCache } from './layer-record.ts';

const base: readonly LayerSpec[] = [
  { tar: smallTar(1) },
  { tar: smallTar(2), compression: 'none' },
  { tar: smallTar(3) },
  { tar: smallTar(4) },
];

let layout: TestLayout;
let target: CountingTarget;

beforeEach(async () => {
  layout = await testLayout(base);
  target = new CountingTarget(layout.target);
});
afterEach(() => layout.remove());

const digests = (result: ConvertResult): string[] => result.tags.map((tag) => tag.digest);

/** Converts the tag `next` and returns the digests, and the positions of the layers that were taken over. */
async function convertNext(layers: readonly LayerSpec[], cache = true) {
  await buildLayout(layout.directory, 'next', layers);
  target = new CountingTarget(await openLayout(layout.directory, { create: false }));
  const reused: number[] = [];
  const onEvent = (event: ConvertEvent): void => {
    if (event.type === 'layer-reused') reused.push(event.layer.index);
  };
  const outputs = BOTH.map(({ tag, kind }) => ({ tag: `${tag}_${cache ? 'cached' : 'scratch'}`, kind }));
  const result = await convertWithin(target, request({ source: { tag: 'next' }, outputs, cache }), { onEvent });
  return { result, reused };
}

describe('layers that were converted before', () => {
  it('are taken over, their sources not read, and the result is the one from scratch', async () => {
    await convertWithin(target, request({ cache: true }));
    const next = [...base, { tar: smallTar(5) }];
    const { result, reused } = await convertNext(next);
    const sources = result.tags[0]!.manifests[0]!.layers.map((layer) => layer.sourceDigest);
    expect(reused).toEqual([0, 1, 2, 3]);
    expect(sources.filter((digest) => target.fetched.includes(digest))).toEqual([sources[4]]);
    expect(digests(result)).toEqual(digests((await convertNext(next, false)).result));
  });

  it('are taken over as far as the chain is the same', async () => {
    await convertWithin(target, request({ cache: true }));
    const changed = [base[0]!, base[1]!, { tar: smallTar(9) }, base[3]!];
    const { result, reused } = await convertNext(changed);
    expect(reused).toEqual([0, 1]);
    expect(digests(result)).toEqual(digests((await convertNext(changed, false)).result));
  });

  it('are all of them there for the same image under another tag', async () => {
    await convertWithin(target, request({ cache: true }));
    const { result, reused } = await convertNext(base);
    expect(reused).toEqual([0, 1, 2, 3]);
    expect(digests(result)).toEqual(digests((await convertNext(base, false)).result));
  });

  it('keep to a full layer among index-only ones, and to a full bottom', async () => {
    const mixed: readonly LayerSpec[] = [base[0]!, { tar: smallTar(2), compression: 'zstd' }, base[2]!];
    await convertNext(mixed);
    await layout.target.resolve(CACHE_TAG);
    const grown = [...mixed, { tar: smallTar(6) }];
    const { result, reused } = await convertNext(grown);
    expect(reused).toEqual([0, 1, 2]);
    expect(result.tags[1]!.manifests[0]!.layers.map((layer) => layer.kind)).toEqual([
      'index-only',
      'full',
      'index-only',
      'index-only',
    ]);
    expect(digests(result)).toEqual(digests((await convertNext(grown, false)).result));
    const zstdBottom: readonly LayerSpec[] = [{ tar: smallTar(1), compression: 'zstd' }, base[1]!];
    await convertNext(zstdBottom);
    const second = await convertNext([...zstdBottom, base[2]!]);
    // The third layer's full blob is the one of the chain above, though its source was compressed otherwise there.
    expect(second.reused).toEqual([0, 1, 2]);
    expect(second.result.tags[1]!.digest).toBe(second.result.tags[0]!.digest);
  });

  it('are made again when a blob is gone', async () => {
    const first = await convertWithin(target, request({ cache: true }));
    const gone = first.tags[0]!.manifests[0]!.layers[1]!.digest;
    await rm(join(layout.directory, 'blobs', ...gone.split(':')));
    const { result, reused } = await convertNext([...base, { tar: smallTar(5) }]);
    expect(reused).toEqual([0]);
    expect(result.tags[0]!.manifests[0]!.layers[1]!.digest).toBe(gone);
  });

  it('are not looked at with --force or without the cache, nor after other options', async () => {
    await convertWithin(target, request({ cache: true }));
    const events: ConvertEvent[] = [];
    const onEvent = (event: ConvertEvent): number => events.push(event);
    await convertWithin(target, request({ cache: true, force: true }), { onEvent });
    await convertWithin(target, request({ cache: false, force: true }), { onEvent });
    const artifact = { ...request().artifact, blockSize: 8192, span: 1 << 21 };
    await convertWithin(target, request({ cache: true, artifact }), { onEvent });
    expect(events.filter((event) => event.type === 'layer-reused')).toEqual([]);
  });

  it('of the default block size of earlier versions are no full layers of the default', async () => {
    const convertFull = async (blockSize: number, tag: string) => {
      const reused: number[] = [];
      const onEvent = (event: ConvertEvent): void => {
        if (event.type === 'layer-reused') reused.push(event.layer.index);
      };
      const artifact = { ...DEFAULT_ARTIFACT, blockSize };
      const outputs = [{ tag, kind: 'full' as const }];
      const result = await convertWithin(target, request({ cache: true, outputs, artifact }), { onEvent });
      return { reused, layers: result.tags[0]!.manifests[0]!.layers.map(({ digest }) => digest) };
    };
    const old = await convertFull(4096, 'old');
    const now = await convertFull(DEFAULT_ARTIFACT.blockSize, 'now');
    expect(now.reused).toEqual([]);
    expect(now.layers).not.toEqual(old.layers);
    expect(await convertFull(DEFAULT_ARTIFACT.blockSize, 'again')).toEqual({ ...now, reused: [0, 1, 2, 3] });
    expect(await convertFull(4096, 'old-again')).toEqual({ ...old, reused: [0, 1, 2, 3] });
  });
});

describe('the record', () => {
  it('is not written when nothing is uploaded, nor without --cache', async () => {
    await convertWithin(target, request({ cache: true, noUpload: true }));
    await convertWithin(target, request({ cache: false }));
    await expect(layout.target.resolve(CACHE_TAG)).rejects.toMatchObject({ code: 'not-found' });
  });

  it.each([
    ['no JSON', '{'],
    ['no record', '{"layers":[1,2]}'],
    ['entries of nonsense', '{"version":1,"layers":{"full:x":{"kind":"full","digest":"../../etc/passwd"},"y":7}}'],
  ])('counts as empty when it is damaged: %s', async (_, text) => {
    const memory = new MemoryTarget();
    const layer = memory.put('application/vnd.accel-image.cache.v1+json', Buffer.from(text));
    const config = memory.put('application/vnd.oci.empty.v1+json', Buffer.from('{}'));
    const manifest = memory.put(
      OCI.manifest,
      Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI.manifest, config, layers: [layer] })),
    );
    await memory.tag(manifest, CACHE_TAG);
    const cache = await LayerCache.open(memory, new AbortController().signal);
    const key = { chainId: 'x', virtualSize: 1, artifact: request().artifact, sourceDigest: 'y' };
    expect(await cache.find('full', key)).toBeUndefined();
  });

  it('keeps what another run wrote meanwhile', async () => {
    const signal = new AbortController().signal;
    const memory = new MemoryTarget();
    const one = await LayerCache.open(memory, signal);
    const two = await LayerCache.open(memory, signal);
    const key = (chainId: string) => ({ chainId, virtualSize: 1, artifact: request().artifact, sourceDigest: 'y' });
    one.add('index-only', key('a'), { notIndexable: 'zstd' });
    two.add('index-only', key('b'), { notIndexable: 'zstd' });
    await one.save();
    await two.save();
    const three = await LayerCache.open(memory, signal);
    expect(await three.find('index-only', key('a'))).toEqual({ notIndexable: 'zstd' });
    expect(await three.find('index-only', key('b'))).toEqual({ notIndexable: 'zstd' });
  });
});
