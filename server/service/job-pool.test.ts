/** The pool that runs jobs, over the embedded queue: draining, lost leases, ends that cannot be stored yet. */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type TempDirectory, tempDirectory } from '../../tests/support/tools.ts';
import { JobPool, type Outcome, type PoolOptions } from './job-pool.ts';
import { type NewJob, type Queue, QueueError } from './queue.ts';
import { openSqliteQueue } from './sqlite.ts';

let folder: TempDirectory;
let queue: Queue;
beforeEach(async () => {
  folder = await tempDirectory();
  queue = await openSqliteQueue({ path: join(folder.path, 'queue.db'), leaseTime: 4000 });
});
afterEach(async () => {
  await queue.close();
  await folder.remove();
});

const DONE: Outcome = { ending: { kind: 'done' } };
const job = (key: string): NewJob => ({ topic: 'convert', key, repository: 'r', data: null });
const pool = (run: PoolOptions['run'], more: Partial<PoolOptions> = {}): JobPool =>
  new JobPool({ queue, topic: 'convert', concurrency: 2, run, log: () => undefined, ...more });
const states = async (): Promise<string[]> =>
  (await queue.list({ topic: 'convert', limit: 100 }))
    .map((one) => `${one.key} ${one.state} ${one.attempts}`)
    .reverse();
const never = new AbortController().signal;

it('runs all jobs, two at a time', async () => {
  let most = 0;
  let begun = 0;
  let inside = 0;
  const running = pool(async () => {
    begun++;
    inside++;
    most = Math.max(most, inside);
    // The first waits for the second.
    while (begun < 2) await delay(5);
    inside--;
    return DONE;
  });
  await queue.add(Array.from({ length: 9 }, (_, index) => job(`k${index}`)));
  while ((await queue.figures()).waiting.convert + (await queue.figures()).running.convert > 0) await delay(10);
  expect([most, begun]).toEqual([2, 9]);
  await running.drain(never);
});

it('drains: what runs is finished, what waits stays', async () => {
  const gate = withResolvers();
  const running = pool(
    async () => {
      await gate.promise;
      return DONE;
    },
    { concurrency: 1 },
  );
  await queue.add([job('a'), job('b')]);
  while (running.size === 0) await delay(5);
  const drained = running.drain(never);
  gate.resolve();
  await drained;
  expect(await states()).toEqual(['a done 1', 'b waiting 0']);
});

it('puts back what does not end before the deadline, without an attempt', async () => {
  const running = pool(
    (_, __, stop) => new Promise((_, reject) => stop.addEventListener('abort', () => reject(stop.reason))),
  );
  await queue.add([job('a')]);
  while (running.size === 0) await delay(5);
  await running.drain(AbortSignal.abort());
  expect(await states()).toEqual(['a waiting 0']);
});

it('stops what it has no lease for any more', async () => {
  const stopped = withResolvers();
  const running = pool(
    (_, __, stop) =>
      new Promise((_, reject) => {
        stop.addEventListener('abort', () => {
          stopped.resolve();
          reject(stop.reason);
        });
      }),
  );
  const [added] = await queue.add([job('a')]);
  while (running.size === 0) await delay(5);
  await queue.cancel(added!.id);
  await stopped.promise;
  await running.drain(never);
  expect(await states()).toEqual(['a cancelled 1']);
});

it('keeps an end until the queue takes it', async () => {
  let refusals = 2;
  const full: Queue = Object.create(queue, {
    finish: {
      value: (...call: Parameters<Queue['finish']>) =>
        refusals-- > 0
          ? Promise.reject(new QueueError('full', 'the disk of the queue is full'))
          : queue.finish(...call),
    },
    take: { value: (...call: Parameters<Queue['take']>) => queue.take(...call) },
    renew: { value: (...call: Parameters<Queue['renew']>) => queue.renew(...call) },
    onWork: { value: (...call: Parameters<Queue['onWork']>) => queue.onWork(...call) },
  });
  const running = pool(async () => DONE, { queue: full });
  await queue.add([job('a')]);
  while (refusals > -1) await delay(10);
  await running.drain(never);
  expect(await states()).toEqual(['a done 1']);
});

it('parks a job whose worker has a defect', async () => {
  const running = pool(() => Promise.reject(new TypeError('not a function')));
  await queue.add([job('a')]);
  while ((await queue.figures()).failed.convert === 0) await delay(10);
  await running.drain(never);
  expect(await queue.list({ topic: 'convert', limit: 1 })).toMatchObject([{ failure: { code: 'internal' } }]);
});

function withResolvers(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
