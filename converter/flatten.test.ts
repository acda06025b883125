/** Flattened images: the same tree in fewer layers, without what upper layers replace or delete. */
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { buildLayout, type ImageOptions, type LayerSpec } from '../fixtures/image-builder.ts';
import { TarBuilder } from '../fixtures/tar-builder.ts';
import { parseConfig } from '../oci/config.ts';
import { fetchBytes } from '../oci/content.ts';
import { openLayout } from '../oci/layout-target.ts';
import { parseManifest } from '../oci/manifest.ts';
import { openImage } from '../reader/accelerated-image.ts';
import { CountingTarget, convertWithin, request, type TestLayout, testLayout } from '../tests/support/converter.ts';
import { tempDirectory } from '../tests/support/tools.ts';
import { buildStack, stacks } from '../verify/source-tree/testing/stacks.ts';
import { verifyReference } from '../verify/verify-reference.ts';
import { planConversion } from './convert.ts';
import type { ConvertEvent } from './events.ts';
import { type ConvertRequest, DEFAULT_ARTIFACT } from './options.ts';
import { RECORD_ANNOTATION } from './publish/record-annotations.ts';

let layout: TestLayout | undefined;
afterEach(() => layout?.remove());

async function use(layers: readonly LayerSpec[], options: ImageOptions = {}): Promise<CountingTarget> {
  await layout?.remove();
  layout = await testLayout(layers, options);
  return new CountingTarget(layout.target);
}

function flat(flattenAbove = 0, overrides: Partial<ConvertRequest> = {}): ConvertRequest {
  return request({ artifact: { ...DEFAULT_ARTIFACT, flattenAbove }, ...overrides });
}

async function imageOf(target: CountingTarget, tag = 'base_accelerated') {
  const descriptor = await target.resolve(tag);
  const manifest = parseManifest(await fetchBytes(target, descriptor, 1 << 22), descriptor);
  return { manifest, config: parseConfig(await fetchBytes(target, manifest.config, 1 << 20), manifest.config) };
}

async function differences(target: CountingTarget, tag = 'base_accelerated') {
  const { images } = await verifyReference({
    accelerated: { target, tagOrDigest: tag },
    platforms: [],
    quick: false,
  });
  return images.flatMap((image) => image.differences);
}

/** Bytes that do not compress. */
function noise(seed: number, length: number): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 24;
  });
}

const MIB = 1 << 20;

/** A base, a layer with much to lose, and one that loses it. */
function lossy(): LayerSpec[] {
  return [
    { tar: new TarBuilder().dir('base/').file('base/keep', noise(1, 50_000)).file('base/gone', noise(2, MIB)).build() },
    {
      tar: new TarBuilder()
        .file('replaced', noise(3, MIB))
        .dir('opaque/')
        .file('opaque/below', noise(4, MIB))
        .file('linked', noise(5, 60_000))
        .build(),
    },
    {
      tar: new TarBuilder()
        .whiteout('base/gone')
        .file('replaced', 'short')
        .opaque('opaque')
        .file('opaque/new', noise(6, 70_000))
        .link('other-name', 'linked')
        .whiteout('linked')
        .build(),
    },
  ];
}

