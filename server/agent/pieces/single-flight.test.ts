/** One piece of work for all who want it. */
import { expect, it } from 'vitest';
import { DIRECT, PREFETCH } from '../urgency.ts';
import { type FlightWork, SingleFlight } from './single-flight.ts';

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

it('work that is worth finishing goes on when all have left, as urgent as before, and the next one joins it', async () => {
  const letGo: string[] = [];
  const flights = new SingleFlight<{ name: string }>({
    share: ({ name }) => ({ name: `${name} shared` }),
    letGo: ({ name }) => void letGo.push(name),
  });
  let end: (result: { name: string }) => void = () => undefined;
  const seen: { level?: () => number; isAwaited?: () => boolean; signal?: AbortSignal } = {};
  const work: FlightWork<{ name: string }> = (signal, urgency, course) => {
    course.keep();
    Object.assign(seen, { level: () => urgency.level, isAwaited: course.isAwaited, signal });
    return new Promise((resolve) => {
      end = resolve;
    });
  };
  const first = new AbortController();
  const left = flights.run('a', work, first.signal, DIRECT);
  first.abort(new Error('first'));
  await expect(left).rejects.toThrow('first');
  expect([flights.has('a'), seen.signal!.aborted, seen.isAwaited!(), seen.level!()]).toEqual([true, false, false, 0]);
  const next = flights.run('a', () => Promise.reject(new Error('begun again')), undefined, PREFETCH);
  expect([seen.isAwaited!(), seen.level!()]).toEqual([true, 2]);
  end({ name: 'result' });
  expect(await next).toEqual({ name: 'result shared' });
  await Promise.resolve();
  expect([flights.size, letGo]).toEqual([0, ['result']]);
});

it('lets go of a result that nobody waits for', async () => {
  const letGo: number[] = [];
  const flights = new SingleFlight<number>({ share: (result) => result, letGo: (result) => void letGo.push(result) });
  let end: (result: number) => void = () => undefined;
  const first = new AbortController();
  const work: FlightWork<number> = (_signal, _urgency, { keep }) => {
    keep();
    return new Promise((resolve) => {
      end = resolve;
    });
  };
  const left = flights.run('a', work, first.signal);
  first.abort(new Error('first'));
  await expect(left).rejects.toThrow('first');
  end(7);
  await expect.poll(() => letGo).toEqual([7]);
  expect(flights.has('a')).toBe(false);
});

it('work that nobody comes back for ends after its time', async () => {
  const flights = new SingleFlight<number>(undefined, 20);
  let ended: unknown;
  const first = new AbortController();
  const left = flights.run(
    'a',
    (signal, _urgency, { keep }) => {
      keep();
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          ended = signal.reason;
          reject(signal.reason);
        });
      });
    },
    first.signal,
  );
  first.abort(new Error('first'));
  await expect(left).rejects.toThrow('first');
  expect([flights.has('a'), ended]).toEqual([true, undefined]);
  await expect.poll(() => ended).toEqual(new Error('nobody waits for it'));
  expect(flights.has('a')).toBe(false);
});
