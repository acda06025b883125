/** Token buckets by a clock of the test's own, and slots. */
import { describe, expect, it } from 'vitest';
import { type Clock, Slots, TokenBucket } from './limits.ts';
import { STREAM } from './urgency.ts';

/** A clock that jumps to the end of each sleep. */
function jumping(): Clock & { time: number } {
  const clock = {
    time: 0,
    now: () => clock.time,
    sleep: (milliseconds: number) => {
      clock.time += milliseconds;
      return Promise.resolve();
    },
  };
  return clock;
}

describe('TokenBucket', () => {
  it.each([1, 2, 16, 64])('moves its rate within 5 %% for %i streams', async (streams) => {
    const clock = jumping();
    const bucket = new TokenBucket(1_000_000, clock);
    const each = 6_400_000 / streams;
    await Promise.all(
      Array.from({ length: streams }, async () => {
        for (let moved = 0; moved < each; moved += 100_000) await bucket.take(100_000);
      }),
    );
    expect(6_400_000 / (clock.time / 1000)).toBeGreaterThan(950_000);
    expect(6_400_000 / (clock.time / 1000)).toBeLessThan(1_050_000);
  });

  it('counts nothing that was given back, and saves up no more for it', async () => {
    const clock = jumping();
    const bucket = new TokenBucket(1000, clock);
    await bucket.take(5000);
    bucket.giveBack(5000);
    await bucket.take(100);
    expect(clock.time).toBe(0);
    for (let index = 0; index < 10; index++) bucket.giveBack(5000);
    for (let index = 0; index < 10; index++) await bucket.take(100);
    expect(clock.time).toBeGreaterThan(700);
  });

  it('does not save up for long', async () => {
    const clock = jumping();
    const bucket = new TokenBucket(1000, clock);
    clock.time = 3_600_000;
    for (let index = 0; index < 10; index++) await bucket.take(100);
    expect(clock.time).toBeGreaterThan(3_600_000 + 700);
  });

  it('one who gives up hears it at once, pays nothing and keeps nobody waiting', async () => {
    const clock = jumping();
    let wake: () => void = () => undefined;
    const bucket = new TokenBucket(1000, {
      ...clock,
      sleep: () =>
        new Promise((resolve) => {
          wake = resolve;
        }),
    });
    await bucket.take(1000);
    const waiting = bucket.take(1);
    const gone = new AbortController();
    const given = bucket.take(1e9, gone.signal);
    gone.abort(new Error('left'));
    await expect(given).rejects.toThrow('left');
    clock.time = 1000;
    wake();
    await waiting;
    expect(bucket.waiting).toBe(0);
  });
});

describe('Slots', () => {
  it('holds its bound, serves urgent ones first, and refuses when too many wait', async () => {
    const slots = new Slots(1, 2);
    const order: string[] = [];
    let release: () => void = () => undefined;
    const first = slots.run(() => new Promise<void>((resolve) => (release = resolve)));
    const patient = slots.run(async () => void order.push('patient'), { urgency: STREAM });
    const urgent = slots.run(async () => void order.push('urgent'));
    expect(await slots.run(async () => 'too many')).toBeUndefined();
    expect(slots).toMatchObject({ held: 1, waiting: 2 });
    release();
    await Promise.all([first, patient, urgent]);
    expect(order).toEqual(['urgent', 'patient']);
    expect(slots).toMatchObject({ held: 0, waiting: 0 });
  });

  it('frees the slot of a task that fails, and the place of one that gives up', async () => {
    const slots = new Slots(1);
    await expect(slots.run(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    let release: () => void = () => undefined;
    const first = slots.run(() => new Promise<void>((resolve) => (release = resolve)));
    const gone = new AbortController();
    const given = slots.run(async () => undefined, { signal: gone.signal });
    gone.abort(new Error('left'));
    await expect(given).rejects.toThrow('left');
    release();
    await first;
    expect(slots).toMatchObject({ held: 0, waiting: 0 });
  });
});
