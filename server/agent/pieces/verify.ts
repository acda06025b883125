/**
 * Decides whether bytes that came from somewhere are the piece that they should be (docs/decisions, "Trust between agents"):
 * by the converter's list where the layer has one, by the attestation of an owner or holder otherwise. Remembers who
 * signed what, so that a blob with a wrong digest leads to the node that lied.
 */
import { LRUCache } from 'lru-cache';
import { atMost } from '../at-most.ts';
import { blobKey, hasMember, type Members, owners as ownersOf } from '../peers/topology.ts';
import type { Attestations, Attested } from './attestation.ts';
import { type Piece, type PieceId, pieceKey } from './piece.ts';
import { hashPiece } from './piece-file.ts';

/** Owners by the view of the checker that may have signed: views differ while members come and go. */
const OWNERS_ACCEPTED = 6;
/** Hashes of piece lists kept, of all blobs together, and statements about pieces. */
const HASHES_KEPT = 500_000;
const STATEMENTS_KEPT = 100_000;
/** Lists that were refuted, and nodes banned. */
const MOST_REFUTED = 1000;
const MOST_BANNED = 10_000;

/** Why a piece was refused. */
export type Refusal =
  | 'wrong-length'
  | 'not-in-list'
  | 'not-attested'
  | 'bad-attestation'
  | 'signer-not-owner'
  | 'banned';

/** Bytes as they arrived. */
export interface Arrival {
  readonly id: PieceId;
  /** Bytes of the whole blob. */
  readonly blobBytes: number;
  /** Bytes that the piece must have. */
  readonly length: number;
  readonly bytes: Buffer;
  readonly attestation: string | undefined;
}

/** Parts and settings of {@link PieceVerifier}. */
export interface VerifierOptions {
  /** Undefined where agents speak in the clear: then a blob's own digest is the only check of what peers send. */
  readonly attestations: Attestations | undefined;
  readonly members: () => Members;
}

/** See the head of the file. */
export class PieceVerifier {
  readonly #attestations: Attestations | undefined;
  readonly #members: () => Members;
  readonly #lists = new LRUCache<string, readonly string[]>({
    maxSize: HASHES_KEPT,
    sizeCalculation: (hashes) => Math.max(1, hashes.length),
  });
  readonly #refuted = new LRUCache<string, true>(atMost(MOST_REFUTED));
  readonly #signed = new LRUCache<string, { readonly sha256: string; readonly signer: string | undefined }>(
    atMost(STATEMENTS_KEPT),
  );
  readonly #banned = new Set<string>();

  constructor({ attestations, members }: VerifierOptions) {
    this.#attestations = attestations;
    this.#members = members;
  }

  /** Nodes that signed a wrong piece. */
  get banned(): ReadonlySet<string> {
    return this.#banned;
  }

  /** Takes in the converter's list of a blob, which the caller checked against the manifest. */
  setList(digest: string, hashes: readonly string[]): void {
    if (!this.#refuted.has(digest)) this.#lists.set(digest, hashes);
  }

  /** The origin's own bytes do not fit the list of a blob: the blob's digest decides, and the list is not used again. */
  refuteList(digest: string): void {
    this.#lists.delete(digest);
    this.#refuted.set(digest, true);
  }

  /** Whether the converter's list of a blob is known. */
  hasList(digest: string): boolean {
    return this.#lists.has(digest);
  }

  /** Whether bytes are those of the converter's list; true where the list of the blob is not known. */
  fitsList({ digest, index }: PieceId, bytes: Buffer): boolean {
    const list = this.#lists.get(digest);
    return list === undefined || list[index] === hashPiece(bytes);
  }

  /** The piece, or why it is refused. Bytes from the origin pass by their length, and by the list where there is one. */
  check({ id, length, bytes, attestation, blobBytes }: Arrival, from: 'origin' | 'peer'): Piece | Refusal {
    if (bytes.length !== length) return 'wrong-length';
    const sha256 = hashPiece(bytes);
    const list = this.#lists.get(id.digest);
    if (list !== undefined) {
      if (list[id.index] !== sha256) return 'not-in-list';
      return { bytes, sha256, attestation };
    }
    if (from === 'origin' || this.#attestations === undefined) {
      this.#note(id, sha256, undefined);
      return { bytes, sha256, attestation: from === 'origin' ? undefined : attestation };
    }
    if (attestation === undefined) return 'not-attested';
    const stated = this.#attestations.check(attestation, {
      digest: id.digest,
      size: blobBytes,
      index: id.index,
      sha256,
    });
    if (stated === undefined) return 'bad-attestation';
    if (this.#banned.has(stated.signer)) return 'banned';
    if (!this.#mayVouch(stated)) return 'signer-not-owner';
    this.#note(id, sha256, stated.signer);
    return { bytes, sha256, attestation };
  }

  /**
   * A piece was fetched from the origin after the blob's digest had been wrong: whoever signed another hash for it is banned.
   * Returns the node, if one is banned by this piece that was not before.
   */
  compare({ digest, index }: PieceId, sha256: string): string | undefined {
    const earlier = this.#signed.get(pieceKey({ digest, index }));
    if (earlier?.signer === undefined || earlier.sha256 === sha256 || this.#banned.has(earlier.signer))
      return undefined;
    if (this.#banned.size < MOST_BANNED) this.#banned.add(earlier.signer);
    return earlier.signer;
  }

  #mayVouch({ as, signer, digest, index }: Attested): boolean {
    // Nobody vouches by a name that is not of the network: a ban could not reach its owner.
    if (as === 'holder') return hasMember(this.#members(), signer);
    return ownersOf(this.#members(), blobKey(digest), index, OWNERS_ACCEPTED).some(({ id }) => id === signer);
  }

  #note(id: PieceId, sha256: string, signer: string | undefined): void {
    this.#signed.set(pieceKey(id), { sha256, signer });
  }
}
