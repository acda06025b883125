/** One platform's image to convert: the input of everything that works on its layers. */
import type { LayerId } from '../events.ts';
import type { SourceImage } from '../plan/source-image.ts';
import type { ImageKind } from '../publish/output-manifest.ts';
import type { Session } from '../session.ts';

/** An image, the manifests to make of it, and the virtual size to try. */
export interface ImageJob {
  readonly session: Session;
  readonly source: SourceImage;
  readonly kinds: ReadonlySet<ImageKind>;
  readonly virtualSize: number;
  /** Chain IDs of the layers, lowest first. */
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

/** Identifies a layer in events. */
export function layerIdOf({ source }: ImageJob, index: number): LayerId {
  const { layers } = source.manifest;
  const { digest, size } = layers[index]!;
  return { platform: source.platform, index, count: layers.length, digest, size };
}
