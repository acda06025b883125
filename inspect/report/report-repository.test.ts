/** The report of repositories against sums that are made another way: from the bytes that were put into them. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { LAYER_ANNOTATION, RECORD_ANNOTATION } from '../../formats/overlaybd/annotations.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { digestOf } from '../../oci/digest.ts';
import { encodeJson } from '../../oci/manifest.ts';
import { OCI } from '../../oci/media-types.ts';
import { MemoryTarget } from '../../oci/memory-target.ts';
import { planWarm } from '../../prefetch/warm-plan.ts';
import { convertedLayout, FULL, INDEXED } from '../../reader/testing/test-images.ts';
import { convertWithin, request } from '../../tests/support/converter.ts';
import type { ReportedImage } from './report-facts.ts';
import { fleetOf, reportRepository } from './report-repository.ts';

const options = { concurrency: 3 };

/** A repository of random images over few blobs: 0 to 9 are layers of bases, 10 to 19 of accelerated images. */
const images = fc.array(
  fc.record({
    tags: fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { minLength: 1, maxLength: 3 }),
    layers: fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 4 }),
    kind: fc.constantFrom('base', 'full', 'index-only', 'artifact'),
    inIndex: fc.boolean(),
  }),
  { minLength: 1, maxLength: 8 },
);
const contentOf = (number: number): Uint8Array => Buffer.alloc(100 + number * 7, number);

it('counts each blob once, by who refers to it, of any repository', async () => {
  await fc.assert(
    fc.asyncProperty(images, async (specs) => {
      const target = new MemoryTarget();
      const named = new Map<string, { blobs: Map<string, number>; kind: 'base' | 'accelerated' | 'other' }>();
      for (const [number, { tags, layers, kind, inIndex }] of specs.entries()) {
        const made = put(target, { number, layers, kind });
        const index = inIndex ? putIndex(target, [made.descriptor]) : made.descriptor;
        // The last image gets a tag.
        for (const tag of tags) {
          await target.tag(index, tag);
          named.set(tag, made);
        }
      }
      const sum = (isCounted: (kinds: Set<string>) => boolean): { bytes: number; blobs: number } => {
        const kinds = new Map<string, Set<string>>();
        const sizes = new Map<string, number>();
        for (const { blobs, kind } of named.values()) {
          for (const [digest, size] of blobs) {
            kinds.set(digest, (kinds.get(digest) ?? new Set()).add(kind));
            sizes.set(digest, size);
          }
        }
        const counted = [...kinds].filter(([, of]) => isCounted(of)).map(([digest]) => sizes.get(digest)!);
        return { bytes: counted.reduce((total, size) => total + size, 0), blobs: counted.length };
      };
      const { stored, problems, tags } = await reportRepository(target, options);
      expect([problems, tags]).toEqual([[], named.size]);
      expect(stored).toMatchObject({
        base: sum((of) => of.has('base')),
        accelerated: sum((of) => of.has('accelerated')),
        shared: sum((of) => of.has('base') && of.has('accelerated')),
        baseOwn: sum((of) => of.has('base') && !of.has('accelerated')),
        acceleratedOwn: sum((of) => of.has('accelerated') && !of.has('base')),
        other: sum((of) => of.has('other') && of.size === 1),
        total: sum(() => true),
      });
      expect(stored.total.bytes).toBe(
        stored.baseOwn.bytes + stored.shared.bytes + stored.acceleratedOwn.bytes + stored.other.bytes,
      );
    }),
    { numRuns: 200 },
  );
});

