/** The list of piece hashes that a layer's descriptor names (docs/formats.md §9). */
import {
  MAX_PIECE_LIST_BYTES,
  PIECE_LIST_ANNOTATION,
  PIECE_LIST_MEDIA_TYPE,
  type PieceList,
  parsePieceList,
  pieceListBytes,
} from '../formats/piece-list/piece-list.ts';
import { fetchBytes } from '../oci/content.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Fetcher, ReadOptions } from '../oci/storage.ts';

const SHA256 = /^sha256:[0-9a-f]{64}$/;

/** The descriptor of a layer's piece list; undefined where the layer names none, or something that is not a digest. */
export function pieceListOf({ annotations, size }: Pick<Descriptor, 'annotations' | 'size'>): Descriptor | undefined {
  const digest = annotations?.[PIECE_LIST_ANNOTATION];
  if (digest === undefined || !SHA256.test(digest)) return undefined;
  return { mediaType: PIECE_LIST_MEDIA_TYPE, digest, size: pieceListBytes(size) };
}

/**
 * Fetches and parses a list that {@link pieceListOf} named. Throws `not-found`, `digest-mismatch`, `size-mismatch`,
 * `limit-exceeded` for the list of a blob of more than 256 GiB, and `manifest-invalid` for content that is not a list.
 */
export async function loadPieceList(fetcher: Fetcher, list: Descriptor, options?: ReadOptions): Promise<PieceList> {
  return parsePieceList(await fetchBytes(fetcher, list, MAX_PIECE_LIST_BYTES, options));
}
