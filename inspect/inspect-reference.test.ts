/** Inspects images of every kind. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import { buildIndexLayout, buildLayout, type ImageOptions, type LayerSpec } from '../fixtures/image-builder.ts';
import { TarBuilder } from '../fixtures/tar-builder.ts';
import { fetchBytes } from '../oci/content.ts';
import { openLayout } from '../oci/layout-target.ts';
import { parseManifest } from '../oci/manifest.ts';
import type { Target } from '../oci/storage.ts';
import { BOTH, convertWithin, request } from '../tests/support/converter.ts';
import { type AcceleratedFacts, inspectReference, type OrdinaryFacts } from './inspect-reference.ts';

let directory: string;
let target: Target;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'accel-inspect-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const tar = (name: string): Uint8Array => new TarBuilder().file(name, name.repeat(5000)).build();

async function build(layers: readonly LayerSpec[], options: ImageOptions = {}): Promise<void> {
  await buildLayout(directory, 'base', layers, options);
  target = await openLayout(directory);
}

async function accelerated(tag: string): Promise<AcceleratedFacts> {
  const report = await inspectReference(target, tag);
  expect(report.accelerated).toBe(true);
  return report.images[0] as AcceleratedFacts;
}

async function removeBlob(digest: string): Promise<void> {
  await rm(join(directory, 'blobs', ...digest.split(':')));
  target = await openLayout(directory);
}

describe('an accelerated image', () => {
  test('full', async () => {
    await build([{ tar: tar('a') }, { tar: tar('b') }]);
    const result = await convertWithin(target, request());
    const base = await target.resolve('base');
    const report = await inspectReference(target, 'base_accelerated');
    expect(report).toMatchObject({
      digest: result.tags[0]?.digest,
      sourceDigest: base.digest,
      baseTag: { tag: 'base', digest: base.digest, matches: true },
      others: [],
    });
    const image = await accelerated('base_accelerated');
    expect(image).toMatchObject({
      platform: 'linux/amd64',
      mode: 'full',
      size: result.tags[0]?.size,
      ratio: result.tags[0]?.ratio,
      virtualSize: 64 * 2 ** 30,
      base: { digest: base.digest, present: true },
      accelVersion: expect.stringMatching(/^\d+\.\d+\.\d+/),
      options: expect.stringContaining('algorithm=zstd'),
    });
    expect(image.layers).toHaveLength(2);
    expect(image.layers[0]).toMatchObject({ kind: 'full', algorithm: 'zstd', blockSize: 32_768 });
    expect(image.layers[0]?.segments).toBeGreaterThan(0);
    expect(image.problem).toBeUndefined();
  });

  test('index-only, with and without the layers it points into', async () => {
    await build([{ tar: tar('a') }, { tar: tar('b') }]);
    await convertWithin(target, request());
    const { layers } = parseManifest(...(await document('base')));
    const image = await accelerated('base_containerd_accelerated');
    expect(image.mode).toBe('index-only');
    expect(image.layers.map(({ source }) => source)).toEqual(layers.map(({ digest }) => ({ digest, present: true })));
    expect(image.layers.map(({ accessPoints }) => accessPoints)).toEqual([1, 1]);
    await removeBlob(layers[1]!.digest);
    const broken = await accelerated('base_containerd_accelerated');
    expect(broken.layers.map(({ source }) => source?.present)).toEqual([true, false]);
  });

  test('of both kinds of layers, with another algorithm', async () => {
    await build([{ tar: tar('a') }, { tar: tar('b'), compression: 'zstd' }]);
    const { artifact } = request();
    await convertWithin(target, request({ artifact: { ...artifact, algorithm: 'zstd', blockSize: 65_536 } }));
    const image = await accelerated('base_containerd_accelerated');
    expect(image.mode).toBe('mixed');
    expect(image.layers.map(({ kind, algorithm, blockSize }) => [kind, algorithm, blockSize])).toEqual([
      ['index-only', 'lz4', 4096],
      ['full', 'zstd', 65_536],
    ]);
  });

  test('whose base moved on, and then went away', async () => {
    await build([{ tar: tar('a') }]);
    await convertWithin(target, request());
    const old = await target.resolve('base');
    await buildLayout(directory, 'base', [{ tar: tar('new') }]);
    target = await openLayout(directory);
    const now = await target.resolve('base');
    const report = await inspectReference(target, 'base_containerd_accelerated');
    expect(report.baseTag).toEqual({ tag: 'base', digest: now.digest, matches: false });
    expect(report.images[0]).toMatchObject({ base: { digest: old.digest, present: true } });
    await removeBlob(old.digest);
    const image = await accelerated('base_accelerated');
    expect(image.base).toEqual({ digest: old.digest, present: false });
    expect(image.ratio).toBeUndefined();
  });

  test('under a tag that follows no rule says nothing of a base tag', async () => {
    await build([{ tar: tar('a') }]);
    await convertWithin(
      target,
      request({
        outputs: [
          { tag: 'obd', kind: 'full' },
          { tag: 'gone_accelerated', kind: 'full' },
        ],
      }),
    );
    expect((await inspectReference(target, 'obd')).baseTag).toBeUndefined();
    expect((await inspectReference(target, 'gone_accelerated')).baseTag).toEqual({ tag: 'gone', matches: false });
    const { digest } = await target.resolve('obd');
    expect((await inspectReference(target, digest)).baseTag).toBeUndefined();
  });

  test('that does not open is reported with the reason', async () => {
    await build([{ tar: tar('a') }]);
    const result = await convertWithin(target, request({ outputs: [BOTH[0]!] }));
    const { digest } = result.tags[0]!.manifests[0]!.layers[0]!;
    await removeBlob(digest);
    const image = await accelerated('base_accelerated');
    expect(image.problem).toContain(digest);
    const pieceList = { digest: expect.stringMatching(/^sha256:/), present: true };
    expect(image.layers).toEqual([
      { kind: 'full', digest, mediaType: expect.any(String), size: expect.any(Number), pieceList },
    ]);
    await removeBlob(image.layers[0]!.pieceList!.digest);
    expect((await accelerated('base_accelerated')).layers[0]!.pieceList!.present).toBe(false);
  });

  test('of an index: every platform, and what is no image', async () => {
    const member = (architecture: string) => ({
      layers: [{ tar: tar(architecture) }],
      options: { platform: { os: 'linux', architecture } },
    });
    await buildIndexLayout(directory, 'base', [member('amd64'), { attestation: true }, member('arm64')]);
    target = await openLayout(directory);
    const ordinary = await inspectReference(target, 'base');
    expect(ordinary.accelerated).toBe(false);
    expect(ordinary.others).toMatchObject([{ platform: 'unknown/unknown' }]);
    await convertWithin(target, request());
    const report = await inspectReference(target, 'base_accelerated');
    expect(report.images.map(({ platform, accelerated: is }) => [platform, is])).toEqual([
      ['linux/amd64', true],
      ['linux/arm64', true],
    ]);
    expect(report).toMatchObject({ sourceDigest: ordinary.digest, baseTag: { matches: true }, others: [] });
  });
});

describe('an ordinary image', () => {
  async function verdicts(layers: readonly LayerSpec[]): Promise<(readonly [string, string, string, string])[]> {
    await build(layers);
    const report = await inspectReference(target, 'base');
    expect([report.accelerated, report.baseTag]).toEqual([false, undefined]);
    return (report.images[0] as OrdinaryFacts).layers.map(
      ({ compression, full, indexOnly }) => [compression, full.possible, indexOnly.possible, indexOnly.reason] as const,
    );
  }

  it('reports what each layer allows, whatever its media type', async () => {
    const mediaType = 'application/vnd.oci.image.layer.v1.tar';
    expect(
      await verdicts([
        { tar: tar('a'), compression: 'none' },
        { tar: tar('b'), compression: 'gzip', mediaType },
        { tar: tar('c'), compression: 'zstd' },
      ]),
    ).toEqual([
      ['none', 'yes', 'yes', ''],
      ['gzip', 'yes', 'unknown', 'if it is one gzip member'],
      ['zstd', 'yes', 'no', 'compressed with zstd, which cannot be indexed'],
    ]);
  });

  it('lets the lowest layer decide on index-only', async () => {
    expect(
      (await verdicts([{ tar: tar('a'), compression: 'zstd' }, { tar: tar('b') }])).map((verdict) => verdict[3]),
    ).toEqual(['compressed with zstd, which cannot be indexed', 'the lowest layer cannot be index-only']);
  });

  it.each([
    ['BGZF', '1f8b08040000000000ff0600424302001b00', 'gzip', 'yes', 'BGZF: many gzip members'],
    ['another extra field', '1f8b08040000000000ff060041430200', 'gzip', 'yes', 'if it is one gzip member'],
    ['xz', 'fd377a585a00', 'xz', 'no', 'compressed with xz, which no runtime takes'],
    ['nothing', '', 'none', 'yes', ''],
  ])('knows %s by its first bytes', async (_, hex, compression, full, reason) => {
    const [verdict] = await verdicts([{ tar: new Uint8Array(Buffer.from(hex, 'hex')), compression: 'none' }]);
    expect([verdict![0], verdict![1], verdict![3]]).toEqual([compression, full, reason]);
  });

  it.each([
    ['application/vnd.oci.image.layer.v1.tar+gzip+encrypted', 'encrypted'],
    ['application/vnd.in-toto+json', 'no file-system layer'],
  ])('refuses %s', async (mediaType, reason) => {
    expect((await verdicts([{ tar: tar('a'), mediaType }]))[0]?.slice(1)).toEqual(['no', 'no', reason]);
  });
});

it('an image that is not there', async () => {
  await build([{ tar: tar('a') }]);
  await expect(inspectReference(target, 'nowhere')).rejects.toMatchObject({ code: 'not-found' });
});

async function document(tag: string): Promise<Parameters<typeof parseManifest>> {
  const descriptor = await target.resolve(tag);
  return [await fetchBytes(target, descriptor, 1 << 22), descriptor];
}