describe('a layout with both conversions', () => {
  it('has the bytes of its files, and starts as the warm plan has them', async () => {
    const tar = new TarBuilder().file('hot', Buffer.alloc(200_000, 'hot')).file('cold', noise(3_000_000)).build();
    const layout = await convertedLayout([{ tar }]);
    try {
      const list = { prefetch: { lines: ['/hot'] }, cache: false };
      const tags = [
        { tag: 'listed_accelerated', kind: 'full' as const },
        { tag: 'listed_containerd_accelerated', kind: 'containerd' as const },
      ];
      await convertWithin(layout.target, { ...request(), ...list, outputs: tags });
      const {
        stored,
        images: found,
        fleet,
        problems,
      } = await reportRepository(layout.target, { ...options, nodes: 10 });
      expect(problems).toEqual([]);
      // Whatever the layout has on disk is in the sums; older records of layers have no tag.
      const blobs = join(layout.directory, 'blobs/sha256');
      const onDisk = readdirSync(blobs).reduce((sum, name) => sum + statSync(join(blobs, name)).size, 0);
      const counted = stored.total.bytes + stored.documents.bytes + stored.pieceLists.bytes;
      expect(onDisk - counted).toBeGreaterThanOrEqual(0);
      expect(onDisk - counted).toBeLessThan(20_000);

      const byTag = new Map(found.flatMap((image) => image.tags.map((tag) => [tag, image] as const)));
      const base = await sizeOf(layout.target, 'base');
      for (const tag of [FULL, INDEXED]) {
        expect(byTag.get(tag)).toMatchObject({ baseBytes: base.whole, startUnknown: 'it carries no prefetch list' });
        expect(byTag.get(tag)!.ownBytes).toBe((await sizeOf(layout.target, tag)).whole);
      }
      expect(byTag.get(FULL)).toMatchObject({ mode: 'full', bytes: byTag.get(FULL)!.ownBytes });
      const indexed = byTag.get(INDEXED)!;
      expect(indexed).toMatchObject({ mode: 'index-only', bytes: indexed.ownBytes + base.layers });
      expect(indexed.ownBytes).toBeLessThan(base.whole / 10);

      const listed = byTag.get('listed_accelerated')!;
      const plan = await planWarm(layout.target, 'listed_accelerated');
      const warmed = plan.blobs.reduce(
        (sum, { size, pieces }) =>
          sum + Math.min(size, pieces.reduce((n, [from, to]) => n + to - from, 0) * (512 << 10)),
        0,
      );
      expect(listed.start!.form).toBe('trace');
      expect(listed.start!.bytes).toBeGreaterThan(1000);
      // Pieces are coarser than blocks.
      expect(listed.start!.bytes).toBeLessThanOrEqual(warmed);
      const least = Math.min(listed.start!.bytes, byTag.get('listed_containerd_accelerated')!.start!.bytes);
      expect(fleet).toEqual({
        ...{ nodes: 10, images: 1, unknown: 0, pulled: 10 * base.whole, started: 10 * least },
        saved: 10 * (base.whole - least),
      });
    } finally {
      await layout.remove();
    }
  });
});

describe('what is unknown is left out', () => {
  it('a base that is gone, a layer of it, a manifest of an index', async () => {
    const target = new MemoryTarget();
    const gone = { mediaType: OCI.layerGzip, digest: digestOf(Buffer.from('gone')), size: 4 };
    const layer = withAnnotations(target.put(OCI.layerGzip, contentOf(11)), {
      [LAYER_ANNOTATION.targetDigest]: gone.digest,
    });
    const config = target.put(OCI.config, encodeJson({}));
    const annotations = { [RECORD_ANNOTATION.sourceDigest]: gone.digest };
    const manifest = { schemaVersion: 2, mediaType: OCI.manifest, config, layers: [layer], annotations };
    const image = target.put(OCI.manifest, encodeJson(manifest));
    await target.tag(putIndex(target, [image, { ...gone, mediaType: OCI.manifest }]), 'x_accelerated');
    const { images: found, problems, stored, fleet } = await reportRepository(target, { ...options, nodes: 5 });
    const [only] = found;
    expect(only).toMatchObject({ ownBytes: config.size + layer.size, sourceDigest: gone.digest, platform: 'linux/a0' });
    expect(only).not.toHaveProperty('bytes');
    expect(only).not.toHaveProperty('baseBytes');
    expect(stored.total).toEqual({ bytes: config.size + layer.size, blobs: 2 });
    expect(problems).toEqual([
      expect.stringMatching(/^x_accelerated, sha256:.*no such content/),
      `${gone.digest}: an index-only layer reads this layer of a base, which is gone`,
    ]);
    expect(fleet).toEqual({ nodes: 5, images: 0, unknown: 1, pulled: 0, started: 0, saved: 0 });
  });

  it('a base without a tag is read by its digest, and does not count as stored', async () => {
    const target = new MemoryTarget();
    const base = put(target, { number: 1, layers: [1, 2], kind: 'base' });
    const layer = withAnnotations(target.put(OCI.layerGzip, contentOf(12)), {});
    const config = target.put(OCI.config, encodeJson({}));
    const annotations = { [RECORD_ANNOTATION.sourceDigest]: base.descriptor.digest };
    const manifest = { schemaVersion: 2, mediaType: OCI.manifest, config, layers: [layer], annotations };
    await target.tag(target.put(OCI.manifest, encodeJson(manifest)), 'x_accelerated');
    const { images: found, stored } = await reportRepository(target, options);
    expect(found[0]!.baseBytes).toBe([...base.blobs.values()].reduce((sum, size) => sum + size, 0));
    expect(stored.base).toEqual({ bytes: 0, blobs: 0 });
  });

  it('a fleet counts a source once, by its image that fetches least', () => {
    const image = (digest: string, source: string, start?: number, baseBytes?: number): ReportedImage => ({
      ...{ digest, tags: [digest], mode: 'full', ownBytes: 1, sourceDigest: source },
      ...(start === undefined ? {} : { start: { form: 'list', bytes: start, entries: 1 } }),
      ...(baseBytes === undefined ? {} : { baseBytes }),
    });
    const all = [
      image('a', 's', 9, 100),
      image('b', 's', 7, 100),
      image('c', 's'),
      image('d', 't', 5),
      image('e', 'u'),
    ];
    expect(fleetOf(all, 3)).toEqual({ nodes: 3, images: 1, unknown: 2, pulled: 300, started: 21, saved: 279 });
  });
});

