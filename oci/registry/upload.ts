/**
 * Uploads of blobs (distribution-spec, "Pushing blobs"): a session by POST, then one PUT that streams the whole blob,
 * or PATCHes of a chunk each and a PUT with the last one. A broken upload goes on from the offset that the registry
 * reports, otherwise from the start in a new session. Unused sessions are cancelled.
 */

import type { BlobSource } from '../../base/byte-source.ts';
import { AccelError } from '../../base/error.ts';
import { isTransientError } from '../../http/failure.ts';
import { Backoff, isTransientStatus } from '../../http/retry.ts';
import type { HttpResponse } from '../../http/transport.ts';
import type { Descriptor } from '../descriptor.ts';
import type { ReadOptions } from '../storage.ts';
import { BlobFeed } from './blob-feed.ts';
import type { Connection, Exchange } from './connection.ts';
import type { RegistryOptions } from './registry-options.ts';
import {
  advanced,
  askProgress,
  cancelSession,
  liesBehind,
  partExchange,
  reportedOffset,
  startSession,
  type UploadSession,
} from './upload-session.ts';

/** Sizes to try after a larger request was refused: GHCR accepts 4 MiB per PATCH, nginx 1 MiB by default. */
const SMALLER_CHUNKS: readonly number[] = [4 << 20, 1 << 20];

/** Statuses by which registries without chunked uploads answer the first PATCH. */
const NO_CHUNKS: readonly number[] = [400, 405, 411, 415, 416, 501];

/** Uploads blobs to one repository. The request size that worked after a refusal is kept for later blobs. */
export class Uploader {
  readonly #connection: Connection;
  readonly #warn: ((message: string) => void) | undefined;
  /** Bytes of a request; Infinity: a blob in one. */
  #chunk: number;

  constructor(connection: Connection, options: Pick<RegistryOptions, 'chunkSize' | 'warn'>) {
    const { chunkSize = Number.POSITIVE_INFINITY, warn } = options;
    if (!(chunkSize >= 2)) {
      throw new AccelError('usage', 'the chunk size is too small', { expected: 'at least 2 bytes', found: chunkSize });
    }
    this.#connection = connection;
    this.#chunk = chunkSize;
    this.#warn = warn;
  }

