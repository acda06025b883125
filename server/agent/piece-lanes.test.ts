/** The order in which a node asks for pieces, and how many at once. */
import { describe, expect, it } from 'vitest';
import { ReadAhead } from './piece-lanes.ts';

const HOST = 'registry.example.com';
const FOREVER = new AbortController().signal;

/** Tasks that the test ends, and a clock that it moves. */
class Bench {
  now = 0;
  readonly ahead = new ReadAhead(() => this.now);
  /** Names of the tasks in the order in which they started. */
  readonly started: string[] = [];
  readonly #ends = new Map<string, () => void>();

  ask(name: string, position: number, signal = FOREVER, host = HOST): Promise<void> {
    const task = () =>
      new Promise<void>((resolve) => {
        this.started.push(name);
        this.#ends.set(name, resolve);
      });
    return this.ahead.run({ host, position }, task, signal);
  }

  async end(name: string, after = 0): Promise<void> {
    this.now += after;
    this.#ends.get(name)!();
    await settled();
  }
}

/** Everything that can happen now has happened. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

describe('pieces of one registry', () => {
  it('start with four at once, the lower layers first, those of one layer in their order', async () => {
    const bench = new Bench();
    for (const [name, position] of [
      ['c0', 2],
      ['a0', 0],
      ['a1', 0],
      ['b0', 1],
      ['c1', 2],
      ['b1', 1],
      ['a2', 0],
    ] as const)
      void bench.ask(name, position);
    await settled();
    expect(bench.started).toEqual(['c0', 'a0', 'a1', 'b0']);
    await bench.end('c0', 700);
    expect(bench.started.slice(4)).toEqual(['a2']);
    await bench.end('a0');
    expect(bench.started.slice(5)).toEqual(['b1']);
  });

  it('are asked for more at once while they come quickly, and fewer while they come slowly', async () => {
    const bench = new Bench();
    for (let index = 0; index < 20; index++) void bench.ask(`p${index}`, 0);
    await settled();
    await bench.end('p0', 100);
    expect(bench.ahead.limit(HOST)).toBe(5);
    expect(bench.started).toHaveLength(6);
    for (const name of ['p1', 'p2', 'p3']) await bench.end(name, 100);
    expect(bench.ahead.limit(HOST)).toBe(8);
    // All of these were asked for before the first of them came late.
    for (const name of ['p4', 'p5', 'p6', 'p7']) await bench.end(name, 1_500);
    expect(bench.ahead.limit(HOST)).toBe(4);
    expect(bench.started).toHaveLength(12);
  });

  it('are asked for as at the start when none has come for a while', async () => {
    const bench = new Bench();
    for (let index = 0; index < 6; index++) void bench.ask(`p${index}`, 0);
    await settled();
    await bench.end('p0', 100);
    expect(bench.ahead.limit(HOST)).toBe(5);
    for (const name of ['p1', 'p2', 'p3', 'p4', 'p5']) await bench.end(name);
    bench.now += 5_000;
    for (let index = 6; index < 16; index++) void bench.ask(`p${index}`, 0);
    await settled();
    expect(bench.started.slice(6)).toEqual(['p6', 'p7', 'p8', 'p9']);
  });

  it('do not wait for ever behind lower layers', async () => {
    const bench = new Bench();
    for (let index = 0; index < 4; index++) void bench.ask(`a${index}`, 0);
    void bench.ask('late', 9);
    for (let index = 4; index < 9; index++) void bench.ask(`a${index}`, 0);
    await settled();
    await bench.end('a0', 700);
    expect(bench.started.at(-1)).toBe('a4');
    await bench.end('a4', 30_000);
    await bench.end('a1');
    expect(bench.started).toContain('late');
  });

  it('do not wait for another registry', async () => {
    const bench = new Bench();
    for (let index = 0; index < 6; index++) void bench.ask(`a${index}`, 0);
    void bench.ask('other', 0, FOREVER, 'elsewhere');
    await settled();
    expect(bench.started).toContain('other');
  });

  it('leave their place when whoever wants them has gone', async () => {
    const bench = new Bench();
    const gone = new AbortController();
    for (let index = 0; index < 4; index++) void bench.ask(`a${index}`, 0);
    const left = bench.ask('left', 0, gone.signal);
    void bench.ask('next', 0);
    gone.abort(new Error('gone'));
    await expect(left).rejects.toThrow('gone');
    await bench.end('a0', 700);
    expect(bench.started.at(-1)).toBe('next');
  });
});
