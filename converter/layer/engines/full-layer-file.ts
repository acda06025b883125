/** The file of a full layer's blob: the tar around a ZFile, hashed as a whole and by pieces (docs/formats.md §2 and §4). */
import { COMMIT_TAR_HEAD_SIZE, commitTarHead, commitTarTail } from '../../../formats/zfile/commit-tar.ts';
import { type BlockCompressor, ZFileWriter } from '../../../formats/zfile/writer.ts';
import type { ArtifactOptions } from '../../options.ts';
import { LAYER_ANNOTATION, LAYER_VERSION } from '../../publish/record-annotations.ts';
import { pieceListAnnotation } from '../piece-lists.ts';
import type { SpoolFile } from '../spool.ts';
import type { FilePieces } from '../workers/file-pieces.ts';
import type { LayerBlob } from './engine.ts';

/** Options of {@link FullLayerFile}. */
export interface FullLayerFileOptions {
  readonly artifact: Pick<ArtifactOptions, 'algorithm' | 'blockSize'>;
  readonly compressor: BlockCompressor;
  /** Receives the blob. */
  readonly file: SpoolFile;
  /** Hashes the pieces of the blob; undefined where no list of them is wanted. */
  readonly pieces: FilePieces | undefined;
  /** Hashes a file of some bytes. */
  readonly digestFile: (path: string, size: number) => Promise<string>;
}

/** See the module's comment: what is written to {@link FullLayerFile.zfile} becomes a blob. */
export class FullLayerFile {
  readonly zfile: ZFileWriter;
  readonly #options: FullLayerFileOptions;

  constructor(options: FullLayerFileOptions) {
    this.#options = options;
    let isFirst = true;
    this.zfile = new ZFileWriter({
      algorithm: options.artifact.algorithm,
      blockSize: options.artifact.blockSize,
      compressor: options.compressor,
      write: async (bytes) => {
        // The tar's header contains the ZFile's size and is written at the end; until then its place is reserved.
        if (isFirst) await this.#append(new Uint8Array(COMMIT_TAR_HEAD_SIZE));
        isFirst = false;
        await this.#append(bytes);
      },
    });
  }

  /** Completes the blob. `segments`: entries of the index that was written. */
  async finish(segments: number): Promise<LayerBlob> {
    const { file, pieces, digestFile } = this.#options;
    const zfile = await this.zfile.finish();
    await this.#append(commitTarTail(zfile.size));
    await file.patch(commitTarHead(zfile.size), 0);
    await file.patch(zfile.header, COMMIT_TAR_HEAD_SIZE);
    // The blob starts with sizes that are known only at its end, so the hash of the whole needs a second pass over the
    // finished file, from the page cache and in another thread.
    const { path, size } = file;
    const [pieceList, digest] = await Promise.all([pieces?.finish(path), digestFile(path, size)]);
    return {
      kind: 'full',
      digest,
      size,
      diffId: digest,
      compression: 'none',
      annotations: {
        [LAYER_ANNOTATION.blobDigest]: digest,
        [LAYER_ANNOTATION.blobSize]: String(size),
        [LAYER_ANNOTATION.version]: LAYER_VERSION.full,
        [LAYER_ANNOTATION.fsType]: 'ext4',
        ...pieceListAnnotation(pieceList),
      },
      ...(pieceList === undefined ? {} : { pieceList }),
      content: file.source,
      path,
      segments,
    };
  }

  /** Releases memory and closes the file; must always be called. */
  async close(): Promise<void> {
    this.zfile.close();
    await this.#options.file.close();
  }

  async #append(bytes: Uint8Array): Promise<void> {
    const { file, pieces } = this.#options;
    await Promise.all([file.append(bytes), pieces?.update(bytes)]);
  }
}
