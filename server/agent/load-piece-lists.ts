/** Gets the converter's list of piece hashes of a layer, where the layer's manifest names one: through the same peers as a blob. */
import { LRUCache } from 'lru-cache';
import { MAX_PIECE_LIST_BYTES, parsePieceList, pieceListBytes } from '../../formats/piece-list/piece-list.ts';
import { atMost } from './at-most.ts';
import { type BlobStreams, WrongDigest } from './blob-stream.ts';
import type { Manifests } from './manifests.ts';
import { isPieceDigest } from './peers/wire.ts';
import type { OriginBlob } from './pieces/origin.ts';
import { SingleFlight } from './pieces/single-flight.ts';
import { repositoryIn } from './pieces/upstreams.ts';
import type { PieceVerifier } from './pieces/verify.ts';

/** Milliseconds after which a blob is read without its list: attestations and its digest still hold. */
const PATIENCE = 3_000;
/** Milliseconds for which a list that could not be had is not asked for again, and lists that are remembered so. */
const ABSENT_FOR = 30_000;
const MOST_ABSENT = 10_000;

/** Parts and settings of {@link PieceLists}. */
export interface PieceListsOptions {
  readonly streams: BlobStreams;
  readonly manifests: Manifests;
  readonly verifier: PieceVerifier;
}

/** See the head of the file. */
export class PieceLists {
  readonly #o: PieceListsOptions;
  readonly #loading = new SingleFlight<void>();
  readonly #absent = new LRUCache<string, true>({ ...atMost(MOST_ABSENT), ttl: ABSENT_FOR });

  constructor(options: PieceListsOptions) {
    this.#o = options;
  }

  /** Loads the list of a blob if there is one and it is not loaded. Never rejects but with the signal's reason. */
  async load(blob: OriginBlob, repository: string, signal: AbortSignal): Promise<void> {
    const digest = this.#o.manifests.blob(repository, blob.digest)?.pieceList;
    if (digest === undefined || !isPieceDigest(digest) || this.#o.verifier.hasList(blob.digest)) return;
    if (this.#absent.has(digest) || repositoryIn(blob.url) === undefined) return;
    const limits = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]);
    await this.#loading
      .run(blob.digest, (own) => this.#read(blob, digest, own), limits)
      .catch(() => signal.throwIfAborted());
    if (!this.#o.verifier.hasList(blob.digest)) this.#absent.set(digest, true);
  }

  async #read(blob: OriginBlob, digest: string, signal: AbortSignal): Promise<void> {
    const url = new URL(blob.url);
    // The list is in the repository of its layer.
    url.pathname = url.pathname.replace(/[^/]*$/, digest);
    const list = { url, authorization: blob.authorization, digest, size: pieceListBytes(blob.size) };
    if (list.size > MAX_PIECE_LIST_BYTES) return;
    const bytes = await this.#bytes(list, signal).catch((error: unknown) => {
      // After a wrong digest the registry alone is asked: without the list, wrong pieces would show only at the blob's end.
      if (!(error instanceof WrongDigest)) throw error;
      return this.#bytes(list, signal);
    });
    const { blobBytes, hashes } = parsePieceList(bytes);
    // A list for another length of blob is of no use; the manifest's size decides.
    if (blobBytes === blob.size) this.#o.verifier.setList(blob.digest, hashes);
  }

  async #bytes(blob: OriginBlob, signal: AbortSignal): Promise<Buffer> {
    const chunks: Buffer[] = [];
    const range = { start: 0, end: blob.size };
    // The layer waits for it: before all layers.
    for await (const chunk of this.#o.streams.read({ blob, range, position: -1, signal }))
      chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks);
  }
}
