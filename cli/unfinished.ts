/** A run that ends without having come to its end: nothing is left that could wake it, and it still waits. */
import type { Output } from './terminal.ts';

/** The part of `process` that is needed here. */
export interface ExitSource {
  exitCode?: number | string | null | undefined;
  once(event: 'beforeExit', listener: () => void): unknown;
  off(event: 'beforeExit', listener: () => void): unknown;
}

/**
 * Lets the process fail, and say so, when its event loop runs empty before the function that is returned was called.
 * Node by itself would print a warning about a pending promise that nobody understands.
 */
export function failUnlessFinished(source: ExitSource, stderr: Output): () => void {
  const listener = (): void => {
    source.exitCode = 1;
    stderr.write('error [internal] accel waits for something that never comes\n');
    stderr.write('  to do  This is a defect of accel: please report it with the command that you ran.\n');
  };
  source.once('beforeExit', listener);
  return () => source.off('beforeExit', listener);
}
