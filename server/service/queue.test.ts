/** One suite over both queues: the embedded one, and PostgreSQL. The tests of one of them alone are at the end. */
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { POSTGRES_TOOLS, startPostgres, type TestPostgres } from '../../tests/support/postgres.ts';
import { describeWith, type TempDirectory, tempDirectory } from '../../tests/support/tools.ts';
import { openPostgresQueue } from './postgres.ts';
import { type Failure, type Lease, MAX_DATA, type NewJob, type Queue, type Topic } from './queue.ts';
import { MAX_LOST } from './retries.ts';
import { openSqliteQueue } from './sqlite.ts';

interface Settings {
  readonly leaseTime?: number;
  readonly history?: number;
}

/** A store that several queues, one after another or at once, are opened on. */
interface Backend {
  readonly name: string;
  /** Another empty store. */
  fresh(): Promise<void>;
  open(settings?: Settings): Promise<Queue>;
}

const FAILURE: Failure = { code: 'registry-error', message: 'HTTP 500', temporary: true };
const job = (key: string, more: Partial<NewJob> = {}): NewJob => ({
  topic: 'convert',
  key,
  repository: 'r.io/app',
  data: { key },
  ...more,
});
const keys = (leases: readonly Lease[]): string[] => leases.map((lease) => lease.job.key).sort();

/** Takes until something is due. */
async function takeSoon(queue: Queue, topic: Topic, limit = 1): Promise<Lease[]> {
  for (let tries = 0; tries < 1200; tries++) {
    const leases = await queue.take(topic, limit);
    if (leases.length > 0) return leases;
    await delay(50);
  }
  throw new Error('nothing became due');
}

