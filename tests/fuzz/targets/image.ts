/** An image whose documents are damaged under digests that fit: inspected, opened, read, and converted again. */

import { bytesSource } from '../../../base/byte-source.ts';
import { AccelError, type AccelErrorCode } from '../../../base/error.ts';
import { convertBetween } from '../../../converter/convert.ts';
import { LayerCache } from '../../../converter/publish/layer-record.ts';
import { compressLayer } from '../../../fixtures/compress.ts';
import { TarBuilder } from '../../../fixtures/tar-builder.ts';
import { inspectReference } from '../../../inspect/inspect-reference.ts';
import { fetchBytes } from '../../../oci/content.ts';
import type { Descriptor } from '../../../oci/descriptor.ts';
import { digestOf } from '../../../oci/digest.ts';
import { encodeJson, parseManifest } from '../../../oci/manifest.ts';
import { OCI } from '../../../oci/media-types.ts';
import { MemoryTarget } from '../../../oci/memory-target.ts';
import { openImage } from '../../../reader/accelerated-image.ts';
import { openFiles } from '../../../reader/files.ts';
import { request } from '../../support/converter.ts';
import { type Json, jsonBytes, mutateJson } from '../mutate-json.ts';
import type { FuzzRandom } from '../random.ts';
import { demand, type FuzzTarget } from '../target.ts';

const TAGS = ['base', 'base_accelerated', 'base_containerd_accelerated'];
const LIMIT = 1 << 24;

/** Codes of documents, places and formats: everything but mistakes of the caller, the machine or accel itself. */
const CODES: readonly AccelErrorCode[] = [
  ...(['not-found', 'digest-mismatch', 'size-mismatch', 'diff-id-mismatch', 'manifest-invalid'] as const),
  ...(['image-unsupported', 'layer-unsupported', 'limit-exceeded', 'already-accelerated', 'tag-conflict'] as const),
  ...(['tar-invalid', 'gzip-invalid', 'zstd-invalid', 'lsmt-invalid', 'zfile-invalid', 'turbo-invalid'] as const),
  'ext4-invalid',
];

/** An image and its two conversions. */
async function converted(): Promise<MemoryTarget> {
  const target = new MemoryTarget();
  const tars = [
    new TarBuilder().dir('etc/').file('etc/passwd', 'root:x:0:0::/root:/bin/sh\n').build(),
    new TarBuilder().file('etc/more', 'x'.repeat(5000)).symlink('link', 'etc/more').build(),
  ];
  const layers: Descriptor[] = [];
  for (const tar of tars) layers.push(target.put(OCI.layerGzip, await compressLayer(tar, 'gzip')));
  const config = target.put(
    OCI.config,
    encodeJson({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: tars.map(digestOf) } }),
  );
  const manifest = { schemaVersion: 2, mediaType: OCI.manifest, config, layers };
  await target.tag(target.put(OCI.manifest, encodeJson(manifest)), 'base');
  const usual = request();
  await convertBetween({ source: target, target, mountFrom: undefined }, { ...usual, cache: true });
  return target;
}

async function jsonOf(target: MemoryTarget, descriptor: Descriptor): Promise<Json> {
  return JSON.parse(Buffer.from(await fetchBytes(target, descriptor, LIMIT)).toString('utf8')) as Json;
}

/** Puts bytes under the digest that they have, and names them. */
async function place(target: MemoryTarget, mediaType: string, bytes: Uint8Array, tag: string): Promise<void> {
  await target.tag(target.put(mediaType, bytes), tag);
}

async function quietly(part: () => Promise<unknown>): Promise<AccelError | undefined> {
  try {
    await part();
    return undefined;
  } catch (error) {
    if (error instanceof AccelError && CODES.includes(error.code)) return error;
    throw error;
  }
}

async function readAll(target: MemoryTarget): Promise<void> {
  const files = await openFiles(await openImage(target, 'damaged'));
  for await (const stat of files.walk()) {
    if (stat.type !== 'file') continue;
    for await (const piece of files.content(stat, 0, 10_000)) demand(piece.length <= LIMIT, 'a huge piece');
  }
}

