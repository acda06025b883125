/** Reads the blobs of an accelerated image completely and verifies their digests. */
import { createHash } from 'node:crypto';
import { asAccelError } from '../base/error.ts';
import type { PieceList } from '../formats/piece-list/piece-list.ts';
import type { ReadOptions, Storage } from '../oci/storage.ts';
import type { AcceleratedImage } from '../reader/accelerated-image.ts';
import type { OpenedLayer } from '../reader/layer.ts';
import { PieceComparison, type PieceLists } from './compare-piece-lists.ts';
import { tarOf } from './source-tree/decompress.ts';
import { compareDiffId, type LayerPairs, layerName } from './structure.ts';
import { type DifferenceLog, damageText } from './verify-report.ts';

/** Options of {@link compareBlobs}; `onRead` is called with the number of bytes of each piece. */
export interface BlobOptions extends ReadOptions {
  readonly onRead?: (bytes: number) => void;
  /** Piece lists by the layer's position; their hashes are compared in the same read. */
  readonly lists?: PieceLists['lists'];
}

/** Reads every layer's blob; a damaged or missing one is a difference. */
export async function compareBlobs(
  target: Pick<Storage, 'fetch'>,
  image: AcceleratedImage,
  log: DifferenceLog,
  options: BlobOptions,
): Promise<void> {
  for (const layer of image.layers) {
    const name = layerName(layer, image);
    try {
      const blob = read(await target.fetch(layer.descriptor, options), options);
      if (layer.kind !== 'acceleration')
        await compareStacked(blob, { layer, image, log, list: options.lists?.get(layer.index) });
      else compareDiffId(image, layer, await digestOf(tarOf(blob)), log);
    } catch (error) {
      const isMissing = asAccelError(error).code === 'not-found';
      log.image(name, 'blob', layer.descriptor.digest, isMissing ? 'nothing' : damageText(error));
    }
  }
}

/** A layer with files, compared with its piece list where it has one. */
interface StackedBlob {
  readonly layer: OpenedLayer;
  readonly image: AcceleratedImage;
  readonly log: DifferenceLog;
  readonly list: PieceList | undefined;
}

async function compareStacked(
  blob: AsyncIterable<Uint8Array>,
  { layer, image, log, list }: StackedBlob,
): Promise<void> {
  const pieces = list === undefined ? undefined : new PieceComparison(list);
  // The end of the stream says whether the blob has its digest: only then its pieces are worth comparing.
  for await (const chunk of blob) pieces?.update(chunk);
  pieces?.finish(layer, image, log);
}

/** Checks that the source layer of each index-only layer exists in the same repository. */
export async function compareSourceBlobs(
  { target, signal }: { readonly target: Pick<Storage, 'exists'> } & ReadOptions,
  image: AcceleratedImage,
  { pairs }: LayerPairs,
  log: DifferenceLog,
): Promise<void> {
  for (const { layer, source } of pairs) {
    if (layer.kind !== 'index-only' || source === undefined) continue;
    const exists = await target.exists(source, { signal });
    log.image(
      layerName(layer, image),
      'source layer in the repository',
      source.digest,
      exists ? source.digest : 'nothing',
    );
  }
}

async function* read(blob: AsyncIterable<Uint8Array>, { signal, onRead }: BlobOptions): AsyncGenerator<Uint8Array> {
  for await (const chunk of blob) {
    signal?.throwIfAborted();
    onRead?.(chunk.length);
    yield chunk;
  }
}

async function digestOf(bytes: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of bytes) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}
