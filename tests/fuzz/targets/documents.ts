/** Damaged manifests, indexes, configs: whatever is accepted can be relied on by those who take it. */

import { parseConfig } from '../../../oci/config.ts';
import { assertDigest } from '../../../oci/digest.ts';
import { parseDocument } from '../../../oci/manifest.ts';
import { OCI } from '../../../oci/media-types.ts';
import { formatPlatform } from '../../../oci/platform.ts';
import { type Json, jsonBytes, mutateJson } from '../mutate-json.ts';
import { demand, type FuzzTarget } from '../target.ts';

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;
const layer = (n: number) => ({
  mediaType: OCI.layerGzip,
  digest: `sha256:${String(n).repeat(64)}`,
  size: 1000 * n,
  annotations: { 'containerd.io/snapshot/overlaybd/version': '0.1.0' },
});
const MANIFEST: Json = {
  schemaVersion: 2,
  mediaType: OCI.manifest,
  config: { mediaType: OCI.config, digest: DIGEST, size: 700 },
  layers: [layer(1), layer(2), layer(3)],
  subject: { mediaType: OCI.manifest, digest: DIGEST, size: 5 },
  annotations: { 'org.opencontainers.image.created': '2023-11-14T22:13:20Z' },
};
const INDEX: Json = {
  schemaVersion: 2,
  mediaType: OCI.index,
  manifests: ['amd64', 'arm64'].map((architecture) => ({
    mediaType: OCI.manifest,
    digest: DIGEST,
    size: 500,
    platform: { os: 'linux', architecture, variant: 'v8' },
    urls: ['https://example.com/'],
  })),
};
const CONFIG: Json = {
  os: 'linux',
  architecture: 'amd64',
  config: { Env: ['PATH=/bin'], Cmd: ['sh'], Labels: { a: 'b' } },
  rootfs: { type: 'layers', diff_ids: [DIGEST, DIGEST] },
  history: [{ created_by: 'one' }, { created_by: 'ENV', empty_layer: true }, { created_by: 'two' }],
};

/** Manifests and indexes. */
export const manifestTarget: FuzzTarget = {
  name: 'manifest',
  codes: ['manifest-invalid', 'limit-exceeded', 'image-unsupported'],
  cases: 5000,
  async open() {
    return {
      make: (random) => ({
        bytes: jsonBytes(mutateJson(random.pick([MANIFEST, INDEX]), random), random),
        mended: true,
      }),
      check({ bytes }) {
        const document = parseDocument(bytes, { mediaType: OCI.manifest, digest: DIGEST, size: bytes.length });
        const { descriptors, rest } =
          document.kind === 'index'
            ? { descriptors: document.index.manifests, rest: document.index }
            : { descriptors: [document.manifest.config, ...document.manifest.layers], rest: document.manifest };
        demand(typeof rest.mediaType === 'string', 'a document without a media type');
        for (const { digest, size, mediaType, annotations, platform } of descriptors) {
          assertDigest(digest, 'internal');
          demand(Number.isSafeInteger(size) && size >= 0, `a size of ${size}`);
          demand(typeof mediaType === 'string', 'a descriptor without a media type');
          for (const value of Object.values(annotations ?? {})) demand(typeof value === 'string', 'an odd annotation');
          demand(typeof formatPlatform(platform ?? {}) === 'string', 'an odd platform');
        }
      },
    };
  },
};

/** Image configs. */
export const configTarget: FuzzTarget = {
  name: 'config',
  codes: ['manifest-invalid', 'limit-exceeded'],
  cases: 4000,
  async open() {
    return {
      make: (random) => ({ bytes: jsonBytes(mutateJson(CONFIG, random), random), mended: true }),
      check({ bytes }) {
        const config = parseConfig(bytes, { mediaType: OCI.config, digest: DIGEST, size: bytes.length });
        for (const digest of config.rootfs.diff_ids) assertDigest(digest, 'internal');
        for (const field of [config.os, config.architecture, config.variant])
          demand(field === undefined || field === null || typeof field === 'string', `a field of ${typeof field}`);
        for (const step of config.history ?? []) demand(typeof step === 'object', 'an odd step');
      },
    };
  },
};
