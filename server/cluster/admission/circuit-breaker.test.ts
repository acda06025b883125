import { beforeEach, describe, expect, it } from 'vitest';
import { type BreakerState, CircuitBreaker } from './circuit-breaker.ts';
import { ModeBreaker } from './mode-breaker.ts';

describe('a breaker of three failures in a minute, with a cooldown of five', () => {
  let time = 0;
  let states: BreakerState[];
  let breaker: CircuitBreaker;
  beforeEach(() => {
    time = 0;
    states = [];
    const onChange = (state: BreakerState) => void states.push(state);
    breaker = new CircuitBreaker({ failures: 3, window: 60_000, cooldown: 300_000, now: () => time, onChange });
  });
  const fail = (...pods: string[]) => {
    for (const pod of pods) breaker.failed(pod);
  };

  it('opens with the third pod, not with the third failure of one', () => {
    fail('a', 'a', 'a', 'b');
    expect(breaker.state).toBe('closed');
    fail('c');
    expect(breaker.state).toBe('open');
  });

  it('forgets failures that are older than the window', () => {
    fail('a', 'b');
    time = 60_001;
    fail('c');
    expect(breaker.state).toBe('closed');
    fail('d', 'e');
    expect(breaker.state).toBe('open');
  });

  it('is tried after the cooldown, and closed after a window without a failure', () => {
    fail('a', 'b', 'c');
    time = 299_999;
    expect(breaker.state).toBe('open');
    time = 300_000;
    expect(breaker.state).toBe('trial');
    time = 359_999;
    expect(breaker.state).toBe('trial');
    time = 360_000;
    expect(breaker.state).toBe('closed');
    expect(states).toEqual(['open', 'trial', 'closed']);
    fail('a', 'b');
    expect(breaker.state).toBe('closed');
  });

  it('opens for twice as long with the first failure of a trial, up to twelve times the first', () => {
    fail('a', 'b', 'c');
    const lengths: number[] = [];
    for (let turn = 0; turn < 6; turn++) {
      const opened = time;
      while (breaker.state === 'open') time += 10_000;
      lengths.push((time - opened) / 300_000);
      fail('x');
      expect(breaker.state).toBe('open');
    }
    expect(lengths).toEqual([1, 2, 4, 8, 12, 12]);
  });

  it('ignores failures while it is open: they are of pods that were made before', () => {
    fail('a', 'b', 'c');
    time = 200_000;
    fail('d', 'e', 'f');
    time = 300_000;
    expect(breaker.state).toBe('trial');
  });
});

describe('the breakers of a mode', () => {
  let time = 0;
  let breaker: ModeBreaker;
  beforeEach(() => {
    time = 0;
    breaker = new ModeBreaker({ failures: 3, window: 60_000, cooldown: 300_000, now: () => time });
  });

  it('end the rewriting of one namespace by failures of it alone, however many', () => {
    for (let pod = 0; pod < 100; pod++) breaker.failed(`pod-${pod}`, 'loud');
    expect(breaker.isOpen('loud')).toBe(true);
    expect(breaker.isOpen('quiet')).toBe(false);
    expect(breaker.state).toBe('open');
  });

  it('end it everywhere by failures of two namespaces, and try it again with two', () => {
    breaker.failed('a', 'one');
    breaker.failed('b', 'one');
    expect(breaker.isOpen('three')).toBe(false);
    breaker.failed('c', 'two');
    expect(breaker.isOpen('three')).toBe(true);
    time = 300_000;
    expect(breaker.isOpen('three')).toBe(false);
    breaker.failed('d', 'one');
    expect(breaker.isOpen('three')).toBe(false);
    breaker.failed('e', 'two');
    expect(breaker.isOpen('three')).toBe(true);
  });

  it("do not take one namespace's word for the pods of another", () => {
    breaker.failed('a', 'one');
    breaker.failed('b', 'one');
    for (let turn = 0; turn < 3; turn++) for (const pod of ['a', 'b']) breaker.failed(pod, 'one');
    breaker.failed('a', 'two');
    expect(breaker.isOpen('three')).toBe(true);
  });
});
