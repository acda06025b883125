import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AccelError } from '../base/error.ts';
import { parseConfig } from './config.ts';
import { digestOf } from './digest.ts';
import { encodeJson, MAX_MANIFEST_SIZE, parseDocument, parseIndex, parseManifest } from './manifest.ts';
import {
  DOCKER,
  isIndex,
  isLayer,
  isManifest,
  isManifestContent,
  isNonDistributableLayer,
  layerCompression,
  layerMediaType,
  mediaFamily,
  OCI,
  toFamily,
} from './media-types.ts';

const layer = { mediaType: OCI.layerGzip, digest: `sha256:${'1'.repeat(64)}`, size: 10 };
const config = { mediaType: OCI.config, digest: `sha256:${'2'.repeat(64)}`, size: 20 };
const manifest = { schemaVersion: 2, mediaType: OCI.manifest, config, layers: [layer, layer] };
const index = { schemaVersion: 2, mediaType: OCI.index, manifests: [{ ...layer, mediaType: OCI.manifest }] };

function encode(value: unknown): Uint8Array {
  return typeof value === 'string' ? new TextEncoder().encode(value) : encodeJson(value);
}

function named(bytes: Uint8Array, mediaType: string = OCI.manifest) {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}

function parse(value: unknown, mediaType?: string) {
  const bytes = encode(value);
  return parseDocument(bytes, named(bytes, mediaType));
}

function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return error instanceof AccelError ? error.code : String(error);
  }
  return 'nothing thrown';
}

describe('manifests', () => {
  test('parse and encode give the same bytes; duplicate layers are kept', () => {
    const bytes = encode(manifest);
    expect(parseManifest(bytes, named(bytes))).toEqual(manifest);
    expect(bytes.includes(32)).toBe(false);
  });

  test('unknown fields stay, also within descriptors; null fields of a descriptor are absent', () => {
    const value = { ...manifest, extra: [1], layers: [{ ...layer, data: 'eA==', annotations: null, platform: null }] };
    const bytes = encode(value);
    expect(parseManifest(bytes, named(bytes))).toEqual({
      ...value,
      layers: [{ ...layer, data: 'eA==' }],
    });
  });

  test('a manifest without mediaType takes the descriptor’s, one under an unknown type its own', () => {
    const { mediaType: _, ...bare } = manifest;
    expect(parse(bare, DOCKER.manifest)).toMatchObject({ manifest: { mediaType: DOCKER.manifest } });
    expect(parse(bare, 'text/plain')).toMatchObject({ manifest: { mediaType: OCI.manifest } });
    expect(parse(manifest, 'text/plain')).toMatchObject({ kind: 'manifest', manifest: { mediaType: OCI.manifest } });
    expect(parse(index, 'text/plain')).toMatchObject({ kind: 'index', index: { mediaType: OCI.index } });
  });

  test('an index where a manifest belongs, and the reverse', () => {
    const bytes = encode(index);
    expect(codeOf(() => parseManifest(bytes, named(bytes)))).toBe('manifest-invalid');
    expect(parseIndex(bytes, named(bytes, OCI.index))).toEqual(index);
    expect(codeOf(() => parseIndex(encode(manifest), named(bytes)))).toBe('manifest-invalid');
  });

  test('an index entry without platform fields, as builders write for attestations', () => {
    const entry = { ...layer, mediaType: OCI.manifest, platform: { os: 'unknown', architecture: 'unknown' } };
    const value = { ...index, manifests: [entry, { ...entry, platform: {} }] };
    expect(parse(value, OCI.index)).toMatchObject({ kind: 'index' });
  });

  test.each([
    ['schema 1', { schemaVersion: 1, fsLayers: [], history: [] }, 'image-unsupported'],
    ['not JSON', '{', 'manifest-invalid'],
    ['nothing', '', 'manifest-invalid'],
    ['a list', [], 'manifest-invalid'],
    ['null', null, 'manifest-invalid'],
    ['not UTF-8', '\ud800', 'manifest-invalid'],
    ['no schemaVersion', { ...manifest, schemaVersion: undefined }, 'manifest-invalid'],
    ['schemaVersion 3', { ...manifest, schemaVersion: 3 }, 'manifest-invalid'],
    ['schemaVersion as text', { ...manifest, schemaVersion: '2' }, 'manifest-invalid'],
    ['no config', { ...manifest, config: undefined }, 'manifest-invalid'],
    ['layers as an object', { ...manifest, layers: {} }, 'manifest-invalid'],
    ['a layer that is null', { ...manifest, layers: [null] }, 'manifest-invalid'],
    ['a negative size', { ...manifest, layers: [{ ...layer, size: -1 }] }, 'manifest-invalid'],
    ['a size of 1.5', { ...manifest, layers: [{ ...layer, size: 1.5 }] }, 'manifest-invalid'],
    ['a size past 2^53', { ...manifest, layers: [{ ...layer, size: 2 ** 53 }] }, 'manifest-invalid'],
    ['a size as text', { ...manifest, layers: [{ ...layer, size: '10' }] }, 'manifest-invalid'],
    ['a digest that is a path', { ...manifest, layers: [{ ...layer, digest: '../x' }] }, 'manifest-invalid'],
    ['annotations with a number', { ...manifest, annotations: { a: 1 } }, 'manifest-invalid'],
    ['artifactType as a number', { ...manifest, artifactType: 1 }, 'manifest-invalid'],
    ['urls as text', { ...manifest, layers: [{ ...layer, urls: 'x' }] }, 'manifest-invalid'],
    ['10,001 layers', { ...manifest, layers: Array(10_001).fill(1) }, 'limit-exceeded'],
    ['64 levels', `{"schemaVersion":2,"x":${'['.repeat(63)}${']'.repeat(63)}}`, 'manifest-invalid'],
    ['65 levels', `{"schemaVersion":2,"x":${'['.repeat(64)}${']'.repeat(64)}}`, 'limit-exceeded'],
    ['a million levels', '['.repeat(1_000_000), 'limit-exceeded'],
    ['4 MiB and a byte', `{"a":"${'x'.repeat(MAX_MANIFEST_SIZE - 7)}"}`, 'limit-exceeded'],
  ])('%s', (_, value, code) => {
    expect(codeOf(() => parse(value))).toBe(code);
  });

  test('brackets within text are no levels', () => {
    expect(parse({ ...manifest, annotations: { a: `\\"${'['.repeat(200)}` } })).toMatchObject({ kind: 'manifest' });
  });

  test('__proto__ as a key changes nothing but itself', () => {
    const document = parse(
      `{"schemaVersion":2,"__proto__":{"polluted":1},"config":${JSON.stringify(config)},"layers":[]}`,
    );
    expect((document as unknown as Record<string, unknown>).polluted).toBeUndefined();
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  test('any JSON gives a document or an AccelError', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        const code = codeOf(() => parse(text));
        return ['nothing thrown', 'manifest-invalid', 'limit-exceeded', 'image-unsupported'].includes(code);
      }),
      { numRuns: 500 },
    );
  });
});

