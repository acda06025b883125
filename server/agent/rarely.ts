/** Keeps what strangers can cause at will from filling the log. */

/** Milliseconds between two calls. */
const EVERY = 60_000;

/** A function that calls another one at most once a minute; what comes meanwhile is dropped. */
export function rarely<T extends readonly unknown[]>(call: (...given: T) => void): (...given: T) => void {
  let last = Number.NEGATIVE_INFINITY;
  return (...given) => {
    const now = performance.now();
    if (now - last < EVERY) return;
    last = now;
    call(...given);
  };
}
