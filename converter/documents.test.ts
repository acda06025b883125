/** Converts documents as real registries and builders write them: platforms, artifacts, numbers. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { inspectReference } from '../inspect/inspect-reference.ts';
import { fetchBytes } from '../oci/content.ts';
import { DESCRIPTOR_FIELDS, type Descriptor } from '../oci/descriptor.ts';
import { digestOf } from '../oci/digest.ts';
import { loadConfig, loadDocument, loadIndex, loadManifest } from '../oci/document.ts';
import { encodeJson, parseIndex } from '../oci/manifest.ts';
import { DOCKER, OCI } from '../oci/media-types.ts';
import { MemoryTarget } from '../oci/memory-target.ts';
import { rejects } from '../oci/testing/test-content.ts';
import { openImage } from '../reader/accelerated-image.ts';
import { convertWithin, request, smallTar } from '../tests/support/converter.ts';
import { verifyReference } from '../verify/verify-reference.ts';
import type { ConvertEvent } from './events.ts';
import type { ConvertResult } from './options.ts';

type Fields = Record<string, unknown>;

/** Documents by hand, pushed to a target in memory. */
class Maker {
  readonly target = new MemoryTarget();

  text(mediaType: string, text: string): Descriptor {
    return this.target.put(mediaType, Buffer.from(text));
  }

  config(tar: Uint8Array, fields: Fields = {}): string {
    const rootfs = { type: 'layers', diff_ids: [digestOf(tar)] };
    return Buffer.from(encodeJson({ os: 'linux', architecture: 'amd64', rootfs, ...fields })).toString();
  }

  image(fields: Fields = {}, more: { configType?: string; seed?: number; manifest?: Fields } = {}): Descriptor {
    const tar = smallTar(more.seed ?? 1);
    const config = this.text(more.configType ?? OCI.config, this.config(tar, fields));
    return this.manifest(tar, config, more.manifest);
  }

  manifest(tar: Uint8Array, config: Descriptor, fields: Fields = {}): Descriptor {
    const layers = [this.target.put(OCI.layer, tar)];
    const document = { schemaVersion: 2, mediaType: OCI.manifest, config, layers, ...fields };
    return this.target.put(OCI.manifest, encodeJson(document));
  }

  index(manifests: readonly unknown[], fields: Fields = {}): Descriptor {
    return this.target.put(OCI.index, encodeJson({ schemaVersion: 2, mediaType: OCI.index, manifests, ...fields }));
  }

  async convert(source: Descriptor, platforms: readonly string[] = []): Promise<ConvertResult & { events: string[] }> {
    await this.target.tag(source, 'base');
    const events: string[] = [];
    const onEvent = (event: ConvertEvent): void => {
      if (event.type === 'warning') events.push(event.message);
    };
    const result = await convertWithin(this.target, request({ platforms, force: true }), { onEvent });
    return { ...result, events };
  }
}

const on = (descriptor: Descriptor, platform: Fields) => ({ ...descriptor, platform });
const linux = (architecture: string, variant?: string) => ({
  os: 'linux',
  architecture,
  ...(variant === undefined ? {} : { variant }),
});

const platformsOf = ({ tags }: ConvertResult): string[] => tags[0]!.manifests.map(({ platform }) => platform);

async function identical(target: MemoryTarget, tag: string, platforms: readonly string[] = []) {
  const result = await verifyReference({ accelerated: { target, tagOrDigest: tag }, platforms, quick: false });
  expect(result.identical).toBe(true);
  return result.images.map(({ platform }) => platform);
}

