/** Bytes to standard output, at the pace of whoever reads it. */
import type { Output } from './terminal.ts';

/** Members of a stream beside {@link Output}; a test's output may lack all of them. */
interface StreamPart {
  readonly destroyed?: boolean;
  once?(event: 'drain' | 'close' | 'error', listener: () => void): unknown;
  off?(event: 'drain' | 'close' | 'error', listener: () => void): unknown;
}

/**
 * Writes `bytes` and waits while the stream is full. False when nobody reads any more (`accel cat … | head -1`): the
 * caller stops fetching then.
 */
export async function writeBytes(output: Output, bytes: Uint8Array): Promise<boolean> {
  const stream: Output & StreamPart = output;
  const isGone = (): boolean => stream.destroyed === true;
  if (isGone()) return false;
  if (stream.write(bytes) === false && stream.once !== undefined) await untilReady(stream);
  return !isGone();
}

function untilReady(stream: StreamPart): Promise<void> {
  return new Promise((resolve) => {
    const events = ['drain', 'close', 'error'] as const;
    const ready = (): void => {
      for (const event of events) stream.off?.(event, ready);
      resolve();
    };
    for (const event of events) stream.once?.(event, ready);
  });
}
