/** Results of `inspectReference`: plain records for JSON. */
import type { ReferrerBase } from '../oci/referrer-kinds.ts';
import type { LayerKind } from '../reader/layer.ts';

/** A layer of an accelerated image. */
export interface AcceleratedLayerFacts {
  readonly kind: LayerKind;
  readonly digest: string;
  readonly mediaType: string;
  /** Bytes of the blob. */
  readonly size: number;
  /** Segments of the LSMT index; absent when the layer could not be opened. */
  readonly segments?: number;
  /** Compression of the ZFile's blocks. */
  readonly algorithm?: string;
  /** Bytes of a block, decompressed. */
  readonly blockSize?: number;
  /** The layer of the base image that an index-only layer points into. */
  readonly source?: { readonly digest: string; readonly present: boolean };
  /**
   * Of a layer that is laid out for a start: bytes from its start up to the end of what a start reads, of an index-only layer its
   * metadata and windows (docs/layout.md).
   */
  readonly startupSize?: number;
  /** Access points of the gzip index. */
  readonly accessPoints?: number;
  /** The list of piece hashes that the layer names (docs/formats.md §9). */
  readonly pieceList?: {
    readonly digest: string;
    /** Whether it is in the repository; the image runs without it. */
    readonly present: boolean;
  };
}

/** Content of an acceleration layer. */
export interface AccelerationFacts {
  readonly form: 'list' | 'trace';
  /** Lines that a node keeps, or reads of the trace. */
  readonly entries: number;
  /** Lines that a node skips silently. */
  readonly skipped: number;
}

/** Whether a layer can be converted in a mode. `unknown` if that depends on all of its content. */
export interface Verdict {
  readonly possible: 'yes' | 'no' | 'unknown';
  /** The condition, or the obstacle; empty for an unconditional yes. */
  readonly reason: string;
}

/** A layer of an ordinary image. */
export interface OrdinaryLayerFacts {
  readonly digest: string;
  readonly mediaType: string;
  readonly size: number;
  /** By content: `none`, `gzip`, `zstd`; or by the media type if the content is missing. */
  readonly compression: string;
  readonly full: Verdict;
  readonly indexOnly: Verdict;
}

/** The image that an accelerated one was made from. */
export interface BaseFacts {
  readonly digest: string;
  /** Whether its manifest exists in the repository; a full image does not need it. */
  readonly present: boolean;
  /** Bytes of its config and layers, if it exists. */
  readonly size?: number;
}

/** One image of the reference. */
export type ImageFacts = AcceleratedFacts | OrdinaryFacts;

interface CommonFacts {
  /** `os/architecture[/variant]`. */
  readonly platform: string;
  /** Of the manifest. */
  readonly digest: string;
  /** Bytes of config and layers. */
  readonly size: number;
}

/** An accelerated image. */
export interface AcceleratedFacts extends CommonFacts {
  readonly accelerated: true;
  /** `mixed`: index-only layers with full ones above. */
  readonly mode: 'full' | 'index-only' | 'mixed';
  /** Bytes of the block device. */
  readonly virtualSize?: number;
  readonly layers: readonly AcceleratedLayerFacts[];
  /** By accel's annotation; absent for images of other convertors. */
  readonly base?: BaseFacts;
  /** Size over the base's size. */
  readonly ratio?: number;
  /** Version of accel that made it. */
  readonly accelVersion?: string;
  /** The choices that it was made with. */
  readonly options?: string;
  /** `startup`: what a start reads is at the front of the layers; absent for the order of the source. */
  readonly layout?: 'startup';
  /** The files that a node prefetches; absent without an acceleration layer, or if it cannot be read. */
  readonly prefetch?: AccelerationFacts;
  /** Why the layers could not be opened. */
  readonly problem?: string;
}

/** An image that is not accelerated. */
export interface OrdinaryFacts extends CommonFacts {
  readonly accelerated: false;
  readonly layers: readonly OrdinaryLayerFacts[];
}

/** A part of an image that is missing, or will be after the next garbage collection of the registry. */
export interface CheckFinding {
  readonly severity: 'broken' | 'will-break';
  /** Absent where it is about all platforms. */
  readonly platform?: string;
  readonly what: string;
}

/** A manifest that is not an image. */
export interface ArtifactFacts {
  readonly type: string;
  /**
   * Of accel's record of converted layers: how many entries there are of each kind, and how many carry a code of a key.
   */
  readonly record?: {
    readonly full: number;
    readonly indexOnly: number;
    readonly notIndexable: number;
    readonly withCode: number;
  };
}

/** A manifest that refers to the image, or to the source that it was made from. */
export interface ReferrerFacts extends ReferrerBase {
  /** Whether it refers to a manifest of this image, or to the source. */
  readonly of: 'image' | 'source';
  /** Digest of the manifest or index that it refers to. */
  readonly subject: string;
  /** Of a copy that accel made: digest of the original. */
  readonly copiedFrom?: string;
  /** Of a link that accel made: kind of the referrers that it points to. */
  readonly linkedKind?: string;
  /** Of a copy or link: the image that the original refers to, and its repository where that is another one. */
  readonly source?: { readonly digest: string; readonly repository?: string };
  /** Why it cannot be read. */
  readonly problem?: string;
}

/** Description of the content of a tag or digest. */
export interface InspectReport {
  readonly digest: string;
  readonly mediaType: string;
  readonly accelerated: boolean;
  readonly images: readonly ImageFacts[];
  /** The artifact, if it is not an image. */
  readonly artifact?: ArtifactFacts;
  /** Missing parts; absent unless the check was requested. */
  readonly check?: readonly CheckFinding[];
  /** The manifests that refer to it and to its source; absent unless that was requested. */
  readonly referrers?: readonly ReferrerFacts[];
  /**
   * Entries of an index that are not described: not images, such as attestations, or `missing` in the place of the
   * index.
   */
  readonly others: readonly {
    readonly digest: string;
    readonly mediaType: string;
    readonly platform: string;
    readonly reason: string;
    readonly missing: boolean;
  }[];
  /** Digest of what was converted, index or manifest, by accel's annotation. */
  readonly sourceDigest?: string;
  /** The tag of the base by the naming rule, and whether it still names what was converted. */
  readonly baseTag?: { readonly tag: string; readonly digest?: string; readonly matches: boolean };
}
