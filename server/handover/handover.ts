/** The contract between a holder, which keeps the sockets of a role, and the worker process that serves on them. */
import type { AccelErrorCode, AccelErrorDetails } from '../../base/error.ts';

/** Reasons for which a worker took the place of another; `hung`: the other was stopped, or turned no more, and was killed. */
export type RestartReason = 'reload' | 'crash' | 'hung';

/** Workers that were replaced since the holder started, by reason. */
export type Restarts = Readonly<Record<RestartReason, number>>;

/** A request of the holder to a worker. */
export type HolderMessage =
  /** Serve. */
  | { readonly kind: 'start'; readonly restarts: Restarts; readonly kept?: string | undefined }
  /** Another worker is about to take over: leave what both share, such as the cache on disk, alone. */
  | { readonly kind: 'freeze' }
  /** The other worker failed: carry on as before. */
  | { readonly kind: 'thaw' }
  /** Take no new work, finish what has begun, and end; a second time: end at once. */
  | { readonly kind: 'drain' };

/** A report of a worker to its holder. */
export type WorkerMessage =
  /** All modules are loaded; waits for `start`. */
  | { readonly kind: 'loaded' }
  /** It turns: said all the time, from when the modules are loaded. */
  | { readonly kind: 'alive' }
  | { readonly kind: 'serving' }
  | { readonly kind: 'frozen' }
  /** Keep this text, in memory alone, for the worker that comes next. */
  | { readonly kind: 'keep'; readonly text: string }
  | {
      readonly kind: 'failed';
      readonly code: AccelErrorCode;
      readonly message: string;
      readonly details: AccelErrorDetails;
    };

/** Sockets and news that a role of a worker process gets from the holder. */
export interface Handover {
  /** Descriptors of listening sockets by name; a role opens those that are missing. */
  readonly sockets: ReadonlyMap<string, number>;
  readonly restarts: Restarts;
  /** The text that the worker before gave to keep; undefined for the first. */
  readonly kept: string | undefined;
  /** Has the holder keep a text for the next worker, in the place of the one before; one of more than {@link MOST_KEPT} is not kept. */
  keep(text: string): void;
  /** Registers functions that leave what two workers share alone, and take it up again. */
  onFreeze(freeze: () => Promise<void>, thaw: () => void): void;
}

/** Characters of a text that a holder keeps for the next worker. */
export const MOST_KEPT = 4 * 1024 * 1024;

/** The environment variable that names a worker's sockets: `clients:4,peers:5`. */
export const SOCKETS_VARIABLE = 'ACCEL_SOCKETS';

/** The text of {@link SOCKETS_VARIABLE}. */
export function formatSockets(sockets: ReadonlyMap<string, number>): string {
  return [...sockets].map(([name, fd]) => `${name}:${fd}`).join(',');
}

/** Reads the text of {@link SOCKETS_VARIABLE}; parts that are no NAME:NUMBER are left out. */
export function parseSockets(text: string): Map<string, number> {
  const found = [...text.matchAll(/([a-z]+):(\d+)(?:,|$)/g)];
  return new Map(found.map(([, name, fd]) => [name!, Number(fd)]));
}
