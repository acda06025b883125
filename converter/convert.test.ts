import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bytesSource } from '../base/byte-source.ts';
import { AccelError } from '../base/error.ts';
import { buildIndexLayout, type LayerSpec } from '../fixtures/image-builder.ts';
import { TarBuilder } from '../fixtures/tar-builder.ts';
import { parseConfig } from '../oci/config.ts';
import { fetchBytes } from '../oci/content.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { openLayout } from '../oci/layout-target.ts';
import { parseIndex, parseManifest } from '../oci/manifest.ts';
import { MemoryTarget } from '../oci/memory-target.ts';
import type { Target } from '../oci/storage.ts';
import {
  BOTH,
  CountingTarget,
  convertWithin,
  request,
  smallTar,
  type TestLayout,
  testLayout,
  threadedTar,
} from '../tests/support/converter.ts';
import { convert, convertBetween, planConversion } from './convert.ts';
import type { ConvertEvent } from './events.ts';
import { type ConvertRequest, DEFAULT_ARTIFACT } from './options.ts';
import { LAYER_ANNOTATION, RECORD_ANNOTATION } from './publish/record-annotations.ts';

let layout: TestLayout;
let target: CountingTarget;

async function use(layers: readonly LayerSpec[], options = {}): Promise<void> {
  await layout?.remove();
  layout = await testLayout(layers, options);
  target = new CountingTarget(layout.target);
}

async function manifestOf(from: Target, tag: string) {
  return manifestIn(from, await from.resolve(tag));
}

async function manifestIn(from: Target, descriptor: Descriptor) {
  return parseManifest(await fetchBytes(from, descriptor, 1 << 22), descriptor);
}

async function failure(run: Promise<unknown>): Promise<AccelError> {
  const error = await run.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(AccelError);
  return error as AccelError;
}

beforeEach(() => use([{ tar: smallTar(1) }, { tar: smallTar(2), compression: 'none' }, { tar: threadedTar(3) }]));
afterEach(() => layout.remove());

