/** Spaces what a scan asks a registry, so that those who pull from it do not notice the scan. */
import { setTimeout as delay } from 'node:timers/promises';

/** Returns a function that resolves at most `rate` times a second, and rejects when `signal` fires. */
export function createPace(rate: number, signal: AbortSignal): () => Promise<void> {
  const gap = 1000 / rate;
  let next = 0;
  return async () => {
    signal.throwIfAborted();
    const now = performance.now();
    const wait = next - now;
    next = Math.max(now, next) + gap;
    // Timers are no finer than a millisecond; what is less adds up until it is not.
    if (wait >= 1) await delay(wait, undefined, { signal });
  };
}
