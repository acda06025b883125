import { createServer } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { fetchBytes } from '../oci/content.ts';
import { blob, noise } from '../oci/contract.ts';
import { openRegistry } from '../oci/registry/registry-target.ts';
import { listen } from '../tests/support/loopback.ts';
import { Throttle, type ThrottleLimits } from './throttle.ts';

/** A clock that moves by waiting alone. */
function virtualClock() {
  const clock = {
    time: 0,
    now: () => clock.time,
    sleep: async (milliseconds: number, signal?: AbortSignal) => {
      signal?.throwIfAborted();
      const end = clock.time + milliseconds;
      await new Promise((resolve) => setImmediate(resolve));
      clock.time = Math.max(clock.time, end);
    },
  };
  return clock;
}

describe('requests', () => {
  it('are spaced evenly, for each host by itself', async () => {
    const clock = virtualClock();
    const throttle = new Throttle({ requests: 4 }, clock);
    const left: [string, number][] = [];
    for (const host of ['a', 'a', 'b', 'a', 'b']) {
      await throttle.request(host);
      left.push([host, clock.time]);
    }
    expect(left).toEqual([
      ['a', 0],
      ['a', 250],
      ['b', 250],
      ['a', 500],
      ['b', 500],
    ]);
  });

  it('late timers do not add up', async () => {
    const clock = virtualClock();
    const late = { now: clock.now, sleep: (wait: number) => clock.sleep(wait + 9) };
    const throttle = new Throttle({ requests: 100 }, late);
    await throttle.request('a');
    // All at once, as many readers ask.
    await Promise.all(Array.from({ length: 1000 }, () => throttle.request('a')));
    expect(clock.time).toBe(10_009);
  });

  it('time that passed without requests is no credit', async () => {
    const clock = virtualClock();
    const throttle = new Throttle({ requests: 1 }, clock);
    await throttle.request('a');
    clock.time = 60_000;
    await throttle.request('a');
    await throttle.request('a');
    expect(clock.time).toBe(61_000);
  });

  it('a wait ends with its signal', async () => {
    const throttle = new Throttle({ requests: 0.1 });
    await throttle.request('a');
    const controller = new AbortController();
    const waiting = throttle.request('a', controller.signal);
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });

  it('hosts whose turn is over are dropped', async () => {
    const clock = virtualClock();
    const throttle = new Throttle({ requests: 1000 }, clock);
    for (let host = 0; host < 10_000; host++) {
      clock.time += 1;
      await throttle.request(String(host));
    }
    expect(throttle.hosts).toBeLessThanOrEqual(256);
  });
});

describe('bytes', () => {
  it('many readers share the rate', async () => {
    const clock = virtualClock();
    const throttle = new Throttle({ bytes: 1_000_000 }, clock);
    const read = async () => {
      for (let chunk = 0; chunk < 100; chunk++) await throttle.bytes(10_000);
    };
    await Promise.all([read(), read(), read(), read(), read()]);
    // Five million bytes; the last chunk may move at its turn.
    expect(clock.time).toBe(4990);
  });

  it('a chunk is sent in parts of an eighth of a second', () => {
    const throttle = new Throttle({ bytes: 80_000 });
    const sizes = [...throttle.parts(new Uint8Array(25_000))].map(({ length }) => length);
    expect(sizes).toEqual([10_000, 10_000, 5000]);
    expect([...new Throttle({}).parts(new Uint8Array(25_000))]).toHaveLength(1);
  });
});

/** A throttle that knows the bytes of its last turn: how a body comes in chunks is the socket's affair. */
class WatchedThrottle extends Throttle {
  last = 0;

  override bytes(bytes: number, signal?: AbortSignal): Promise<void> {
    this.last = bytes;
    return super.bytes(bytes, signal);
  }
}

describe('a registry', () => {
  const stops: (() => unknown)[] = [];
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop();
  });

  /** A registry that takes and serves blobs, counts requests and bytes, and a client of it. */
  async function start(limits: ThrottleLimits) {
    const clock = virtualClock();
    const throttle = new WatchedThrottle(limits, clock);
    const content = noise(400_000, 1);
    const seen: { time: number; method: string }[] = [];
    let received = 0;
    const server = createServer((request, response) => {
      seen.push({ time: clock.time, method: request.method! });
      request.on('data', (chunk: Buffer) => (received += chunk.length));
      request.on('end', () => {
        if (request.method === 'GET') response.end(content);
        else if (request.method === 'HEAD') response.writeHead(404).end();
        else response.writeHead(request.method === 'POST' ? 202 : 201, { location: '/v2/app/blobs/uploads/1' }).end();
      });
    });
    const { host, stop } = await listen(server);
    const target = await openRegistry(
      { registry: host, repository: 'app' },
      { plain: true, env: { HOME: '/nonexistent' }, throttle },
    );
    stops.push(() => target.close(), stop);
    return { clock, target, seen, content, received: () => received, last: () => throttle.last };
  }

  it('gets the requests of many readers at their rate', async () => {
    const { clock, target, seen, content } = await start({ requests: 10 });
    await Promise.all(Array.from({ length: 41 }, () => fetchBytes(target, blob(content), 1e6)));
    expect(seen).toHaveLength(41);
    expect(clock.time).toBe(4000);
  });

  it('sends its bytes at their rate', async () => {
    const { clock, target, content, last } = await start({ bytes: 100_000 });
    for (let time = 0; time < 5; time++) await fetchBytes(target, blob(content), 1e6);
    // Two million bytes; nothing waits for the time that the last chunk takes.
    expect(clock.time).toBeCloseTo(20_000 - last() / 100, 3);
  });

  it('gets its bytes at their rate, in both directions together', async () => {
    const { clock, target, content, received, last } = await start({ bytes: 100_000 });
    const pushed = noise(600_000, 2);
    const source = { open: () => [pushed.subarray(0, 300_000), pushed.subarray(300_000)] };
    await target.push(blob(pushed), source as never);
    await fetchBytes(target, blob(content), 1e6);
    expect(received()).toBe(600_000);
    expect(clock.time).toBeCloseTo(10_000 - last() / 100, 3);
  });
});