function suite(backend: Backend): void {
  const open: Queue[] = [];
  const opened = async (settings?: Settings): Promise<Queue> => {
    const queue = await backend.open(settings);
    open.push(queue);
    return queue;
  };
  const start = async (settings?: Settings): Promise<Queue> => {
    await backend.fresh();
    return opened(settings);
  };
  const close = async (queue: Queue): Promise<void> => {
    open.splice(open.indexOf(queue), 1);
    await queue.close();
  };
  afterEach(async () => {
    for (const queue of open.splice(0)) await queue.close();
  });

  it('a job is added, taken once, done, and kept in the history', async () => {
    const queue = await start();
    const [added] = await queue.add([job('a', { data: { deep: ['ü', 1.5, null, true] } })]);
    expect(added?.outcome).toBe('added');
    expect(await queue.get(added!.id)).toMatchObject({ state: 'waiting', attempts: 0, key: 'a' });
    const [lease] = await queue.take('convert', 10);
    expect(lease?.job).toMatchObject({
      id: added!.id,
      state: 'running',
      attempts: 1,
      data: { deep: ['ü', 1.5, null, true] },
    });
    expect(await queue.take('convert', 10)).toEqual([]);
    expect(await queue.renew(lease!, { read: 7 })).toBe(true);
    expect(await queue.get(added!.id)).toMatchObject({ state: 'running', progress: { read: 7 } });
    expect(await queue.finish(lease!, { kind: 'done', result: { tags: ['x'] } })).toBe(true);
    const done = await queue.get(added!.id);
    expect(done).toMatchObject({ state: 'done', result: { tags: ['x'] }, attempts: 1 });
    expect(done?.progress).toBeUndefined();
    expect(done!.finished! - done!.created).toBeGreaterThanOrEqual(0);
    expect(await queue.finish(lease!, { kind: 'done' })).toBe(false);
  });

  it('jobs are taken in the order of their coming, at most as many as asked for', async () => {
    const queue = await start();
    for (const key of ['c', 'a', 'b']) await queue.add([job(key)]);
    const taken = [...(await queue.take('convert', 2)), ...(await queue.take('convert', 2))];
    expect(taken.map((lease) => lease.job.key)).toEqual(['c', 'a', 'b']);
  });

  it('twenty events are one while they wait, and one more while it runs, after it', async () => {
    const queue = await start();
    const event = job('r.io/app:1', { topic: 'event' });
    const added = await Promise.all(Array.from({ length: 20 }, () => queue.add([event])));
    expect(new Set(added.map(([one]) => one!.id)).size).toBe(1);
    expect(added.filter(([one]) => one!.outcome === 'added')).toHaveLength(1);
    const [first] = await queue.take('event', 10);
    const [later] = await queue.add([event]);
    expect(later?.outcome).toBe('added');
    expect((await queue.add([event]))[0]).toEqual({ id: later!.id, outcome: 'coalesced' });
    // Not at once with the first.
    expect(await queue.take('event', 10)).toEqual([]);
    await queue.finish(first!, { kind: 'done' });
    expect((await takeSoon(queue, 'event'))[0]?.job.id).toBe(later!.id);
    expect(await queue.get(first!.job.id)).toBeUndefined();
  });

  it('a conversion is one with a running one of its key, and after its end another', async () => {
    const queue = await start();
    const [{ id } = { id: '' }] = await queue.add([job('a')]);
    const [lease] = await queue.take('convert', 1);
    expect(await queue.add([job('a')])).toEqual([{ id, outcome: 'coalesced' }]);
    await queue.finish(lease!, { kind: 'done' });
    expect((await queue.add([job('a')]))[0]?.outcome).toBe('added');
  });

  it('of a lane one job runs at a time, also where many are taken at once', async () => {
    const queue = await start();
    for (const [key, lane] of ['al', 'bl', 'cm'].map((pair) => pair.split('')))
      await queue.add([job(key!, { lane: lane! })]);
    const first = await queue.take('convert', 10);
    // Of the jobs of a lane that one fetch finds, pg-boss takes the one with the lowest id.
    expect([
      ['a', 'c'],
      ['b', 'c'],
    ]).toContainEqual(keys(first));
    const one = first.find((lease) => lease.job.key !== 'c')!;
    expect(await queue.take('convert', 10)).toEqual([]);
    await queue.finish(one, { kind: 'done' });
    expect(keys(await takeSoon(queue, 'convert', 10))).toEqual([one.job.key === 'a' ? 'b' : 'a']);
  });

  it('what may pass is tried again when its time has come, with the reason of the last failure', async () => {
    const queue = await start();
    await queue.add([job('a')]);
    const [lease] = await queue.take('convert', 1);
    await queue.finish(lease!, { kind: 'retry', delay: 1000, failure: FAILURE });
    expect(await queue.take('convert', 1)).toEqual([]);
    const waiting = await queue.get(lease!.job.id);
    expect(waiting).toMatchObject({ state: 'waiting', failure: FAILURE });
    expect(waiting!.due! - waiting!.finished!).toBeGreaterThan(900);
    expect((await takeSoon(queue, 'convert'))[0]?.job).toMatchObject({ id: lease!.job.id, attempts: 2 });
  });

  it('what cannot pass waits for people', async () => {
    const queue = await start();
    const [{ id } = { id: '' }] = await queue.add([job('a')]);
    const [lease] = await queue.take('convert', 1);
    await queue.finish(lease!, { kind: 'failed', failure: { ...FAILURE, temporary: false } });
    expect(await queue.take('convert', 1)).toEqual([]);
    expect(await queue.add([job('a', { failed: 'keep' })])).toEqual([{ id, outcome: 'kept-failed' }]);
    expect(await queue.retry(id)).toBe(true);
    expect(await queue.retry(id)).toBe(false);
    const [again] = await takeSoon(queue, 'convert');
    expect(again?.job).toMatchObject({ id, attempts: 1 });
    await queue.finish(again!, { kind: 'failed', failure: FAILURE });
    // A new push is a reason to try again, under a new id.
    const [revived] = await queue.add([job('a')]);
    expect(revived).toMatchObject({ outcome: 'added' });
    expect(await queue.get(id)).toMatchObject({ state: 'superseded' });
    expect((await takeSoon(queue, 'convert'))[0]?.job.id).toBe(revived!.id);
  });

  it('a job may be added as failed', async () => {
    const queue = await start();
    const [{ id } = { id: '' }] = await queue.add([job('a', { parked: FAILURE })]);
    expect(await queue.get(id)).toMatchObject({ state: 'failed', failure: FAILURE });
    expect(await queue.take('convert', 1)).toEqual([]);
    await queue.retry(id);
    expect(keys(await takeSoon(queue, 'convert'))).toEqual(['a']);
  });

  it.each([
    ['no attempt', {}, 1],
    ['an attempt where it says so', { counts: true }, 2],
  ])('a job that is put back counts %s', async (_, how, attempts) => {
    const queue = await start();
    await queue.add([job('a')]);
    const [lease] = await queue.take('convert', 1);
    await queue.finish(lease!, { kind: 'released', ...how });
    expect((await takeSoon(queue, 'convert'))[0]?.job).toMatchObject({ id: lease!.job.id, attempts });
  });

  it('a lease that is not renewed ends: its holder can neither renew nor finish, nor add what follows', async () => {
    const queue = await start({ leaseTime: 2000 });
    await queue.add([job('a'), job('b')]);
    const [dead, alive] = await queue.take('convert', 2);
    const beat = setInterval(() => void queue.renew(alive!), 100);
    const [next] = await takeSoon(queue, 'convert');
    clearInterval(beat);
    expect(next?.job).toMatchObject({ id: dead!.job.id, attempts: 2 });
    expect(await queue.renew(dead!)).toBe(false);
    expect(await queue.finish(dead!, { kind: 'done' }, [job('follows', { topic: 'notify' })])).toBe(false);
    expect(await queue.take('notify', 1)).toEqual([]);
    expect(await queue.finish(alive!, { kind: 'done' })).toBe(true);
    expect(await queue.finish(next!, { kind: 'done' })).toBe(true);
  });

  it('jobs that follow are added with the end', async () => {
    const queue = await start();
    await queue.add([job('a')]);
    const [lease] = await queue.take('convert', 1);
    expect(await queue.finish(lease!, { kind: 'done' }, [job('n', { topic: 'notify' }), job('b')])).toBe(true);
    expect(keys(await takeSoon(queue, 'notify'))).toEqual(['n']);
    expect(keys(await takeSoon(queue, 'convert'))).toEqual(['b']);
  });

  it('a cancelled job is not taken; its worker hears of it', async () => {
    const queue = await start();
    const added = await queue.add([job('a'), job('b')]);
    const [lease] = await queue.take('convert', 1);
    for (const { id } of added) expect(await queue.cancel(id)).toBe(true);
    expect(await queue.renew(lease!)).toBe(false);
    expect(await queue.finish(lease!, { kind: 'done' })).toBe(false);
    expect(await queue.take('convert', 1)).toEqual([]);
    expect(await queue.cancel(added[0]!.id)).toBe(false);
    expect(await queue.cancel(randomUUID())).toBe(false);
  });

  it('lists pages, by state and repository, newest first', async () => {
    const queue = await start();
    for (const key of ['a', 'b', 'c', 'd'])
      await queue.add([job(key, { repository: key < 'c' ? 'r.io/x' : 'r.io/y' })]);
    const [lease] = await queue.take('convert', 1);
    const list = async (filter: object) =>
      (await queue.list({ topic: 'convert', limit: 2, ...filter })).map((one) => one.key).join('');
    expect(await list({})).toBe('dc');
    const page = await queue.list({ topic: 'convert', limit: 2 });
    expect(await list({ after: page[1]!.id })).toBe('ba');
    expect(await list({ state: 'running' })).toBe('a');
    expect(await list({ repository: 'r.io/x' })).toBe('ba');
    expect(await list({ repository: 'r.io/x', state: 'waiting' })).toBe('b');
    expect(await queue.figures()).toMatchObject({ waiting: { event: 0, convert: 3 }, running: { convert: 1 } });
    await queue.finish(lease!, { kind: 'done' });
    await expect(queue.list({ topic: 'convert', limit: 501 })).rejects.toMatchObject({ refusal: 'invalid' });
    expect(await queue.get('no such id')).toBeUndefined();
  });

  it.each<[string, Partial<NewJob>]>([
    ['data', { data: 'x'.repeat(MAX_DATA) }],
    ['a key', { key: 'x'.repeat(1025) }],
    ['a key with a NUL', { key: 'x\0' }],
    ['a delay', { delay: 2 ** 40 }],
  ])('%s beyond the limits is refused, with all that was added at once', async (_, more) => {
    const queue = await start();
    await expect(queue.add([job('good'), job('bad', more)])).rejects.toMatchObject({ refusal: 'invalid' });
    expect(await queue.take('convert', 1)).toEqual([]);
  });

  it('the history is bounded', async () => {
    const queue = await start({ history: 5 });
    await queue.add(Array.from({ length: 150 }, (_, index) => job(`k${index}`)));
    for (let leases = await queue.take('convert', 50); leases.length > 0; leases = await queue.take('convert', 50)) {
      await Promise.all(leases.map((lease) => queue.finish(lease, { kind: 'done' })));
    }
    const left = await queue.list({ topic: 'convert', limit: 500 });
    // It is shortened every 64 endings.
    expect(left.length).toBeLessThanOrEqual(5 + 64);
    expect(left.length).toBeGreaterThanOrEqual(5);
  });

  it('everything is there after it was closed, and what ran waits again', async () => {
    const queue = await start({ leaseTime: 500 });
    await queue.add([job('a'), job('b')]);
    await queue.take('convert', 1);
    await close(queue);
    const again = await opened({ leaseTime: 500 });
    const leases = [...(await takeSoon(again, 'convert')), ...(await takeSoon(again, 'convert'))];
    expect(keys(leases)).toEqual(['a', 'b']);
  });

  it('hears of work', async () => {
    const queue = await start();
    const heard: string[] = [];
    queue.onWork('event', () => heard.push('event'));
    await queue.add([job('a', { topic: 'event' })]);
    expect(heard).toContain('event');
    expect(queue.unready()).toBeUndefined();
  });
}

