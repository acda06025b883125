/** One piece of work for all who want it. */
import { expect, it } from 'vitest';
import { SingleFlight } from './single-flight.ts';

it('runs once for all who ask meanwhile, and again afterwards', async () => {
  const flights = new SingleFlight<number>();
  let runs = 0;
  const work = async () => {
    runs += 1;
    const run = runs;
    await Promise.resolve();
    return run;
  };
  expect(await Promise.all([flights.run('a', work), flights.run('a', work), flights.run('b', work)])).toEqual([
    1, 1, 2,
  ]);
  expect(await flights.run('a', work)).toBe(3);
  expect(flights.size).toBe(0);
});

it('one who gives up does not end it for the others; the last one does', async () => {
  const flights = new SingleFlight<string>();
  const first = new AbortController();
  const second = new AbortController();
  let aborted: unknown;
  const work = (signal: AbortSignal) =>
    new Promise<string>((_, reject) => {
      signal.addEventListener('abort', () => {
        aborted = signal.reason;
        reject(signal.reason);
      });
    });
  const one = flights.run('a', work, first.signal);
  const two = flights.run('a', work, second.signal);
  first.abort(new Error('first'));
  await expect(one).rejects.toThrow('first');
  expect(aborted).toBeUndefined();
  expect(flights.has('a')).toBe(true);
  second.abort(new Error('second'));
  await expect(two).rejects.toThrow('second');
  expect(aborted).toEqual(new Error('second'));
  expect(flights.has('a')).toBe(false);
});

it('a failure reaches all who wait, and is not remembered', async () => {
  const flights = new SingleFlight<number>();
  const fail = () => Promise.reject(new Error('no'));
  const both = await Promise.allSettled([flights.run('a', fail), flights.run('a', fail)]);
  expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect(await flights.run('a', () => Promise.resolve(7))).toBe(7);
});
