/**
 * The thread that hears signals. Its event loop is its own: it answers while the main thread runs a long loop or waits for
 * a system call. The first signal is passed on, and the next one ends the process as the system does by default; if the
 * main thread has not ended the process after a moment, the temporary files are removed and the process is ended here.
 */
import { rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { parentPort } from 'node:worker_threads';

/** Milliseconds that the main thread has to clean up. */
const GRACE = 1700;

/** Numbers of the signals (POSIX). */
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/** Node's own wrapper of a signal; its public way to listen is for the main thread alone. */
interface SignalHandle {
  onsignal: () => void;
  start(number: number): number;
  close(): void;
}

// The warning would be printed for every run; where Node takes the binding away, the main thread listens itself.
process.noDeprecation = true;
const { Signal } = (
  process as unknown as { binding(name: 'signal_wrap'): { readonly Signal: new () => SignalHandle } }
).binding('signal_wrap');

const temporaries = new Set<string>();
const handles = Object.entries(SIGNALS).map(([name, number]) => {
  const handle = new Signal();
  handle.onsignal = () => first(name as keyof typeof SIGNALS);
  handle.start(number);
  return handle;
});

type Message = { readonly path: string; readonly exists: boolean } | { readonly heard: true };

let wasHeard = false;

parentPort?.on('message', (message: Message) => {
  // By the main thread, which does not say which one: Ctrl-C is the most frequent.
  if ('heard' in message) listenNoMore('SIGINT');
  else if (message.exists) temporaries.add(resolve(message.path));
  else temporaries.delete(resolve(message.path));
});
parentPort?.postMessage({ ready: true });

function first(signal: keyof typeof SIGNALS): void {
  parentPort?.postMessage({ signal });
  listenNoMore(signal);
}

/** Nobody listens from here on: the system's default ends the process at the next signal. */
function listenNoMore(signal: keyof typeof SIGNALS): void {
  if (wasHeard) return;
  wasHeard = true;
  for (const handle of handles) handle.close();
  setTimeout(() => end(signal), GRACE);
}

function end(signal: NodeJS.Signals): void {
  for (const path of temporaries) {
    try {
      rmSync(path, { recursive: true, force: true });
    } catch {
      // The next run sweeps a file that cannot be removed; the process ends all the same.
    }
  }
  process.kill(process.pid, signal);
}
