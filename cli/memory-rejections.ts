/** Failures of Node itself when memory is short. */
import { isOutOfMemory } from '../base/error.ts';

/**
 * Lets the run go on after a rejection that nobody handles and that says that memory is short: when the first message of a
 * thread comes, Node loads its own fetch, whose WebAssembly then finds none, and Node would end with a trace. The run meets
 * the same shortage and reports it. Any other rejection ends the process, as it does without this.
 */
export function passMemoryRejections(target: Pick<NodeJS.Process, 'on'>): void {
  target.on('unhandledRejection', (reason) => {
    if (!(reason instanceof Error) || !isOutOfMemory(reason)) throw reason;
  });
}