describe('the system of a config', () => {
  it.each([
    ['empty', { os: '', architecture: '' }, 'linux/unknown', 1],
    ['null', { os: null, architecture: null, variant: null }, 'linux/unknown', 1],
    ['missing', { os: undefined }, 'linux/amd64', 1],
    ['in_capitals', { os: 'Linux' }, 'linux/amd64', 0],
  ])('os_%s', async (_name, fields, platform, warnings) => {
    const maker = new Maker();
    const result = await maker.convert(maker.image(fields));
    expect(platformsOf(result)).toEqual([platform]);
    expect(result.events.filter((text) => text.includes('names no operating system'))).toHaveLength(warnings);
    expect(await identical(maker.target, result.tags[0]!.tag)).toEqual([platform]);
  });

  it.each(['', null, 'windows'])('the word of the index counts over os %j', async (os) => {
    const maker = new Maker();
    const source = maker.index([on(maker.image({ os, architecture: '' }), linux('arm64'))]);
    const result = await maker.convert(source);
    expect(platformsOf(result)).toEqual(['linux/arm64']);
    expect(result.events).toEqual([]);
    expect(await identical(maker.target, result.tags[0]!.tag)).toEqual(['linux/arm64']);
  });
});

it('images of an index are named as the index names them', async () => {
  const maker = new Maker();
  const arm = (seed: number) => maker.image({ architecture: 'arm' }, { seed });
  const result = await maker.convert(maker.index([on(arm(1), linux('arm', 'v6')), on(arm(2), linux('arm', 'v7'))]));
  const { tag } = result.tags[0]!;
  expect(platformsOf(result)).toEqual(['linux/arm/v6', 'linux/arm/v7']);
  expect(await identical(maker.target, tag)).toEqual(['linux/arm/v6', 'linux/arm/v7']);
  const report = await inspectReference(maker.target, tag);
  expect(report.images.map(({ platform }) => platform)).toEqual(['linux/arm/v6', 'linux/arm/v7']);
  expect((await openImage(maker.target, tag, { platform: 'linux/arm/v6' })).platform).toBe('linux/arm/v6');
});

it.each([
  ['none', {}],
  ['empty', { platform: {} }],
  ['null', { platform: null }],
  ['of_empty_texts', { platform: { os: '', architecture: '' } }],
  ['without_an_architecture', { platform: { os: 'linux' } }],
])('entries of an index with a platform that is %s have that of their config', async (_name, fields) => {
  const maker = new Maker();
  const images = ['amd64', 'arm64'].map((architecture, seed) => maker.image({ architecture }, { seed }));
  const source = maker.index(images.map((image) => ({ ...image, ...fields })));
  const one = await maker.convert(source, ['linux/arm64']);
  expect(platformsOf(one)).toEqual(['linux/arm64']);
  const all = await maker.convert(source);
  const { tag } = all.tags[0]!;
  expect((await openImage(maker.target, tag, { platform: 'linux/arm64' })).platform).toBe('linux/arm64');
  expect(await identical(maker.target, tag, ['linux/arm64'])).toEqual(['linux/arm64']);
});

describe('variants', () => {
  const variants = (maker: Maker) =>
    maker.index([
      on(maker.image({}, { seed: 3 }), linux('amd64', 'v3')),
      on(maker.image({}, { seed: 2 }), linux('amd64', 'v2')),
      on(maker.image({}, { seed: 1 }), linux('amd64')),
    ]);

  it.each([
    [['linux/amd64'], ['linux/amd64']],
    [['linux/amd64/v1'], ['linux/amd64']],
    [['linux/amd64/v2'], ['linux/amd64/v2']],
    [
      ['linux/amd64/v3', 'linux/amd64'],
      ['linux/amd64/v3', 'linux/amd64'],
    ],
    [[], ['linux/amd64/v3', 'linux/amd64/v2', 'linux/amd64']],
  ])('%j of three takes %j', async (asked, taken) => {
    const maker = new Maker();
    expect(platformsOf(await maker.convert(variants(maker), asked))).toEqual(taken);
  });

  it('a reader opens the plain one, wherever it is listed, and another by its name', async () => {
    const maker = new Maker();
    const { tags } = await maker.convert(variants(maker));
    const open = async (platform: string) => (await openImage(maker.target, tags[0]!.tag, { platform })).platform;
    expect(await open('linux/amd64')).toBe('linux/amd64');
    expect(await open('linux/amd64/v1')).toBe('linux/amd64');
    expect(await open('linux/amd64/v3')).toBe('linux/amd64/v3');
    await rejects(open('linux/amd64/v4'), 'not-found');
  });
});

