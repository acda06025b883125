/** Messages between the event loop (sqlite.ts) and the thread of the embedded queue (sqlite-thread.ts). */
import type { Ending, JobFilter, Json, Lease, NewJob, QueueRefusal, Topic } from './queue.ts';
import type { SqliteStoreOptions } from './sqlite-store.ts';

/** A call. Those that write are answered after they are on disk. */
export type SqliteCall =
  | { readonly name: 'add'; readonly jobs: readonly NewJob[] }
  | { readonly name: 'take'; readonly topic: Topic; readonly limit: number }
  | { readonly name: 'renew'; readonly lease: Lease; readonly progress?: Json | undefined }
  | {
      readonly name: 'finish';
      readonly lease: Lease;
      readonly ending: Ending;
      readonly followUp: readonly NewJob[];
    }
  | { readonly name: 'get'; readonly id: string }
  | { readonly name: 'list'; readonly filter: JobFilter }
  | { readonly name: 'retry'; readonly id: string }
  | { readonly name: 'cancel'; readonly id: string }
  | { readonly name: 'figures' }
  | { readonly name: 'probe' }
  | { readonly name: 'close' };

/** Several calls, each with its number. */
export type SqliteRequest = readonly (SqliteCall & { readonly call: number })[];

/** The answer to one call. */
export type SqliteReply = { readonly call: number } & (
  | { readonly value: unknown }
  | { readonly refusal: QueueRefusal; readonly message: string; readonly cause: string }
);

/** The thread's first message, once the file is open, or the reason why it cannot be. */
export type SqliteOpened =
  | { readonly opened: true }
  | { readonly opened: false; readonly message: string; readonly locked: boolean };

/** Settings of the thread. */
export interface SqliteThreadOptions extends SqliteStoreOptions {
  /** Bytes that must be free on the file system for jobs to be accepted. */
  readonly keepFree: number;
}