describe('embedded', () => {
  let folder: TempDirectory;
  let path: string;
  beforeAll(async () => {
    folder = await tempDirectory();
  });
  afterAll(() => folder.remove());
  const fresh = async (): Promise<void> => {
    path = join(folder.path, `${randomUUID()}.db`);
  };
  suite({ name: 'embedded', fresh, open: (settings) => openSqliteQueue({ path, ...settings }) });

  it('a second process is refused, with what to do', async () => {
    await fresh();
    const queue = await openSqliteQueue({ path });
    await expect(openSqliteQueue({ path, patience: 100 })).rejects.toMatchObject({
      code: 'io-error',
      found: 'database is locked',
      hint: expect.stringContaining('postgres://'),
    });
    await queue.close();
    await (await openSqliteQueue({ path })).close();
  });

  it('a full disk refuses what comes, loses nothing, and is over when there is space', async () => {
    await fresh();
    const queue = await openSqliteQueue({ path, maxPages: 60 });
    let accepted = 0;
    let refused: unknown;
    for (; accepted < 2000 && refused === undefined; accepted++)
      await queue.add([job(`k${accepted}`, { data: 'x'.repeat(500) })]).catch((error: unknown) => {
        refused = error;
      });
    accepted--;
    expect(refused).toMatchObject({ refusal: 'full', message: 'the disk of the queue is full' });
    expect(queue.unready()).toContain('the disk of the queue is full');
    expect((await queue.figures()).waiting.convert).toBe(accepted);
    await queue.close();
    const larger = await openSqliteQueue({ path });
    await larger.add([job('more')]);
    expect((await larger.figures()).waiting.convert).toBe(accepted + 1);
    await larger.close();
  });

  it('refuses while there is still space to end what runs', async () => {
    await fresh();
    const before = await openSqliteQueue({ path });
    await before.add([job('a')]);
    await before.close();
    const queue = await openSqliteQueue({ path, keepFree: Number.MAX_SAFE_INTEGER });
    await expect(queue.add([job('b')])).rejects.toMatchObject({ refusal: 'full' });
    const [lease] = await queue.take('convert', 1);
    expect(await queue.finish(lease!, { kind: 'done' })).toBe(true);
    await queue.close();
  });

  it('a job whose process ends again and again is parked', async () => {
    await fresh();
    const queue = await openSqliteQueue({ path });
    const [{ id } = { id: '' }] = await queue.add([job('a')]);
    await queue.take('convert', 1);
    await queue.close();
    const raw = new DatabaseSync(path);
    raw.exec(`UPDATE job SET lost = ${MAX_LOST - 1}`);
    raw.close();
    const again = await openSqliteQueue({ path });
    expect(await again.get(id)).toMatchObject({ state: 'failed', failure: { code: 'worker-lost', temporary: false } });
    expect(await again.retry(id)).toBe(true);
    expect(keys(await again.take('convert', 1))).toEqual(['a']);
    await again.close();
  });

  it('a clock that was set back keeps no job waiting', async () => {
    await fresh();
    const queue = await openSqliteQueue({ path });
    await queue.add([job('a', { delay: 1000 })]);
    await queue.close();
    const raw = new DatabaseSync(path);
    // As if the clock had been two days ahead.
    raw.exec('UPDATE job SET due = due + 172800000, created = created + 172800000');
    raw.close();
    const again = await openSqliteQueue({ path });
    expect(keys(await again.take('convert', 1))).toEqual(['a']);
    await again.close();
  });

  it('a file that is no queue is refused', async () => {
    await fresh();
    const { writeFile } = await import('node:fs/promises');
    await writeFile(path, 'not a database, '.repeat(1000));
    await expect(openSqliteQueue({ path })).rejects.toMatchObject({ code: 'io-error' });
    await rm(path);
  });
});

