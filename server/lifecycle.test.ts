import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { parseConfig } from './config/load.ts';
import { Lifecycle } from './lifecycle.ts';

function setUp(drain = 60_000) {
  const signals = new EventEmitter();
  const log: string[] = [];
  const lifecycle = new Lifecycle({ signals, drain, log: (line) => log.push(line) });
  return { signals, log, lifecycle };
}

describe('a signal', () => {
  it.each(['SIGTERM', 'SIGINT'])('%s drains: parts stop in reverse order, one after the other', async (signal) => {
    const { signals, lifecycle } = setUp();
    const order: string[] = [];
    for (const name of ['metrics', 'queue', 'workers']) {
      lifecycle.started(name, async () => {
        order.push(`${name} stops`);
        await new Promise((resolve) => setImmediate(resolve));
        order.push(`${name} has stopped`);
      });
    }
    const running = lifecycle.run();
    expect(lifecycle.draining.aborted).toBe(false);
    signals.emit(signal, signal);
    expect(lifecycle.draining.aborted).toBe(true);
    await running;
    expect(order).toEqual(['workers', 'queue', 'metrics'].flatMap((name) => [`${name} stops`, `${name} has stopped`]));
    expect(lifecycle.stopped.aborted).toBe(false);
  });

  it('a second one stops at once, and the other parts still stop', async () => {
    const { signals, lifecycle } = setUp();
    const stopped: string[] = [];
    lifecycle.started('metrics', () => void stopped.push('metrics'));
    lifecycle.started('workers', (signal) => {
      signal.addEventListener('abort', () => stopped.push('workers heard of it'));
      return new Promise(() => undefined);
    });
    const running = lifecycle.run();
    signals.emit('SIGTERM', 'SIGTERM');
    await new Promise((resolve) => setImmediate(resolve));
    signals.emit('SIGINT', 'SIGINT');
    await expect(running).rejects.toMatchObject({ code: 'aborted', where: { part: 'workers' } });
    expect(stopped).toEqual(['workers heard of it', 'metrics']);
  });

  it('the end of the time for draining stops too', async () => {
    const { lifecycle, log } = setUp(1);
    lifecycle.started('workers', () => new Promise(() => undefined));
    lifecycle.drain();
    await expect(lifecycle.run()).rejects.toMatchObject({ code: 'aborted' });
    expect(log).toEqual(['stopping at once: not finished after 1 ms']);
  });

  it('a part that fails to stop is reported after all have stopped', async () => {
    const { lifecycle, log } = setUp();
    const stopped: string[] = [];
    lifecycle.started('metrics', () => void stopped.push('metrics'));
    lifecycle.started('queue', () => Promise.reject(new Error('disk full')));
    lifecycle.drain();
    await expect(lifecycle.run()).rejects.toMatchObject({ code: 'internal', message: 'disk full' });
    expect(stopped).toEqual(['metrics']);
    expect(log).toEqual(['stopping queue failed: disk full']);
  });

  it('handlers are gone afterwards', async () => {
    const { signals, lifecycle } = setUp();
    await lifecycle[Symbol.asyncDispose]();
    expect(signals.eventNames()).toEqual([]);
  });
});

describe('SIGHUP', () => {
  it('reads the configuration again, one reading after the other', async () => {
    const { signals, lifecycle, log } = setUp();
    const order: string[] = [];
    lifecycle.onReload(async () => {
      order.push('begins');
      await new Promise((resolve) => setImmediate(resolve));
      order.push('ends');
    });
    signals.emit('SIGHUP', 'SIGHUP');
    signals.emit('SIGHUP', 'SIGHUP');
    await lifecycle[Symbol.asyncDispose]();
    expect(order).toEqual(['begins', 'ends', 'begins', 'ends']);
    expect(log).toEqual(Array(2).fill('SIGHUP: configuration read again'));
  });

  it('one that fails changes nothing, and the next one is heard', async () => {
    const { signals, lifecycle, log } = setUp();
    let calls = 0;
    lifecycle.onReload(() => {
      calls++;
      if (calls === 1) throw new Error('line 3');
    });
    signals.emit('SIGHUP', 'SIGHUP');
    signals.emit('SIGHUP', 'SIGHUP');
    await lifecycle[Symbol.asyncDispose]();
    expect(log).toEqual(['SIGHUP: the configuration stays as it was: line 3', 'SIGHUP: configuration read again']);
  });
});

it('a reload that fails has the place of the error in its line', async () => {
  const { signals, lifecycle, log } = setUp();
  lifecycle.onReload(() => void parseConfig('drian: 5s\nagent: 1\n', 'accel.yaml'));
  signals.emit('SIGHUP', 'SIGHUP');
  await lifecycle[Symbol.asyncDispose]();
  expect(log).toEqual([
    'SIGHUP: the configuration stays as it was: invalid configuration, 2 problems: line 1, column 1: unknown key "drian"; ' +
      'did you mean "drain"?; line 2, column 8: "agent" must be a section of keys, found a whole number ' +
      '(file accel.yaml, line 1). docs/configuration.md lists every key.',
  ]);
});

it('is ready when every part is, and not while it ends', () => {
  const { lifecycle } = setUp();
  lifecycle.setReady('peers', 'no view yet');
  lifecycle.setReady('cache', 'being read');
  expect(lifecycle.unready()).toEqual(['peers: no view yet', 'cache: being read']);
  lifecycle.setReady('peers');
  lifecycle.setReady('cache');
  expect(lifecycle.unready()).toEqual([]);
  lifecycle.drain();
  expect(lifecycle.unready()).toEqual(['shutting down']);
});
