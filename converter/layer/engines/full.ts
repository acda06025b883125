/** The full engine: every block of the layer rewritten, LSMT in a ZFile in a tar (docs/formats.md §2 to §4). */

import { finishPaced } from '../../../base/pacer.ts';
import { LsmtWriter } from '../../../formats/lsmt/writer.ts';
import { COMMIT_TAR_HEAD_SIZE, commitTarHead, commitTarTail } from '../../../formats/zfile/commit-tar.ts';
import { type BlockCompressor, ZFileWriter } from '../../../formats/zfile/writer.ts';
import type { ArtifactOptions } from '../../options.ts';
import { LAYER_ANNOTATION, LAYER_VERSION } from '../../publish/record-annotations.ts';
import { pieceListAnnotation } from '../piece-lists.ts';
import type { SpoolFile } from '../spool.ts';
import type { FilePieces } from '../workers/file-pieces.ts';
import { BlockAssembler } from './block-assembler.ts';
import type { LayerBlob, LayerEngine } from './engine.ts';

const BLOCK_SIZE = 4096;

/** Options of {@link FullEngine}. */
export interface FullEngineOptions {
  readonly artifact: ArtifactOptions;
  readonly virtualSize: number;
  /** UUIDs from the chain IDs of this layer and the one below. */
  readonly uuid: string;
  readonly parentUuid: string | undefined;
  readonly compressor: BlockCompressor;
  /** Receives the blob; the engine closes it. */
  readonly file: SpoolFile;
  /** Hashes the pieces of the blob; undefined where no list of them is wanted. */
  readonly pieces: FilePieces | undefined;
  /** Hashes a file of some bytes. */
  readonly digestFile: (path: string, size: number) => Promise<string>;
  readonly signal?: AbortSignal | undefined;
}

/** Writes one full layer into a spool file. */
export class FullEngine implements LayerEngine {
  readonly kind = 'full';
  readonly #file: SpoolFile;
  readonly #pieces: FilePieces | undefined;
  readonly #digestFile: FullEngineOptions['digestFile'];
  readonly #signal: AbortSignal | undefined;
  readonly #zfile: ZFileWriter;
  readonly #lsmt: LsmtWriter;
  readonly #blocks: BlockAssembler;

  constructor(options: FullEngineOptions) {
    const { file, artifact } = options;
    this.#file = file;
    this.#pieces = options.pieces;
    this.#digestFile = options.digestFile;
    this.#signal = options.signal;
    let isFirst = true;
    this.#zfile = new ZFileWriter({
      algorithm: artifact.algorithm,
      blockSize: artifact.blockSize,
      compressor: options.compressor,
      write: async (bytes) => {
        // The tar's header contains the ZFile's size and is written at the end; until then its place is reserved.
        if (isFirst) await this.#append(new Uint8Array(COMMIT_TAR_HEAD_SIZE));
        isFirst = false;
        await this.#append(bytes);
      },
    });
    this.#lsmt = new LsmtWriter({
      virtualSize: options.virtualSize,
      uuid: options.uuid,
      ...(options.parentUuid === undefined ? {} : { parentUuid: options.parentUuid }),
      padIndex: true,
      emit: (bytes) => this.#zfile.write(bytes),
    });
    this.#blocks = new BlockAssembler(BLOCK_SIZE, (offset, bytes) => this.#lsmt.writeBlocks(offset, bytes));
  }

  get saturated(): boolean {
    return this.#zfile.saturated;
  }

  drain(): Promise<void> {
    return this.#zfile.drain();
  }

  beginRun(deviceOffset: number): void {
    this.#blocks.seek(deviceOffset);
  }

  write(bytes: Uint8Array): void {
    this.#blocks.write(bytes);
  }

  discard(deviceOffset: number, length: number): void {
    this.#blocks.flush();
    this.#lsmt.discard(deviceOffset, length);
  }

  metadata(deviceOffset: number, bytes: Uint8Array): void {
    this.#blocks.flush();
    this.#lsmt.writeBlocks(deviceOffset, bytes);
  }

  async finish(): Promise<LayerBlob> {
    this.#blocks.flush();
    const { segments } = await finishPaced(this.#lsmt.finishSteps(), this, this.#signal);
    const zfile = await this.#zfile.finish();
    await this.#append(commitTarTail(zfile.size));
    await this.#file.patch(commitTarHead(zfile.size), 0);
    await this.#file.patch(zfile.header, COMMIT_TAR_HEAD_SIZE);
    // The blob starts with sizes that are known only at its end, so the hash of the whole needs a second pass over the
    // finished file, from the page cache and in another thread.
    const { path, size } = this.#file;
    const [pieceList, digest] = await Promise.all([this.#pieces?.finish(path), this.#digestFile(path, size)]);
    return {
      kind: 'full',
      digest,
      size: this.#file.size,
      diffId: digest,
      compression: 'none',
      annotations: {
        [LAYER_ANNOTATION.blobDigest]: digest,
        [LAYER_ANNOTATION.blobSize]: String(this.#file.size),
        [LAYER_ANNOTATION.version]: LAYER_VERSION.full,
        [LAYER_ANNOTATION.fsType]: 'ext4',
        ...pieceListAnnotation(pieceList),
      },
      ...(pieceList === undefined ? {} : { pieceList }),
      content: this.#file.source,
      path: this.#file.path,
      segments,
    };
  }

  async close(): Promise<void> {
    this.#zfile.close();
    await this.#file.close();
  }

  async #append(bytes: Uint8Array): Promise<void> {
    await Promise.all([this.#file.append(bytes), this.#pieces?.update(bytes)]);
  }
}
