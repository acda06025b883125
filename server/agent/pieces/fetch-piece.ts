/**
 * Brings a piece to this node: from its store, along the tree of the blob's swarm, from an owner, from a holder, from the
 * origin. One flight a piece and role; an owner never waits for the tree, so no two nodes wait for each other.
 */
import { pieceBytes } from '../../../formats/piece-list/piece-list.ts';
import type { AgentMetrics } from '../../telemetry/agent-metrics.ts';
import type { ExchangeClient, PieceAnswer } from '../peers/exchange-client.ts';
import type { ContentStore } from '../peers/holder.ts';
import type { Health, View } from '../peers/peers.ts';
import type { Swarms } from '../peers/swarms.ts';
import {
  blobKey,
  createMembers,
  createSwarm,
  nearestHolders,
  ownerSources,
  owners,
  type Peer,
  sources,
} from '../peers/topology.ts';
import type { Role } from '../peers/wire.ts';
import type { Attestations } from './attestation.ts';
import { type Origin, type OriginBlob, OriginFailure } from './origin.ts';
import type { Piece, PieceId } from './piece.ts';
import { pieceKey } from './piece.ts';
import { hashPiece } from './piece-file.ts';
import { SingleFlight } from './single-flight.ts';
import type { PieceStore } from './store.ts';
import type { PieceVerifier } from './verify.ts';

/** Parts and settings of {@link PieceFetcher}. */
export interface FetcherOptions {
  readonly store: PieceStore;
  readonly origin: Origin;
  readonly client: ExchangeClient;
  readonly verifier: PieceVerifier;
  readonly attestations: Attestations | undefined;
  readonly swarms: Swarms;
  readonly content: ContentStore | undefined;
  readonly health: Health;
  readonly view: () => View;
  readonly metrics: AgentMetrics;
}

/** Options of a request for a piece. */
export interface FetchOptions {
  /** Nodes that the request came by. */
  readonly via?: readonly string[];
  readonly signal?: AbortSignal | undefined;
  /** Ask owners directly: a read of a few bytes does not wait for the tree. */
  readonly direct?: boolean;
}

/** Blobs whose origin alone is trusted after a wrong digest, until a pull succeeds. */
const MOST_QUARANTINED = 1000;

/** See the head of the file. */
export class PieceFetcher {
  readonly #o: FetcherOptions;
  readonly #flights = new SingleFlight<Piece>();
  readonly #originFlights = new SingleFlight<Piece>();
  readonly #quarantine = new Set<string>();

  constructor(options: FetcherOptions) {
    this.#o = options;
  }

  /** Pieces under way. */
  get inFlight(): number {
    return this.#flights.size;
  }

