/** Keeps the lease of a running job, and ends the work when the lease is lost: another worker may have the job then. */
import type { Json, Lease, Queue } from './queue.ts';

/** A lease that is kept. */
export interface KeptLease {
  /** Fires when the job is no longer this worker's, or was cancelled. */
  readonly lost: AbortSignal;
  /** Stores the progress with the next renewal. */
  report(progress: Json): void;
  /** Stops renewing. */
  release(): void;
}

/** Milliseconds between two reports of progress. */
const REPORT_EVERY = 1_000;

/** Renews a lease until it is released. */
export function keepLease(queue: Queue, lease: Lease): KeptLease {
  const lost = new AbortController();
  const every = Math.min(REPORT_EVERY, queue.leaseTime / 4);
  let progress: Json | undefined;
  let renewed = performance.now();
  let isBusy = false;
  const renew = async (): Promise<void> => {
    if (isBusy) return;
    isBusy = true;
    const asked = performance.now();
    try {
      const news = progress;
      progress = undefined;
      if (await queue.renew(lease, news)) renewed = asked;
      else lost.abort(new Error('the lease of the job has ended'));
    } catch {
      // The store does not answer; as long as the lease cannot have ended, the work goes on.
    } finally {
      isBusy = false;
    }
  };
  const timer = setInterval(() => {
    const now = performance.now();
    if (now - renewed > queue.leaseTime * 0.8)
      lost.abort(new Error('the store did not answer for the time of a lease'));
    if (progress !== undefined || now - renewed > queue.leaseTime / 4) void renew();
  }, every);
  return {
    lost: lost.signal,
    report: (news) => {
      progress = news;
    },
    release: () => clearInterval(timer),
  };
}