describe('both tags', () => {
  it('come out of one pass: every source layer is fetched once', async () => {
    const source = await manifestOf(layout.target, 'base');
    await convertWithin(target, request());
    for (const layer of source.layers)
      expect(target.fetched.filter((digest) => digest === layer.digest)).toHaveLength(1);
    expect(target.tagged).toEqual(['base_accelerated', 'base_containerd_accelerated']);
  });

  it('hold full layers, and index-only layers over the source', async () => {
    const result = await convertWithin(target, request());
    expect(result.tags.map((tag) => tag.manifests[0]?.layers.map((layer) => layer.kind))).toEqual([
      ['full', 'full', 'full'],
      ['index-only', 'index-only', 'index-only'],
    ]);
    const source = await manifestOf(target, 'base');
    const index = await manifestOf(target, 'base_containerd_accelerated');
    expect(index.layers.map((layer) => layer.annotations?.[LAYER_ANNOTATION.targetDigest])).toEqual(
      source.layers.map((layer) => layer.digest),
    );
    expect(index.layers.map((layer) => layer.annotations?.[LAYER_ANNOTATION.targetMediaType])).toEqual(
      source.layers.map((layer) => layer.mediaType),
    );
    for (const layer of index.layers) {
      expect(layer.annotations?.[LAYER_ANNOTATION.version]).toBe('0.1.0-turbo.ociv1');
      expect(layer.annotations?.[LAYER_ANNOTATION.blobDigest]).toBe(layer.digest);
      expect(layer.annotations?.[LAYER_ANNOTATION.blobSize]).toBe(String(layer.size));
    }
  });

  it('keep config and history but for the diff_ids, which are those of the new layers', async () => {
    await convertWithin(target, request());
    const source = await manifestOf(target, 'base');
    const full = await manifestOf(target, 'base_accelerated');
    const before = parseConfig(await fetchBytes(target, source.config, 1 << 20), source.config);
    const after = parseConfig(await fetchBytes(target, full.config, 1 << 20), full.config);
    expect({ ...after, rootfs: undefined }).toEqual({ ...before, rootfs: undefined });
    expect(after.rootfs.diff_ids).toEqual(full.layers.map((layer) => layer.digest));
  });

  it('are the same bytes whatever the number of threads and the concurrency', async () => {
    const digests: string[][] = [];
    for (const [workers, concurrency] of [
      [0, 1],
      [1, 4],
      [3, 2],
    ] as const) {
      await use([{ tar: smallTar(1) }, { tar: smallTar(2), compression: 'none' }, { tar: threadedTar(3) }]);
      const result = await convertWithin(target, request({ workers, concurrency }));
      digests.push(result.tags.map((tag) => tag.digest));
    }
    expect(digests[1]).toEqual(digests[0]);
    expect(digests[2]).toEqual(digests[0]);
  });

  it('hold the same full layer however its 6 MB come compressed from disk', async () => {
    let state = 1;
    const noise = Uint8Array.from({ length: 6_000_000 }, () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state >>> 24;
    });
    const tar = new TarBuilder().file('noise', noise).build();
    const digests = new Set<string>();
    for (const compression of ['none', 'gzip', 'zstd', 'gzip-members'] as const) {
      for (const workers of [0, 1]) {
        await use([{ tar, compression }]);
        const result = await convertWithin(target, request({ workers }));
        digests.add(result.tags[0]!.manifests[0]!.layers[0]!.digest);
      }
    }
    expect(digests.size).toBe(1);
  });

  it.each([
    // Level 1 is the default of zstd; without one LZ4 is the fast compression.
    { algorithm: 'zstd', levels: [undefined, 1, 12], distinct: 2 },
    { algorithm: 'lz4', levels: [undefined, 3, 9], distinct: 3 },
  ] as const)(
    'are smaller at a higher level of $algorithm, with and without threads',
    async ({ algorithm, levels, distinct }) => {
      const tar = new TarBuilder()
        .file('text', await readFile(join(import.meta.dirname, '../package-lock.json')))
        .build();
      const made: { readonly digest: string; readonly size: number }[][] = [];
      for (const workers of [0, 2]) {
        const layers = [];
        // One target for all: the record of layers does not take a layer of one level for that of another.
        await use([{ tar }]);
        for (const level of levels) {
          const artifact = { ...DEFAULT_ARTIFACT, algorithm, blockSize: 32_768 };
          const wanted = request({ workers, artifact: level === undefined ? artifact : { ...artifact, level } });
          const { digest, size } = (await convertWithin(target, wanted)).tags[0]!.manifests[0]!.layers[0]!;
          layers.push({ digest, size });
        }
        made.push(layers);
      }
      expect(made[1]).toEqual(made[0]);
      const sizes = made[0]!.map(({ size }) => size);
      expect(sizes).toEqual(sizes.toSorted((a, b) => b - a));
      expect(new Set(made[0]!.map(({ digest }) => digest)).size).toBe(distinct);
      expect(new Set(sizes).size).toBe(distinct);
    },
  );

  it('keep a layer full that cannot be indexed, and say why', async () => {
    await use([
      { tar: smallTar(1) },
      { tar: smallTar(2), compression: 'zstd' },
      { tar: smallTar(3), compression: 'gzip-members' },
      { tar: smallTar(4) },
    ]);
    const result = await convertWithin(target, request());
    expect(result.tags[1]?.manifests[0]?.layers.map((layer) => layer.kind)).toEqual([
      'index-only',
      'full',
      'full',
      'index-only',
    ]);
    expect(result.warnings).toEqual([
      expect.stringContaining(
        'layer 2 of 4: the layer stays full in the containerd image: the layer cannot be indexed: zstd',
      ),
      expect.stringMatching(/layer 3 of 4: .*gzip of [2-9] members/),
    ]);
  });

  it('name one full image when the bottom layer cannot be indexed', async () => {
    await use([{ tar: smallTar(1), compression: 'zstd' }, { tar: smallTar(2) }]);
    const result = await convertWithin(target, request());
    expect(result.tags[1]?.digest).toBe(result.tags[0]?.digest);
    expect(result.tags[1]?.manifests[0]?.layers.map((layer) => layer.kind)).toEqual(['full', 'full']);
    // And a second run takes the full image under the containerd tag for what it is.
    const again = await convertWithin(target, request());
    expect(again.tags.map((tag) => tag.upToDate)).toEqual([true, true]);
  });

  it('keep a tar full that ends inside of a sector: its last file could not be mapped', async () => {
    const whole = new TarBuilder().file('a', 'x'.repeat(1000)).build({ end: false });
    await use([{ tar: smallTar(1) }, { tar: whole.subarray(0, 512 + 1000), compression: 'none' }]);
    const result = await convertWithin(target, request());
    expect(result.tags[1]?.manifests[0]?.layers.map((layer) => layer.kind)).toEqual(['index-only', 'full']);
  });
});

