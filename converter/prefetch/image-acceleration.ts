/**
 * Applies the prefetch list of a conversion. It is resolved on the pushed layers, read as a node reads them: the offsets of a
 * trace are therefore those of the blobs, also of layers that were taken over from an earlier run.
 */
import { withPlace } from '../../base/error.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { layerMediaType } from '../../oci/media-types.ts';
import { openStack } from '../../reader/stack.ts';
import type { SourceImage } from '../plan/source-image.ts';
import type { CachedBlob } from '../publish/layer-record.ts';
import type { CachedLayer, ImageKind } from '../publish/output-manifest.ts';
import type { Session } from '../session.ts';
import { type AccelerationLayer, type AccelerationSource, makeAccelerationLayer, resolveList } from './acceleration.ts';
import type { PrefetchList } from './prefetch-list.ts';

/** Makes the acceleration layers of one image. */
export interface ImageAcceleration {
  /** The layer over these blobs; undefined when there is nothing to prefetch. */
  layerFor(kind: ImageKind, chosen: readonly CachedBlob[]): Promise<AccelerationLayer | undefined>;
}

/** Resolves the session's list, if there is one, on the image's layers. */
export async function openAcceleration(
  session: Session,
  source: SourceImage,
  layers: readonly CachedLayer[],
): Promise<ImageAcceleration | undefined> {
  const { target, prefetch, kept, signal, emit } = session;
  if (prefetch === undefined && kept.isEmpty) return undefined;
  const warn = (message: string): void => emit({ type: 'warning', message: `${source.platform}: ${message}` });
  // A full layer maps every block; without one all layers are index-only.
  const stack = layers.map(({ full, index }) => (full ?? index)!);
  const device = await openStack(target, stack.map(descriptorOf), { signal });
  /** By the name of the list: most often all kinds have the same one. */
  const resolved = new Map<string, AccelerationSource>();
  const resolve = async (list: PrefetchList): Promise<AccelerationSource> => {
    try {
      const made = resolved.get(list.name) ?? (await resolveList(list, device, warn, signal));
      resolved.set(list.name, made);
      return made;
    } catch (error) {
      throw withPlace(error, { platform: source.platform });
    }
  };
  return {
    async layerFor(kind, chosen) {
      const list = prefetch ?? kept.of(kind, source.platform);
      if (list === undefined) return undefined;
      const kinds = chosen.map((blob) => blob.kind);
      const content = await resolve(list);
      const layer = await makeAccelerationLayer(content, kinds, (message) => warn(`${kind} image: ${message}`));
      if (layer !== undefined) {
        const { form, files, bytes, entries } = layer.result;
        const reported = kind === 'full' ? 'full' : 'containerd';
        emit({ type: 'prefetch', platform: source.platform, kind: reported, form, files, bytes, entries });
      }
      return layer;
    },
  };
}

function descriptorOf(blob: CachedBlob): Descriptor {
  const { digest, size, annotations } = blob;
  return { mediaType: layerMediaType('oci', blob.compression), digest, size, annotations };
}
