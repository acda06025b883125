/**
 * Brings a piece to this node: from its store, along the tree of the blob's swarm, from an owner, from a holder, from the
 * origin. One flight a piece and role; an owner never waits for the tree, so no two nodes wait for each other.
 */
import { LRUCache } from 'lru-cache';
import { pieceBytes } from '../../../formats/piece-list/piece-list.ts';
import type { AgentMetrics } from '../../telemetry/agent-metrics.ts';
import { atMost } from '../at-most.ts';
import type { TokenBucket } from '../limits.ts';
import type { ExchangeClient } from '../peers/exchange-client.ts';
import type { ContentStore } from '../peers/holder.ts';
import { PeerPace } from '../peers/peer-pace.ts';
import type { Health, View } from '../peers/peers.ts';
import type { Swarms } from '../peers/swarms.ts';
import {
  type Attempt,
  blobKey,
  createMembers,
  createSwarm,
  type Refusal as NodeRefusal,
  nearestHolders,
  nextAttempt,
  ownerSources,
  owners,
  type Peer,
  type Source,
  sources,
} from '../peers/topology.ts';
import { type Foreground, STREAM, type Urgency } from '../urgency.ts';
import type { Attestations } from './attestation.ts';
import type { FetchOptions, PieceWish } from './fetch-options.ts';
import { attestedNow } from './kept-attestation.ts';
import { type Origin, type OriginBlob, OriginFailure } from './origin.ts';
import { type Piece, type PieceId, pieceKey } from './piece.ts';
import type { PieceEngine } from './piece-engine.ts';
import { hashPiece } from './piece-file.ts';
import { PIECE_MEMORY } from './piece-memory.ts';
import { learnBlob, notePiece, recordDownload, recordEngine } from './record.ts';
import { asAbsent, asFailure, isFinal, isPiece, SHARED_PIECES, shared } from './shared-flight.ts';
import { SingleFlight } from './single-flight.ts';
import type { PieceStore } from './store.ts';
import type { PieceVerifier, Refusal } from './verify.ts';

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
  /** Bytes a second from other agents and to them. */
  readonly bucket: TokenBucket;
  readonly foreground: Foreground;
  /** Asked before the registry. */
  readonly engine: PieceEngine | undefined;
}

/** Blobs whose progress is watched, and blobs whose origin alone is trusted after a wrong digest, until a pull succeeds. */
const [MOST_WATCHED, MOST_QUARANTINED] = [1000, 1000];

/** Reasons for which the node that sent a piece is distrusted. */
const WRONG_BYTES: readonly Refusal[] = ['wrong-length', 'not-in-list', 'bad-attestation'];

/** See the head of the file. */
export class PieceFetcher {
  readonly #o: FetcherOptions;
  readonly #flights = new SingleFlight<Piece>(SHARED_PIECES);
  readonly #originFlights = new SingleFlight<Piece>(SHARED_PIECES);
  readonly #quarantine = new Set<string>();
  readonly #pace = new PeerPace();
  /** Answers and bytes so far, by blob: a client that waits sees whether anything moves. */
  readonly #progress = new LRUCache<string, number>(atMost(MOST_WATCHED));

  constructor(options: FetcherOptions) {
    this.#o = options;
  }

  /** Pieces under way. */
  get inFlight(): number {
    return this.#flights.size;
  }

  /** A number that grows while anything comes for a blob. */
  progress(digest: string): number {
    return this.#progress.get(digest) ?? 0;
  }

  /** Something came for a blob. */
  moved(digest: string): void {
    this.#progress.set(digest, this.progress(digest) + 1);
  }