describe('index-only', () => {
  const indexOnly: Partial<ConvertRequest> = { outputs: [{ tag: 'base_accelerated', kind: 'index-only' }] };

  it('makes no full blob', async () => {
    const result = await convertWithin(target, request(indexOnly));
    expect(result.tags[0]?.manifests[0]?.layers.map((layer) => layer.kind)).toEqual([
      'index-only',
      'index-only',
      'index-only',
    ]);
    expect((await manifestOf(target, 'base_accelerated')).annotations?.[RECORD_ANNOTATION.mode]).toBe('index-only');
  });

  it.each([
    ['zstd', 'zstd'],
    ['gzip-members', 'members'],
  ] as const)('refuses %s before anything is pushed, naming the layer and the way out', async (compression, found) => {
    await use([{ tar: smallTar(1) }, { tar: smallTar(2) }, { tar: smallTar(3), compression }]);
    const error = await failure(convertWithin(target, request(indexOnly)));
    expect(error.code).toBe('layer-unsupported');
    expect(error.where).toMatchObject({ layer: '3 of 3', digest: expect.stringContaining('sha256:') });
    expect(error.found).toContain(found);
    expect(error.hint).toContain('full mode');
    expect(target.pushed).toEqual([]);
    expect(target.tagged).toEqual([]);
  });

  it('pushes nothing of one platform either when a layer of another is refused', async () => {
    const platform = (architecture: string) => ({ platform: { os: 'linux', architecture } });
    await buildIndexLayout(layout.directory, 'base', [
      { layers: [{ tar: smallTar(1) }], options: platform('amd64') },
      { layers: [{ tar: smallTar(2) }, { tar: smallTar(3), compression: 'zstd' }], options: platform('arm64') },
    ]);
    target = new CountingTarget(await openLayout(layout.directory, { create: false }));
    for (const concurrency of [1, 4]) {
      const error = await failure(convertWithin(target, request({ ...indexOnly, concurrency })));
      expect(error).toMatchObject({ code: 'layer-unsupported', where: { platform: 'linux/arm64', layer: '2 of 2' } });
    }
    expect(target.pushed).toEqual([]);
    expect(target.tagged).toEqual([]);
  });

  it('goes by the content of a layer, not by its media type', async () => {
    const mediaType = 'application/vnd.oci.image.layer.v1.tar+zstd';
    await use([{ tar: smallTar(1), compression: 'gzip', mediaType }]);
    const result = await convertWithin(target, request(indexOnly));
    expect(result.warnings).toEqual([expect.stringContaining('the media type says zstd, the content is gzip')]);
    const manifest = await manifestOf(target, 'base_accelerated');
    expect(manifest.layers[0]?.annotations?.[LAYER_ANNOTATION.targetMediaType]).toBe(
      'application/vnd.oci.image.layer.v1.tar+gzip',
    );
  });
});

describe('a second run', () => {
  it('pushes nothing if the tags are up to date', async () => {
    const first = await convertWithin(target, request());
    target.pushed.length = 0;
    target.tagged.length = 0;
    const events: ConvertEvent[] = [];
    const second = await convertWithin(target, request(), { onEvent: (event) => events.push(event) });
    expect(target.pushed).toEqual([]);
    expect(target.tagged).toEqual([]);
    expect(second.tags.map((tag) => [tag.digest, tag.upToDate, tag.size, tag.ratio])).toEqual(
      first.tags.map((tag) => [tag.digest, true, tag.size, tag.ratio]),
    );
    expect(events.filter((event) => event.type === 'up-to-date')).toHaveLength(2);
  });

  it('converts again for other options, another source, or --force, and arrives at the same digest', async () => {
    const first = await convertWithin(target, request());
    const other = await convertWithin(target, request({ artifact: { ...request().artifact, blockSize: 16384 } }));
    expect(other.tags[0]?.upToDate).toBe(false);
    expect(other.tags[0]?.digest).not.toBe(first.tags[0]?.digest);
    const forced = await convertWithin(target, request({ force: true }));
    expect(forced.tags[0]?.upToDate).toBe(false);
    expect(forced.tags[0]?.digest).toBe(first.tags[0]?.digest);
  });

  it('makes the tag that is missing', async () => {
    await convertWithin(target, request({ outputs: [BOTH[0]!] }));
    const result = await convertWithin(target, request());
    expect(result.tags.map((tag) => tag.upToDate)).toEqual([true, false]);
  });
});

