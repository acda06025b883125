/** The request and the result of a conversion: the library's main types. */

import type { NamedDocument } from '../oci/document.ts';
import type { ReferrerBase } from '../oci/referrer-kinds.ts';
import type { EventSink, LayerKind } from './events.ts';
import type { Threads } from './layer/workers/threads.ts';

/** Artifacts to make. `full` makes both tags unless an output tag is named. */
export type Mode = 'full' | 'index-only';

/** Compression of the blocks of a full layer (docs/formats.md §2). */
export type Algorithm = 'lz4' | 'zstd';

/** A tag to push and its content. `containerd`: index-only layers where possible, full layers elsewhere. */
export interface OutputTag {
  readonly tag: string;
  readonly kind: 'full' | 'containerd' | 'index-only';
}

/** Options that determine the bytes of an artifact. */
export interface ArtifactOptions {
  /** Virtual size of the block device in bytes, a multiple of 128 MiB; omitted: 64 GiB, larger when the content needs it. */
  readonly virtualSize?: number;
  readonly algorithm: Algorithm;
  /** Bytes of a compressed block: a power of two, 4096 to 65536. */
  readonly blockSize: number;
  /**
   * zstd: 1 to 22; omitted: 1. LZ4: 3 to 12, the larger the smaller the blocks; omitted:
   * liblz4's fast compression, the default of the reference's tools.
   */
  readonly level?: number;
  /** Bytes of output between two access points of a gzip index. */
  readonly span: number;
  /**
   * Flatten: so many of the lowest layers stay as they are, and all above them become one full layer without the files
   * that they replace or delete; 0 makes one layer of the whole image. Omitted: each layer becomes one. Not with the
   * kind `index-only`.
   */
  readonly flattenAbove?: number;
  /**
   * Order of the data in a layer. `startup`: what a start reads lies at the front (docs/layout.md), by the prefetch list, or
   * without one by the image's command. Omitted: as in the source.
   */
  readonly layout?: 'startup';
  /** Write OCI media types whatever the source used. */
  readonly oci: boolean;
  /** Push the results as referrers of the source (docs/formats.md §8); OCI media types then. */
  readonly referrer: boolean;
  /** Limit of files and directories in an image; a layer that exceeds it is refused. */
  readonly maxFiles: number;
  /** Limit of a layer's bytes, as a blob and uncompressed; one that has or announces more is refused. */
  readonly maxLayerSize: number;
}

/** Defaults of {@link ArtifactOptions}. */
export const DEFAULT_ARTIFACT: ArtifactOptions = {
  // docs/decisions/0029-default-blocks.md
  algorithm: 'zstd',
  blockSize: 32_768,
  span: 1 << 20,
  oci: false,
  referrer: false,
  maxFiles: 1_000_000,
  maxLayerSize: 2 ** 38,
};

/** Files that a node fetches before they are read (docs/prefetch.md). */
export interface PrefetchRequest {
  /**
   * One absolute path per line; a path that ends with `/` means everything below the directory. Wildcards, `#` comments and
   * blank lines are accepted. Text, or bytes for a name that is not UTF-8.
   */
  readonly lines: readonly (string | Uint8Array)[];
  /** Form that the node reads; omitted: the one that covers more. */
  readonly format?: 'list' | 'trace';
  /** Refuse a list with paths that the image lacks; by default they only cause a warning. */
  readonly strict?: boolean;
}

/** A request to convert one image. References are parsed already (oci/reference.ts does that). */
export interface ConvertRequest {
  /** `host[:port]/repo` or `oci:DIR`. */
  readonly repository: string;
  /** Repository of the result, `host[:port]/repo` or `oci:DIR`; omitted: that of the source. */
  readonly targetRepository?: string;
  /** Tag or digest of the source within the repository. */
  readonly source: { readonly tag?: string; readonly digest?: string };
  /** The tags to make, at least one. */
  readonly outputs: readonly OutputTag[];
  readonly artifact: ArtifactOptions;
  /** Files to prefetch, the same list for every platform. */
  readonly prefetch?: PrefetchRequest;
  /** Drop the prefetch list of the image that is replaced; a run without a list of its own keeps it by default. */
  readonly noPrefetch?: boolean;
  /** Platforms to convert as `os/arch[/variant]`; empty: every Linux platform of the index. */
  readonly platforms: readonly string[];
  /** Manifests and uploads in flight at a time. */
  readonly concurrency: number;
  /** Compress threads; 0 compresses in the calling thread. */
  readonly workers: number;
  /**
   * Bytes of memory for buffers and threads, at least 256 MiB; it limits the images at a time and the compress threads.
   * Omitted: 512 MiB. The file system's state, which grows with the number of files, is not included.
   */
  readonly maxMemory?: number;
  /** Convert, but push and tag nothing. */
  readonly noUpload: boolean;
  /** Reuse layers that were converted before, and record converted layers in the target (`accel-cache`). */
  readonly cache: boolean;
  /**
   * Key of the record, at least 16 bytes. Results carry authentication codes (HMAC-SHA-256) of it, and only layers and images
   * that carry them are reused. Without a key everyone who may push to the repository is trusted.
   */
  readonly recordKey?: Uint8Array;
  /** Compare layers and images of earlier runs with the source, byte by byte, before they are reused. */
  readonly verifyReused?: boolean;
  /**
   * Make the list of piece hashes of each layer, by which peer-to-peer agents check each piece alone (docs/formats.md §9).
   * Omitted: true.
   */
  readonly pieceList?: boolean;
  /**
   * Attach to the results what refers to the source: bills of materials are copied, signatures and attestations, which name the
   * digest of the source, are linked (docs/signatures.md). Omitted: false.
   */
  readonly copyReferrers?: boolean;
  /** Convert again what exists, and overwrite a tag of the other mode. */
  readonly force: boolean;
  /** Directory for spooled layers; omitted: the system's. The run creates a folder in it and removes it. */
  readonly workDirectory?: string;
}

