/**
 * Answers a device's question for a blob's size, `bytes=0-0`, which needs one byte of content: from a piece that is here, or from
 * the registry by a range of one byte, so that the question does not cost a whole piece that may never be read.
 */
import { LRUCache } from 'lru-cache';
import type { AgentMetrics } from '../telemetry/agent-metrics.ts';
import { atMost } from './at-most.ts';
import type { PieceFetcher } from './pieces/fetch-piece.ts';
import { type Origin, type OriginBlob, OriginFailure, withStallLimit } from './pieces/origin.ts';
import { PIECE_MEMORY } from './pieces/piece-memory.ts';
import { notePiece } from './pieces/record.ts';
import { SingleFlight } from './pieces/single-flight.ts';
import { DIRECT, type Foreground } from './urgency.ts';

/** Blobs whose first byte is remembered. */
const MOST_KEPT = 10_000;
/** Milliseconds for the byte after the head of the registry's answer. */
const STALL = 5_000;

/** Parts of {@link FirstBytes}. */
export interface FirstBytesOptions {
  readonly origin: Origin;
  readonly fetcher: PieceFetcher;
  readonly foreground: Foreground;
  readonly metrics: AgentMetrics;
}

/** See the head of the file. */
export class FirstBytes {
  readonly #o: FirstBytesOptions;
  /** By repository and digest: a repository vouches for its own blobs alone. */
  readonly #kept = new LRUCache<string, Buffer>(atMost(MOST_KEPT));
  readonly #asking = new SingleFlight<Buffer | undefined>();

  constructor(options: FirstBytesOptions) {
    this.#o = options;
  }

  /**
   * The first byte of a blob of a repository, `host/name`; undefined where its first piece is to be fetched, as any read is.
   * Rejects with the signal's reason alone. Access has been checked.
   */
  async get(repository: string, blob: OriginBlob, signal: AbortSignal): Promise<Buffer | undefined> {
    const { fetcher, foreground } = this.#o;
    const key = `${repository}@${blob.digest}`;
    const kept = this.#kept.get(key);
    if (kept !== undefined) return kept;
    const id = { digest: blob.digest, index: 0 };
    const piece = await fetcher.stored(id, blob.size);
    if (piece !== undefined) {
      const byte = Buffer.from(piece.bytes.subarray(0, 1));
      PIECE_MEMORY.letGo(piece);
      return byte;
    }
    if (fetcher.isExpected(id)) return undefined;
    const asked = (own: AbortSignal) => foreground.during(DIRECT, () => this.#ask(blob, own));
    const byte = await this.#asking.run(key, asked, signal);
    if (byte !== undefined) this.#kept.set(key, byte);
    return byte;
  }

  async #ask(blob: OriginBlob, signal: AbortSignal): Promise<Buffer | undefined> {
    const { origin, metrics } = this.#o;
    const started = performance.now();
    try {
      const response = await origin.request('GET', blob, { range: 'bytes=0-0' }, signal);
      try {
        const isByte = response.status === 206 && response.header('content-range') === `bytes 0-0/${blob.size}`;
        if (!isByte || response.header('content-encoding') !== undefined) return undefined;
        const parts: Uint8Array[] = [];
        for await (const part of withStallLimit(response.body, STALL)) parts.push(part);
        const bytes = Buffer.concat(parts);
        if (bytes.length !== 1) return undefined;
        metrics.fromOrigin.inc({ registry: blob.url.host }, 1);
        notePiece(metrics.activity, 'from-origin', { digest: blob.digest, index: 0 }, { bytes: 1, started });
        return bytes;
      } finally {
        await response.discard().catch(() => undefined);
      }
    } catch (error) {
      if (error instanceof OriginFailure) return undefined;
      throw error;
    }
  }
}
