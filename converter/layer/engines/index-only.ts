/** The index-only engine: metadata in a ZFile, file data as references into the original tar (docs/formats.md §5). */

import { advise, option } from '../../../base/advice.ts';
import { AccelError } from '../../../base/error.ts';
import { finishPaced } from '../../../base/pacer.ts';
import { readFile } from '../../../disk/disk-file.ts';
import { gzipIndexPieces } from '../../../formats/gzip/gzip-index.ts';
import type { PartDeflater } from '../../../formats/gzip/writer.ts';
import { SECTOR_SIZE } from '../../../formats/lsmt/layout.ts';
import { LsmtWriter } from '../../../formats/lsmt/writer.ts';
import { STORED_INDEX_ANNOTATION } from '../../../formats/overlaybd/annotations.ts';
import { PieceHasher } from '../../../formats/piece-list/piece-hasher.ts';
import { encodePieceList } from '../../../formats/piece-list/piece-list.ts';
import type { StreamedContent } from '../../../formats/tar/small-archive.ts';
import { GZIP_INDEX_NAME, writeTurboLayer } from '../../../formats/turbo/turbo-layer.ts';
import { type BlockCompressor, ZFileWriter } from '../../../formats/zfile/writer.ts';
import type { Descriptor } from '../../../oci/descriptor.ts';
import { Digester } from '../../../oci/digest.ts';
import { LAYER_ANNOTATION, LAYER_VERSION } from '../../publish/record-annotations.ts';
import { pieceListAnnotation } from '../piece-lists.ts';
import type { SourceSummary } from '../sniff.ts';
import type { SpoolFile } from '../spool.ts';
import { BlockAssembler } from './block-assembler.ts';
import type { LayerBlob, LayerEngine } from './engine.ts';

/** Block size of the metadata's ZFile: metadata is read in single blocks. */
export const METADATA_BLOCK_SIZE = 4096;

/** Options of {@link IndexOnlyEngine}. */
export interface IndexOnlyEngineOptions {
  readonly virtualSize: number;
  /** Compresses LZ4 blocks of {@link METADATA_BLOCK_SIZE}. */
  readonly compressor: BlockCompressor;
  /** Deflates the blob; omitted: in this thread. */
  readonly deflate?: PartDeflater;
  /** Takes the metadata until it is packed; removed with the engine. */
  readonly metadata: SpoolFile;
  /** Takes the blob; closed with the engine. */
  readonly file: SpoolFile;
  readonly signal?: AbortSignal | undefined;
  /** Make the list of the blob's piece hashes; omitted: false. */
  readonly pieceList?: boolean;
}

/** Writes one index-only layer into a spool file: its size is that of the metadata, not of the data. */
export class IndexOnlyEngine implements LayerEngine {
  readonly kind = 'index-only';
  readonly #metadata: SpoolFile;
  readonly #file: SpoolFile;
  readonly #signal: AbortSignal | undefined;
  readonly #zfile: ZFileWriter;
  readonly #lsmt: LsmtWriter;
  readonly #wantsPieceList: boolean;
  readonly #deflate: PartDeflater | undefined;
  /** Data that does not fill whole sectors of the tar is stored in the artifact, in sectors of its own. */
  readonly #local: BlockAssembler;
  /** Bytes of the current run that the source's own sectors hold. */
  #remoteLeft = 0;
  /** Offset in the tar of the end of the last sector that is referred to. */
  #remoteEnd = 0;

