/** Messages between the main thread and workers. */

import type { MessagePort } from 'node:worker_threads';
import { advise, option } from '../../../base/advice.ts';
import { AccelError, type AccelErrorCode, type AccelErrorDetails, asAccelError } from '../../../base/error.ts';
import type { GzipMemberEnd } from '../../../formats/gzip/member-checks.ts';
import type { GzipSummary } from '../../../formats/gzip/stream.ts';
import type { KernelMemory } from '../../../formats/kernels/instance.ts';
import type { BatchRef } from '../../../formats/zfile/batches.ts';
import type { BlockFormat } from '../../../formats/zfile/compressor.ts';
import type { Holds, SharedSlots } from './shared-slots.ts';

/**
 * Role of a worker for its whole life. `jobs` compresses and hashes, `gunzip` decompresses, and
 * the `companion` of a gunzip worker hashes what that puts out and packs the windows of its access points.
 */
export type WorkerRole =
  | { readonly role: 'jobs' }
  | {
      readonly role: 'gunzip';
      readonly memory: KernelMemory;
      /** Slots in that memory. */
      readonly input: SharedSlots;
      /** Readers of the pieces of output in it: {@link Holds}. */
      readonly holds: SharedArrayBuffer;
      readonly companion: MessagePort;
    }
  | {
      readonly role: 'companion';
      readonly memory: KernelMemory;
      readonly holds: SharedArrayBuffer;
      readonly gunzip: MessagePort;
    };

/** Output in the memory of a gunzip worker, valid until the reader releases the piece. */
export interface OutputPlace {
  readonly piece: number;
  /** Bytes from the start of the memory. */
  readonly start: number;
  readonly length: number;
}

/**
 * A job: a batch to compress in place; the next bytes of a file that is being written, whose pieces are hashed, and its end;
 * bytes to deflate; a finished file to hash.
 */
export type Job =
  | ({ readonly type: 'compress'; readonly length: number; readonly format: BlockFormat } & BatchRef)
  | { readonly type: 'pieces'; readonly stream: number; readonly bytes: Uint8Array }
  | { readonly type: 'piece-list'; readonly stream: number; readonly path: string }
  | { readonly type: 'deflate'; readonly bytes: Uint8Array }
  | { readonly type: 'digest'; readonly path: string };

/** A job with its number. */
export type JobRequest = { readonly id: number } & Job;

/** The answer to the {@link JobRequest} of the same number. */
export type JobReply = { readonly id: number } & JobResult;

/**
 * Result of a job: the bytes of output of a batch, that pieces were hashed, the list of them, deflated bytes,
 * a digest, a failure.
 */
export type JobResult =
  | { readonly type: 'compress'; readonly size: number }
  | { readonly type: 'pieces' }
  | { readonly type: 'piece-list'; readonly pieceList: Uint8Array }
  | { readonly type: 'deflate'; readonly pieces: readonly Uint8Array[] }
  | { readonly type: 'digest'; readonly digest: string }
  | { readonly type: 'error'; readonly error: PlainError };

/** Message to a gunzip worker: a new stream, of gzip or of zstd, a slot with its next bytes, its end. */
export type GunzipRequest =
  | {
      readonly type: 'begin';
      readonly format: 'gzip';
      readonly span: number | undefined;
      readonly members: 'single' | 'any';
    }
  | { readonly type: 'begin'; readonly format: 'zstd' }
  | { readonly type: 'input'; readonly slot: number; readonly length: number }
  | { readonly type: 'end' };

/** Answer of a gunzip worker: output, a slot of input that became free, the end, a failure. */
export type GunzipReply =
  | ({ readonly type: 'output' } & OutputPlace)
  | { readonly type: 'taken' }
  | { readonly type: 'end'; readonly summary: GzipSummary | undefined }
  | { readonly type: 'error'; readonly error: PlainError };

/** Message of a gunzip worker to its companion: output, the end of a gzip member, the next window, the end. */
export type CompanionRequest =
  | ({ readonly type: 'output'; readonly isGzip: boolean } & OutputPlace)
  | { readonly type: 'member'; readonly end: GzipMemberEnd }
  | { readonly type: 'window'; readonly bytes: Uint8Array; readonly references: Uint8Array | undefined }
  | { readonly type: 'end' };

/** Answer of a companion to the main thread: the end of a stream, or a wrong checksum of a member. */
export type CompanionReply =
  | ({ readonly type: 'accompanied' } & Accompanied)
  | { readonly type: 'error'; readonly error: PlainError };

/** A companion's results for a stream. */
export interface Accompanied {
  /** SHA-256 of the output, as a digest. */
  readonly digest: string;
  /** The packed windows of the access points, in their order. */
  readonly windows: readonly Uint8Array[];
}

/** An AccelError as plain data, because its class does not survive the transfer between threads. Its cause is lost. */
export interface PlainError {
  readonly code: AccelErrorCode;
  readonly message: string;
  readonly details: AccelErrorDetails;
}

/** To plain data. */
export function toPlain(error: unknown): PlainError {
  const { code, message, details } = asAccelError(error);
  const { cause: _, ...plain } = details;
  return { code, message, details: plain };
}

/** From plain data. */
export function fromPlain({ code, message, details }: PlainError): AccelError {
  return new AccelError(code, message, details);
}

/** The error for a thread that ended unexpectedly. */
export function threadDied(cause: unknown): AccelError {
  return new AccelError('internal', 'a worker thread ended unexpectedly', {
    hint: advise`Run again with ${option('workers', 0)}.`,
    cause,
  });
}
