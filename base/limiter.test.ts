import { expect, test } from 'vitest';
import { awaitAll, Limiter } from './limiter.ts';

/** Resolves after a turn of the event loop. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test.each([
  { limit: 1, peak: 1 },
  { limit: 3, peak: 3 },
  { limit: 0, peak: 1 },
  { limit: 100, peak: 20 },
])('limit_$limit', async ({ limit, peak }) => {
  const limiter = new Limiter(limit);
  let running = 0;
  let most = 0;
  const order: number[] = [];
  const results = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      limiter.run(async () => {
        order.push(i);
        most = Math.max(most, ++running);
        await turn();
        running--;
        return i;
      }),
    ),
  );
  expect(most).toBe(peak);
  expect(order).toEqual(results);
});

test('a task that fails gives its place back', async () => {
  const limiter = new Limiter(1);
  const failed = limiter.run(() => Promise.reject(new Error('failed')));
  const next = limiter.run(async () => 'ran');
  await expect(failed).rejects.toThrow('failed');
  expect(await next).toBe('ran');
  expect(await limiter.run(async () => 'ran again')).toBe('ran again');
});

test('together_waits_for_all_and_throws_the_first_in_order', async () => {
  const ended: string[] = [];
  const task = async (name: string, turns: number, error?: Error): Promise<string> => {
    for (let i = 0; i < turns; i++) await turn();
    ended.push(name);
    if (error !== undefined) throw error;
    return name;
  };
  await expect(awaitAll([task('a', 3), task('b', 1), undefined])).resolves.toEqual(['a', 'b', undefined]);
  ended.length = 0;
  const failing = awaitAll([task('a', 5, new Error('of a')), task('b', 1, new Error('of b')), task('c', 9)]);
  await expect(failing).rejects.toThrow('of a');
  expect(ended).toEqual(['b', 'a', 'c']);
});
