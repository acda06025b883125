/** The lists of piece hashes that a conversion makes, keeps and restores, and that verification compares. */
import { randomFillSync } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TarBuilder } from '../fixtures/tar-builder.ts';
import { pieceListOfBytes } from '../formats/piece-list/piece-hasher.ts';
import { PIECE_BYTES, PIECE_LIST_ANNOTATION, PIECE_LIST_MEDIA_TYPE } from '../formats/piece-list/piece-list.ts';
import { fetchBytes } from '../oci/content.ts';
import { openLayout } from '../oci/layout-target.ts';
import { encodeJson, type ImageManifest, parseManifest } from '../oci/manifest.ts';
import { OCI } from '../oci/media-types.ts';
import { MemoryTarget } from '../oci/memory-target.ts';
import { pieceListOf } from '../reader/layer-piece-list.ts';
import { convertWithin, request, smallTar, type TestLayout, testLayout } from '../tests/support/converter.ts';
import { verifyReference } from '../verify/verify-reference.ts';
import { convertBetween } from './convert.ts';

const FULL = 'base_accelerated';
const INDEXED = 'base_containerd_accelerated';
const noise = new TarBuilder().file('noise', randomFillSync(new Uint8Array(2 * PIECE_BYTES + 5000))).build();

let layout: TestLayout;
beforeEach(async () => {
  layout = await testLayout([{ tar: noise }, { tar: smallTar(1) }]);
});
afterEach(() => layout.remove());

async function manifestOf(tag: string, target = layout.target): Promise<ImageManifest> {
  const descriptor = await target.resolve(tag);
  return parseManifest(await fetchBytes(target, descriptor, 1 << 20), descriptor);
}

async function expectLists(tag: string): Promise<void> {
  for (const layer of (await manifestOf(tag)).layers) {
    const list = pieceListOf(layer)!;
    const bytes = await fetchBytes(layout.target, list, 1 << 20);
    expect(Buffer.compare(bytes, pieceListOfBytes(await fetchBytes(layout.target, layer, 1 << 26)))).toBe(0);
  }
}

async function removeLists(tag: string): Promise<void> {
  for (const layer of (await manifestOf(tag)).layers) {
    await rm(join(layout.directory, 'blobs', ...pieceListOf(layer)!.digest.split(':')), { force: true });
  }
  layout = { ...layout, target: await openLayout(layout.directory) };
}

async function verify(tag: string, quick = false) {
  const { images } = await verifyReference({
    accelerated: { target: layout.target, tagOrDigest: tag },
    platforms: [],
    quick,
  });
  const [image] = images;
  return {
    differences: image!.differences.map(
      ({ path, field, expected, found }) => `${path} ${field}: ${expected} | ${found}`,
    ),
    warnings: image!.warnings,
  };
}

describe('a conversion', () => {
  it.each([0, 1])('makes the list of every layer, full and index-only, with %i threads', async (workers) => {
    await convertWithin(layout.target, request({ workers }));
    await expectLists(FULL);
    await expectLists(INDEXED);
    const [layer] = (await manifestOf(FULL)).layers;
    expect(pieceListOf(layer!)!.size).toBe(32 + 3 * 32);
    expect(await verify(FULL)).toEqual({ differences: [], warnings: [] });
    expect(await verify(INDEXED, true)).toEqual({ differences: [], warnings: [] });
  });

  it('without lists has the same layers, other manifests, and is not up to date for one with lists', async () => {
    const bare = await convertWithin(layout.target, request({ pieceList: false }));
    const plain = await manifestOf(FULL);
    expect(plain.layers.map(pieceListOf)).toEqual([undefined, undefined]);
    const listed = await convertWithin(layout.target, request());
    expect(listed.tags.map(({ upToDate }) => upToDate)).toEqual([false, false]);
    expect(listed.tags[0]!.digest).not.toBe(bare.tags[0]!.digest);
    expect((await manifestOf(FULL)).layers.map(({ digest }) => digest)).toEqual(
      plain.layers.map(({ digest }) => digest),
    );
    expect((await convertWithin(layout.target, request())).tags.map(({ upToDate }) => upToDate)).toEqual([true, true]);
    const again = await convertWithin(layout.target, request({ pieceList: false }));
    expect(again.tags.map(({ digest }) => digest)).toEqual(bare.tags.map(({ digest }) => digest));
  });

  it('tags nothing when the target does not keep a list', async () => {
    const memory = new MemoryTarget();
    const push = memory.push.bind(memory);
    memory.push = async (descriptor, ...rest) =>
      descriptor.mediaType === PIECE_LIST_MEDIA_TYPE ? 'pushed' : push(descriptor, ...rest);
    const converting = convertBetween({ source: layout.target, target: memory, mountFrom: undefined }, request());
    await expect(converting).rejects.toMatchObject({
      where: { content: expect.stringMatching(/^piece list of layer/) },
    });
    expect(await memory.tags()).toEqual([]);
  });
});