  /** A checked piece for this node itself. Throws {@link OriginFailure}, or the signal's reason. */
  async get(blob: OriginBlob, index: number, options: FetchOptions = {}): Promise<Piece> {
    const id = { digest: blob.digest, index };
    const own = await this.stored(id, blob.size);
    if (own !== undefined) return own;
    return this.#flights.run(
      pieceKey(id),
      (signal) => this.#download(blob, index, { ...options, signal }),
      options.signal,
    );
  }

  /** A piece as its owner: from the store, a better owner, a holder, the origin. Undefined when this node is no owner of it. */
  async getAsOwner(blob: OriginBlob, index: number, via: readonly string[]): Promise<Piece | undefined> {
    const id = { digest: blob.digest, index };
    const own = await this.stored(id, blob.size);
    if (own !== undefined) return own;
    const { self, members } = this.#o.view();
    const suspected = this.#suspected;
    const better = ownerSources({ self, owners: owners(members, blobKey(blob.digest), index), suspected });
    if (better === undefined) return undefined;
    // Goes on though the one who asked may have left: the next one asks for the same piece.
    return this.#flights.run(`${pieceKey(id)} as owner`, async (signal) => {
      for (const peer of better) {
        if (via.includes(peer.id)) continue;
        const piece = await this.#ask(peer, 'owner', { blob, index, via, signal });
        if (piece !== undefined) return piece;
      }
      return (await this.#fromHolders(blob, index, { via, signal })) ?? this.#fromOrigin(blob, index, signal);
    });
  }

  /** A piece that is on this node already: in its cache, or in the runtime's content store. */
  async stored(id: PieceId, blobBytes?: number): Promise<Piece | undefined> {
    const kept = await this.#o.store.get(id);
    if (kept !== undefined) return kept;
    const held = await this.#o.content?.piece(id.digest, id.index);
    if (held === undefined || (blobBytes !== undefined && held.blobBytes !== blobBytes)) return undefined;
    return this.#vouch(held.bytes, { digest: id.digest, size: held.blobBytes, index: id.index }, 'holder');
  }

  /** Whether others will believe a piece that this node gives them. */
  isCredible({ digest }: PieceId, piece: Piece): boolean {
    return piece.attestation !== undefined || this.#o.attestations === undefined || this.#o.verifier.hasList(digest);
  }

  /** Whether a piece is under way for this node itself. */
  isExpected(id: PieceId): boolean {
    return this.#flights.has(pieceKey(id));
  }

  /** A blob's digest was wrong: its pieces are removed, and until {@link release} the origin alone is asked for it. */
  async quarantine(digest: string): Promise<void> {
    this.#quarantine.add(digest);
    if (this.#quarantine.size > MOST_QUARANTINED) this.#quarantine.delete(this.#quarantine.values().next().value!);
    await this.#o.store.drop(digest);
  }

  /** A blob's digest was right. */
  release(digest: string): void {
    this.#quarantine.delete(digest);
  }

  async #download(blob: OriginBlob, index: number, options: FetchOptions): Promise<Piece> {
    const { via = [], signal, direct = false } = options;
    if (this.#quarantine.has(blob.digest)) return this.#fromOrigin(blob, index, signal);
    const { self, members } = this.#o.view();
    const key = blobKey(blob.digest);
    const joined = this.#o.swarms.joined(blob.digest);
    await joined?.ready;
    const swarm = direct || joined === undefined ? createSwarm<Peer>([]) : joined.swarm;
    const ranked = owners(members, key, index);
    let refused: OriginFailure | undefined;
    for (const { peer, role } of sources({ self, owners: ranked, swarm, suspected: this.#suspected }, key, index)) {
      if (via.includes(peer.id)) continue;
      try {
        const piece = await this.#ask(peer, role, { blob, index, via, signal });
        if (piece !== undefined) return piece;
      } catch (error) {
        // A node of the tree asked with its own credential: its answer says nothing of ours.
        if (role === 'owner' || !(error instanceof OriginFailure)) refused = asFailure(error);
        if (role === 'owner' && isFinal(refused)) throw refused;
      }
    }
    const held = ranked[0]?.id === self.id ? await this.#fromHolders(blob, index, { via, signal }) : undefined;
    return held ?? this.#fromOrigin(blob, index, signal);
  }

  readonly #suspected = ({ id }: Peer): boolean => this.#o.health.isSuspect(id) || this.#o.verifier.banned.has(id);

  /** Asks one node; undefined when the next one is to be asked. Throws {@link OriginFailure} where the origin failed. */
  async #ask(
    peer: Peer,
    role: Role,
    { blob, index, via = [], signal }: { readonly blob: OriginBlob; readonly index: number } & FetchOptions,
  ): Promise<Piece | undefined> {
    const { client, health, view, verifier, metrics } = this.#o;
    const { self, version } = view();
    const answer: PieceAnswer = await client.piece(peer, {
      blob,
      index,
      role,
      via: [...via, self.id],
      view: version,
      signal,
    });
    if (answer.kind === 'dead') {
      health.suspect(peer.id);
      metrics.peerFailures.inc({ reason: 'dead' });
      return undefined;
    }
    health.clear(peer.id);
    if (answer.kind === 'next') {
      metrics.peerFailures.inc({ reason: String(answer.status) });
      return undefined;
    }
    if (answer.kind === 'origin') {
      throw new OriginFailure(answer.status, 'another node could not get it from the origin', {
        challenge: answer.challenge,
      });
    }
    const id = { digest: blob.digest, index };
    const { bytes, attestation } = answer;
    const length = pieceBytes(blob.size, index);
    const piece = verifier.check({ id, length, bytes, attestation, blobBytes: blob.size }, 'peer');
    if (typeof piece === 'string') {
      metrics.refusedPieces.inc({ reason: piece });
      health.suspect(peer.id);
      return undefined;
    }
    metrics.fromPeers.inc(bytes.length);
    this.#o.store.put(id, piece, { owned: this.#owns(id) });
    return piece;
  }

  async #fromHolders(blob: OriginBlob, index: number, { via = [], signal }: FetchOptions): Promise<Piece | undefined> {
    if (this.#quarantine.has(blob.digest)) return undefined;
    const { self } = this.#o.view();
    const known = await this.#o.swarms.holders(blob.digest, signal);
    const candidates = known.filter((peer) => peer.id !== self.id && !via.includes(peer.id) && !this.#suspected(peer));
    for (const peer of nearestHolders(createMembers(candidates), self.zone, {
      blob: blobKey(blob.digest),
      piece: index,
    })) {
      const piece = await this.#ask(peer, 'tree', { blob, index, via, signal });
      if (piece !== undefined) return piece;
    }
    return undefined;
  }

  /** One request at a time for a piece, whatever the role. */
  #fromOrigin(blob: OriginBlob, index: number, signal: AbortSignal | undefined): Promise<Piece> {
    const id = { digest: blob.digest, index };
    return this.#originFlights.run(
      pieceKey(id),
      async () => {
        const bytes = await this.#o.origin.piece(blob, index, {
          onOther: (other, got) => void this.#takeFromOrigin(blob, other, got),
          stored: async () => (await this.#o.store.get(id))?.bytes,
        });
        return this.#takeFromOrigin(blob, id, bytes);
      },
      signal,
    );
  }

  #takeFromOrigin(blob: OriginBlob, id: PieceId, bytes: Buffer): Piece {
    const { verifier, metrics } = this.#o;
    const length = pieceBytes(blob.size, id.index);
    // Compared before the check notes the new hash in place of the earlier one.
    const liar = this.#quarantine.has(id.digest) ? verifier.compare(id, hashPiece(bytes)) : undefined;
    if (liar !== undefined) metrics.banned.inc();
    const checked = verifier.check({ id, length, bytes, attestation: undefined, blobBytes: blob.size }, 'origin');
    if (typeof checked === 'string') {
      metrics.refusedPieces.inc({ reason: checked });
      throw new OriginFailure(502, `the origin's piece ${id.index} is refused: ${checked}`);
    }
    const owned = this.#owns(id);
    // Others believe an owner alone: what a node fetched for itself because no owner answered stays with it.
    const of = { digest: id.digest, size: blob.size, index: id.index };
    const piece = owned ? this.#vouch(bytes, of, 'owner', checked.sha256) : checked;
    this.#o.store.put(id, piece, { owned });
    return piece;
  }

  #vouch(
    bytes: Buffer,
    of: { readonly digest: string; readonly size: number; readonly index: number },
    as: 'owner' | 'holder',
    sha256 = hashPiece(bytes),
  ): Piece {
    return { bytes, sha256, attestation: this.#o.attestations?.sign({ ...of, sha256 }, as, this.#o.view().self.id) };
  }

  #owns({ digest, index }: PieceId): boolean {
    const { self, members } = this.#o.view();
    return owners(members, blobKey(digest), index).some(({ id }) => id === self.id);
  }
}

function asFailure(error: unknown): OriginFailure {
  if (error instanceof OriginFailure) return error;
  throw error;
}

/** Whether asking elsewhere cannot help: the origin has refused or does not have it. */
function isFinal(failure: OriginFailure | undefined): boolean {
  return failure !== undefined && [401, 403, 404, 410].includes(failure.status);
}
