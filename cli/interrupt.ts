/** Ctrl-C and SIGTERM: the first asks the work to stop and clean up, the second ends the process at once. */
import { Worker } from 'node:worker_threads';
import { watchTemporaries } from '../base/temporaries.ts';
import { type ThreadProgram, threadProgram } from '../base/thread-code.ts';
import { CURSOR, type Output } from './terminal.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The part of `process` that is needed here. */
export interface SignalSource {
  on(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
  off(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
}

/** The thread of interrupt-watcher.ts, beside this module. */
const WATCHER = new URL('./interrupt-watcher.js', import.meta.url);

/**
 * Fires `controller` on the first signal and leaves the next one to the system, which ends the process; returns a
 * function that stops listening. {@link watchInterrupts} moves the listening to a thread, so that a busy main thread is
 * no obstacle; until that thread is ready, or without it, the main thread listens.
 */
export function handleInterrupts(source: SignalSource, controller: AbortController, stderr: Output): () => void {
  const release = (): void => {
    for (const signal of SIGNALS) source.off(signal, listener);
  };
  const listener = (signal: NodeJS.Signals): void => {
    release();
    if (controller.signal.aborted) return;
    interrupt(signal, controller, stderr);
  };
  for (const signal of SIGNALS) source.on(signal, listener);
  return release;
}

/**
 * Milliseconds after which the thread starts. Starting it takes a twelfth of the time of a small conversion, and until then nothing
 * was read that a long loop could be about.
 */
const SOON = 500;

/**
 * Lets a thread listen in place of {@link handleInterrupts}, whose result is `release`, once the run has taken a moment; does
 * nothing where the file of that thread is missing, or where Node lets no thread listen.
 */
export function watchInterrupts(release: () => void, controller: AbortController, stderr: Output): void {
  const start = (): void => {
    const thread = controller.signal.aborted || !canThreadsListen() ? undefined : threadProgram(WATCHER);
    if (thread !== undefined) startWatcher(thread, { release, controller, stderr });
  };
  setTimeout(start, SOON).unref();
}

/** Whether this Node has the wrapper of a signal that the thread needs: 24 has none for users, nor has Deno. */
function canThreadsListen(): boolean {
  const { noDeprecation } = process;
  process.noDeprecation = true;
  try {
    const { Signal } = (process as unknown as { binding(name: string): { readonly Signal?: unknown } }).binding(
      'signal_wrap',
    );
    return typeof Signal === 'function';
  } catch {
    return false;
  } finally {
    process.noDeprecation = noDeprecation === true;
  }
}

function startWatcher(
  thread: ThreadProgram,
  {
    release,
    controller,
    stderr,
  }: { readonly release: () => void; readonly controller: AbortController; readonly stderr: Output },
): void {
  const watcher = new Worker(thread.program, {
    eval: thread.eval,
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2, stackSizeMb: 1 },
  });
  watcher.on('message', ({ signal }: { readonly signal?: NodeJS.Signals }) => {
    // Both listen for a moment: a signal from before the thread did may wait for the listeners here. It is not among the events
    // that came with this message, perhaps, but among those of the next turn.
    if (signal === undefined) setImmediate(() => setImmediate(release));
    else if (!controller.signal.aborted) interrupt(signal, controller, stderr);
  });
  // The next signal is the system's then, whoever heard this one.
  controller.signal.addEventListener('abort', () => watcher.postMessage({ heard: true }));
  // Without it the main thread goes on listening.
  watcher.on('error', () => watchTemporaries(undefined));
  watchTemporaries((path, exists) => watcher.postMessage({ path, exists }));
  // After the listeners, which would hold the process again.
  watcher.unref();
}

function interrupt(signal: NodeJS.Signals, controller: AbortController, stderr: Output): void {
  // A display may have hidden the cursor, and the next signal ends the process as it is.
  const cursor = stderr.isTTY === true ? CURSOR.show : '';
  stderr.write(`${cursor}\naccel: ${signal}, cleaning up; once more to stop at once\n`);
  controller.abort();
}

/** Ends an interrupted process whose cleaning up is done, unless a system call under way would hold up the end. */
export function endInterrupted(): void {
  // The end waits for calls of the thread pool; then the watcher ends the process.
  const held = process.getActiveResourcesInfo().some((name) => /^(FSReq|GetAddrInfo|GetNameInfo)/.test(name));
  if (!held) process.exit();
}
