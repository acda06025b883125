/** Results of `reportRepository`: plain records for JSON. Bytes are those of blobs as registries store them, compressed. */

/** Bytes of different blobs, each counted once. */
export interface BlobSum {
  readonly bytes: number;
  readonly blobs: number;
}

/** Blobs that tags of a repository lead to, each counted once in the repository. */
export interface StoredFacts {
  /** Configs and layers of ordinary images. */
  readonly base: BlobSum;
  /** Configs and layers of accelerated images, and the layers of bases that index-only ones read. */
  readonly accelerated: BlobSum;
  /** Blobs of both: in {@link base} and in {@link accelerated}. */
  readonly shared: BlobSum;
  /** Blobs of ordinary images alone. */
  readonly baseOwn: BlobSum;
  /** Blobs of accelerated images alone: the price of acceleration. */
  readonly acceleratedOwn: BlobSum;
  /** Blobs of nothing but signatures, attestations, accel's record of layers and other artifacts. */
  readonly other: BlobSum;
  /** All of them. */
  readonly total: BlobSum;
  /** Manifests and indexes themselves; not in {@link total}. */
  readonly documents: BlobSum;
  /** Lists of piece hashes that layers name, by their computed size; not looked for, and not in {@link total}. */
  readonly pieceLists: BlobSum;
}

/** Bytes that a node fetches when a container starts, by the list or trace that the image carries. */
export interface StartFacts {
  readonly form: 'list' | 'trace';
  /** Compressed blocks that hold the listed data, the list itself and the config: a start reads at least these. */
  readonly bytes: number;
  /** Lines or reads. */
  readonly entries: number;
}

/** An accelerated image, one for each platform. */
export interface ReportedImage {
  readonly digest: string;
  /** Tags that lead to it. */
  readonly tags: readonly string[];
  /** By the index; absent for an image without one. */
  readonly platform?: string;
  /** `mixed`: index-only layers with full ones above. */
  readonly mode: 'full' | 'index-only' | 'mixed';
  /** Config and layers, without the layers of the base. */
  readonly ownBytes: number;
  /** With the layers of the base that it reads; absent where the size of one is unknown. */
  readonly bytes?: number;
  /** Digest of the source, by its annotation. */
  readonly sourceDigest?: string;
  /** Config and layers of that; absent where it is not in the repository any more. */
  readonly baseBytes?: number;
  readonly start?: StartFacts;
  /** Reason for the absence of {@link start}. */
  readonly startUnknown?: string;
}

/**
 * Bytes that nodes fetch which start each image once, with nothing of it there. Of the accelerated images of one source the one counts
 * that fetches least. Sources without known figures are not in the sums.
 */
export interface FleetFacts {
  readonly nodes: number;
  /** Sources whose size and start are known. */
  readonly images: number;
  /** Sources of which one of the two is unknown. */
  readonly unknown: number;
  /** Whole bases pulled by every node. */
  readonly pulled: number;
  /** Bytes of the starts, at least. */
  readonly started: number;
  /** The difference, at most: what a start reads beyond its list is fetched as well. */
  readonly saved: number;
}

/** The report of a repository. */
export interface RepositoryReport {
  readonly repository: string;
  readonly tags: number;
  /** Different manifests that tags lead to. */
  readonly manifests: { readonly base: number; readonly accelerated: number; readonly other: number };
  readonly stored: StoredFacts;
  /** The accelerated images, by their first tag. */
  readonly images: readonly ReportedImage[];
  readonly fleet?: FleetFacts;
  /** Parts that could not be read, for people; figures are without them. */
  readonly problems: readonly string[];
}
