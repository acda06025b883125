/** A layer of an accelerated image, and the sources of its parts of the block device. */
import type { SeekIndex } from '../formats/gzip/points.ts';
import type { LsmtIndex } from '../formats/lsmt/reader.ts';
import type { ZFileAlgorithm } from '../formats/zfile/layout.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { BlockStore } from './block-store.ts';

/**
 * `full` holds its data, `index-only` points into its source layer, `acceleration` holds a list of files to prefetch.
 */
export type LayerKind = 'full' | 'index-only' | 'acceleration';

/** Facts about a layer that are known once it is open. */
export interface OpenedLayer {
  /** Place among the layers of the manifest, 0 the lowest. */
  readonly index: number;
  readonly kind: LayerKind;
  /** As the manifest has it, annotations included. */
  readonly descriptor: Descriptor;
  /** Segments that it maps; 0 for an acceleration layer. */
  readonly segments: number;
  /** Bytes of the layer's blob. */
  readonly size: number;
  /** Of the ZFile; absent for an acceleration layer. */
  readonly algorithm?: ZFileAlgorithm;
  /** Bytes of a block of the ZFile, decompressed; absent for an acceleration layer. */
  readonly blockSize?: number;
  /** The LSMT index; absent for an acceleration layer. */
  readonly lsmt?: LsmtIndex;
  /** The source layer that an index-only layer points into, as its annotations and its index describe it. */
  readonly source?: Descriptor;
  /** Digest of {@link OpenedLayer.source}. */
  readonly sourceDigest?: string;
  /** The random-access index of a gzip source layer. */
  readonly gzipIndex?: SeekIndex;
  /**
   * Hash of the uncompressed tar of an index-only layer's blob, computed: what `rootfs.diff_ids` should say. Known where the
   * blob was fetched whole.
   */
  readonly diffId?: string;
}

/** An open layer that takes part in the block device. */
export interface StackLayer {
  readonly info: OpenedLayer & { readonly lsmt: LsmtIndex };
  /** The LSMT file: segments of tag 0. */
  readonly local: BlockStore;
  /** The uncompressed source tar: segments of tag 1; absent for a full layer. */
  readonly remote?: BlockStore;
}
