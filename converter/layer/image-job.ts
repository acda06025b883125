/** One platform's image to convert: the input of everything that works on its layers. */
import type { LayerId } from '../events.ts';
import type { SourceImage } from '../plan/source-image.ts';
import type { ImageKind } from '../publish/output-manifest.ts';
import type { Session } from '../session.ts';
import { type LayerGroup, sourcesOf } from './layer-groups.ts';

/** An image, the manifests to make of it, and the virtual size to try. */
export interface ImageJob {
  readonly session: Session;
  readonly source: SourceImage;
  readonly kinds: ReadonlySet<ImageKind>;
  readonly virtualSize: number;
  /** The layers of the result, lowest first, by the layers of the source that become each. */
  readonly groups: readonly LayerGroup[];
  /** Chain IDs of the groups, lowest first. */
  readonly chain: readonly string[];
}

/** Whether each layer gets a full blob. */
export function wantsFull({ kinds }: ImageJob): boolean {
  return kinds.has('full') || kinds.has('containerd');
}

/** Whether layers get an index-only blob where they can. */
export function wantsIndex({ kinds }: ImageJob): boolean {
  return kinds.has('index-only') || kinds.has('containerd');
}

/** Identifies a layer of the result in events; a flattened one has the digest of its top layer and the size of all. */
export function layerIdOf({ source, groups }: ImageJob, index: number): LayerId {
  const layers = sourcesOf(source, groups[index]!);
  const size = layers.reduce((sum, layer) => sum + layer.size, 0);
  return { platform: source.platform, index, count: groups.length, digest: layers.at(-1)!.digest, size };
}
