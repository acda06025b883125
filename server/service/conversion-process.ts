/** Runs one conversion in a process of its own (conversion-child.ts), within limits of memory and time. */
import { fork } from 'node:child_process';
import type { ConversionProgress } from './conversion.ts';
import type { ConversionDocument, ConversionEnd, ConversionMessage } from './conversion-messages.ts';
import type { Failure } from './queue.ts';

/** Limits of a conversion. */
export interface ConversionLimits {
  /** Bytes of memory of the process. */
  readonly memory: number;
  /** Milliseconds. */
  readonly timeout: number;
}

/** Surroundings of a conversion. */
export interface ConversionCall {
  readonly limits: ConversionLimits;
  readonly onProgress: (progress: ConversionProgress) => void;
  /** Ends the process at once; the call rejects with its reason. */
  readonly signal: AbortSignal;
}

/** Milliseconds without a word of a process that reports every second. */
const SILENCE = 60_000;
const LOOK_EVERY = 1_000;
/** Bytes of the process's standard error that a failure shows. */
const MAX_STDERR = 2_000;
/** Share of the memory limit that JavaScript's heap may take; buffers and threads have the rest. */
const HEAP_SHARE = 0.5;

/** Converts. Resolves with how it ended, whatever happens to the process; rejects only by the signal. */
export function runConversion(document: ConversionDocument, call: ConversionCall): Promise<ConversionEnd> {
  const { limits, onProgress, signal } = call;
  return new Promise<ConversionEnd>((resolve, reject) => {
    signal.throwIfAborted();
    const heap = Math.max(128, Math.floor((limits.memory * HEAP_SHARE) / 2 ** 20));
    const child = fork(childFile(), [], {
      execArgv: [`--max-old-space-size=${heap}`, '--disable-warning=ExperimentalWarning'],
      stdio: ['pipe', 'ignore', 'pipe', 'ipc'],
    });
    const started = performance.now();
    let heard = started;
    let end: ConversionEnd | undefined;
    let stderr = '';
    const kill = (failure: Failure): void => {
      end ??= { type: 'failed', failure };
      child.kill('SIGKILL');
    };
    const timer = setInterval(() => {
      const now = performance.now();
      if (now - started > limits.timeout) kill(timedOut(limits.timeout));
      else if (now - heard > SILENCE) kill(silent());
    }, LOOK_EVERY);
    const abort = (): void => void child.kill('SIGKILL');
    signal.addEventListener('abort', abort, { once: true });
    child.on('message', (message: ConversionMessage) => {
      heard = performance.now();
      if (message.type !== 'alive') end ??= message;
      else if (message.memory > limits.memory) kill(outOfMemory(message.memory, limits.memory));
      else onProgress(message.progress);
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-MAX_STDERR);
    });
    // It may end before it has read its order; its end says how.
    child.stdin!.on('error', () => undefined).end(JSON.stringify(document));
    const finish = (code: number | null, by: NodeJS.Signals | null, error?: Error): void => {
      clearInterval(timer);
      signal.removeEventListener('abort', abort);
      if (end === undefined && signal.aborted) reject(signal.reason);
      else resolve(end ?? { type: 'failed', failure: crashed(error?.message ?? stderr, code, by) });
    };
    child.once('error', (error) => finish(null, null, error));
    child.once('close', (code, by) => finish(code, by));
  });
}

/** The program of the process: beside this file, in the sources, in dist/ and in the bundle. */
function childFile(): URL {
  const ending = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new URL(`./conversion-child.${ending}`, import.meta.url);
}

function timedOut(limit: number): Failure {
  return {
    code: 'timed-out',
    message: 'the conversion took too long and was ended',
    expected: `at most ${Math.round(limit / 1000)} s`,
    hint: 'Raise service.timeout if the image is that large.',
    temporary: true,
  };
}

function silent(): Failure {
  return {
    code: 'worker-crashed',
    message: 'the process of the conversion did not answer and was ended',
    expected: `a report within ${SILENCE / 1000} s`,
    temporary: true,
  };
}

function outOfMemory(found: number, limit: number): Failure {
  return {
    code: 'out-of-memory',
    message: 'the conversion used too much memory and was ended',
    expected: `at most ${limit} bytes`,
    found: `${found} bytes`,
    hint: 'Raise service.memory.',
    temporary: true,
  };
}

function crashed(stderr: string, code: number | null, by: NodeJS.Signals | null): Failure {
  const isHeap = /heap out of memory/.test(stderr);
  return {
    code: isHeap ? 'out-of-memory' : 'worker-crashed',
    message: isHeap ? 'the conversion used too much memory' : 'the process of the conversion crashed',
    found: [by ?? `exit ${code}`, lastLines(stderr)].filter(Boolean).join(': '),
    ...(isHeap ? { hint: 'Raise service.memory.' } : {}),
    temporary: true,
  };
}

function lastLines(text: string): string {
  return text.trim().split('\n').slice(-5).join(' | ').slice(-500);
}
