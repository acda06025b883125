/** Lets a caller wait for the ends of conversions, as `?sync=true` of goharbor/acceleration-service does. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Job, type Queue, QueueError } from '../queue.ts';
import { hasEnded } from './event-stream.ts';

/** Milliseconds between two looks at the store. */
const LOOK_INTERVAL = 500;
/** Milliseconds that a caller waits at most; then the conversions go on without it. */
const MAX_WAIT = 10 * 60 * 1000;
/** Callers that wait at a time. */
const MAX_WAITERS = 64;

let waiters = 0;

/** The jobs when all have ended; those that have not when the time is over or `signal` fires. Throws QueueError where too many wait. */
export async function waitForEnd(queue: Queue, ids: readonly string[], signal: AbortSignal): Promise<readonly Job[]> {
  if (waiters >= MAX_WAITERS) throw new QueueError('busy', 'too many callers wait for their conversions');
  waiters += 1;
  try {
    const until = performance.now() + MAX_WAIT;
    for (;;) {
      const jobs = (await Promise.all(ids.map((id) => queue.get(id)))).filter((job) => job !== undefined);
      if (signal.aborted || performance.now() > until || jobs.every(({ state }) => hasEnded(state))) return jobs;
      await delay(LOOK_INTERVAL, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    waiters -= 1;
  }
}
