/**
 * Compares the lists of piece hashes with the layers that name them (docs/formats.md §9). A wrong list is a difference: an
 * agent would refuse good pieces. A list that is gone is a warning: the image runs without it.
 */
import { asAccelError } from '../base/error.ts';
import { PieceHasher } from '../formats/piece-list/piece-hasher.ts';
import { PIECE_LIST_ANNOTATION, type PieceList } from '../formats/piece-list/piece-list.ts';
import type { Fetcher, ReadOptions } from '../oci/storage.ts';
import type { AcceleratedImage } from '../reader/accelerated-image.ts';
import type { OpenedLayer } from '../reader/layer.ts';
import { loadPieceList, pieceListOf } from '../reader/layer-piece-list.ts';
import { layerName } from './structure.ts';
import { type DifferenceLog, damageText } from './verify-report.ts';

/** The sound lists of an image. */
export interface PieceLists {
  /** By the layer's position. */
  readonly lists: ReadonlyMap<number, PieceList>;
  /** Lists that are gone. */
  readonly warnings: readonly string[];
}

/** Reads the lists that layers name and checks that each is one of a blob of the layer's size. */
export async function comparePieceLists(
  fetcher: Fetcher,
  image: AcceleratedImage,
  log: DifferenceLog,
  options: ReadOptions,
): Promise<PieceLists> {
  const lists = new Map<number, PieceList>();
  const warnings: string[] = [];
  for (const layer of image.layers) {
    const named = layer.descriptor.annotations?.[PIECE_LIST_ANNOTATION];
    if (named === undefined) continue;
    const name = layerName(layer, image);
    const list = pieceListOf(layer.descriptor);
    if (list === undefined) {
      log.image(name, 'annotation piece-list', 'a sha256 digest', named);
      continue;
    }
    try {
      const read = await loadPieceList(fetcher, list, options);
      log.image(name, 'blob size by its piece list', String(layer.size), String(read.blobBytes));
      if (read.blobBytes === layer.size) lists.set(layer.index, read);
    } catch (error) {
      const { code, message } = asAccelError(error);
      if (code === 'not-found')
        warnings.push(`the piece list of ${name}, ${list.digest}, is gone; the image runs without it`);
      else log.image(name, 'piece list', 'readable', code === 'manifest-invalid' ? message : damageText(error));
    }
  }
  return { lists, warnings };
}

/** Hashes the pieces of a layer's blob as it is read, and compares them with its list at the end. */
export class PieceComparison {
  readonly #hasher = new PieceHasher();
  readonly #list: PieceList;

  constructor(list: PieceList) {
    this.#list = list;
  }

  /** Takes the next bytes of the blob. */
  update(bytes: Uint8Array): void {
    this.#hasher.update(bytes);
  }

  /** Notes the first piece that differs from the list, and how many do. */
  finish(layer: OpenedLayer, image: AcceleratedImage, log: DifferenceLog): void {
    const { hashes } = this.#hasher.finish();
    const wrong = hashes.flatMap((hash, index) => (hash === this.#list.hashes[index] ? [] : [index]));
    const [first] = wrong;
    if (first === undefined) return;
    const others = wrong.length === 1 ? '' : ` (one of ${wrong.length} that differ)`;
    const field = `hash of piece ${first + 1} of ${hashes.length} in its piece list${others}`;
    log.image(layerName(layer, image), field, hashes[first]!, this.#list.hashes[first]!);
  }
}
