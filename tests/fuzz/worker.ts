/** The thread in which cases run, so that one that hangs or takes all memory can be seen and ended from outside. */
import { setImmediate } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { type Finding, type FuzzTally, runCase } from './engine.ts';
import { TARGETS } from './targets/index.ts';
import { selfTestTarget } from './targets/self-test.ts';

/** The message to the thread. */
export interface FuzzOrder {
  readonly target: string;
  readonly seed: number;
  /** Number of the first case. */
  readonly first: number;
  /** Cases to run; without end if undefined. */
  readonly cases: number | undefined;
  /** Milliseconds after which no new case begins; without end if undefined. */
  readonly time: number | undefined;
  /** Findings after which it stops. */
  readonly enough: number;
  /** One number: the case that is being run. */
  readonly progress: SharedArrayBuffer;
}

/** Its answer in the end. */
export interface FuzzOutcome {
  readonly tally: FuzzTally;
  readonly findings: readonly Finding[];
}

const order = workerData as FuzzOrder;
const target = [...TARGETS, selfTestTarget].find(({ name }) => name === order.target);
if (target === undefined) throw new Error(`no target ${order.target}`);
const progress = new BigInt64Array(order.progress);
const tally: FuzzTally = { cases: 0, accepted: 0, refused: {} };
const findings: Finding[] = [];
const subject = await target.open();
const started = performance.now();
for (let i = 0; order.cases === undefined || i < order.cases; i++) {
  if (order.time !== undefined && performance.now() - started >= order.time) break;
  Atomics.store(progress, 0, BigInt(order.first + i + 1));
  const finding = await runCase(target, subject, { seed: order.seed, number: order.first + i }, tally);
  if (finding !== undefined) findings.push(finding);
  if (findings.length >= order.enough) break;
  // Node frees what is behind its own objects, such as a zlib that failed, in turns of the event loop alone.
  if (i % 64 === 63) await setImmediate();
}
await subject.close?.();
parentPort!.postMessage({ tally, findings } satisfies FuzzOutcome);