/** Events, cancellation and threads of a conversion. */
export interface ConvertContext {
  readonly onEvent?: EventSink;
  readonly signal?: AbortSignal;
  /**
   * Threads that several conversions of this process share, instead of threads of its own; `workers` of the request does
   * not count then. The caller closes them.
   */
  readonly threads?: Threads;
  /** The document of the source, where the caller has read it: it is not asked for again. */
  readonly known?: NamedDocument;
  /**
   * Called when the target has everything that the tags will refer to, and before the first tag is set; where it rejects no tag is set.
   * Not called where nothing is to be made.
   */
  readonly beforeTags?: (made: readonly TagResult[]) => Promise<void>;
}

/** A layer of the result. */
export interface LayerResult {
  readonly kind: LayerKind;
  /** Of a flattened layer: that of the uppermost layer in it. */
  readonly sourceDigest: string;
  /** Bytes of the source's layers that are in it. */
  readonly sourceSize: number;
  /** Number of the source's layers in a flattened layer; absent from others. */
  readonly flattened?: number;
  readonly digest: string;
  readonly size: number;
}

/** The acceleration layer of an image of the result. */
export interface PrefetchResult {
  readonly form: 'list' | 'trace';
  /** Distinct files of the list in this image. */
  readonly files: number;
  /** Bytes of their content. */
  readonly bytes: number;
  /** Lines of the list, or reads of the trace. */
  readonly entries: number;
  /** Of the layer. */
  readonly digest: string;
  /** Bytes of the layer. */
  readonly size: number;
}

/** An image manifest of the result. */
export interface ManifestResult {
  readonly platform: string;
  readonly sourceDigest: string;
  readonly digest: string;
  /** Config and layers of the result, in bytes. */
  readonly size: number;
  /** Config and layers of the source, in bytes. */
  readonly sourceSize: number;
  /** Bytes of the block device; undefined if the image was up to date and was not examined. */
  readonly virtualSize: number | undefined;
  /** Layers with files, lowest first. */
  readonly layers: readonly LayerResult[];
  /** The acceleration layer above them; absent if the image has no such layer, or was up to date. */
  readonly prefetch?: PrefetchResult;
  /** The manifest as pushed. */
  readonly manifest: unknown;
}

/** A pushed tag. */
export interface TagResult {
  readonly tag: string;
  readonly kind: OutputTag['kind'];
  /** Digest of the index or manifest that the tag names. */
  readonly digest: string;
  readonly mediaType: string;
  /** Sum over all platforms, in bytes. */
  readonly size: number;
  /** `size` over the size of the converted source images. */
  readonly ratio: number;
  readonly manifests: readonly ManifestResult[];
  /** True if the tag was up to date: same source, mode, options and version. */
  readonly upToDate: boolean;
}

/** A copy of a referrer, or a link to it, at an accelerated image. */
export interface ReferrerCopy {
  /** Digest of the accelerated manifest or index. */
  readonly subject: string;
  /** Digest of the copy or link. */
  readonly digest: string;
  /** The tag by which cosign finds it; absent for a referrer. */
  readonly tag?: string;
  /** True if it was attached before. */
  readonly upToDate: boolean;
}

/** A referrer of the source, and what became of it. */
export interface ReferrerResult extends ReferrerBase {
  /** Digest of the source manifest or index that it refers to. */
  readonly subject: string;
  readonly action: 'copied' | 'linked' | 'left';
  /** For people. */
  readonly reason: string;
  /** The copies or links, one for each accelerated image; those of one kind share a link. */
  readonly made: readonly ReferrerCopy[];
}

/** Result of a conversion. */
export interface ConvertResult {
  readonly repository: string;
  readonly source: { readonly digest: string; readonly mediaType: string; readonly size: number };
  readonly tags: readonly TagResult[];
  /** The referrers of the source; absent unless the request copies referrers. */
  readonly referrers?: readonly ReferrerResult[];
  /** Manifests of the index that were skipped, with the reason. */
  readonly skipped: readonly { readonly digest: string; readonly platform: string; readonly reason: string }[];
  /** The first hundred warnings of each kind, at most a thousand, and how many more there were of which kind. */
  readonly warnings: readonly string[];
  /** Counts all warnings, listed or not. */
  readonly warningCount: number;
  /** Wall time in seconds: `total`, and the sums over layers of `convert` and `push`. */
  readonly seconds: { readonly total: number; readonly convert: number; readonly push: number };
}