describe('the result', () => {
  it('is one layer of the same tree, without replaced and deleted data', async () => {
    const target = await use(lossy());
    await convertWithin(target, flat());
    const { manifest, config } = await imageOf(target);
    expect(manifest.layers).toHaveLength(1);
    expect(config.rootfs.diff_ids).toEqual([manifest.layers[0]!.digest]);
    expect(manifest.annotations?.[RECORD_ANNOTATION.flattenedAbove]).toBe('0');
    expect(await differences(target)).toEqual([]);
    // 180,000 bytes are left, 3 MiB are gone.
    expect(manifest.layers[0]!.size).toBeGreaterThan(180_000);
    expect(manifest.layers[0]!.size).toBeLessThan(260_000);
  });

  it('maps no block of the device for what is gone', async () => {
    const target = await use(lossy());
    await convertWithin(target, flat());
    const image = await openImage(target, 'base_accelerated', {});
    const [layer] = image.layers;
    let mapped = 0;
    for (let i = 0; i < layer!.lsmt!.count; i++) {
      const segment = layer!.lsmt!.segment(i);
      if (!segment.zeroed) mapped += segment.length;
    }
    expect(mapped).toBeLessThan(300_000);
  });

  it('shares the layers that it keeps with an ordinary conversion, and index-only ones with the containerd tag', async () => {
    const target = await use(lossy());
    await convertWithin(target, request());
    const ordinary = [await imageOf(target), await imageOf(target, 'base_containerd_accelerated')] as const;
    const result = await convertWithin(target, flat(1, { force: true }));
    const [full, containerd] = [await imageOf(target), await imageOf(target, 'base_containerd_accelerated')];
    expect(full.manifest.layers).toHaveLength(2);
    expect(full.manifest.layers[0]).toEqual(ordinary[0].manifest.layers[0]);
    expect(containerd.manifest.layers[0]).toEqual(ordinary[1].manifest.layers[0]);
    expect(containerd.manifest.layers[1]).toEqual(full.manifest.layers[1]);
    expect(
      result.tags.map(({ manifests }) => manifests[0]!.layers.map(({ kind, flattened }) => [kind, flattened])),
    ).toEqual([
      [
        ['full', undefined],
        ['full', 2],
      ],
      [
        ['index-only', undefined],
        ['full', 2],
      ],
    ]);
    expect(await differences(target)).toEqual([]);
    expect(await differences(target, 'base_containerd_accelerated')).toEqual([]);
  });

  it('is the same image under both tags where all is one layer, and says so', async () => {
    const target = await use(lossy());
    const warnings: string[] = [];
    const onEvent = (event: ConvertEvent): void => {
      if (event.type === 'warning') warnings.push(event.message);
    };
    const { tags } = await convertWithin(target, flat(), { onEvent });
    expect(tags[0]!.manifests[0]!.digest).toBe(tags[1]!.manifests[0]!.digest);
    expect(warnings).toContainEqual(expect.stringContaining('the flattened layer is full in the containerd image'));
  });

  it('has as many steps of history with a layer as diff_ids, and verification sees one too many', async () => {
    const target = await use(lossy());
    await convertWithin(target, flat(1));
    const { config } = await imageOf(target);
    const steps = config.history!.map((entry) => entry?.empty_layer === true);
    expect(steps.filter((isEmpty) => !isEmpty)).toHaveLength(config.rootfs.diff_ids.length);
    const source = (await imageOf(target, 'base')).config;
    expect(config.history!.map((entry) => entry?.created_by)).toEqual(
      source.history!.map((entry) => entry?.created_by),
    );
  });

  it('is the same bytes with any number of threads', async () => {
    const digests = new Set<string>();
    for (const workers of [0, 1, 3]) {
      const target = await use(lossy());
      digests.add((await convertWithin(target, flat(1, { workers }))).tags[0]!.digest);
    }
    expect(digests.size).toBe(1);
  });

  it.each([0, 1, 5])('of one layer has the layer of an ordinary conversion, keeping %d', async (above) => {
    const target = await use([{ tar: new TarBuilder().file('a', 'one').build() }]);
    await convertWithin(target, request());
    const ordinary = await imageOf(target);
    await convertWithin(target, flat(above, { force: true }));
    const flattened = await imageOf(target);
    expect(flattened.manifest.layers).toEqual(ordinary.manifest.layers);
    expect(flattened.manifest.annotations?.[RECORD_ANNOTATION.flattenedAbove]).toBeUndefined();
    expect(await differences(target)).toEqual([]);
  });

  it('of layers without files, and of layers that leave none, verifies', async () => {
    const empty = new TarBuilder().build();
    for (const top of [empty, new TarBuilder().opaque('').build()]) {
      const target = await use([{ tar: new TarBuilder().file('a', 'x').build() }, { tar: empty }, { tar: top }]);
      await convertWithin(target, flat());
      expect((await imageOf(target)).manifest.layers).toHaveLength(1);
      expect(await differences(target)).toEqual([]);
    }
  });

  it('of a hundred layers verifies, and reads a layer again only where something of it is left', async () => {
    const layers = Array.from({ length: 100 }, (_, i) => {
      const tar = new TarBuilder().file(`own-${i % 50}`, `layer ${i}`).file('version', String(i));
      if (i > 0) tar.whiteout('gone');
      return {
        tar: tar
          .file(i % 2 === 0 ? 'even' : 'odd', `${i}`)
          .link(`link-${i}`, 'even')
          .build(),
      };
    });
    const target = await use(layers);
    await convertWithin(target, flat());
    const read = new Map<string, number>();
    for (const digest of target.fetched) read.set(digest, (read.get(digest) ?? 0) + 1);
    const { manifest } = await imageOf(target, 'base');
    expect((await imageOf(target)).manifest.layers).toHaveLength(1);
    const times = manifest.layers.map(({ digest }) => read.get(digest)!);
    expect(times.slice(51)).toEqual(times.slice(51).map(() => 2));
    // Odd layers below the fiftieth have lost all: only even ones live on in hard links.
    expect(times[1]).toBe(1);
    expect(times[2]).toBe(2);
    expect(await differences(target)).toEqual([]);
  });
});

