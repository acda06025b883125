/** The annotations by which an image says that it is overlaybd (docs/formats.md §4, §5, §7), and accel's own. */

const OVERLAYBD = 'containerd.io/snapshot/overlaybd';

/** Annotations of layer descriptors that the snapshotter reads. */
export const LAYER_ANNOTATION = {
  blobDigest: `${OVERLAYBD}/blob-digest`,
  blobSize: `${OVERLAYBD}/blob-size`,
  version: `${OVERLAYBD}/version`,
  fsType: `${OVERLAYBD}/blob-fs-type`,
  targetDigest: `${OVERLAYBD}/turbo-oci/target-digest`,
  targetMediaType: `${OVERLAYBD}/turbo-oci/target-media-type`,
  accelerationLayer: `${OVERLAYBD}/acceleration-layer`,
} as const;

/**
 * accel's own annotation of an index-only layer: the byte of its blob where the stored blocks of `gzip.meta` begin. A reader
 * that knows it fetches the metadata before it and those windows of the index that it needs.
 */
export const STORED_INDEX_ANNOTATION = 'accel-image/index-at';

/** Values of {@link LAYER_ANNOTATION}.version. */
export const LAYER_VERSION = { full: '0.1.0', 'index-only': '0.1.0-turbo.ociv1' } as const;

/** Value of {@link LAYER_ANNOTATION}.accelerationLayer on a layer that holds a list of files to prefetch and no files. */
export const IS_ACCELERATION_LAYER = 'yes';

/** Annotations of manifests and indexes that accel wrote: what a second run decides by. */
export const RECORD_ANNOTATION = {
  sourceDigest: 'accel-image/source-digest',
  mode: 'accel-image/mode',
  options: 'accel-image/options',
  version: 'accel-image/version',
  /**
   * On a manifest whose top layer is several of the source's: how many of the source's lowest layers are layers of their
   * own below it.
   */
  flattenedAbove: 'accel-image/flattened-above',
  /** On a manifest whose layers have what a start reads at their front: `startup` (docs/layout.md). */
  layout: 'accel-image/layout',
  /** Code by which whoever has the key of the record knows a manifest or index that was made with it. */
  mac: 'accel-image/mac',
} as const;

/** On a full layer that is laid out for a start: the bytes from the start of its blob up to the end of what a start reads. */
export const STARTUP_SIZE_ANNOTATION = 'accel-image/startup-size';

/**
 * On an index-only layer that is laid out for a start: the parts of its source tar that a start reads, as `OFFSET+LENGTH` in bytes,
 * ascending, separated by commas.
 */
export const STARTUP_RANGES_ANNOTATION = 'accel-image/startup-ranges';

/** Annotations of what accel attaches to an accelerated image of the referrers of its source (docs/formats.md §10). */
export const REFERRER_ANNOTATION = {
  /** Digest of the referrer that this is a copy of. */
  copiedFrom: 'accel-image/copied-from',
  /** Digest of the accelerated image that a copy or link belongs to. */
  attachedTo: 'accel-image/attached-to',
  /** The image that the original refers to. */
  sourceDigest: RECORD_ANNOTATION.sourceDigest,
  /** Its repository, where that is another one. */
  sourceRepository: 'accel-image/source-repository',
  /** Kind of the referrers that a link points to. */
  linkedKind: 'accel-image/linked-kind',
} as const;

/** The record of layers that were converted before: an artifact in the repository, under a tag of its own. */
export const LAYER_RECORD = {
  tag: 'accel-cache',
  mediaType: 'application/vnd.accel-image.cache.v1+json',
} as const;