describe('what an index lists beside images', () => {
  const cnab = 'application/vnd.cnab.config.v1+json';

  it('is left out by the config of an artifact, with and without a platform', async () => {
    const maker = new Maker();
    const artifact = maker.manifest(smallTar(7), maker.text(cnab, '{"schemaVersion":"v1.0.0"}'), { layers: [] });
    const empty = maker.manifest(smallTar(7), maker.text(OCI.empty, '{}'), { layers: [] });
    const source = maker.index([artifact, on(empty, linux('arm64')), on(maker.image(), linux('amd64'))]);
    const result = await maker.convert(source);
    expect(platformsOf(result)).toEqual(['linux/amd64']);
    expect(result.skipped.map(({ reason }) => reason)).toEqual([
      `not an image but ${cnab}`,
      `not an image but ${OCI.empty}`,
    ]);
    const { others } = await inspectReference(maker.target, 'base');
    expect(others.map(({ reason }) => reason)).toEqual([`not an image but ${cnab}`, `not an image but ${OCI.empty}`]);
    const left = parseIndex(
      encodeJson(await loadIndex(maker.target, await maker.target.resolve(result.tags[0]!.tag))),
      source,
    );
    expect(left.manifests).toHaveLength(1);
  });

  it('is named where its content is not here; what is here is converted', async () => {
    const maker = new Maker();
    const gone = { ...maker.image({}, { seed: 5 }), digest: digestOf(Buffer.from('gone')) };
    const source = maker.index([on(maker.image(), linux('amd64')), on(gone, linux('arm64')), gone]);
    const result = await maker.convert(source);
    expect(platformsOf(result)).toEqual(['linux/amd64']);
    expect(result.skipped.map(({ reason }) => reason)).toEqual(['its content is not here', 'its content is not here']);
    const report = await inspectReference(maker.target, 'base');
    expect(report.images).toHaveLength(1);
    expect(report.others.map(({ missing }) => missing)).toEqual([true, true]);
    const error = await rejects(maker.convert(source, ['linux/arm64']), 'not-found');
    expect(error.message).toBe('no image of the index is here');
    const partly = await rejects(maker.convert(source, ['linux/amd64', 'linux/arm64']), 'not-found');
    expect(partly.expected).toBe('linux/arm64');
  });

  it('is named where a layer of it is not here', async () => {
    const maker = new Maker();
    const layer = { mediaType: OCI.layer, digest: digestOf(Buffer.from('gone')), size: 4 };
    const half = maker.manifest(smallTar(5), maker.text(OCI.config, maker.config(smallTar(5))), { layers: [layer] });
    const result = await maker.convert(maker.index([on(half, linux('arm64')), on(maker.image(), linux('amd64'))]));
    expect(platformsOf(result)).toEqual(['linux/amd64']);
    expect(result.skipped).toMatchObject([{ platform: 'linux/arm64', reason: 'its content is not here' }]);
  });

  it('is converted when it is here later', async () => {
    const maker = new Maker();
    const first = maker.image();
    const tar = smallTar(5);
    const other = new Maker();
    const later = other.image({ architecture: 'arm64' }, { seed: 5 });
    await maker.target.tag(maker.index([on(first, linux('amd64')), on(later, linux('arm64'))]), 'base');
    const convert = () => convertWithin(maker.target, request());
    expect(platformsOf(await convert())).toEqual(['linux/amd64']);
    expect((await convert()).tags[0]!.upToDate).toBe(true);
    maker.text(OCI.config, other.config(tar, { architecture: 'arm64' }));
    maker.image({ architecture: 'arm64' }, { seed: 5 });
    const whole = await convert();
    expect(whole.tags[0]!.upToDate).toBe(false);
    expect(platformsOf(whole)).toEqual(['linux/amd64', 'linux/arm64']);
  });
});