describe('configs', () => {
  const value = {
    created: '2020-01-01T00:00:00Z',
    os: 'linux',
    architecture: 'amd64',
    config: { Env: ['A=1'], Healthcheck: { Test: ['x'] } },
    moby: { buildkit: { v: 1 } },
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
    history: [{ created_by: 'RUN x' }, { empty_layer: true }],
  };
  const parseBytes = (content: unknown) => {
    const bytes = encode(content);
    return parseConfig(bytes, named(bytes, OCI.config));
  };

  test('every field and its order survive', () => {
    expect(Buffer.from(encodeJson(parseBytes(value))).toString()).toBe(JSON.stringify(value));
  });

  test.each([
    ['no rootfs', { ...value, rootfs: undefined }],
    ['diff_ids with a number', { ...value, rootfs: { type: 'layers', diff_ids: [1] } }],
    ['a diff_id that is no digest', { ...value, rootfs: { type: 'layers', diff_ids: ['x'] } }],
    ['history as an object', { ...value, history: {} }],
    ['history with text', { ...value, history: ['x'] }],
    ['os as a number', { ...value, os: 1 }],
  ])('%s is manifest-invalid', (_, content) => {
    expect(codeOf(() => parseBytes(content))).toBe('manifest-invalid');
  });

  test('null diff_ids, as of an image without layers', () => {
    expect(parseBytes({ ...value, rootfs: { type: 'layers', diff_ids: null } }).rootfs.diff_ids).toEqual([]);
  });
});

describe('media types', () => {
  test.each(['index', 'manifest', 'config', 'layer', 'layerGzip', 'layerZstd'] as const)('%s has a twin', (kind) => {
    expect(toFamily(OCI[kind], 'docker')).toBe(DOCKER[kind]);
    expect(toFamily(DOCKER[kind], 'oci')).toBe(OCI[kind]);
    expect(toFamily(OCI[kind], 'oci')).toBe(OCI[kind]);
    expect([mediaFamily(OCI[kind]), mediaFamily(DOCKER[kind])]).toEqual(['oci', 'docker']);
  });

  test('what is what', () => {
    expect([OCI.index, DOCKER.index].every(isIndex)).toBe(true);
    expect([OCI.manifest, DOCKER.manifest].every(isManifest)).toBe(true);
    expect([OCI.index, DOCKER.manifest, OCI.config, OCI.layer].map(isManifestContent)).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect(toFamily('application/x', 'docker')).toBe('application/x');
    expect([isLayer(OCI.config), layerCompression(OCI.config), layerCompression('toString')]).toEqual([
      false,
      undefined,
      undefined,
    ]);
  });

  test.each([
    [OCI.layer, 'none'],
    [OCI.layerGzip, 'gzip'],
    [DOCKER.layerZstd, 'zstd'],
    ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', 'gzip'],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar', 'none'],
  ])('%s is compressed by %s', (mediaType, compression) => {
    expect(layerCompression(mediaType)).toBe(compression);
    expect(isNonDistributableLayer(mediaType)).toBe(/foreign|nondistributable/.test(mediaType));
    if (!isNonDistributableLayer(mediaType)) {
      expect(layerMediaType(mediaFamily(mediaType), layerCompression(mediaType)!)).toBe(mediaType);
    }
  });
});
