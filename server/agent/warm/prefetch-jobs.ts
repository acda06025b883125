/**
 * Brings pieces of images to this node before anybody asks for them: few at a time, behind everything that clients want, and
 * each for a caller whom the registry lets read.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Access } from '../access.ts';
import { Slots, type TokenBucket } from '../limits.ts';
import type { Swarms } from '../peers/swarms.ts';
import type { PieceFetcher } from '../pieces/fetch-piece.ts';
import { type OriginBlob, OriginFailure } from '../pieces/origin.ts';
import { PIECE_MEMORY } from '../pieces/piece-memory.ts';
import type { PieceStore } from '../pieces/store.ts';
import { baseUrl, type Upstreams } from '../pieces/upstreams.ts';
import { type Foreground, PREFETCH } from '../urgency.ts';
import {
  type PrefetchProgress,
  type PrefetchRequest,
  type PrefetchState,
  piecesOfRequest,
} from './prefetch-request.ts';

/** Parts and settings of {@link PrefetchJobs}. */
export interface PrefetchOptions {
  readonly upstreams: Upstreams;
  readonly access: Access;
  readonly store: PieceStore;
  readonly fetcher: PieceFetcher;
  readonly swarms: Swarms;
  readonly foreground: Foreground;
  /** Bytes a second of all prefetches. */
  readonly bucket: TokenBucket;
}

/** Prefetches at once, and those that ended and can still be asked about. */
const MOST_RUNNING = 16;
const MOST_KEPT = 100;
/** Pieces under way for all prefetches: what a client waits behind on a slow link when it begins to read. */
const AT_ONCE = 1;
/** Milliseconds for which a prefetch may run. */
const LONGEST = 6 * 3_600_000;
/** Pieces that wait for the disk at which a prefetch waits too, and milliseconds between two looks. */
const MOST_UNWRITTEN = 32;
const LOOK_EVERY = 100;
/** A range of more pieces is fetched along the swarm; owners are asked for few. */
const FEW_PIECES = 4;
/** Failures one after another that end a prefetch. */
const MOST_FAILURES = 8;

/** One prefetch. */
class Job {
  readonly stop = new AbortController();
  readonly request: PrefetchRequest;
  readonly total = { pieces: 0, bytes: 0 };
  state: PrefetchState = 'running';
  done = 0;
  failed = 0;
  bytes = 0;
  problem: PrefetchProgress['problem'];

  constructor(request: PrefetchRequest) {
    this.request = request;
    for (const { bytes } of piecesOfRequest(request)) {
      this.total.pieces += 1;
      this.total.bytes += bytes;
    }
  }

  get progress(): PrefetchProgress {
    const { state, total, done, failed, bytes, problem } = this;
    return {
      state,
      pieces: { total: total.pieces, done, failed },
      bytes: { total: total.bytes, done: bytes },
      ...(problem === undefined ? {} : { problem }),
    };
  }

  fail(error: unknown): void {
    this.problem ??= {
      status: error instanceof OriginFailure ? error.status : 0,
      message: error instanceof OriginFailure ? error.message : 'the agent failed',
    };
  }
}

/** See the head of the file. */
export class PrefetchJobs {
  readonly #o: PrefetchOptions;
  /** By id, oldest first. */
  readonly #jobs = new Map<string, Job>();
  /** Blobs of running prefetches, with the credential to ask for them. */
  readonly #pulling = new Map<string, OriginBlob>();
  readonly #slots = new Slots(AT_ONCE);

  constructor(options: PrefetchOptions) {
    this.#o = options;
  }

