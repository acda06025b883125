/** Standard input that ends with the run: a read that waits for a terminal or a pipe would outlast every limit. */

/** Input that can be closed while somebody reads it. */
export interface ClosableInput<T> extends AsyncIterable<T> {
  destroy(): void;
}

/** The pieces of `input` until `signal` fires, then its reason is thrown; a stream is closed at the end in any case. */
export function abortableInput<T>(input: AsyncIterable<T>, signal: AbortSignal): ClosableInput<T> {
  const destroy = (): void => {
    if ('destroy' in input && typeof input.destroy === 'function') input.destroy();
  };
  return { [Symbol.asyncIterator]: () => pieces(input, signal, destroy), destroy };
}

async function* pieces<T>(
  input: AsyncIterable<T>,
  signal: AbortSignal,
  destroy: () => void,
): AsyncGenerator<T, void, undefined> {
  let release = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    release = () => signal.removeEventListener('abort', onAbort);
  });
  // It may be aborted while nobody waits for the next piece.
  aborted.catch(() => undefined);
  const iterator = input[Symbol.asyncIterator]();
  try {
    for (;;) {
      const piece = await Promise.race([iterator.next(), aborted]);
      if (piece.done === true) return;
      yield piece.value;
    }
  } finally {
    release();
    destroy();
  }
}
