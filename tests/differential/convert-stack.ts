/** Converts a stack in memory, in both modes from one pass, and reads every prefix of its layers back. */

import { gzipSync } from 'node:zlib';
import type { EventSink } from '../../converter/events.ts';
import { type ArtifactOptions, type ConvertResult, DEFAULT_ARTIFACT } from '../../converter/options.ts';
import { compressLayer, type LayerCompression } from '../../fixtures/compress.ts';
import { GROUP_BYTES } from '../../formats/ext4/layout.ts';
import { digestOf } from '../../oci/digest.ts';
import { encodeJson } from '../../oci/manifest.ts';
import { OCI } from '../../oci/media-types.ts';
import type { MemoryTarget } from '../../oci/memory-target.ts';
import { openImage } from '../../reader/accelerated-image.ts';
import type { MappedDevice } from '../../reader/block-device.ts';
import { openStack } from '../../reader/stack.ts';
import { BOTH, convertWithin, request } from '../support/converter.ts';

/** One group: the smallest device there is, and the quickest to check. */
export const DEVICE_SIZE = GROUP_BYTES;

/** Options of the artifacts that a long run asks for, as JSON. */
const OPTIONS = JSON.parse(process.env.ACCEL_STACKS_OPTIONS ?? '{}') as Partial<ArtifactOptions>;
/** Whether a long run asks for layers that are all laid out for a start. */
export const ALL_LAID_OUT = OPTIONS.layout === 'startup';

const MEDIA_TYPES = {
  none: OCI.layer,
  gzip: OCI.layerGzip,
  'gzip-members': OCI.layerGzip,
  zstd: OCI.layerZstd,
} as const satisfies Record<LayerCompression, string>;

/** Puts an image of these tars, and names it. */
export async function putSource(
  target: MemoryTarget,
  tag: string,
  tars: readonly Uint8Array[],
  compressions: readonly LayerCompression[],
): Promise<void> {
  const layers = await Promise.all(
    tars.map(async (tar, i) => {
      const compression = compressions[i]!;
      return target.put(MEDIA_TYPES[compression], await compressed(tar, compression));
    }),
  );
  const rootfs = { type: 'layers', diff_ids: tars.map(digestOf) };
  const config = target.put(OCI.config, encodeJson({ os: 'linux', architecture: 'amd64', rootfs }));
  const manifest = { schemaVersion: 2, mediaType: OCI.manifest, config, layers };
  await target.tag(target.put(OCI.manifest, encodeJson(manifest)), tag);
}

/** As the fixtures do it, but gzip by the quickest means: nothing here is kept, so it may differ between machines. */
async function compressed(tar: Uint8Array, compression: LayerCompression): Promise<Uint8Array> {
  return compression === 'gzip' ? gzipSync(tar, { level: 1 }) : compressLayer(tar, compression);
}

/** A start that reads some of what random stacks have. */
const START = { lines: ['/b', '/a/', '/c/*', '/d/'] };

/** Options of {@link convertStack}; without threads and without the record by default. */
export interface ConvertStackOptions {
  readonly workers?: number;
  readonly cache?: boolean;
  /** Lay the layers out for a start that reads some of the names that the stacks are made of. */
  readonly laidOut?: boolean;
  readonly onEvent?: EventSink;
}

/** Converts the image of `tag` to the two tags of a plain conversion. */
export function convertStack(
  target: MemoryTarget,
  tag: string,
  { workers = 0, cache = false, laidOut = false, onEvent = () => undefined }: ConvertStackOptions = {},
): Promise<ConvertResult> {
  const artifact: ArtifactOptions = { ...DEFAULT_ARTIFACT, ...OPTIONS, virtualSize: DEVICE_SIZE };
  const order = laidOut ? { artifact: { ...artifact, layout: 'startup' as const }, prefetch: START } : { artifact };
  const wanted = request({ source: { tag }, ...order, workers, cache });
  return convertWithin(target, wanted, { onEvent });
}

/** The device of the lowest layers of a stack, in both conversions. */
export interface PrefixDevices {
  readonly full: MappedDevice;
  /** Index-only where a layer allows it. */
  readonly indexed: MappedDevice;
}

/** Opens both conversions as a node would; what comes back opens the device of their lowest `count` layers. */
export async function openPrefixes(target: MemoryTarget): Promise<(count: number) => Promise<PrefixDevices>> {
  const images = await Promise.all(BOTH.map(({ tag }) => openImage(target, tag)));
  return async (count) => {
    const open = (i: number): Promise<MappedDevice> => openStack(target, images[i]!.manifest.layers.slice(0, count));
    const [full, indexed] = await Promise.all([open(0), open(1)]);
    return { full, indexed };
  };
}