describe('guards', () => {
  it('refuses a source that is accelerated already, whoever accelerated it', async () => {
    await convertWithin(target, request());
    for (const tag of ['base_accelerated', 'base_containerd_accelerated']) {
      const error = await failure(
        convertWithin(target, request({ source: { tag }, outputs: [{ tag: 'again', kind: 'full' }] })),
      );
      expect(error.code).toBe('already-accelerated');
    }
  });

  it('refuses to overwrite the other mode without --force', async () => {
    await convertWithin(target, request());
    const outputs = [{ tag: 'base_accelerated', kind: 'index-only' }] as const;
    const error = await failure(convertWithin(target, request({ outputs })));
    expect(error).toMatchObject({ code: 'tag-conflict', expected: 'index-only', found: 'full' });
    expect((await convertWithin(target, request({ outputs, force: true }))).tags[0]?.upToDate).toBe(false);
  });

  it('refuses to overwrite the source', async () => {
    expect((await failure(convertWithin(target, request({ outputs: [{ tag: 'base', kind: 'full' }] })))).code).toBe(
      'tag-conflict',
    );
  });

  it('with noUpload writes nothing and reports what it would have written', async () => {
    const dry = await convertWithin(target, request({ noUpload: true }));
    expect(target.pushed).toEqual([]);
    expect(target.tagged).toEqual([]);
    const wet = await convertWithin(target, request());
    expect(dry.tags.map((tag) => tag.digest)).toEqual(wet.tags.map((tag) => tag.digest));
  });
});

describe('another repository', () => {
  it('gets the result, and of the source what the index-only layers refer to', async () => {
    const elsewhere = new CountingTarget(new MemoryTarget());
    const places = { source: target, target: elsewhere, mountFrom: undefined };
    const here = await convertWithin(target, request({ noUpload: true }));
    // Under the source's own tag even: nothing is overwritten there.
    const outputs = [
      { tag: 'base', kind: 'full' },
      { tag: 'lazy', kind: 'containerd' },
    ] as const;
    const there = await convertBetween(places, request({ outputs }));
    expect(there.tags.map((tag) => tag.digest)).toEqual(here.tags.map((tag) => tag.digest));
    expect(target.pushed).toEqual([]);
    const lazy = await manifestOf(elsewhere, 'lazy');
    for (const layer of lazy.layers) {
      const digest = layer.annotations?.[LAYER_ANNOTATION.targetDigest] ?? '';
      expect(await elsewhere.blobSize(digest)).toBeGreaterThan(0);
    }
  });

  it('does not get the source blobs when no layer refers to them', async () => {
    const elsewhere = new MemoryTarget();
    await convertBetween({ source: target, target: elsewhere, mountFrom: undefined }, request({ outputs: [BOTH[0]!] }));
    const { layers } = await manifestOf(target, 'base');
    for (const layer of layers) expect(await elsewhere.exists(layer)).toBe(false);
  });

  it('has them mounted where the registry can', async () => {
    const mounted: string[] = [];
    const memory = new MemoryTarget();
    const elsewhere = Object.assign(new CountingTarget(memory), {
      async mount(descriptor: Descriptor, from: string): Promise<boolean> {
        mounted.push(`${from} ${descriptor.digest}`);
        await memory.push(descriptor, bytesSource(await fetchBytes(target, descriptor, 1 << 23)));
        return true;
      },
    });
    await convertBetween({ source: target, target: elsewhere, mountFrom: 'team/app' }, request());
    const { layers } = await manifestOf(target, 'base');
    expect(mounted.sort()).toEqual(layers.map((layer) => `team/app ${layer.digest}`).sort());
    for (const layer of layers) expect(elsewhere.pushed).not.toContain(layer.digest);
  });
});