describe('a second run', () => {
  it('finds a flattened image up to date, and an ordinary one not, and the other way round', async () => {
    const target = await use(lossy());
    await convertWithin(target, flat());
    expect((await convertWithin(target, flat())).tags.map(({ upToDate }) => upToDate)).toEqual([true, true]);
    expect((await convertWithin(target, flat(1))).tags.map(({ upToDate }) => upToDate)).toEqual([false, false]);
    expect((await convertWithin(target, request())).tags.map(({ upToDate }) => upToDate)).toEqual([false, false]);
    expect((await imageOf(target)).manifest.layers).toHaveLength(3);
    const again = await convertWithin(target, flat(1));
    const known = await convertWithin(target, flat(1));
    expect(known.tags[0]!.manifests[0]!.layers).toEqual(again.tags[0]!.manifests[0]!.layers);
  });

  it('takes the flattened layer over from the record, after it compared it with the source', async () => {
    const target = await use(lossy());
    await convertWithin(target, flat(1, { cache: true }));
    const reused: number[] = [];
    const warnings: string[] = [];
    const onEvent = (event: ConvertEvent): void => {
      if (event.type === 'layer-reused') reused.push(event.layer.index);
      if (event.type === 'warning') warnings.push(event.message);
    };
    const outputs = [{ tag: 'again', kind: 'full' }] as const;
    await convertWithin(target, flat(1, { cache: true, outputs, verifyReused: true }), { onEvent });
    expect({ reused, warnings }).toEqual({ reused: [0, 1], warnings: [] });
    expect((await imageOf(target, 'again')).manifest.layers).toEqual((await imageOf(target)).manifest.layers);
    reused.length = 0;
    await convertWithin(target, flat(0, { cache: true, outputs }), { onEvent });
    expect(reused).toEqual([]);
    await convertWithin(target, request({ cache: true, outputs }), { onEvent });
    expect(reused).toEqual([0]);
  });
});

describe('what it refuses and plans', () => {
  it('refuses index-only images and odd numbers', async () => {
    const target = await use(lossy());
    const outputs = [{ tag: 'index', kind: 'index-only' }] as const;
    await expect(convertWithin(target, flat(0, { outputs }))).rejects.toMatchObject({
      code: 'usage',
      message: 'an index-only image cannot be flattened',
    });
    await expect(convertWithin(target, flat(-1))).rejects.toMatchObject({ code: 'usage' });
    await expect(convertWithin(target, flat(0.5))).rejects.toMatchObject({ code: 'usage' });
    expect(target.pushed).toEqual([]);
  });

  it('plans one layer of those above', async () => {
    await use(lossy());
    const plan = await planConversion(flat(1, { repository: `oci:${layout!.directory}` }));
    expect(plan.images[0]!.layers.map(({ makes, notes }) => [makes, notes])).toEqual([
      [['full', 'index-only'], []],
      [['full'], ['layers 2 to 3 are flattened into one']],
      [['full'], ['layers 2 to 3 are flattened into one']],
    ]);
  });

  it('keeps a prefetch list on the flattened layer', async () => {
    const target = await use(lossy());
    await convertWithin(target, flat(0, { prefetch: { lines: ['/base/keep'] } }));
    expect((await imageOf(target)).manifest.layers).toHaveLength(2);
    expect(await differences(target)).toEqual([]);
  });
});

it('random stacks: what is flattened verifies, and refuses what an ordinary conversion refuses', {
  timeout: 60_000,
}, async () => {
  let verified = 0;
  const property = fc.asyncProperty(stacks, fc.nat(2), async (stack, above) => {
    const { path, remove } = await tempDirectory('accel-flatten-random-');
    try {
      const layers = buildStack(stack).map((tar) => ({ tar, compression: 'none' as const }));
      await buildLayout(path, 'base', layers);
      const target = new CountingTarget(await openLayout(path));
      const outcome = (wanted: ConvertRequest): Promise<string> =>
        convertWithin(target, wanted).then(
          () => 'converted',
          (error: Error) => error.message,
        );
      const outputs = [{ tag: 'flat', kind: 'full' }] as const;
      const flattened = await outcome(flat(above, { outputs }));
      expect(flattened).toBe(await outcome(request({ outputs: [{ tag: 'plain', kind: 'full' }] })));
      if (flattened !== 'converted') return;
      expect(await differences(target, 'flat')).toEqual([]);
      verified++;
    } finally {
      await remove();
    }
  });
  await fc.assert(property, { numRuns: Number(process.env.FUZZ_RUNS ?? 200) });
  expect(verified).toBeGreaterThan(30);
});
