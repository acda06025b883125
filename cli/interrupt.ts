/** Ctrl-C and SIGTERM: the first asks the work to stop and clean up, the second stops at once. */
import type { Output } from './terminal.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Exit code of an interrupted run, whatever the signal was. */
export const INTERRUPTED = 130;

/** The part of `process` that is needed here. */
export interface SignalSource {
  on(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
  off(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
  exit(code: number): void;
}

/** Fires `controller` on the first signal; returns a function that takes the handlers away again. */
export function handleInterrupts(source: SignalSource, controller: AbortController, stderr: Output): () => void {
  const listener = (signal: NodeJS.Signals): void => {
    if (controller.signal.aborted) {
      source.exit(INTERRUPTED);
      return;
    }
    stderr.write(`\naccel: ${signal}, cleaning up; once more to stop at once\n`);
    controller.abort();
  };
  for (const signal of SIGNALS) source.on(signal, listener);
  return () => {
    for (const signal of SIGNALS) source.off(signal, listener);
  };
}