describe('referrers', () => {
  it('link manifest and index to their sources, with no more of a subject than every registry takes', async () => {
    await buildIndexLayout(layout.directory, 'base', [{ layers: [{ tar: smallTar(1) }] }], { docker: true });
    const memory = new MemoryTarget();
    const source = await openLayout(layout.directory, { create: false });
    const events: ConvertEvent[] = [];
    const artifact = { ...request().artifact, referrer: true };
    const onEvent = (event: ConvertEvent): number => events.push(event);
    const result = await convertBetween({ source, target: memory, mountFrom: undefined }, request({ artifact }), {
      onEvent,
    });
    const base = await source.resolve('base');
    const types = ['native', 'turbo'].map((kind) => `application/vnd.containerd.overlaybd.${kind}.v1+json`);
    for (const [i, { digest }] of result.tags.entries()) {
      const [listed] = await memory.referrers(base, types[i]);
      expect(listed?.digest).toBe(digest);
      const descriptor = await memory.resolve(digest);
      const index = parseIndex(await fetchBytes(memory, descriptor, 1 << 20), descriptor);
      expect(index.subject).toEqual({ mediaType: base.mediaType, digest: base.digest, size: base.size });
      const child = await manifestIn(memory, index.manifests[0]!);
      expect(child).toMatchObject({ artifactType: types[i], mediaType: 'application/vnd.oci.image.manifest.v1+json' });
      expect(Object.keys(child.subject ?? {})).toEqual(['mediaType', 'digest', 'size']);
    }
    expect(events.filter((event) => event.type === 'referrer')).toHaveLength(4);
  });

  it('are refused where the target cannot keep them', async () => {
    const artifact = { ...request().artifact, referrer: true };
    expect(await failure(convertWithin(target, request({ artifact })))).toMatchObject({ code: 'usage' });
    expect(target.tagged).toEqual([]);
  });
});

describe('a plan', () => {
  const plan = (overrides: Partial<ConvertRequest>) =>
    planConversion(request({ repository: `oci:${layout.directory}`, ...overrides }));

  it('describes each layer and writes nothing', async () => {
    await use([
      { tar: smallTar(1) },
      { tar: smallTar(2), compression: 'zstd' },
      { tar: smallTar(3), compression: 'none' },
    ]);
    const { images, tags } = await plan({});
    expect(tags.map((tag) => [tag.tag, tag.standing])).toEqual([
      ['base_accelerated', undefined],
      ['base_containerd_accelerated', undefined],
    ]);
    expect(images[0]?.layers.map((layer) => [layer.compression, layer.makes.join('+')])).toEqual([
      ['gzip', 'full+index-only'],
      ['zstd', 'full'],
      ['none', 'full+index-only'],
    ]);
    await expect(target.resolve('base_accelerated')).rejects.toMatchObject({ code: 'not-found' });
  });

  it('reports tags that exist, and a bottom layer that decides for all', async () => {
    await convertWithin(target, request());
    expect((await plan({})).tags.every((tag) => tag.standing !== undefined)).toBe(true);
    await use([{ tar: smallTar(1), compression: 'zstd' }, { tar: smallTar(2) }]);
    expect((await plan({})).images[0]?.layers.map((layer) => layer.makes)).toEqual([['full'], ['full']]);
  });

  it('does not make the layout that it would write to', async () => {
    const elsewhere = join(layout.directory, 'not-there');
    const { repository } = await plan({ targetRepository: `oci:${elsewhere}` });
    expect(repository).toBe(`oci:${elsewhere}`);
    await expect(readFile(join(elsewhere, 'index.json'))).rejects.toThrow('ENOENT');
  });
});

it('asks for a target when the source is a docker-archive, before anything is opened', async () => {
  const error = await failure(convert(request({ repository: 'docker-archive:/nowhere/app.tar' })));
  expect(error).toMatchObject({ code: 'usage', hint: expect.stringContaining('targetRepository') });
});

