import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { LAYER_RECORD, RECORD_ANNOTATION } from '../../formats/overlaybd/annotations.ts';
import { fetchBytes } from '../../oci/content.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { digestOf } from '../../oci/digest.ts';
import { openLayout } from '../../oci/layout-target.ts';
import { encodeJson, parseManifest } from '../../oci/manifest.ts';
import { convertWithin, request, type TestLayout, testLayout } from '../../tests/support/converter.ts';
import { verifyReference } from '../../verify/verify-reference.ts';
import type { ConvertEvent } from '../events.ts';
import type { ConvertResult } from '../options.ts';
import { addPrefetch } from '../prefetch/add-prefetch.ts';
import { RecordKey } from './record-key.ts';

const KEY = Buffer.from('a key of at least sixteen bytes');
const OTHER_KEY = Buffer.from('another key of sixteen bytes and more');

/** An image whose only difference from others is the content of one file. */
const layers = (content: string) => [
  { tar: new TarBuilder().dir('bin/').file('bin/sh', content.repeat(20_000)).build() },
  { tar: new TarBuilder().dir('etc/').file('etc/x', content.repeat(10)).build() },
];

let layout: TestLayout;
beforeEach(async () => {
  layout = await testLayout(layers('GOOD'));
  await buildLayout(layout.directory, 'evil', layers('EVIL'));
});
afterEach(() => layout.remove());

interface Run {
  readonly result: ConvertResult;
  readonly warnings: readonly string[];
  readonly reused: number;
}

async function run(tag: string, options: object): Promise<Run> {
  const target = await openLayout(layout.directory);
  let reused = 0;
  const onEvent = (event: ConvertEvent): void => {
    if (event.type === 'layer-reused') reused += 1;
  };
  const outputs = [
    { tag: `${tag}_full`, kind: 'full' as const },
    { tag: `${tag}_index`, kind: 'containerd' as const },
  ];
  const result = await convertWithin(target, request({ source: { tag }, outputs, cache: true, ...options }), {
    onEvent,
  });
  return { result, warnings: result.warnings, reused };
}

const isSound = async (tag: string): Promise<boolean> => {
  const target = await openLayout(layout.directory);
  return (await verifyReference({ accelerated: { target, tagOrDigest: tag }, platforms: [], quick: false })).identical;
};

async function put(mediaType: string, document: object): Promise<Descriptor> {
  const bytes = encodeJson(document);
  const digest = digestOf(bytes);
  await writeFile(join(layout.directory, 'blobs', 'sha256', digest.slice(7)), bytes);
  return { mediaType, digest, size: bytes.length };
}

/** Forges the record, as everyone who may push can: the layers of `good` become those of `evil`. */
async function forgeRecord(): Promise<void> {
  const target = await openLayout(layout.directory);
  const named = await target.resolve(LAYER_RECORD.tag);
  const manifest = parseManifest(await fetchBytes(target, named, 1e6), named);
  const record = JSON.parse(Buffer.from(await fetchBytes(target, manifest.layers[0]!, 1e6)).toString());
  const entries = Object.entries<{ digest: string }>(record.layers);
  const layersOf = async (tag: string) => {
    const image = await target.resolve(tag);
    return parseManifest(await fetchBytes(target, image, 1e6), image).layers;
  };
  const nameOf = ({ digest }: Descriptor) => entries.find(([, entry]) => entry.digest === digest)![0];
  const forged = { ...record.layers };
  for (const kind of ['full', 'index']) {
    const evil = await layersOf(`evil_${kind}`);
    for (const [i, good] of (await layersOf(`base_${kind}`)).entries()) {
      forged[nameOf(good)] = record.layers[nameOf(evil[i]!)];
    }
  }
  const layer = await put(LAYER_RECORD.mediaType, { ...record, layers: forged });
  await target.tag(await put(named.mediaType, { ...manifest, layers: [layer] }), LAYER_RECORD.tag);
}

/** Or: gives the image of `evil` the annotations of that of `good`, and its tag. */
async function forgeAnnotations(tag: string): Promise<void> {
  const target = await openLayout(layout.directory);
  const read = async (name: string) => {
    const named = await target.resolve(name);
    return { named, manifest: parseManifest(await fetchBytes(target, named, 1e6), named) };
  };
  const good = await read(`base_${tag}`);
  const evil = await read(`evil_${tag}`);
  const forged = { ...evil.manifest, annotations: good.manifest.annotations };
  await target.tag(await put(good.named.mediaType, forged), `base_${tag}`);
}

