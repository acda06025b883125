/** Runs a target in a thread and watches it: a case that hangs, or takes all memory, is a finding like any other. */
import { Worker } from 'node:worker_threads';
import type { FuzzOrder, FuzzOutcome } from './worker.ts';

/** The order to run; see {@link FuzzOrder}. */
export type FuzzRequest = Pick<FuzzOrder, 'target' | 'seed'> &
  Partial<Pick<FuzzOrder, 'first' | 'cases' | 'time'>> & {
    /** Milliseconds without a new case until it counts as hanging; a minute unless given. */
    readonly patience?: number;
    /** Megabytes of heap; 512 unless given. */
    readonly heap?: number;
  };

/** A sound case takes a few milliseconds. */
const PATIENCE = 60_000;
const LOOK_EVERY = 500;
/** Megabytes of heap for all that a target keeps: its sound inputs, and one case. */
const HEAP_MB = 512;
const ENOUGH = 10;

/** Runs to the end of the order, or to the first case that the thread does not survive. */
export async function runFuzz({ patience = PATIENCE, heap = HEAP_MB, ...request }: FuzzRequest): Promise<FuzzOutcome> {
  const progress = new SharedArrayBuffer(8);
  const current = new BigInt64Array(progress);
  const order: FuzzOrder = { first: 0, cases: undefined, time: undefined, ...request, enough: ENOUGH, progress };
  const worker = new Worker(workerFile(), {
    workerData: order,
    resourceLimits: { maxOldGenerationSizeMb: heap },
  });
  const fatal = (problem: string): FuzzOutcome => {
    const number = Number(Atomics.load(current, 0)) - 1;
    const tally = { cases: number + 1 - order.first, accepted: 0, refused: {} };
    return { tally, findings: [{ target: order.target, seed: order.seed, number, problem, input: undefined }] };
  };
  let watch: NodeJS.Timeout | undefined;
  try {
    return await new Promise<FuzzOutcome>((resolve) => {
      let seen = -1n;
      let since = performance.now();
      watch = setInterval(() => {
        const at = Atomics.load(current, 0);
        if (at !== seen) {
          seen = at;
          since = performance.now();
        } else if (at > 0n && performance.now() - since > patience) resolve(fatal(`no end after ${patience} ms`));
      }, LOOK_EVERY);
      worker.on('message', resolve);
      worker.on('error', (error) => resolve(fatal(`the thread died: ${error.stack ?? error.message}`)));
      worker.on('exit', (code) => resolve(fatal(`the thread ended by itself with ${code}`)));
    });
  } finally {
    clearInterval(watch);
    await worker.terminate();
  }
}

/** The built worker; from the TypeScript sources (tests) the one in dist/, for Node 20 cannot run the source itself. */
function workerFile(): URL {
  const isSource = import.meta.url.endsWith('.ts');
  return new URL(isSource ? '../../dist/tests/fuzz/worker.js' : './worker.js', import.meta.url);
}
