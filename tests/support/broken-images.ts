/** Images that cannot be converted, each for a reason of its own. */
import { gzipSync } from 'node:zlib';
import { encodeJson } from '../../oci/manifest.ts';
import type { Target } from '../../oci/storage.ts';
import { fileLayer, pushImage, type SmallLayer } from './many-images.ts';

/** Tags of the broken images with the code of the failure; `not-found` has to be made by removing its layer from the store. */
export const BROKEN = {
  'flipped-byte': 'gzip-invalid',
  'no-gzip': 'tar-invalid',
  'wrong-diff-id': 'diff-id-mismatch',
  'no-tar': 'tar-invalid',
  foreign: 'layer-unsupported',
  encrypted: 'layer-unsupported',
  windows: 'image-unsupported',
  'no-config': 'manifest-invalid',
  'too-few-diff-ids': 'manifest-invalid',
  'lost-layer': 'not-found',
} as const;

/** Pushes them; returns the digest of the layer of `lost-layer`. */
export async function pushBroken(target: Target, base: readonly SmallLayer[]): Promise<string> {
  const own = fileLayer('own', 4000);
  const layer = (change: Partial<SmallLayer>): SmallLayer[] => [...base, { ...own, ...change }];
  const flipped = gzipSync(own.tar);
  flipped[flipped.length >> 1]! ^= 0xff;
  await pushImage(target, 'flipped-byte', layer({ blob: flipped }));
  await pushImage(target, 'no-gzip', layer({ blob: Buffer.from('not a layer '.repeat(100)) }));
  await pushImage(target, 'wrong-diff-id', layer({ diffId: `sha256:${'0'.repeat(64)}` }));
  await pushImage(target, 'no-tar', layer({ tar: Buffer.alloc(2048, 'x') }));
  const digest = `sha256:${'1'.repeat(64)}`;
  const foreign = {
    mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    digest,
    size: 9,
    urls: ['https://h.test/1'],
  };
  await pushImage(target, 'foreign', base, { foreign: [foreign] });
  await pushImage(target, 'encrypted', layer({ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip+encrypted' }));
  await pushImage(target, 'windows', base, { os: 'windows' });
  await pushImage(target, 'no-config', base, { config: Buffer.from('{"os": ') });
  await pushImage(target, 'too-few-diff-ids', base, {
    config: encodeJson({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [] } }),
  });
  const lost = fileLayer('lost', 3000);
  await pushImage(target, 'lost-layer', [...base, lost]);
  const { compressLayer } = await import('../../fixtures/compress.ts');
  const { digestOf } = await import('../../oci/digest.ts');
  return digestOf(await compressLayer(lost.tar, 'gzip'));
}
