/** Opens layers that are not pushed yet as a block device: read from their files, and from the endpoints what those lack. */
import { AccelError } from '../../../base/error.ts';
import { DiskFile } from '../../../disk/disk-file.ts';
import type { Descriptor } from '../../../oci/descriptor.ts';
import { layerMediaType } from '../../../oci/media-types.ts';
import { canSizeBlobs } from '../../../oci/powers.ts';
import type { BlobSizer, Target } from '../../../oci/storage.ts';
import type { StackedDevice } from '../../../reader/block-device.ts';
import { openStack } from '../../../reader/stack.ts';
import type { CachedBlob } from '../../publish/layer-record.ts';
import type { Session } from '../../session.ts';
import type { LayerBlob } from '../engines/engine.ts';

/** An open device; to be closed when nothing is read any more. */
export interface SpooledStack {
  readonly device: StackedDevice;
  close(): Promise<void>;
}

/** Opens the layers, lowest first; those that have a file are read from it. */
export async function openSpooled(
  session: Session,
  layers: readonly (CachedBlob & Partial<Pick<LayerBlob, 'path'>>)[],
): Promise<SpooledStack> {
  const files = new Map<string, DiskFile>();
  const close = async (): Promise<void> => {
    await Promise.all([...files.values()].map((file) => file.close()));
  };
  try {
    for (const { digest, path } of layers)
      if (path !== undefined && !files.has(digest)) files.set(digest, await DiskFile.open(path));
    const descriptors = layers.map(({ digest, size, annotations, compression }) => {
      return { mediaType: layerMediaType('oci', compression), digest, size, annotations };
    });
    const device = await openStack(overFiles(session, files), descriptors, { signal: session.signal });
    return { device, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The target of a session with files for some blobs, and its source for the layers that an index refers to. */
function overFiles(
  { source, target, signal }: Session,
  files: ReadonlyMap<string, DiskFile>,
): Target & Partial<BlobSizer> {
  const placeOf = async (descriptor: Descriptor): Promise<Target> =>
    (await target.exists(descriptor, { signal })) ? target : source;
  const readOnly = (): never => {
    throw new AccelError('internal', 'layers that are laid out are only read');
  };
  return {
    name: target.name,
    async fetch(descriptor, options) {
      const file = files.get(descriptor.digest);
      if (file !== undefined) return file.pieces({ offset: 0, size: descriptor.size, ...options });
      return (await placeOf(descriptor)).fetch(descriptor, options);
    },
    async fetchRange(descriptor, offset, length, options) {
      const file = files.get(descriptor.digest);
      if (file !== undefined) return file.read(offset, length);
      return (await placeOf(descriptor)).fetchRange(descriptor, offset, length, options);
    },
    exists: async (descriptor, options) =>
      files.has(descriptor.digest) || (await placeOf(descriptor)).exists(descriptor, options),
    resolve: readOnly,
    push: readOnly,
    tag: readOnly,
    ...(canSizeBlobs(source) ? { blobSize: source.blobSize.bind(source) } : {}),
  };
}
