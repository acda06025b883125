/** Urgent work goes first, also where it became urgent while it waited; prefetches pause while clients wait. */
import { describe, expect, it } from 'vitest';
import { type Clock, Slots, TokenBucket } from './limits.ts';
import { SingleFlight } from './pieces/single-flight.ts';
import { DIRECT, Foreground, mostUrgent, PREFETCH, STREAM, type Urgency, UrgencyQueue } from './urgency.ts';

/** A clock that moves only as far as somebody sleeps. */
function jumping(): Clock & { time: number } {
  const clock = {
    time: 0,
    now: () => clock.time,
    sleep: async (milliseconds: number) => {
      clock.time += milliseconds;
    },
  };
  return clock;
}

/** Lets everything run that waits for nothing but its turn. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('UrgencyQueue', () => {
  it('serves the most urgent first, equals in order, and drops who gave up', async () => {
    const queue = new UrgencyQueue<string>();
    const gone = new AbortController();
    const leaving = queue.wait('leaves', { urgency: DIRECT, signal: gone.signal });
    for (const [item, urgency] of [
      ['prefetch', PREFETCH],
      ['stream 1', STREAM],
      ['direct', DIRECT],
      ['stream 2', STREAM],
    ] as const)
      void queue.wait(item, { urgency, signal: undefined });
    gone.abort(new Error('left'));
    await expect(leaving).rejects.toThrow('left');
    expect([1, 2, 3, 4, 5].map(() => queue.next())).toEqual(['direct', 'stream 1', 'stream 2', 'prefetch', undefined]);
  });

  it('a prefetch that a client asks for meanwhile goes with the client’s urgency', () => {
    const queue = new UrgencyQueue<string>();
    const waiters = new Set<Urgency>([PREFETCH]);
    void queue.wait('other prefetch', { urgency: PREFETCH, signal: undefined });
    void queue.wait('wanted', { urgency: mostUrgent(waiters), signal: undefined });
    waiters.add(DIRECT);
    void queue.wait('stream', { urgency: STREAM, signal: undefined });
    expect([1, 2, 3].map(() => queue.next())).toEqual(['wanted', 'stream', 'other prefetch']);
  });
});

describe('bytes a second', () => {
  it.each([1, 8, 64])(
    'clients get the whole rate while they want it: %i of them, beside a prefetch',
    async (streams) => {
      const clock = jumping();
      const bucket = new TokenBucket(1_000_000, clock);
      const moved = { client: 0, prefetch: 0 };
      let over = false;
      const prefetch = (async () => {
        while (!over) {
          await bucket.take(50_000, undefined, PREFETCH);
          if (!over) moved.prefetch += 50_000;
        }
      })();
      const before = clock.time;
      await Promise.all(
        Array.from({ length: streams }, async () => {
          for (let part = 0; part < 128 / streams; part++) {
            await bucket.take(50_000);
            moved.client += 50_000;
          }
        }),
      );
      over = true;
      await prefetch;
      const rate = moved.client / ((clock.time - before) / 1000);
      expect(moved.client).toBe(6_400_000);
      // One stream leaves a gap after each of its pieces, which the prefetch may take.
      if (streams > 1) {
        expect(rate).toBeGreaterThan(950_000);
        expect(moved.prefetch).toBeLessThanOrEqual(moved.client * 0.05);
      }
      expect((moved.client + moved.prefetch) / ((clock.time - before) / 1000)).toBeLessThan(1_050_000);
    },
  );

  it.each([1, 2, 16, 64])(
    'pieces of 2 MiB keep the rate within 5 %% for %i streams, down to a slow one',
    async (streams) => {
      for (const rate of [1_000_000, 512_000_000]) {
        const clock = jumping();
        const bucket = new TokenBucket(rate, clock);
        const each = Math.ceil((rate * 8) / (2 ** 21 * streams)) + 4;
        await Promise.all(
          Array.from({ length: streams }, async () => {
            for (let piece = 0; piece < each; piece++) await bucket.take(2 ** 21);
          }),
        );
        // The last piece is on credit: its time comes with the next one.
        const found = ((streams * each - 1) * 2 ** 21) / (clock.time / 1000) / rate;
        expect(found).toBeGreaterThan(0.95);
        expect(found).toBeLessThan(1.05);
      }
    },
  );
});

describe('Slots', () => {
  it('gives the next slot to a flight that a client has joined', async () => {
    const slots = new Slots(1);
    const flights = new SingleFlight<string>();
    const order: string[] = [];
    let release: () => void = () => undefined;
    const held = slots.run(() => new Promise<void>((resolve) => (release = resolve)));
    const other = slots.run(async () => void order.push('other'), { urgency: PREFETCH });
    const work = (_: AbortSignal, urgency: Urgency) =>
      slots.run(async () => order.push('wanted'), { urgency }).then(() => 'done');
    const prefetch = flights.run('piece', work, undefined, PREFETCH);
    const stream = slots.run(async () => void order.push('stream'), { urgency: STREAM });
    const client = flights.run('piece', () => Promise.reject(new Error('a second flight')), undefined, DIRECT);
    release();
    await Promise.all([held, other, prefetch, stream, client]);
    expect(order).toEqual(['wanted', 'stream', 'other']);
  });
});

describe('Foreground', () => {
  it('prefetches pause while clients wait, and go on after the last', async () => {
    const foreground = new Foreground();
    const ends: (() => void)[] = [];
    const work = () => foreground.during(STREAM, () => new Promise<void>((resolve) => ends.push(resolve)));
    const clients = [work(), work()];
    let passed = false;
    const prefetch = foreground.pass(PREFETCH).then(() => {
      passed = true;
    });
    await foreground.pass(STREAM);
    ends[0]!();
    await clients[0];
    await settle();
    expect({ passed, active: foreground.active, paused: foreground.paused }).toEqual({
      passed: false,
      active: 1,
      paused: 1,
    });
    ends[1]!();
    await clients[1];
    await settle();
    // The client may come back at once.
    expect({ passed, active: foreground.active }).toEqual({ passed: false, active: 0 });
    await prefetch;
    expect({ active: foreground.active, paused: foreground.paused }).toEqual({ active: 0, paused: 0 });
  });

  it('a running prefetch hears of a client that begins to wait, unless that waits for it', async () => {
    const foreground = new Foreground();
    const left: string[] = [];
    const waiters = new Set<Urgency>([PREFETCH]);
    const wanted = foreground.whenHeld(mostUrgent(waiters), () => left.push('wanted'));
    const other = foreground.whenHeld(PREFETCH, () => left.push('other'));
    const stream = foreground.whenHeld(STREAM, () => left.push('stream'));
    await foreground.during(DIRECT, async () => void waiters.add(DIRECT));
    for (const end of [wanted, other, stream]) end();
    await foreground.during(DIRECT, async () => undefined);
    expect(left).toEqual(['other']);
  });

  it('what pauses goes on when a client comes to wait for it, and hears when its caller gives up', async () => {
    const foreground = new Foreground();
    let end: () => void = () => undefined;
    const client = foreground.during(STREAM, () => new Promise<void>((resolve) => (end = resolve)));
    const waiters = new Set<Urgency>([PREFETCH]);
    const joined = foreground.pass(mostUrgent(waiters));
    const second = foreground.during(DIRECT, async () => void waiters.add(DIRECT));
    await Promise.all([joined, second]);
    const gone = new AbortController();
    const given = foreground.pass(PREFETCH, gone.signal);
    gone.abort(new Error('left'));
    await expect(given).rejects.toThrow('left');
    end();
    await client;
  });
});
