/** Totals of conversions by repository, from what the queue has. */
import { expect, it, vi } from 'vitest';
import type { Job, JobState, Queue } from './queue.ts';
import { summarizeRepositories } from './repositories.ts';

let ids = 0;
/** A conversion; jobs are given newest first. */
function conversion(image: string, state: JobState, more: Partial<Job> = {}): Job {
  const [repository, tag] = image.split(':') as [string, string];
  const rule = { number: 1, identity: 'x', options: { mode: 'full', platforms: [], verify: 'off' } };
  const data = { repository, tag, rule, from: 'api' };
  ids += 1;
  return {
    id: `${ids}`,
    topic: 'convert',
    key: image,
    repository,
    data,
    state,
    attempts: 1,
    created: 0,
    ...more,
  } as Job;
}
const made = (image: string, source: number, size: number, finished: number): Job =>
  conversion(image, 'done', {
    finished,
    result: { source: { size: source }, tags: [{ size }, { size: 7 }] } as never,
  });

/** A queue that pages through these jobs. */
function queueOf(jobs: readonly Job[]) {
  const list = vi.fn<Queue['list']>(async ({ after, limit }) => {
    const from = after === undefined ? 0 : jobs.findIndex(({ id }) => id === after) + 1;
    return jobs.slice(from, from + limit);
  });
  return { queue: { list } as unknown as Queue, list };
}

it('the newest conversion of a tag counts, and one that was given up does not', async () => {
  const { queue } = queueOf([
    conversion('r.io/b:1', 'superseded'),
    conversion('r.io/b:1', 'cancelled'),
    conversion('r.io/b:1', 'failed'),
    made('r.io/b:1', 1000, 500, 1),
    conversion('r.io/b:2', 'running'),
    conversion('r.io/b:3', 'waiting'),
    made('r.io/a:1', 100, 60, 2000),
    conversion('r.io/a:1', 'failed'),
    made('r.io/a:2', 10, 6, 5000),
  ]);
  expect(await summarizeRepositories(queue)()).toEqual({
    complete: true,
    repositories: [
      {
        ...{ repository: 'r.io/a', images: 2, converted: 2, failed: 0, pending: 0 },
        ...{ sourceBytes: 110, acceleratedBytes: 66, lastFinished: '1970-01-01T00:00:05.000Z' },
      },
      {
        ...{ repository: 'r.io/b', images: 3, converted: 0, failed: 1, pending: 2 },
        ...{ sourceBytes: 0, acceleratedBytes: 0 },
      },
    ],
  });
});

it('looks at 20,000 conversions, and says where there are more', async () => {
  const jobs = Array.from({ length: 20_001 }, (_, index) => conversion(`r.io/a:${index}`, 'waiting'));
  const some = queueOf(jobs.slice(0, 19_999));
  expect((await summarizeRepositories(some.queue)()).complete).toBe(true);
  const all = queueOf(jobs);
  expect(await summarizeRepositories(all.queue)()).toMatchObject({
    complete: false,
    repositories: [{ images: 20_000 }],
  });
  expect(all.list).toHaveBeenCalledTimes(40);
});

it('adds up once for all that ask within five seconds, and again after a failure', async () => {
  const { queue, list } = queueOf([conversion('r.io/a:1', 'waiting')]);
  const summary = summarizeRepositories(queue);
  list.mockRejectedValueOnce(new Error('no'));
  await expect(Promise.all([summary(), summary()])).rejects.toThrow('no');
  expect(list).toHaveBeenCalledTimes(1);
  await Promise.all([summary(), summary(), summary()]);
  expect(list).toHaveBeenCalledTimes(2);
  vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 5001);
  await summary();
  vi.restoreAllMocks();
  expect(list).toHaveBeenCalledTimes(3);
});