describe('a forged record of layers', () => {
  const poison = async (options: object): Promise<Run> => {
    await run('evil', options);
    await run('base', options);
    await forgeRecord();
    const index = JSON.parse(await readFile(join(layout.directory, 'index.json'), 'utf8'));
    index.manifests = index.manifests.filter((one: Descriptor) => !one.annotations?.[REF]?.startsWith('base_'));
    await writeFile(join(layout.directory, 'index.json'), JSON.stringify(index));
    return run('base', options);
  };
  const REF = 'org.opencontainers.image.ref.name';

  it('is believed where nothing is asked for: that is what the tests below are about', async () => {
    const { reused, warnings } = await poison({});
    expect({ reused, warnings, sound: await isSound('base_full') }).toEqual({
      reused: 2,
      warnings: [],
      sound: false,
    });
  });

  it.each([
    ['a key', { recordKey: KEY }, /without a valid code/],
    ['a comparison', { verifyReused: true }, /not those of the source.*differs in content/],
  ])('is not used with %s: a warning, and the layers are converted again', async (_, options, warning) => {
    const { warnings } = await poison(options);
    expect(warnings).toEqual([expect.stringMatching(warning)]);
    expect([await isSound('base_full'), await isSound('base_index')]).toEqual([true, true]);
    // The record says the truth again.
    const third = await run('base', { ...options, outputs: [{ tag: 'third', kind: 'full' }] });
    expect(third).toMatchObject({ reused: 2, warnings: [] });
  });
});

describe('forged annotations', () => {
  it.each([
    ['a key', { recordKey: KEY }, /no valid code/],
    ['a comparison', { verifyReused: true }, /content differs/],
  ])('do not make an image up to date with %s', async (_, options, warning) => {
    await run('base', options);
    await run('evil', options);
    expect((await run('base', options)).result.tags.map((tag) => tag.upToDate)).toEqual([true, true]);
    await forgeAnnotations('full');
    const { result, warnings } = await run('base', options);
    expect(result.tags.map((tag) => tag.upToDate)).toEqual([false, true]);
    expect(warnings).toEqual([expect.stringMatching(warning)]);
    expect(await isSound('base_full')).toBe(true);
  });
});

describe('the key', () => {
  it('changes nothing but the code: without one, and with another, what it made is made again', async () => {
    const first = await run('base', { recordKey: KEY });
    const again = await run('base', { recordKey: KEY });
    expect(again.result.tags.map(({ digest, upToDate }) => [digest, upToDate])).toEqual(
      first.result.tags.map(({ digest }) => [digest, true]),
    );
    const other = await run('base', { recordKey: OTHER_KEY });
    expect(other.result.tags.map((tag) => tag.upToDate)).toEqual([false, false]);
    expect(other.reused).toBe(0);
    const none = await run('base', {});
    expect(none.result.tags.map((tag) => tag.upToDate)).toEqual([true, true]);
  });

  it('of less than 16 bytes is refused, line ends not counted', () => {
    expect(() => new RecordKey(Buffer.from('fifteen bytes..\r\n'))).toThrow(expect.objectContaining({ code: 'usage' }));
    const document = { schemaVersion: 2 as const, mediaType: 'm', manifests: [] };
    const signed = new RecordKey(Buffer.from('0123456789abcdef\n')).sign(document);
    expect(new RecordKey(Buffer.from('0123456789abcdef')).proves(signed)).toBe(true);
    expect(new RecordKey(Buffer.from('0123456789abcdeF')).proves(signed)).toBe(false);
    expect(
      new RecordKey(Buffer.from('0123456789abcdef')).proves({
        ...signed,
        manifests: [{ mediaType: 'x', digest: 'y', size: 1 }],
      }),
    ).toBe(false);
  });

  it('a list that is put on later keeps the code with the key, and loses it without', async () => {
    await run('base', { recordKey: KEY });
    const target = await openLayout(layout.directory);
    const prefetch = { lines: ['/bin/sh'] };
    const codeOf = async (): Promise<string | undefined> => {
      const named = await target.resolve('base_full');
      return parseManifest(await fetchBytes(target, named, 1e6), named).annotations?.[RECORD_ANNOTATION.mac];
    };
    await addPrefetch({ target, tagOrDigest: 'base_full', prefetch, recordKey: KEY });
    expect(await codeOf()).toMatch(/^[0-9a-f]{64}$/);
    expect((await run('base', { recordKey: KEY, prefetch })).result.tags[0]!.upToDate).toBe(true);
    await addPrefetch({ target, tagOrDigest: 'base_full', prefetch: { lines: ['/etc/x'] } });
    expect(await codeOf()).toBeUndefined();
  });
});