  /** Prefetches that run. */
  get running(): number {
    return [...this.#jobs.values()].filter(({ state }) => state === 'running').length;
  }

  /** The blob, if a running prefetch is about it: then this node passes its pieces on. */
  pulling(digest: string): OriginBlob | undefined {
    return this.#pulling.get(digest);
  }

  /**
   * Starts a prefetch, or joins the one of this id; its progress. Undefined when too many run. `authorization` is the caller's
   * header, and is forgotten at the end.
   */
  start(id: string, request: PrefetchRequest, authorization: string | undefined): PrefetchProgress | undefined {
    const known = this.#jobs.get(id);
    if (known !== undefined) return known.progress;
    if (this.running >= MOST_RUNNING) return undefined;
    const job = new Job(request);
    this.#jobs.set(id, job);
    for (const [key, { state }] of this.#jobs)
      if (this.#jobs.size > MOST_KEPT && state !== 'running') this.#jobs.delete(key);
    void this.#run(job, authorization);
    return job.progress;
  }

  /** The progress of a prefetch; undefined for one that is not known, or no longer. */
  progress(id: string): PrefetchProgress | undefined {
    return this.#jobs.get(id)?.progress;
  }

  /** Ends a prefetch; the pieces that it brought remain. */
  cancel(id: string): PrefetchProgress | undefined {
    const job = this.#jobs.get(id);
    job?.stop.abort(new Error('cancelled'));
    if (job?.state === 'running') job.state = 'cancelled';
    return job?.progress;
  }

  /** Ends all prefetches. */
  close(): void {
    for (const id of this.#jobs.keys()) this.cancel(id);
  }

  async #run(job: Job, authorization: string | undefined): Promise<void> {
    const signal = AbortSignal.any([job.stop.signal, AbortSignal.timeout(LONGEST)]);
    try {
      const blobs = await this.#allowed(job.request, authorization, signal);
      const pieces = piecesOfRequest(job.request);
      let failures = 0;
      for (const { blob, index, bytes } of pieces) {
        if (job.state !== 'running' || failures >= MOST_FAILURES) break;
        const few = isFew(blob.pieces);
        try {
          await this.#slots.run(() => this.#piece(blobs.get(blob.digest)!, index, { bytes, few, signal }), { signal });
          job.done += 1;
          job.bytes += bytes;
          failures = 0;
        } catch (error) {
          signal.throwIfAborted();
          job.failed += 1;
          job.fail(error);
          // The credential holds no longer, or the blob is gone: the rest would fail alike.
          failures += error instanceof OriginFailure && [401, 403, 404].includes(error.status) ? MOST_FAILURES : 1;
        }
      }
      if (job.state === 'running') job.state = job.done === job.total.pieces ? 'done' : 'failed';
    } catch (error) {
      if (job.state === 'running') job.state = 'failed';
      if (signal.aborted) job.problem ??= { status: 0, message: `ended after ${LONGEST / 3_600_000} h` };
      else job.fail(error);
    } finally {
      job.stop.abort();
      for (const { digest } of job.request.blobs) this.#pulling.delete(digest);
    }
  }

  /** The blobs by digest, each one that the registry lets the caller read. Throws {@link OriginFailure} otherwise. */
  async #allowed(
    { registry, repository, blobs }: PrefetchRequest,
    authorization: string | undefined,
    signal: AbortSignal,
  ): Promise<Map<string, OriginBlob>> {
    const upstream = this.#o.upstreams.byHost(registry);
    if (upstream === undefined) throw new OriginFailure(403, `${registry} is not in the agent’s configuration`);
    const allowed = new Map<string, OriginBlob>();
    for (const { digest, size } of blobs) {
      const url = new URL(`/v2/${repository}/blobs/${digest}`, baseUrl(upstream));
      const target = { url, authorization };
      const answer = await this.#o.access.check({ target, host: upstream.host, repository, signal });
      if (!answer.allowed)
        throw new OriginFailure(answer.status, `the registry answers ${answer.status} for ${digest}`);
      const found = answer.size ?? size;
      if (found !== size) throw new OriginFailure(502, `${digest} has ${found} bytes where ${size} are expected`);
      allowed.set(digest, { ...target, digest, size });
    }
    return allowed;
  }

  async #piece(
    blob: OriginBlob,
    index: number,
    { bytes, few, signal }: { readonly bytes: number; readonly few: boolean; readonly signal: AbortSignal },
  ): Promise<void> {
    const { store, fetcher, swarms, foreground, bucket } = this.#o;
    if (store.has({ digest: blob.digest, index })) return;
    // The store keeps in memory what the disk has no time for, and memory is small.
    while (store.statistics.queued > MOST_UNWRITTEN) await sleep(LOOK_EVERY, undefined, { signal });
    await bucket.take(bytes, signal, PREFETCH);
    await foreground.pass(PREFETCH, signal);
    this.#pulling.set(blob.digest, blob);
    if (!few) swarms.join(blob.digest);
    try {
      PIECE_MEMORY.letGo(await fetcher.get(blob, index, { urgency: PREFETCH, direct: few, signal }));
    } finally {
      // The swarm is kept for a moment: the next piece comes back to it.
      if (!few) swarms.leave(blob.digest);
    }
  }
}

function isFew(ranges: readonly (readonly [number, number])[]): boolean {
  return ranges.reduce((sum, [first, end]) => sum + end - first, 0) <= FEW_PIECES;
}
