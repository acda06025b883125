/** Attestations of pieces that were kept: certificates end, and what they vouched for stays. */
import type { Attestations } from './attestation.ts';
import type { Piece, PieceId } from './piece.ts';

/**
 * A piece from this node's store, with an attestation that other nodes believe now, or without one. `of`: where the piece belongs; the size is
 * that of the whole blob, where it is known. The record is changed, since it holds the piece's memory.
 */
export function attestedNow(
  kept: Piece,
  { digest, index, size }: PieceId & { readonly size: number | undefined },
  { attestations, self }: { readonly attestations: Attestations | undefined; readonly self: string },
): Piece {
  const { attestation, sha256 } = kept;
  if (attestation === undefined || attestations === undefined) return kept;
  const statement = size === undefined ? undefined : { digest, size, index, sha256 };
  return Object.assign(kept, { attestation: attestations.renew(attestation, statement, self) });
}