  constructor(options: IndexOnlyEngineOptions) {
    const { metadata } = options;
    this.#metadata = metadata;
    this.#file = options.file;
    this.#signal = options.signal;
    this.#wantsPieceList = options.pieceList === true;
    this.#deflate = options.deflate;
    this.#zfile = new ZFileWriter({
      algorithm: 'lz4',
      blockSize: METADATA_BLOCK_SIZE,
      compressor: options.compressor,
      write: (bytes) => metadata.append(bytes),
    });
    this.#lsmt = new LsmtWriter({
      virtualSize: options.virtualSize,
      padIndex: false,
      detectZeros: false,
      emit: (bytes, zeros) => this.#zfile.write(bytes, zeros),
    });
    this.#local = new BlockAssembler(SECTOR_SIZE, (offset, bytes, zeros) =>
      this.#lsmt.writeBlocks(offset, bytes, zeros),
    );
  }

  get saturated(): boolean {
    return this.#zfile.saturated;
  }

  drain(): Promise<void> {
    return this.#zfile.drain();
  }

  beginRun(deviceOffset: number, tarOffset: number, length: number, endsFile: boolean): void {
    const isAligned = deviceOffset % SECTOR_SIZE === 0 && tarOffset % SECTOR_SIZE === 0;
    // After the end of a file its last sector contains the tar's padding, which no reader sees. Within a sparse file it
    // would contain the next run's bytes: there the partial sector at the end of the run is stored separately.
    const tail = isAligned && !endsFile ? length % SECTOR_SIZE : 0;
    this.#remoteLeft = isAligned ? length - tail : 0;
    if (this.#remoteLeft > 0) {
      const mapped = Math.ceil(this.#remoteLeft / SECTOR_SIZE) * SECTOR_SIZE;
      this.#lsmt.mapRemote(deviceOffset, tarOffset, mapped);
      this.#remoteEnd = Math.max(this.#remoteEnd, tarOffset + mapped);
    }
    this.#local.seek(deviceOffset + this.#remoteLeft);
  }

  write(bytes: Uint8Array): void {
    const remote = Math.min(this.#remoteLeft, bytes.length);
    this.#remoteLeft -= remote;
    if (remote < bytes.length) this.#local.write(bytes.subarray(remote));
  }

  discard(deviceOffset: number, length: number): void {
    this.#local.flush();
    this.#lsmt.discard(deviceOffset, length);
  }

  metadata(deviceOffset: number, bytes: Uint8Array): void {
    this.#local.flush();
    this.#lsmt.writeBlocks(deviceOffset, bytes);
  }

  async finish(source: SourceSummary): Promise<LayerBlob> {
    refuseUnindexable(source);
    if (this.#remoteEnd > source.tarSize) {
      throw unindexable(
        'a tar that ends at a whole sector',
        `a tar of ${source.tarSize} bytes, cut off in its last file's padding`,
      );
    }
    this.#local.flush();
    const { segments } = await finishPaced(this.#lsmt.finishSteps(), this, this.#signal);
    const { header, size } = await this.#zfile.finish();
    await this.#metadata.patch(header, 0);
    return sealIndexLayer(this.#file, {
      fsMeta: { size, open: () => readFile(this.#metadata.path, { transient: true }) },
      gzipIndex: source.gzip === undefined ? undefined : gzipIndexPieces(source.gzip),
      source: source.descriptor,
      segments,
      pieceList: this.#wantsPieceList,
      deflate: this.#deflate,
      signal: this.#signal,
    });
  }

  async close(): Promise<void> {
    this.#zfile.close();
    await this.#metadata.remove();
    await this.#file.close();
  }
}

/** The parts of an index-only layer. */
export interface IndexLayerParts {
  readonly fsMeta: StreamedContent;
  /** Bytes of the index of a gzip source layer, in pieces. */
  readonly gzipIndex: readonly Uint8Array[] | undefined;
  /** The source layer. */
  readonly source: Pick<Descriptor, 'digest' | 'mediaType'>;
  readonly segments: number;
  readonly pieceList: boolean;
  /** Deflates the blob; omitted: in this thread. */
  readonly deflate?: PartDeflater | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Packs an index-only layer into a file, and hashes it. */
export async function sealIndexLayer(
  file: SpoolFile,
  { fsMeta, gzipIndex, source, segments, pieceList: wantsPieceList, deflate, signal }: IndexLayerParts,
): Promise<LayerBlob> {
  const pieces = wantsPieceList ? new PieceHasher() : undefined;
  const digester = new Digester();
  const write = async (bytes: Uint8Array): Promise<void> => {
    signal?.throwIfAborted();
    digester.update(bytes);
    pieces?.update(bytes);
    await file.append(bytes);
  };
  const packed = await writeTurboLayer({ fsMeta, gzipIndex }, write, deflate);
  const digest = digester.digest();
  const indexAt = packed.stored.get(GZIP_INDEX_NAME);
  const pieceList = pieces === undefined ? undefined : encodePieceList(pieces.finish());
  return {
    kind: 'index-only',
    digest,
    size: packed.size,
    diffId: packed.diffId,
    compression: 'gzip',
    annotations: {
      [LAYER_ANNOTATION.blobDigest]: digest,
      [LAYER_ANNOTATION.blobSize]: String(packed.size),
      [LAYER_ANNOTATION.version]: LAYER_VERSION['index-only'],
      [LAYER_ANNOTATION.fsType]: 'ext4',
      [LAYER_ANNOTATION.targetDigest]: source.digest,
      [LAYER_ANNOTATION.targetMediaType]: source.mediaType,
      ...(indexAt === undefined ? {} : { [STORED_INDEX_ANNOTATION]: String(indexAt) }),
      ...pieceListAnnotation(pieceList),
    },
    ...(pieceList === undefined ? {} : { pieceList }),
    content: file.source,
    path: file.path,
    segments,
  };
}

/** Throws `layer-unsupported` for a layer whose blob a node's runtime cannot read through an index. */
export function refuseUnindexable({ compression, gzip }: Pick<SourceSummary, 'compression' | 'gzip'>): void {
  const found =
    compression === 'zstd'
      ? 'zstd'
      : gzip !== undefined && gzip.members > 1
        ? `gzip of ${gzip.members} members`
        : undefined;
  if (found !== undefined) throw unindexable('a plain tar or gzip of a single member', found);
}

function unindexable(expected: string, found: string): AccelError {
  return new AccelError('layer-unsupported', 'the layer cannot be indexed', {
    expected,
    found,
    hint: advise`Convert in full mode (${option('mode', 'full')}), which takes every layer.`,
  });
}
