/** Small images that share layers, in a registry or any other target, and some that are broken in different ways. */

import { randomBytes } from 'node:crypto';
import { bytesSource } from '../../base/byte-source.ts';
import { compressLayer, type LayerCompression } from '../../fixtures/compress.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { digestOf } from '../../oci/digest.ts';
import { encodeJson } from '../../oci/manifest.ts';
import type { Target } from '../../oci/storage.ts';

/** A layer to push. */
export interface SmallLayer {
  readonly tar: Uint8Array;
  readonly compression?: LayerCompression;
  readonly mediaType?: string;
  /** Bytes in place of the blob that the descriptor names; undefined: the right ones. */
  readonly blob?: Uint8Array;
  readonly diffId?: string;
}

const CONFIG = 'application/vnd.oci.image.config.v1+json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';

/** Parts of a manifest that differ from those of a sound image. */
export interface ManifestParts {
  readonly os?: string;
  readonly config?: Uint8Array;
  readonly configType?: string;
  readonly more?: Readonly<Record<string, unknown>>;
  /** Layers to list in the manifest that are not pushed. */
  readonly foreign?: readonly Descriptor[];
}

/** A layer with one file of `bytes` random bytes. */
export function fileLayer(path: string, bytes: number, text = ''): SmallLayer {
  const tar = new TarBuilder().file(path, Buffer.concat([Buffer.from(text), randomBytes(bytes)])).build();
  return { tar };
}

/** Pushes an image of these layers under a tag; returns the digest of its manifest. */
export async function pushImage(
  target: Target,
  tag: string,
  layers: readonly SmallLayer[],
  { os = 'linux', config, configType = CONFIG, more = {}, foreign = [] }: ManifestParts = {},
): Promise<string> {
  const descriptors: Descriptor[] = [];
  for (const { tar, compression = 'gzip', mediaType = LAYER, blob } of layers) {
    const bytes = blob ?? (await compressLayer(tar, compression));
    descriptors.push(await push(target, mediaType, bytes));
  }
  const diffIds = layers.map(({ tar, diffId }) => diffId ?? digestOf(tar));
  const document = {
    os,
    architecture: 'amd64',
    config: {},
    rootfs: { type: 'layers', diff_ids: [...diffIds, ...foreign.map(({ digest }) => digest)] },
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: await push(target, configType, config ?? encodeJson(document)),
    layers: [...descriptors, ...foreign],
    ...more,
  };
  const descriptor = await push(target, MANIFEST, encodeJson(manifest));
  await target.tag(descriptor, tag);
  return descriptor.digest;
}

async function push(target: Target, mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  await target.push(descriptor, bytesSource(bytes));
  return descriptor;
}
