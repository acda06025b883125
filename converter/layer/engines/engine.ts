/**
 * The contract of an engine, which turns a layer's blocks into a blob. Both engines get the same calls from the same state:
 * a tar has the same block addresses in either mode, and one pass can feed both.
 */

import type { BlobSource } from '../../../base/byte-source.ts';
import type { FileDataSink } from '../../../formats/ext4/apply-tar.ts';
import type { LayerKind } from '../../events.ts';
import type { SourceSummary } from '../sniff.ts';

/** A converted layer that is ready to be pushed. */
export interface LayerBlob {
  readonly kind: LayerKind;
  readonly digest: string;
  readonly size: number;
  /** Digest of the uncompressed layer, for `rootfs.diff_ids` of the config. */
  readonly diffId: string;
  /** Whether the blob is compressed by gzip (index-only) or not at all (full). */
  readonly compression: 'none' | 'gzip';
  /** The annotations of docs/formats.md §4, §5 and §9. */
  readonly annotations: Readonly<Record<string, string>>;
  readonly content: BlobSource;
  /** The file that holds the content, when one does. */
  readonly path?: string;
  /** The list of its piece hashes, which an annotation names by digest (docs/formats.md §9); absent where none is wanted. */
  readonly pieceList?: Uint8Array;
  /** Entries of the LSMT index. */
  readonly segments: number;
}

/** Builds the blob of one layer. Calls come in this order: file data, discards, metadata, finish. */
export interface LayerEngine extends FileDataSink {
  readonly kind: LayerKind;
  /** Blocks of `length` bytes whose file data was given before no longer belong to a file. */
  discard(deviceOffset: number, length: number): void;
  /** A block of file-system metadata, each at most once. */
  metadata(deviceOffset: number, bytes: Uint8Array): void;
  /** True when the caller should await {@link drain} before it goes on. */
  readonly saturated: boolean;
  /** Resolves when the engine can take more. */
  drain(): Promise<void>;
  /** Completes the blob. */
  finish(source: SourceSummary): Promise<LayerBlob>;
  /** Releases files and memory; must always be called, also after {@link finish}. */
  close(): Promise<void>;
}