describe('the media type of a config', () => {
  it.each(['application/octet-stream', 'text/html', 'application/json', 'text/plain', ''])(
    '%j is an image by its content, and gets a proper one',
    async (configType) => {
      const maker = new Maker();
      const result = await maker.convert(maker.image({}, { configType }));
      const manifest = await loadManifest(maker.target, await maker.target.resolve(result.tags[0]!.tag));
      expect(manifest.config.mediaType).toBe(OCI.config);
      await identical(maker.target, result.tags[0]!.tag);
      expect((await inspectReference(maker.target, 'base')).images[0]!.platform).toBe('linux/amd64');
    },
  );

  it.each<[string, string, string]>([
    ['chart', 'application/vnd.cncf.helm.config.v1+json', '{"name":"chart","version":"1"}'],
    ['chart_of_no_type', 'application/octet-stream', '{"name":"chart","version":"1"}'],
    ['empty', OCI.empty, '{}'],
    ['not_JSON', 'text/html', '<html>'],
    ['list', 'application/json', '[]'],
    ['plugin', 'application/octet-stream', `{"rootfs":{"type":"layers","diff_ids":["${digestOf(smallTar(1))}"]}}`],
    ['too_few_diff_ids', 'application/octet-stream', '{"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'],
  ])('an artifact stays refused: %s', async (_name, type, text) => {
    const maker = new Maker();
    const error = await rejects(
      maker.convert(maker.manifest(smallTar(1), maker.text(type, text))),
      'image-unsupported',
    );
    expect(error.message).toBe('this is an artifact, not a container image');
  });

  it('Docker stays Docker', async () => {
    const maker = new Maker();
    const tar = smallTar(1);
    const config = maker.text('application/octet-stream', maker.config(tar));
    const source = maker.target.put(
      DOCKER.manifest,
      encodeJson({
        schemaVersion: 2,
        mediaType: DOCKER.manifest,
        config,
        layers: [maker.target.put(DOCKER.layer, tar)],
      }),
    );
    const result = await maker.convert(source);
    const manifest = await loadManifest(maker.target, await maker.target.resolve(result.tags[0]!.tag));
    expect(manifest.config.mediaType).toBe(DOCKER.config);
  });
});