  /**
   * Uploads a blob that is known to be missing. `exists` is asked before every further try: the registry may have taken
   * the blob though its answer was lost. Content that is not what the descriptor says ends the upload with
   * `digest-mismatch` or `size-mismatch`, before its last byte is sent.
   */
  async upload(
    descriptor: Descriptor,
    content: BlobSource,
    exists: () => Promise<boolean>,
    options?: ReadOptions,
  ): Promise<void> {
    const feed = new BlobFeed(content, descriptor);
    const task: Task = {
      descriptor,
      feed,
      exists,
      signal: options?.signal,
      refused: new Set(),
      session: undefined,
      resumed: false,
      distrust: false,
      doubted: false,
    };
    try {
      await this.#run(task);
    } catch (error) {
      if (task.session !== undefined) await cancelSession(this.#connection, task.session.url, descriptor);
      // If the source fails, undici reports a broken socket: report the failure of the source instead.
      throw feed.failure ?? error;
    } finally {
      await feed.close();
    }
  }

  async #run(task: Task): Promise<void> {
    const backoff = new Backoff(this.#connection.patience, task.signal);
    let reached = 0;
    for (;;) {
      const outcome = await this.#sendPart(task);
      if (outcome.kind === 'done') return;
      if (outcome.kind === 'other-way') continue;
      const offset = task.session?.offset ?? 0;
      if (outcome.kind === 'part') {
        // Only a new maximum counts as progress, so that a registry that keeps losing data is given up.
        if (offset > reached) backoff.reset();
        reached = Math.max(reached, offset);
        continue;
      }
      const { response, broken } = outcome;
      if (!backoff.failed(broken, response)) throw await outcome.error();
      await response?.discard();
      await backoff.wait(response);
      if (await this.#recover(task, response)) return;
    }
  }

  /** Sends the next part and evaluates the answer. Throws errors that a retry cannot fix. */
  async #sendPart(task: Task): Promise<Outcome> {
    const { descriptor, feed, signal } = task;
    const connection = this.#connection;
    const session = task.session ?? (await startSession(connection, descriptor, signal));
    task.session = session;
    const { offset: start } = session;
    const chunk = Math.max(this.#chunk, session.leastChunk);
    const end = Math.min(start + chunk, descriptor.size);
    const exchange = partExchange(session, descriptor, { start, end, source: feed.slice(start, end) }, signal);
    let response: HttpResponse;
    try {
      response = await connection.once(exchange);
    } catch (error) {
      const failure = connection.asError(exchange, error);
      if (signal?.aborted || feed.failure !== undefined || !isTransientError(error)) throw failure;
      return { kind: 'failed', error: async () => failure, response: undefined, broken: error };
    }
    if (exchange.expect.includes(response.status)) {
      await response.discard();
      if (end === descriptor.size) return { kind: 'done' };
      task.session = advanced(session, exchange, response, end);
      task.doubted ||= liesBehind(response, end);
      return { kind: 'part' };
    }
    return this.#judge(task, session, exchange, response);
  }

  /** Decides how to go on after an unexpected answer. */
  async #judge(task: Task, session: UploadSession, exchange: Exchange, response: HttpResponse): Promise<Outcome> {
    const { status } = response;
    const failed: Outcome = { kind: 'failed', error: () => this.#refusal(exchange, response), response };
    // 404: the session is gone, as after a restart of the registry. 416: the registry has another offset.
    if (status === 404 || isTransientStatus(status) || (status === 416 && session.offset > 0)) return failed;
    if (task.resumed) {
      // The registry may have kept less than it reported: start a new session.
      task.distrust = true;
      return failed;
    }
    if (task.doubted) {
      // An earlier Range that ended before the sent bytes may have been right: ask for the status once.
      task.doubted = false;
      return failed;
    }
    const chunk = this.#smaller(task, exchange, status);
    if (chunk === undefined) throw await this.#refusal(exchange, response);
    await response.discard();
    await this.#giveUp(task);
    const sent = exchange.body?.size ?? 0;
    task.refused.add(exchange.method === 'PATCH' ? sent : Number.POSITIVE_INFINITY);
    this.#chunk = chunk;
    const now = chunk === Number.POSITIVE_INFINITY ? 'whole' : `in chunks of ${chunk} bytes`;
    this.#warn?.(`the registry refused an upload of ${sent} bytes at once (HTTP ${status}); blobs are now sent ${now}`);
    return { kind: 'other-way' };
  }

  /** The size of request to try after a refusal; undefined if it is not about the size, or all were tried. */
  #smaller(task: Task, exchange: Exchange, status: number): number | undefined {
    const sent = exchange.body?.size ?? 0;
    const patch = exchange.method === 'PATCH';
    if (status === 413 || (status === 416 && patch)) {
      const chunk = SMALLER_CHUNKS.find((size) => size < sent && !task.refused.has(size));
      // GHCR's 416 is about its 4 MiB; past that it means that the registry takes no chunks.
      if (chunk !== undefined && (status === 413 || sent > SMALLER_CHUNKS[0]!)) return chunk;
    }
    const whole = Number.POSITIVE_INFINITY;
    return patch && NO_CHUNKS.includes(status) && !task.refused.has(whole) ? whole : undefined;
  }

  /**
   * Recovers after a failure. True if the blob exists; otherwise the task has a session to continue, or starts again
   * without one.
   */
  async #recover(task: Task, response: HttpResponse | undefined): Promise<boolean> {
    const { session, descriptor, signal } = task;
    if (await task.exists()) {
      task.session = undefined;
      return true;
    }
    if (session === undefined) return false;
    if (response?.status === 404) {
      task.session = undefined;
      return false;
    }
    const offset = response?.status === 416 ? reportedOffset(response.header('range')) : undefined;
    let next: UploadSession | undefined;
    if (!task.distrust) {
      next =
        offset === undefined
          ? await askProgress(this.#connection, session, descriptor, signal)
          : { ...session, offset };
    }
    if (next === undefined || next.offset === 0 || next.offset > descriptor.size) await this.#giveUp(task);
    else task.session = next;
    task.resumed = task.session !== undefined;
    task.distrust = false;
    return false;
  }

  async #giveUp(task: Task): Promise<void> {
    if (task.session !== undefined) await cancelSession(this.#connection, task.session.url, task.descriptor);
    task.session = undefined;
    task.resumed = false;
  }

  async #refusal(exchange: Exchange, response: HttpResponse): Promise<unknown> {
    return this.#connection.accept(exchange, response).catch((error: unknown) => error);
  }
}

/** One blob on its way. */
interface Task {
  readonly descriptor: Descriptor;
  readonly feed: BlobFeed;
  readonly exists: () => Promise<boolean>;
  readonly signal: AbortSignal | undefined;
  /** Sizes of requests that were refused; Infinity: the whole blob in one. */
  readonly refused: Set<number>;
  session: UploadSession | undefined;
  /** Whether the session goes on after a break. */
  resumed: boolean;
  /** Whether a resumed session was refused, so that its reported offset is not trusted. */
  distrust: boolean;
  /** Whether the Range of an accepted chunk ended before the bytes that were sent. */
  doubted: boolean;
}

/** The outcome of one request; `failed` may be retried, `other-way` is sent in another form. */
type Outcome =
  | { readonly kind: 'done' }
  | { readonly kind: 'other-way' }
  | { readonly kind: 'part' }
  | {
      readonly kind: 'failed';
      readonly error: () => Promise<unknown>;
      readonly response: HttpResponse | undefined;
      /** The failure below HTTP. */
      readonly broken?: unknown;
    };
