/** Tasks of several processes with one queue on PostgreSQL: each runs in one of them at a time, and no more often than for one. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { POSTGRES_TOOLS, startPostgres, type TestPostgres } from '../../../tests/support/postgres.ts';
import { describeWith } from '../../../tests/support/tools.ts';
import { openPostgresQueue } from '../postgres.ts';
import type { Queue } from '../queue.ts';
import { type Schedule, type ScheduledTask, startSchedule } from './schedule.ts';

const INTERVAL = 1000;
const NAMES = ['reconcile', 'watch', 'prune'] as const;

describeWith({ tools: POSTGRES_TOOLS }, 'three processes on PostgreSQL', () => {
  let server: TestPostgres;
  const queues: Queue[] = [];
  const schedules: Schedule[] = [];
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterEach(async () => {
    for (const one of schedules.splice(0)) await one.drain(AbortSignal.timeout(100));
    for (const one of queues.splice(0)) await one.close();
  });
  afterAll(() => server?.stop());

  /** Starts three schedules of the same tasks; the names of the runs as they begin, with the most that ran at once of each. */
  const startThree = async (database: string, interval: number) => {
    const url = await server.database(database);
    const begun: string[] = [];
    const [running, most] = [new Map<string, number>(), new Map<string, number>()];
    const task = (name: ScheduledTask['name']): ScheduledTask => ({
      key: name,
      name,
      interval,
      run: async () => {
        begun.push(name);
        running.set(name, (running.get(name) ?? 0) + 1);
        most.set(name, Math.max(most.get(name) ?? 0, running.get(name)!));
        await delay(50);
        running.set(name, running.get(name)! - 1);
        return { tags: 1, changes: 0, problems: [] };
      },
    });
    for (let count = 0; count < 3; count += 1) {
      const queue = await openPostgresQueue({ url, connections: 4, log: () => undefined });
      queues.push(queue);
      const tasks = (): ScheduledTask[] => NAMES.map(task);
      schedules.push(startSchedule({ queue, tasks, isShared: true, log: () => undefined }));
      // Some start while the first run goes on, some after it.
      await delay(150);
    }
    const times = (): Record<string, number> =>
      Object.fromEntries(NAMES.map((name) => [name, begun.filter((one) => one === name).length]));
    return { times, most };
  };

  it('run every task once at their start, and go on together at its interval', async () => {
    const { times, most } = await startThree('once', 3_600_000);
    while (Object.values(times()).some((count) => count === 0)) await delay(50);
    // Each of them has looked for work several times by then.
    await delay(2000);
    expect(times()).toEqual({ reconcile: 1, watch: 1, prune: 1 });
    // SIGHUP of all three: it is not time yet.
    await Promise.all(schedules.map((one) => one.replan()));
    await delay(1500);
    expect(times()).toEqual({ reconcile: 1, watch: 1, prune: 1 });
    expect([...most.values()]).toEqual([1, 1, 1]);
  });

  it('run a task again and again, never two at a time', async () => {
    const started = performance.now();
    const { times, most } = await startThree('often', INTERVAL);
    while (Object.values(times()).some((count) => count < 3)) await delay(50);
    const longest = Math.ceil((performance.now() - started) / INTERVAL) + 1;
    for (const count of Object.values(times())) expect(count).toBeLessThanOrEqual(longest);
    expect([...most.values()]).toEqual([1, 1, 1]);
  });
});
