/** Ends the waiting for work of others by an abort; the work itself goes on. */
import { once } from 'node:events';

/** The result of `work`; rejects with the signal's reason when that comes first. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  signal.throwIfAborted();
  const stop = new AbortController();
  try {
    const aborted = once(signal, 'abort', { signal: stop.signal }).then((): never => {
      throw signal.reason;
    });
    return await Promise.race([work, aborted]);
  } finally {
    stop.abort();
  }
}