interface Spec {
  readonly number: number;
  readonly layers: readonly number[];
  readonly kind: string;
}

/** Puts an image; its blobs with those of the base that it reads. */
function put(target: MemoryTarget, { number, layers, kind }: Spec) {
  const config = target.put(OCI.config, encodeJson({ number }));
  const blobs = new Map([[config.digest, config.size]]);
  const entries = layers.map((layer): Descriptor => {
    const plain = target.put(OCI.layerGzip, contentOf(layer));
    if (kind === 'base') blobs.set(plain.digest, plain.size);
    if (kind === 'base') return plain;
    const own = target.put(OCI.layerGzip, contentOf(10 + layer));
    blobs.set(own.digest, own.size);
    if (kind === 'artifact') return { ...own, mediaType: 'application/vnd.test.signature' };
    if (kind === 'full') return withAnnotations(own, {});
    blobs.set(plain.digest, plain.size);
    return withAnnotations(own, { [LAYER_ANNOTATION.targetDigest]: plain.digest });
  });
  const manifest = { schemaVersion: 2, mediaType: OCI.manifest, config, layers: entries };
  const of = kind === 'base' ? ('base' as const) : kind === 'artifact' ? ('other' as const) : ('accelerated' as const);
  return { descriptor: target.put(OCI.manifest, encodeJson(manifest)), blobs, kind: of };
}

function putIndex(target: MemoryTarget, entries: readonly Descriptor[]): Descriptor {
  const manifests = entries.map((entry, number) => ({
    ...entry,
    platform: { os: 'linux', architecture: `a${number}` },
  }));
  return target.put(OCI.index, encodeJson({ schemaVersion: 2, mediaType: OCI.index, manifests }));
}

function withAnnotations(descriptor: Descriptor, annotations: Record<string, string>): Descriptor {
  return { ...descriptor, annotations: { [LAYER_ANNOTATION.blobDigest]: descriptor.digest, ...annotations } };
}

/** Config and layers by a look at the manifest alone. */
async function sizeOf(target: Parameters<typeof reportRepository>[0], tag: string) {
  let text = '';
  for await (const part of await target.fetch(await target.resolve(tag))) text += Buffer.from(part).toString('utf8');
  const { config, layers } = JSON.parse(text) as { config: Descriptor; layers: Descriptor[] };
  const bytes = layers.reduce((sum, { size }) => sum + size, 0);
  return { layers: bytes, whole: config.size + bytes };
}

function noise(length: number): Buffer {
  let state = 1;
  return Buffer.from(
    Array.from({ length }, () => {
      state = (state * 48_271) % 2_147_483_647;
      return state & 255;
    }),
  );
}
