/** What `inspectReference` tells of an image; plain records, fit for JSON. */
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
  /** Access points of the gzip index. */
  readonly accessPoints?: number;
  /** The list of piece hashes that the layer names (docs/formats.md §9). */
  readonly pieceList?: {
    readonly digest: string;
    /** Whether it is in the repository; the image runs without it. */
    readonly present: boolean;
  };
}

/** What an acceleration layer holds. */
export interface AccelerationFacts {
  readonly form: 'list' | 'trace';
  /** Lines that a node keeps, or reads of the trace. */
  readonly entries: number;
  /** Lines that a node skips without a word. */
  readonly skipped: number;
}

/** Whether a layer can be converted in a mode. `unknown` when only reading all of it would tell. */
export interface Verdict {
  readonly possible: 'yes' | 'no' | 'unknown';
  /** The condition, or what stands against it; empty for a plain yes. */
  readonly reason: string;
}

/** A layer of an ordinary image. */
export interface OrdinaryLayerFacts {
  readonly digest: string;
  readonly mediaType: string;
  readonly size: number;
  /** By content: `none`, `gzip`, `zstd`; or what the media type says of a layer whose content is not there. */
  readonly compression: string;
  readonly full: Verdict;
  readonly indexOnly: Verdict;
}

/** The image that an accelerated one was made from. */
export interface BaseFacts {
  readonly digest: string;
  /** Whether its manifest stands in the repository; a full image can do without. */
  readonly present: boolean;
  /** Bytes of its config and layers, while it stands. */
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
  /** What a node prefetches; absent without an acceleration layer, and when it cannot be read. */
  readonly prefetch?: AccelerationFacts;
  /** Why the layers could not be opened. */
  readonly problem?: string;
}

/** An image that is not accelerated. */
export interface OrdinaryFacts extends CommonFacts {
  readonly accelerated: false;
  readonly layers: readonly OrdinaryLayerFacts[];
}

/** What is missing of an image: now, or after the next garbage collection of the registry. */
export interface CheckFinding {
  readonly severity: 'broken' | 'will-break';
  /** Absent where it is about all platforms. */
  readonly platform?: string;
  readonly what: string;
}

/** What is no image. */
export interface ArtifactFacts {
  readonly type: string;
  /** Of accel's record of converted layers: how many entries there are of each kind, and how many carry a code of a key. */
  readonly record?: {
    readonly full: number;
    readonly indexOnly: number;
    readonly notIndexable: number;
    readonly withCode: number;
  };
}

/** What a tag or digest names. */
export interface InspectReport {
  readonly digest: string;
  readonly mediaType: string;
  readonly accelerated: boolean;
  readonly images: readonly ImageFacts[];
  /** What it is instead of an image. */
  readonly artifact?: ArtifactFacts;
  /** What is missing; absent unless that was asked for. */
  readonly check?: readonly CheckFinding[];
  /** Entries of an index that are not described: no images, such as attestations, or `missing` from where the index is. */
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
