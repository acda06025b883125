/** What a caller asks of a conversion and what it gets back: the library's main records. */
import type { EventSink, LayerKind } from './events.ts';
import type { Threads } from './layer/workers/threads.ts';

/** Which artifacts a run makes. `full` makes both tags unless an output tag is named. */
export type Mode = 'full' | 'index-only';

/** How the blocks of a full layer are compressed (docs/formats.md §2). */
export type Algorithm = 'lz4' | 'zstd';

/** One tag to push and what it holds. `containerd` = index-only where the layers allow it, full elsewhere. */
export interface OutputTag {
  readonly tag: string;
  readonly kind: 'full' | 'containerd' | 'index-only';
}

/** The choices that decide the bytes of an artifact. */
export interface ArtifactOptions {
  /** Virtual size of the block device in bytes, a multiple of 128 MiB; omitted: 64 GiB, larger when the content needs it. */
  readonly virtualSize?: number;
  readonly algorithm: Algorithm;
  /** Bytes of a compressed block: a power of two, 4096 to 65536. */
  readonly blockSize: number;
  /** Level of zstd, 1 to 22; LZ4 has none. Omitted: 3, as the reference's tools have it. */
  readonly level?: number;
  /** Bytes of output between two access points of a gzip index. */
  readonly span: number;
  /** Write OCI media types whatever the source used. */
  readonly oci: boolean;
  /** Push the results as referrers of the source (docs/formats.md §8); OCI media types then. */
  readonly referrer: boolean;
  /** Files and directories an image may hold; a layer that goes past it is refused. */
  readonly maxFiles: number;
  /** Bytes that a layer may have, as a blob and uncompressed; one that has or announces more is refused. */
  readonly maxLayerSize: number;
}

/** What the command line uses where nothing else is said. */
export const DEFAULT_ARTIFACT: ArtifactOptions = {
  algorithm: 'lz4',
  blockSize: 4096,
  span: 1 << 20,
  oci: false,
  referrer: false,
  maxFiles: 1_000_000,
  maxLayerSize: 2 ** 38,
};

/** The files that a node is to fetch before anyone asks for them (docs/prefetch.md). */
export interface PrefetchRequest {
  /**
   * One absolute path a line, with `/` at its end for all that is below a directory; wildcards, `#` comments and blank
   * lines are taken. Text, or bytes where a name is not UTF-8.
   */
  readonly lines: readonly (string | Uint8Array)[];
  /** Form of what the node reads; omitted: the one that brings more. */
  readonly format?: 'list' | 'trace';
  /** Refuse a list that names what is not in the image; otherwise that is a warning. */
  readonly strict?: boolean;
}

/** A request to convert one image. References are parsed already (oci/reference.ts does that). */
export interface ConvertRequest {
  /** `host[:port]/repo` or `oci:DIR`. */
  readonly repository: string;
  /** Where the result goes, `host[:port]/repo` or `oci:DIR`; omitted: the same repository. */
  readonly targetRepository?: string;
  /** Tag or digest of the source within the repository. */
  readonly source: { readonly tag?: string; readonly digest?: string };
  /** The tags to make, at least one. */
  readonly outputs: readonly OutputTag[];
  readonly artifact: ArtifactOptions;
  /** Files to prefetch, the same list for every platform. */
  readonly prefetch?: PrefetchRequest;
  /** Drop the prefetch list that the image carries which is replaced; without a list of its own a run keeps it. */
  readonly noPrefetch?: boolean;
  /** Platforms to convert as `os/arch[/variant]`; empty: every Linux platform of the index. */
  readonly platforms: readonly string[];
  /** Manifests and uploads in flight at a time. */
  readonly concurrency: number;
  /** Compress threads; 0 compresses in the calling thread. */
  readonly workers: number;
  /**
   * Bytes of memory that buffers and threads are sized for, at least 288 MiB: images at a time and compress threads give
   * way. Omitted: 512 MiB. The file system's state, which grows with the number of files, comes on top.
   */
  readonly maxMemory?: number;
  /** Convert, but push and tag nothing. */
  readonly noUpload: boolean;
  /** Take over layers that were converted before, and keep the record of them in the target (`accel-cache`). */
  readonly cache: boolean;
  /**
   * Key of the record, at least 16 bytes: what this run makes carries codes of it (HMAC-SHA-256), and only what carries
   * them is taken over or counts as made already. Without it whoever may push to the repository is trusted.
   */
  readonly recordKey?: Uint8Array;
  /** Compare layers and images of earlier runs with the source, byte by byte, before they are taken over. */
  readonly verifyReused?: boolean;
  /**
   * Make the list of piece hashes of each layer, by which peer-to-peer agents check each piece alone (docs/formats.md §9).
   * Omitted: true.
   */
  readonly pieceList?: boolean;
  /** Redo what stands already and overwrite a tag of the other mode. */
  readonly force: boolean;
  /** Directory for spooled layers; omitted: the system's. A fresh folder in it is made and removed. */
  readonly workDirectory?: string;
}

/** Surroundings of a conversion that the caller may want to reach into. */
export interface ConvertContext {
  readonly onEvent?: EventSink;
  readonly signal?: AbortSignal;
  /**
   * Threads that several conversions of this process share, instead of threads of its own; `workers` of the request does
   * not count then. The caller closes them.
   */
  readonly threads?: Threads;
}

/** A layer of the result. */
export interface LayerResult {
  readonly kind: LayerKind;
  readonly sourceDigest: string;
  readonly sourceSize: number;
  readonly digest: string;
  readonly size: number;
}

/** The acceleration layer of an image of the result. */
export interface PrefetchResult {
  readonly form: 'list' | 'trace';
  /** Different files that the list comes to in this image. */
  readonly files: number;
  /** Bytes of their content. */
  readonly bytes: number;
  /** Lines of the list, or reads of the trace, that a node gets. */
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
  /** Bytes of the block device; undefined when the image stood already and was not looked into. */
  readonly virtualSize: number | undefined;
  /** Those with files, lowest first. */
  readonly layers: readonly LayerResult[];
  /** The acceleration layer above them; absent when there is none, or the image stood already. */
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
  /** True when the tag stood already with the same source, mode, options and version. */
  readonly upToDate: boolean;
}

/** What a conversion did. */
export interface ConvertResult {
  readonly repository: string;
  readonly source: { readonly digest: string; readonly mediaType: string; readonly size: number };
  readonly tags: readonly TagResult[];
  /** Manifests of the index that were left out, and why. */
  readonly skipped: readonly { readonly digest: string; readonly platform: string; readonly reason: string }[];
  readonly warnings: readonly string[];
  /** Wall time in seconds: `total`, and the sums over layers of `convert` and `push`. */
  readonly seconds: { readonly total: number; readonly convert: number; readonly push: number };
}