describe('what accel does not know is passed on as it is', () => {
  const BIG = '9223372036854775807';

  it('numbers of a config keep their text, and verify compares them by it', async () => {
    const maker = new Maker();
    const tar = smallTar(1);
    const numbers = `"config":{"Memory":${BIG},"Shares":1.0,"Quota":1e3,"Big":12345678901234567890,"Zero":-0}`;
    const text = `{${numbers},${maker.config(tar).slice(1)}`;
    const result = await maker.convert(maker.manifest(tar, maker.text(OCI.config, text)));
    const { tag } = result.tags[0]!;
    const manifest = await loadManifest(maker.target, await maker.target.resolve(tag));
    const config = Buffer.from(encodeJson(await loadConfig(maker.target, manifest.config))).toString();
    expect(config.startsWith(`{${numbers},"os":"linux"`)).toBe(true);
    await identical(maker.target, tag);
    const altered = maker.text(OCI.config, config.replace(BIG, '9223372036854775806'));
    const other = { ...manifest, config: altered };
    const pushed = maker.target.put(OCI.manifest, encodeJson(other));
    const verified = await verifyReference({
      accelerated: { target: maker.target, tagOrDigest: pushed.digest },
      platforms: [],
      quick: true,
    });
    expect(verified.images[0]!.differences).toMatchObject([{ path: 'config', field: 'config' }]);
  });

  it('fields of manifest, index, entries and the descriptor of the config', async () => {
    const maker = new Maker();
    const tar = smallTar(1);
    const config = { ...maker.text(OCI.config, maker.config(tar)), 'com.example.config': { n: 1 } };
    const image = maker.manifest(tar, config, { 'com.example.manifest': [1, null], annotations: { a: 'b' } });
    const entry = {
      ...on(image, { ...linux('amd64'), 'os.features': ['x'], 'com.example': 1 }),
      'com.example.entry': true,
    };
    const source = maker.index([entry], { 'com.example.index': { deep: [1] }, annotations: { c: 'd' } });
    const result = await maker.convert(source);
    const named = await maker.target.resolve(result.tags[0]!.tag);
    const index = (await loadDocument(maker.target, named)) as unknown as { index: Fields & { manifests: Fields[] } };
    expect(index.index).toMatchObject({ 'com.example.index': { deep: [1] }, annotations: { c: 'd' } });
    expect(index.index.manifests[0]).toMatchObject({
      'com.example.entry': true,
      platform: { 'os.features': ['x'], 'com.example': 1 },
    });
    const manifest = await loadManifest(maker.target, index.index.manifests[0] as unknown as Descriptor);
    expect(manifest).toMatchObject({ 'com.example.manifest': [1, null], annotations: { a: 'b' } });
    expect(manifest.config).toMatchObject({ 'com.example.config': { n: 1 } });
    expect(DESCRIPTOR_FIELDS.has('com.example.config')).toBe(false);
  });

  it('numbers of manifest and index keep their text', async () => {
    const maker = new Maker();
    const raw = Buffer.from(await readText(maker, maker.image())).toString();
    const image = maker.text(OCI.manifest, `${raw.slice(0, -1)},"com.example.n":${BIG}}`);
    const entry = JSON.stringify(on(image, linux('amd64')));
    const source = maker.text(
      OCI.index,
      `{"schemaVersion":2,"mediaType":"${OCI.index}","com.example.n":1.0,"manifests":[${entry.slice(0, -1)},"com.example.n":${BIG}}]}`,
    );
    const result = await maker.convert(source);
    const index = await readText(maker, await maker.target.resolve(result.tags[0]!.tag));
    expect(index).toContain('"com.example.n":1.0');
    expect(index).toContain(`"com.example.n":${BIG}`);
    const manifest = await readText(maker, await maker.target.resolve(result.tags[0]!.manifests[0]!.digest));
    expect(manifest).toContain(`"com.example.n":${BIG}`);
  });
});

describe('sha512', () => {
  it('diff_ids are converted and verified, mixed with those of sha256', async () => {
    const maker = new Maker();
    const tars = [smallTar(1), smallTar(2)];
    const ids = [sha512(tars[0]!), digestOf(tars[1]!)];
    const config = maker.text(OCI.config, maker.config(tars[0]!, { rootfs: { type: 'layers', diff_ids: ids } }));
    const layers = tars.map((tar) => maker.target.put(OCI.layer, tar));
    const result = await maker.convert(maker.manifest(tars[0]!, config, { layers }));
    for (const { tag } of result.tags) await identical(maker.target, tag);
  });

  it('a wrong one is named', async () => {
    const maker = new Maker();
    const rootfs = { type: 'layers', diff_ids: [sha512(Buffer.from('another'))] };
    const error = await rejects(maker.convert(maker.image({ rootfs })), 'diff-id-mismatch');
    expect(error.found).toBe(sha512(smallTar(1)));
  });

  it('another algorithm is refused by its name', async () => {
    const maker = new Maker();
    const rootfs = { type: 'layers', diff_ids: [`blake3:${'0'.repeat(64)}`] };
    const error = await rejects(maker.convert(maker.image({ rootfs })), 'manifest-invalid');
    expect(error.message).toBe('accel does not compute the digest algorithm blake3');
  });
});

function sha512(bytes: Uint8Array): string {
  return `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
}

async function readText(maker: Maker, descriptor: Descriptor): Promise<string> {
  return Buffer.from(await fetchBytes(maker.target, descriptor, 1 << 20)).toString();
}
