import { expect, test } from 'vitest';
import { AccelError } from '../base/error.ts';
import { digestOf } from './digest.ts';
import { asIndexFile } from './layout-index.ts';
import { encodeJson, parseDocument } from './manifest.ts';
import { DOCKER, OCI } from './media-types.ts';

const layer = { mediaType: OCI.layerGzip, digest: `sha256:${'1'.repeat(64)}`, size: 10 };
const config = { mediaType: OCI.config, digest: `sha256:${'2'.repeat(64)}`, size: 20 };
const image = { schemaVersion: 2, config, layers: [layer] };
const list = { schemaVersion: 2, manifests: [{ ...layer, mediaType: OCI.manifest }] };

function parse(value: unknown, mediaType: string) {
  const bytes = encodeJson(value);
  return parseDocument(bytes, { mediaType, digest: digestOf(bytes), size: bytes.length });
}

test.each<[string, unknown, string]>([
  ['manifests beside layers and config', { ...image, ...list }, OCI.manifest],
  ['the same, called an index', { ...image, ...list }, OCI.index],
  ['manifests beside layers', { ...list, layers: [layer] }, OCI.index],
  ['manifests beside a config', { ...list, config }, OCI.index],
  ['an empty list of manifests beside layers', { ...image, manifests: [] }, OCI.manifest],
  ['an empty list of layers beside manifests', { ...list, layers: [] }, OCI.index],
  ['an index by its own media type that lists layers', { ...image, mediaType: OCI.index }, OCI.manifest],
  ['an index by Docker’s media type that lists layers', { ...image, mediaType: DOCKER.index }, ''],
  ['an image by its own media type that lists manifests', { ...list, mediaType: OCI.manifest }, OCI.index],
  ['an image by Docker’s media type that lists manifests', { ...list, mediaType: DOCKER.manifest }, ''],
  ['an index by its descriptor that lists layers', image, OCI.index],
  ['an image by its descriptor that lists manifests', list, DOCKER.manifest],
  ['layers in two cases', { ...image, Layers: [] }, OCI.manifest],
  ['manifests in capitals beside layers', { ...image, MANIFESTS: list.manifests }, OCI.manifest],
  ['a config in another case alone', { schemaVersion: 2, Config: config, layers: [layer] }, OCI.manifest],
])('refused: %s', (_, value, mediaType) => {
  expect(() => parse(value, mediaType)).toThrow(expect.objectContaining({ code: 'manifest-invalid' }));
});

test.each<[string, unknown, string, 'manifest' | 'index']>([
  ['null for what is absent', { ...image, manifests: null }, OCI.manifest, 'manifest'],
  ['null in an index', { ...list, layers: null, config: null }, OCI.index, 'index'],
  ['a media type that says nothing', image, 'text/plain', 'manifest'],
  ['an OCI image under Docker’s media type', { ...image, mediaType: OCI.manifest }, DOCKER.manifest, 'manifest'],
  ['fields of other tools', { ...list, Annotations: {}, layersTotal: 3 }, OCI.index, 'index'],
])('taken: %s', (_, value, mediaType, kind) => {
  expect(parse(value, mediaType).kind).toBe(kind);
});

test('index.json of a layout is an index and nothing else', () => {
  expect(() => asIndexFile({ ...list, layers: [layer] }, {})).toThrow(AccelError);
  expect(() => asIndexFile({ ...list, mediaType: OCI.manifest }, {})).toThrow(AccelError);
  expect(asIndexFile({ ...list, mediaType: OCI.index }, {}).manifests).toHaveLength(1);
});