describe('layers that are taken over', () => {
  const outputs = [{ tag: 'again', kind: 'full' }] as const;

  it('keep their lists, and the image has the digest that it has without a record', async () => {
    const fresh = await convertWithin(layout.target, request({ cache: true }));
    const again = await convertWithin(layout.target, request({ cache: true, outputs }));
    expect(again.tags[0]!.digest).toBe(fresh.tags[0]!.digest);
  });

  it('get a list when the record has none, and the record learns of it', async () => {
    await convertWithin(layout.target, request({ cache: true, pieceList: false }));
    const again = await convertWithin(layout.target, request({ cache: true, outputs }));
    await expectLists('again');
    const fresh = await convertWithin(layout.target, request({ force: true }));
    expect(again.tags[0]!.digest).toBe(fresh.tags[0]!.digest);
  });

  it('get their list back when it was collected', async () => {
    await convertWithin(layout.target, request({ cache: true }));
    await removeLists(FULL);
    await convertWithin(layout.target, request({ cache: true, outputs }));
    await expectLists('again');
  });

  it('lose it where none is wanted', async () => {
    await convertWithin(layout.target, request({ cache: true }));
    await convertWithin(layout.target, request({ cache: true, outputs, pieceList: false }));
    expect((await manifestOf('again')).layers.map(pieceListOf)).toEqual([undefined, undefined]);
  });
});

describe('verification', () => {
  /** The full image with another annotation on its lowest layer. */
  async function withAnnotation(value: string): Promise<void> {
    const manifest = await manifestOf(FULL);
    const [first, ...others] = manifest.layers;
    const annotations = { ...first!.annotations, [PIECE_LIST_ANNOTATION]: value };
    const bytes = encodeJson({ ...manifest, layers: [{ ...first!, annotations }, ...others] });
    const memory = new MemoryTarget();
    const descriptor = memory.put(OCI.manifest, bytes);
    await layout.target.push(descriptor, {
      open: () =>
        (async function* () {
          yield bytes;
        })(),
    });
    await layout.target.tag(descriptor, 'changed');
  }

  async function pushList(bytes: Uint8Array): Promise<string> {
    const descriptor = new MemoryTarget().put(PIECE_LIST_MEDIA_TYPE, bytes);
    await layout.target.push(descriptor, {
      open: () =>
        (async function* () {
          yield bytes;
        })(),
    });
    return descriptor.digest;
  }

  beforeEach(() => convertWithin(layout.target, request()));

  it('names the piece that a list has wrong, unless it is quick', async () => {
    const [layer] = (await manifestOf(FULL)).layers;
    const list = await fetchBytes(layout.target, pieceListOf(layer!)!, 1 << 20);
    list[32 + 32 + 7]! ^= 1;
    await withAnnotation(await pushList(list));
    const { differences } = await verify('changed');
    expect(differences).toEqual([
      expect.stringMatching(/^layer 1 of 2 hash of piece 2 of 3 in its piece list: \w{64} \| \w{64}$/),
    ]);
    expect((await verify('changed', true)).differences).toEqual([]);
  });

  it.each([
    ['of another blob', () => pieceListOfBytes(new Uint8Array(2 * PIECE_BYTES + 1)), /blob size by its piece list/],
    ['of another length', () => pieceListOfBytes(new Uint8Array(5)), /piece list: readable \| unreadable/],
    ['that is no list', () => new Uint8Array(32 + 3 * 32), /does not begin with its magic/],
  ])('finds a list %s, also when it is quick', async (_, make, text) => {
    await withAnnotation(await pushList(make()));
    for (const quick of [true, false]) {
      expect((await verify('changed', quick)).differences).toEqual([expect.stringMatching(text)]);
    }
  });

  it('finds an annotation that is not a digest', async () => {
    await withAnnotation('latest');
    expect((await verify('changed', true)).differences).toEqual([
      'layer 1 of 2 annotation piece-list: a sha256 digest | latest',
    ]);
  });

  it('warns of a list that is gone', async () => {
    await removeLists(FULL);
    const { differences, warnings } = await verify(FULL);
    expect(differences).toEqual([]);
    expect(warnings).toEqual(
      [1, 2].map((n) => expect.stringMatching(`the piece list of layer ${n} of 2, sha256:.* is gone`)),
    );
  });
});