describe('an index', () => {
  it('is converted for every Linux platform; attestations and others are left out with a reason', async () => {
    const platform = (architecture: string, os = 'linux') => ({ platform: { os, architecture } });
    await buildIndexLayout(layout.directory, 'base', [
      { layers: [{ tar: smallTar(1) }], options: platform('amd64') },
      { attestation: true },
      { layers: [{ tar: smallTar(2) }], options: platform('arm64') },
      { layers: [{ tar: smallTar(3) }], options: platform('amd64', 'windows') },
    ]);
    target = new CountingTarget(await openLayout(layout.directory, { create: false }));
    const result = await convertWithin(target, request());
    expect(result.tags[0]?.manifests.map((manifest) => manifest.platform)).toEqual(['linux/amd64', 'linux/arm64']);
    expect(result.skipped.map((entry) => entry.reason)).toEqual([
      expect.stringContaining('attestation'),
      'not for Linux',
    ]);
    const descriptor = await target.resolve('base_accelerated');
    const index = parseIndex(await fetchBytes(target, descriptor, 1 << 20), descriptor);
    expect(index.manifests.map((child) => child.platform?.architecture)).toEqual(['amd64', 'arm64']);
    const one = await convertWithin(
      target,
      request({ platforms: ['linux/arm64'], outputs: [{ tag: 'arm', kind: 'full' }] }),
    );
    expect(one.tags[0]?.manifests.map((manifest) => manifest.platform)).toEqual(['linux/arm64']);
    const missing = await failure(convertWithin(target, request({ platforms: ['linux/s390x'] })));
    expect(missing).toMatchObject({ code: 'not-found', expected: 'linux/s390x' });
  });
});

it('refuses a single image that is for another platform than the one asked for', async () => {
  const error = await failure(convertWithin(target, request({ platforms: ['linux/riscv64'] })));
  expect(error).toMatchObject({ code: 'not-found', expected: 'linux/riscv64', found: 'linux/amd64' });
  expect((await convertWithin(target, request({ platforms: ['linux/amd64'] }))).tags).toHaveLength(2);
});

it.each(['am d64', 'linux/amd64/v1/x', '\x1b[2J'])(
  'an architecture of %j is a platform that nobody asked for',
  async (odd) => {
    await use([{ tar: smallTar(1) }], { platform: { os: 'linux', architecture: odd } });
    const error = await failure(convertWithin(target, request({ platforms: ['linux/amd64'] })));
    expect(error).toMatchObject({ code: 'not-found', expected: 'linux/amd64', found: `linux/${odd}` });
  },
);

describe('damage', () => {
  it.each([0.2, 0.5, 0.9])('a flipped bit at %d of a gzip layer is reported as a digest mismatch', async (share) => {
    await use([{ tar: smallTar(1) }, { tar: smallTar(2) }]);
    const { layers } = await manifestOf(target, 'base');
    const path = join(layout.directory, 'blobs', ...layers[1]!.digest.split(':'));
    const blob = await readFile(path);
    blob[Math.floor(blob.length * share)]! ^= 0x10;
    await writeFile(path, blob);
    const error = await failure(convertWithin(target, request()));
    expect(error.code).toBe('digest-mismatch');
    expect(error.where).toMatchObject({ layer: '2 of 2' });
    expect(target.tagged).toEqual([]);
  });

  it('a diff_id that is not the layer stops before the tags', async () => {
    await use([{ tar: smallTar(1), diffId: `sha256:${'0'.repeat(64)}` }]);
    const error = await failure(convertWithin(target, request()));
    expect(error).toMatchObject({ code: 'diff-id-mismatch', expected: `sha256:${'0'.repeat(64)}` });
    expect(target.tagged).toEqual([]);
  });

  it('starts over with twice the device when the content does not fit', async () => {
    // A header that announces more than 64 GiB is enough: blocks are allocated before the data comes.
    const tar = new TarBuilder().header({ name: 'huge', size: 70 * 2 ** 30 }).build({ end: false });
    await use([{ tar }]);
    const events: ConvertEvent[] = [];
    const error = await failure(convertWithin(target, request(), { onEvent: (event) => events.push(event) }));
    expect(error.code).toBe('tar-invalid');
    expect(events.filter((event) => event.type === 'restart')).toEqual([
      expect.objectContaining({ virtualSize: 128 * 2 ** 30 }),
    ]);
    const fixed = await failure(
      convertWithin(target, request({ artifact: { ...request().artifact, virtualSize: 64 * 2 ** 30 } })),
    );
    expect(fixed.code).toBe('filesystem-full');
    expect(fixed.hint).toContain('virtualSize');
  });

  it('stops when the caller gives up', async () => {
    const abort = new AbortController();
    const run = convertWithin(target, request(), {
      signal: abort.signal,
      onEvent: (event) => event.type === 'layer-start' && event.layer.index === 1 && abort.abort(),
    });
    expect(
      (
        await failure(
          run.catch((error: Error) =>
            Promise.reject(error.name === 'AbortError' ? new AccelError('aborted', 'x') : error),
          ),
        )
      ).code,
    ).toBe('aborted');
    expect(target.tagged).toEqual([]);
  });
});