/** Everything that the documents of an image decide. */
export const imageTarget: FuzzTarget = {
  name: 'image',
  codes: CODES,
  cases: 200,
  async open() {
    const target = await converted();
    const manifests: { manifest: Json; config: Json }[] = [];
    for (const tag of TAGS) {
      const descriptor = await target.resolve(tag);
      const manifest = await jsonOf(target, descriptor);
      const { config } = parseManifest(await fetchBytes(target, descriptor, LIMIT), descriptor);
      manifests.push({ manifest, config: await jsonOf(target, config) });
    }
    const named = await target.resolve('base');
    const index: Json = {
      schemaVersion: 2,
      mediaType: OCI.index,
      manifests: ['amd64', 'arm64'].map((architecture) => ({ ...named, platform: { os: 'linux', architecture } })),
    } as unknown as Json;
    const make = (random: FuzzRandom): { bytes: Uint8Array; mended: boolean } => {
      const { manifest, config } = random.pick(manifests);
      const way = random.below(4);
      if (way === 0) return { bytes: jsonBytes(mutateJson(index, random), random), mended: true };
      if (way > 1) return { bytes: jsonBytes(mutateJson(manifest, random), random), mended: true };
      // The document's place says what it is: a config is wrapped with the manifest that names it.
      const bytes = jsonBytes(mutateJson(config, random), random);
      const descriptor = target.put(OCI.config, bytes);
      return { bytes: encodeJson({ ...(manifest as object), config: descriptor }), mended: true };
    };
    return {
      make,
      async check({ bytes }, random) {
        await place(target, OCI.manifest, bytes, 'damaged');
        const failures = [
          await quietly(() => inspectReference(target, 'damaged')),
          await quietly(() => readAll(target)),
          await quietly(() =>
            convertBetween(
              { source: target, target: new MemoryTarget(), mountFrom: undefined },
              {
                ...request(),
                source: { tag: 'damaged' },
                outputs: [{ tag: 'again', kind: random.oneIn(2) ? 'full' : 'containerd' }],
                platforms: random.oneIn(3) ? ['linux/amd64'] : [],
                noUpload: true,
              },
            ),
          ),
        ];
        const refused = failures.find((failure) => failure !== undefined);
        if (refused !== undefined && failures.every((failure) => failure !== undefined)) throw refused;
      },
    };
  },
};

/** The record of converted layers that is in the repository: a hint that may be anything. */
export const layerCacheTarget: FuzzTarget = {
  name: 'layer-cache',
  codes: [],
  cases: 600,
  async open() {
    const target = await converted();
    const signal = new AbortController().signal;
    const descriptor = await target.resolve('accel-cache');
    const manifest = await jsonOf(target, descriptor);
    const [layer] = parseManifest(await fetchBytes(target, descriptor, LIMIT), descriptor).layers;
    const record = await jsonOf(target, layer!);
    return {
      make(random) {
        if (random.oneIn(3)) return { bytes: jsonBytes(mutateJson(manifest, random), random), mended: true };
        const damaged = target.put(layer!.mediaType, jsonBytes(mutateJson(record, random), random));
        return { bytes: encodeJson({ ...(manifest as object), layers: [damaged] }), mended: true };
      },
      async check({ bytes }) {
        await place(target, OCI.manifest, bytes, 'accel-cache');
        const cache = await LayerCache.open(target, signal);
        const key = { chainId: digestOf(bytes), virtualSize: 1 << 30, artifact: request().artifact, sourceDigest: '' };
        cache.add('full', key, { notIndexable: 'a test' });
        await cache.save();
        const again = await LayerCache.open(target, signal);
        const found = await again.find('full', key);
        demand(found !== undefined && 'notIndexable' in found, 'what was saved over a damaged record is lost');
        const pushed = await target.push(layer!, bytesSource(encodeJson(record)));
        demand(pushed === 'existed', 'a blob went away');
      },
    };
  },
};