describeWith({ tools: POSTGRES_TOOLS }, 'PostgreSQL', () => {
  let server: TestPostgres;
  let url: string | undefined;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server?.stop());
  // One database, emptied for each test: to make one takes longer than most tests.
  const fresh = async (): Promise<void> => {
    if (url === undefined) url = await server.database('queue');
    else await server.sql(url, 'TRUNCATE accel.job; DELETE FROM accel_boss.job');
  };
  const open = (settings?: Settings) =>
    openPostgresQueue({ url: url!, connections: 4, log: () => undefined, ...settings });
  suite({ name: 'PostgreSQL', fresh, open });

  it('three processes take no job twice, and of a lane one at a time', async () => {
    await fresh();
    const queues = await Promise.all([open(), open(), open()]);
    await queues[0]!.add(Array.from({ length: 120 }, (_, index) => job(`k${index}`, { lane: `l${index % 20}` })));
    const running = new Set<string>();
    const taken: string[] = [];
    const work = async (queue: Queue): Promise<void> => {
      while (taken.length < 120) {
        for (const lease of await queue.take('convert', 3)) {
          const lane = `l${Number(lease.job.key.slice(1)) % 20}`;
          expect(running.has(lane)).toBe(false);
          running.add(lane);
          taken.push(lease.job.key);
          await delay(1);
          running.delete(lane);
          expect(await queue.finish(lease, { kind: 'done' })).toBe(true);
        }
      }
    };
    await Promise.all(queues.map(work));
    expect(new Set(taken).size).toBe(120);
    expect(taken).toHaveLength(120);
    for (const queue of queues) await queue.close();
  });

  it('a job whose process ends again and again is parked', async () => {
    await fresh();
    const queue = await open({ leaseTime: 500 });
    const [{ id } = { id: '' }] = await queue.add([job('a')]);
    await queue.take('convert', 1);
    await server.sql(url!, `UPDATE accel.job SET lost = ${MAX_LOST - 1}`);
    while ((await queue.get(id))?.state !== 'failed') await delay(50);
    expect(await queue.get(id)).toMatchObject({ failure: { code: 'worker-lost', temporary: false } });
    expect(await queue.retry(id)).toBe(true);
    expect(keys(await takeSoon(queue, 'convert'))).toEqual(['a']);
    await queue.close();
  });

  it('while the database is gone everything is refused; then it goes on', async () => {
    await fresh();
    const queue = await open();
    await queue.add([job('a')]);
    await server.down();
    await expect(queue.add([job('b')])).rejects.toMatchObject({ refusal: 'unavailable' });
    await expect(queue.take('convert', 1)).rejects.toMatchObject({ refusal: 'unavailable' });
    expect(queue.unready()).toContain('PostgreSQL does not serve the queue');
    await server.up();
    await queue.add([job('c')]);
    expect(queue.unready()).toBeUndefined();
    expect(keys(await takeSoon(queue, 'convert', 5))).toEqual(['a', 'c']);
    await queue.close();
  });

  it('a database that cannot be reached is an error without the password', async () => {
    const opening = openPostgresQueue({ url: 'postgres://u:hunter2secret@127.0.0.1:1/x', log: () => undefined });
    const error = await opening.then(
      () => undefined,
      (caught: unknown) => caught as Error,
    );
    expect(error).toMatchObject({ code: 'io-error', where: { store: 'postgres://u@127.0.0.1:1/x' } });
    expect(JSON.stringify(error)).not.toContain('hunter2secret');
    const broken = openPostgresQueue({ url: 'postgres://u:hunter2/secret@[x', log: () => undefined });
    await expect(broken).rejects.toMatchObject({ code: 'usage', found: 'text that is not a URL' });
  });
});