  /** A checked piece for this node itself, to let go of ({@link PIECE_MEMORY}). Throws {@link OriginFailure}, or the signal's reason. */
  async get(blob: OriginBlob, index: number, options: FetchOptions = {}): Promise<Piece> {
    const id = { digest: blob.digest, index };
    const own = await this.stored(id, blob.size);
    if (own !== undefined) return own;
    const { signal: caller, urgency = STREAM } = options;
    return this.#o.foreground.during(urgency, () =>
      shared(
        this.#flights,
        pieceKey(id),
        (signal, urgent) => this.#download(blob, index, { ...options, signal, urgency: urgent }),
        { signal: caller, urgency, url: blob.url },
      ),
    );
  }

  /** A piece as its owner, to let go of: from the store, a better owner, a holder, the origin. Undefined when this node is no owner of it. */
  async getAsOwner(
    blob: OriginBlob,
    index: number,
    { via = [], signal: stop, urgency: wanted = STREAM }: Pick<FetchOptions, 'via' | 'signal' | 'urgency'>,
  ): Promise<Piece | undefined> {
    const id = { digest: blob.digest, index };
    const own = await this.stored(id, blob.size);
    if (own !== undefined && this.isCredible(id, own)) return own;
    if (own !== undefined) PIECE_MEMORY.letGo(own);
    const { self, members } = this.#o.view();
    const suspected = this.#suspected;
    const better = ownerSources({ self, owners: owners(members, blobKey(blob.digest), index), suspected });
    if (better === undefined) return undefined;
    // Goes on though the one who asked may have left: the next one asks for the same piece.
    const work = async (signal: AbortSignal, urgency: Urgency) => {
      if (this.#quarantine.has(blob.digest)) return this.#fromOrigin(blob, index, { signal, urgency });
      for (const peer of better) {
        if (via.includes(peer.id)) continue;
        try {
          const got = await this.#ask({ peer, role: 'owner', insists: false }, { blob, index, via, signal, urgency });
          if (isPiece(got)) return got;
        } catch (error) {
          // The caller of this node may have a better way to the origin than the other owner has.
          if (isFinal(asFailure(error))) throw error;
        }
      }
      const options = { via, signal, urgency };
      return (await this.#fromHolders(blob, index, options)) ?? this.#fromOrigin(blob, index, options);
    };
    return this.#o.foreground.during(wanted, () =>
      shared(this.#flights, `${pieceKey(id)} of ${blob.size}`, work, { signal: stop, urgency: wanted, url: blob.url }),
    );
  }

  /** A piece that is on this node already, to let go of: in its cache, or in the runtime's content store. */
  async stored(id: PieceId, blobBytes?: number): Promise<Piece | undefined> {
    const kept = await this.#o.store.get(id);
    // One that came for a made-up size of the blob is of no use.
    if (kept !== undefined) {
      if (blobBytes === undefined || kept.bytes.length === pieceBytes(blobBytes, id.index)) {
        return attestedNow(kept, { ...id, size: blobBytes }, { ...this.#o, self: this.#o.view().self.id });
      }
      PIECE_MEMORY.letGo(kept);
    }
    const held = await this.#o.content?.piece(id.digest, id.index);
    if (held === undefined || (blobBytes !== undefined && held.blobBytes !== blobBytes)) return undefined;
    const of = { digest: id.digest, size: held.blobBytes, index: id.index };
    return PIECE_MEMORY.pass(this.#vouch(held.bytes, of, 'holder'));
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
    this.#o.metrics.wrongDigests.inc();
    this.#quarantine.add(digest);
    if (this.#quarantine.size > MOST_QUARANTINED) this.#quarantine.delete(this.#quarantine.values().next().value!);
    await this.#o.store.drop(digest);
  }

  /** A blob's digest was right. */
  release(digest: string): void {
    this.#quarantine.delete(digest);
  }

  async #download(blob: OriginBlob, index: number, options: FetchOptions): Promise<Piece> {
    const { via = [], signal, direct = false, urgency = STREAM } = options;
    if (this.#quarantine.has(blob.digest)) return this.#fromOrigin(blob, index, { signal, direct, urgency });
    const { self, members } = this.#o.view();
    const key = blobKey(blob.digest);
    const joined = this.#o.swarms.joined(blob.digest);
    await joined?.ready;
    const swarm = direct || joined === undefined ? createSwarm<Peer>([]) : joined.swarm;
    const ranked = owners(members, key, index);
    const list = sources({ self, owners: ranked, swarm, suspected: this.#suspected }, key, index).filter(
      ({ peer }) => !via.includes(peer.id),
    );
    const refusals: NodeRefusal[] = [];
    for (let attempt = nextAttempt(list, refusals); attempt !== undefined; attempt = nextAttempt(list, refusals)) {
      try {
        const got = await this.#ask(attempt, { blob, index, via, signal, urgency });
        if (isPiece(got)) return got;
        refusals.push(got);
      } catch (error) {
        const failure = asFailure(error);
        // A node of the tree asked with its own credential: its answer says nothing of ours.
        if (attempt.role === 'owner' && isFinal(failure)) throw failure;
        refusals.push('absent');
      }
    }
    const wish = { via, signal, urgency, direct };
    return (await this.#fromHolders(blob, index, wish)) ?? this.#fromOrigin(blob, index, wish);
  }

  readonly #suspected = ({ id }: Peer): boolean =>
    this.#o.health.isSuspect(id) || this.#o.verifier.banned.has(id) || this.#pace.isDistrusted(id);

  /** Asks one node: the piece, or why it does not give it. Throws {@link OriginFailure} where the origin failed. */
  async #ask(
    { peer, role, insists }: Attempt,
    { blob, index, via = [], signal, urgency = STREAM, holds = false }: PieceWish,
  ): Promise<Piece | NodeRefusal> {
    const { client, health, view, verifier, metrics, bucket } = this.#o;
    const length = pieceBytes(blob.size, index);
    // Before it is asked for: what has come is on the network already.
    await bucket.take(length, signal, urgency);
    const { self, version } = view();
    const started = performance.now();
    learnBlob(metrics.activity, blob);
    const pace = this.#pace.of(peer.id, holds);
    const question = { blob, index, role, insists, via: [...via, self.id], view: version, urgency, pace, signal };
    const answer = await client.piece(peer, question).catch((error: unknown) => {
      bucket.giveBack(length);
      throw error;
    });
    this.moved(blob.digest);
    if (answer.kind !== 'piece') bucket.giveBack(length);
    if (answer.kind === 'dead') {
      health.suspect(peer.id);
      metrics.peerFailures.inc({ reason: 'dead' });
      return 'silent';
    }
    if (answer.kind === 'slow') {
      this.#pace.distrust(peer.id);
      metrics.peerFailures.inc({ reason: 'slow' });
      return 'absent';
    }
    health.clear(peer.id);
    if (answer.kind === 'next') {
      metrics.peerFailures.inc({ reason: String(answer.status) });
      return answer.busyFor === undefined ? 'absent' : { busyFor: answer.busyFor };
    }
    if (answer.kind === 'origin') {
      throw new OriginFailure(answer.status, 'another node could not get it from the origin', {
        challenge: answer.challenge,
      });
    }
    const id = { digest: blob.digest, index };
    const { bytes } = answer;
    const piece = verifier.check({ ...answer, id, length, blobBytes: blob.size }, 'peer');
    if (typeof piece === 'string') {
      metrics.refusedPieces.inc({ reason: piece });
      // Views differ, and a relay may pass on what it believes; wrong bytes are the node's own.
      if (WRONG_BYTES.includes(piece)) this.#pace.distrust(peer.id);
      return 'absent';
    }
    metrics.fromPeers.inc({ registry: metrics.activity.registryOf(blob.digest) }, bytes.length);
    notePiece(metrics.activity, 'from-peer', id, { bytes: bytes.length, started });
    // One of the blob's pieces turned out to be wrong while this one was on its way.
    if (this.#quarantine.has(blob.digest)) return 'absent';
    this.#o.store.put(id, piece, { owned: this.#owns(id) });
    return piece;
  }

  async #fromHolders(blob: OriginBlob, index: number, options: FetchOptions): Promise<Piece | undefined> {
    if (this.#quarantine.has(blob.digest)) return undefined;
    const { via = [], signal } = options;
    const { self } = this.#o.view();
    const known = await this.#o.swarms.holders(blob.digest, signal);
    const candidates = known.filter((peer) => peer.id !== self.id && !via.includes(peer.id) && !this.#suspected(peer));
    const nearest = nearestHolders(createMembers(candidates), self.zone, { blob: blobKey(blob.digest), piece: index });
    const [list, refusals]: [Source[], NodeRefusal[]] = [nearest.map((peer) => ({ peer, role: 'tree' })), []];
    // A holder that is busy has the piece all the same: it is asked again, and queues the request.
    for (let attempt = nextAttempt(list, refusals); attempt !== undefined; attempt = nextAttempt(list, refusals)) {
      const got = await this.#ask(attempt, { ...options, blob, index, holds: true }).catch(asAbsent);
      if (isPiece(got)) return got;
      refusals.push(got);
    }
    return undefined;
  }

  /** One request at a time for a piece, whatever the role. */
  #fromOrigin(
    blob: OriginBlob,
    index: number,
    { signal, direct = true, urgency: wanted = STREAM }: Pick<FetchOptions, 'signal' | 'direct' | 'urgency'>,
  ): Promise<Piece> {
    const id = { digest: blob.digest, index };
    learnBlob(this.#o.metrics.activity, blob);
    return shared(
      this.#originFlights,
      `${pieceKey(id)} of ${blob.size}`,
      async (own, urgency, course) => {
        const given = await this.#fromEngine(blob, id, own);
        if (given !== undefined) return this.#takeFromOrigin(blob, id, given, direct);
        const bytes = await recordDownload(this.#o.metrics.activity, { ...id, url: blob.url }, () =>
          this.#o.origin.piece(blob, index, {
            signal: own,
            urgency,
            course,
            onBytes: () => this.moved(blob.digest),
            onOther: (other, got) => this.#takeOther(blob, other, got),
            stored: async () => (await this.stored(id, blob.size))?.bytes,
          }),
        );
        return this.#takeFromOrigin(blob, id, bytes, direct);
      },
      { signal, urgency: wanted, url: blob.url },
    );
  }

  /** Asks the engine for a piece; undefined where the registry is to be asked. */
  async #fromEngine(blob: OriginBlob, id: PieceId, signal: AbortSignal): Promise<Buffer | undefined> {
    const { engine, verifier, metrics, bucket } = this.#o;
    if (engine === undefined || this.#quarantine.has(blob.digest)) return undefined;
    const started = performance.now();
    const answer = await engine.piece(blob, id.index, signal);
    this.moved(blob.digest);
    if (answer.kind === 'none') {
      metrics.engineFailures.inc({ reason: answer.reason });
      return undefined;
    }
    if (!verifier.fitsList(id, answer.bytes)) {
      metrics.refusedPieces.inc({ reason: 'not-in-list' });
      return undefined;
    }
    recordEngine(metrics, { ...id, url: blob.url }, { bytes: answer.bytes.length, started });
    await bucket.take(answer.bytes.length, signal);
    return answer.bytes;
  }

  /** A piece that came with another one. */
  #takeOther(blob: OriginBlob, id: PieceId, bytes: Buffer): void {
    this.moved(blob.digest);
    notePiece(this.#o.metrics.activity, 'from-origin', id, { bytes: bytes.length, started: performance.now() });
    try {
      this.#takeFromOrigin(blob, id, bytes, true);
    } catch {
      // Refused: whoever wants it asks for it, and hears of it then.
    }
  }

  #takeFromOrigin(blob: OriginBlob, id: PieceId, bytes: Buffer, direct: boolean): Piece {
    const { verifier, metrics } = this.#o;
    const length = pieceBytes(blob.size, id.index);
    // Compared before the check notes the new hash in place of the earlier one.
    const liar = this.#quarantine.has(id.digest) ? verifier.compare(id, hashPiece(bytes)) : undefined;
    if (liar !== undefined) metrics.banned.inc();
    const arrival = { id, length, bytes, attestation: undefined, blobBytes: blob.size };
    let checked = verifier.check(arrival, 'origin');
    if (checked === 'not-in-list' && !direct) {
      // The list is wrong, or the origin is: the digest of the whole blob decides before the client has its last byte.
      metrics.refusedPieces.inc({ reason: checked });
      verifier.refuteList(id.digest);
      checked = verifier.check(arrival, 'origin');
    }
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
