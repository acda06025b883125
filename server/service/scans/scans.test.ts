/** Reconcile, watch, backfill and prune against a real registry, behind a proxy that counts requests and refuses some. */
import { createServer, request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { convert } from '../../../converter/convert.ts';
import type { PruneReport } from '../../../converter/prune/prune-repository.ts';
import { buildLayout } from '../../../fixtures/image-builder.ts';
import { request, smallTar } from '../../../tests/support/converter.ts';
import { type Loopback, listen } from '../../../tests/support/loopback.ts';
import { startRegistry, type TestRegistry } from '../../../tests/support/registry.ts';
import { describeWith, run, type TempDirectory, tempDirectory } from '../../../tests/support/tools.ts';
import { CONFIG_SCHEMA } from '../../config/schema.ts';
import { createEventSink } from '../intake.ts';
import type { PushEvent } from '../push-event.ts';
import type { Queue } from '../queue.ts';
import { type ServiceSettings, serviceSettings } from '../service-settings.ts';
import { openSqliteQueue } from '../sqlite.ts';
import { type BackfillImage, backfill } from './backfill.ts';
import { pendingImages } from './pending-images.ts';
import { type PruneRunReport, pruneTags } from './prune-tags.ts';
import { startSchedule, type TaskRun } from './schedule.ts';
import { serviceTasks } from './tasks.ts';

const signal = new AbortController().signal;
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

describeWith({ tools: ['docker-registry', 'skopeo'] }, 'scans', () => {
  let registry: TestRegistry;
  let proxy: Loopback;
  let folder: TempDirectory;
  const requests: string[] = [];
  /** Answers in the registry's place, by method and path. */
  let refuse: (method: string, path: string) => number | undefined = () => undefined;
  const opened: Queue[] = [];

  beforeAll(async () => {
    registry = await startRegistry();
    folder = await tempDirectory();
    const [host, port] = registry.host.split(':');
    proxy = await listen(
      createServer((incoming, outgoing) => {
        const { method = '', url = '', headers } = incoming;
        requests.push(`${method} ${url}`);
        const status = refuse(method, url);
        if (status !== undefined) {
          outgoing.writeHead(status).end();
          return;
        }
        const forward = httpRequest({ host, port, method, path: url, headers }, (answer) => {
          outgoing.writeHead(answer.statusCode!, answer.headers);
          answer.pipe(outgoing);
        });
        forward.on('error', () => outgoing.destroy());
        incoming.pipe(forward);
      }),
    );
  });
  afterEach(async () => {
    refuse = () => undefined;
    for (const queue of opened.splice(0)) await queue.close();
  });
  afterAll(async () => {
    await proxy?.stop();
    await registry?.stop();
    await folder?.remove();
  });

  const settingsOf = async (service: object, rules: readonly object[]): Promise<ServiceSettings> =>
    serviceSettings(
      CONFIG_SCHEMA.parse({
        registries: [{ host: proxy.host, plain: true }],
        rules,
        service: { store: join(folder.path, `${Math.random()}.db`), listen: '127.0.0.1:1', ...service },
      }),
    );
  const open = async (): Promise<Queue> => {
    const queue = await openSqliteQueue({ path: join(folder.path, `${Math.random()}.db`) });
    opened.push(queue);
    return queue;
  };
  const push = async (name: string, seed: number): Promise<void> => {
    const layout = join(folder.path, `layout-${Math.random()}`);
    await buildLayout(layout, 'latest', [{ tar: smallTar(seed) }]);
    const to = `docker://${proxy.host}/${name}`;
    await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${layout}:latest`, to]);
  };
  const convertTag = async (repository: string, tag: string, targetRepository?: string): Promise<void> => {
    const outputs = [
      { tag: `${tag}_accelerated`, kind: 'full' as const },
      { tag: `${tag}_containerd_accelerated`, kind: 'containerd' as const },
    ];
    const place = { repository: `${proxy.host}/${repository}`, source: { tag } };
    await convert(
      request({
        ...place,
        outputs,
        ...(targetRepository === undefined ? {} : { targetRepository: `${proxy.host}/${targetRepository}` }),
      }),
      { registry: { plain: true }, targetRegistry: { plain: true } },
    );
  };
  const copy = async (repository: string, from: string, to: string): Promise<void> => {
    const manifests = `http://${proxy.host}/v2/${repository}/manifests`;
    const found = await fetch(`${manifests}/${from}`, { headers: { accept: MANIFEST } });
    const headers = { 'content-type': found.headers.get('content-type')! };
    const put = await fetch(`${manifests}/${to}`, { method: 'PUT', headers, body: await found.text() });
    expect(put.status).toBe(201);
  };
  const tagsOf = async (repository: string): Promise<string[]> => {
    const answer = await fetch(`http://${registry.host}/v2/${repository}/tags/list`);
    return (((await answer.json()) as { tags?: string[] | null }).tags ?? []).sort();
  };
  const untag = async (repository: string, tag: string): Promise<void> => {
    const manifests = `http://${registry.host}/v2/${repository}/manifests`;
    const found = await fetch(`${manifests}/${tag}`, { headers: { accept: MANIFEST } });
    const digest = found.headers.get('docker-content-digest')!;
    expect((await fetch(`${manifests}/${digest}`, { method: 'DELETE' })).status).toBe(202);
  };
  /** Runs the schedule until `until` is true; all of its runs. */
  const schedule = async (
    settings: () => ServiceSettings,
    queue: Queue,
    until: (runs: readonly TaskRun[]) => boolean,
    meanwhile: (index: number) => Promise<void> = async () => undefined,
  ): Promise<{ runs: TaskRun[]; log: string[] }> => {
    const runs: TaskRun[] = [];
    const log: string[] = [];
    const sink = createEventSink({ queue, context: settings });
    const running = startSchedule({
      queue,
      tasks: serviceTasks({ queue, sink, settings, log: (line) => log.push(line) }),
      log: (line) => log.push(line),
      onRun: (one) => {
        runs.push(one);
        void meanwhile(runs.length);
      },
    });
    try {
      for (let tries = 0; tries < 1200 && !until(runs); tries++) await delay(100);
      expect([until(runs), log]).toEqual([true, expect.anything()]);
    } finally {
      await running.drain(AbortSignal.timeout(100));
    }
    return { runs, log };
  };
  const eventsOf = async (queue: Queue): Promise<PushEvent[]> =>
    (await queue.list({ topic: 'event', limit: 500 })).map(({ data }) => data as unknown as PushEvent);
  const prune = async (
    settings: ServiceSettings,
    dryRun: boolean,
    pending: (image: string) => boolean = () => false,
  ): Promise<{ reports: PruneReport[]; run: PruneRunReport }> => {
    const reports: PruneReport[] = [];
    const ended = await pruneTags({
      settings,
      dryRun,
      pending: async () => pending,
      onReport: (report) => reports.push(report),
      signal,
    });
    return { reports, run: ended };
  };
  const fast = { reconcile: { rate: 1000 } };

  it('reconcile finds images that nobody reported, once at the start, and not what rules leave out', async () => {
    await push('found/app:1', 1);
    await push('found/app:pr-2', 2);
    await copy('found/app', '1', '1_accelerated');
    await copy('found/app', '1', 'accel-cache');
    const queue = await open();
    const settings = await settingsOf(fast, [{ repositories: [`${proxy.host}/found/*`], tags: { exclude: ['pr-*'] } }]);
    const { runs } = await schedule(
      () => settings,
      queue,
      (all) => all.length > 0,
    );
    expect(runs).toMatchObject([{ name: 'reconcile', report: { tags: 1, changes: 1, problems: [] } }]);
    expect(await eventsOf(queue)).toMatchObject([{ kind: 'reconcile', repository: 'found/app', tag: '1' }]);
    // It waits for its next time, and knows the last one; a start does not wait.
    expect(await queue.list({ topic: 'task', state: 'waiting', limit: 9 })).toMatchObject([
      { key: 'reconcile', data: { last: expect.any(Number) } },
    ]);
    const again = await schedule(
      () => settings,
      queue,
      (all) => all.length > 0,
    );
    expect(again.runs).toHaveLength(1);
    expect(await queue.list({ topic: 'task', state: 'waiting', limit: 9 })).toHaveLength(1);
  });

  it('of two processes one reconciles', async () => {
    const queue = await open();
    const settings = await settingsOf({ reconcile: { rate: 2 } }, [{ repositories: [`${proxy.host}/found/app`] }]);
    const both = await Promise.all([
      schedule(
        () => settings,
        queue,
        () => true,
      ),
      schedule(
        () => settings,
        queue,
        (all) => all.length > 0,
      ),
    ]);
    expect(both.flatMap(({ runs }) => runs).length).toBe(1);
  });

  it('watch finds a tag that moved and one that is new, and nothing else', async () => {
    await push('watched/app:1', 11);
    const queue = await open();
    const service = {
      reconcile: { interval: 0, rate: 1000 },
      watch: [{ repositories: [`${proxy.host}/watched/app`], interval: '200ms' }],
    };
    const settings = await settingsOf(service, [{ repositories: [`${proxy.host}/watched/*`] }]);
    const { runs } = await schedule(
      () => settings,
      queue,
      (all) => all.length >= 3 && all.reduce((sum, { report }) => sum + report.changes, 0) >= 3,
      async (index) => {
        if (index !== 1) return;
        await push('watched/app:1', 12);
        await push('watched/app:2', 13);
      },
    );
    expect(runs.every(({ name }) => name === 'watch')).toBe(true);
    expect(runs.reduce((sum, { report }) => sum + report.changes, 0)).toBe(3);
    // The first event of the moved tag is still waiting and covers the second.
    expect((await eventsOf(queue)).map(({ tag }) => tag).sort()).toEqual(['1', '2']);
  });

  it('a registry without a catalogue is a problem with its name, and does not stop the others', async () => {
    refuse = (_, path) => (path.startsWith('/v2/_catalog') ? 404 : undefined);
    const queue = await open();
    const rules = [{ repositories: [`${proxy.host}/team/*`, `${proxy.host}/found/app`] }];
    const settings = await settingsOf(fast, rules);
    const { runs, log } = await schedule(
      () => settings,
      queue,
      (all) => all.length > 0,
    );
    expect(runs).toMatchObject([
      { complete: true, report: { changes: 2, problems: [expect.stringContaining(`${proxy.host} has no catalogue`)] } },
    ]);
    expect(log.some((line) => line.startsWith(`reconcile: ${proxy.host} has no catalogue`))).toBe(true);
  });

  it('a thousand tags cost a request each, and their list', async () => {
    await push('many/app:t0', 21);
    const manifests = `http://${registry.host}/v2/many/app/manifests`;
    const found = await fetch(`${manifests}/t0`, { headers: { accept: MANIFEST } });
    const body = await found.text();
    for (let n = 1; n < 1000; n++) {
      const put = await fetch(`${manifests}/t${n}`, { method: 'PUT', headers: { 'content-type': MANIFEST }, body });
      expect(put.status).toBe(201);
    }
    const queue = await open();
    const service = {
      reconcile: { interval: 0, rate: 1000 },
      watch: [{ repositories: [`${proxy.host}/many/app`], interval: '1h' }],
    };
    const settings = await settingsOf(service, [{ repositories: [`${proxy.host}/many/app`] }]);
    requests.length = 0;
    const { runs } = await schedule(
      () => settings,
      queue,
      (all) => all.length > 0,
    );
    expect(runs).toMatchObject([{ report: { tags: 1000, changes: 1000 } }]);
    const lists = requests.filter((line) => line.includes('/tags/list'));
    expect(requests.filter((line) => line.startsWith('HEAD')).length).toBe(1000);
    expect(lists.length).toBeLessThanOrEqual(11);
    expect(requests.length).toBeLessThanOrEqual(1000 + lists.length + 1);
  });

  it('backfill adds what was there before, and a dry run says what and by which rule', async () => {
    await push('old/app:1', 31);
    await push('old/app:2', 32);
    await convertTag('old/app', '2');
    const settings = await settingsOf({}, [
      { repositories: [`${proxy.host}/other`] },
      { repositories: [`${proxy.host}/old/*`] },
    ]);
    const images: BackfillImage[] = [];
    const call = (dryRun: boolean) =>
      backfill(settings.config, {
        patterns: [`${proxy.host}/old/*`],
        dryRun,
        onImage: (image) => images.push(image),
        signal,
      });
    expect(await call(true)).toMatchObject({ repositories: 1, images: 2, due: 1, problems: [] });
    const image = (tag: string): string => `${proxy.host}/old/app:${tag}`;
    expect(images.splice(0)).toMatchObject([
      { image: image('1'), rule: 2, outcome: 'convert' },
      { image: image('2'), rule: 2, outcome: 'up-to-date' },
    ]);
    expect(await call(false)).toMatchObject({ images: 2, due: 2 });
    expect(images).toMatchObject([{ outcome: 'added' }, { outcome: 'added' }]);
    const queue = await openSqliteQueue({ path: settings.config.service.store });
    opened.push(queue);
    expect((await eventsOf(queue)).map(({ tag }) => tag).sort()).toEqual(['1', '2']);
  });

  it('prune removes what has no base any more, and nothing of anybody else', async () => {
    for (const [tag, seed] of [
      ['gone', 41],
      ['moved', 42],
      ['kept', 43],
      ['shared', 44],
    ] as const) {
      await push(`old/prune:${tag}`, seed);
      await convertTag('old/prune', tag);
    }
    await push('old/prune:mine_accelerated', 45);
    await copy('old/prune', 'shared_accelerated', 'prod');
    for (const tag of ['gone', 'shared']) await untag('old/prune', tag);
    await push('old/prune:moved', 46);
    const settings = await settingsOf(fast, [{ repositories: [`${proxy.host}/old/prune`] }]);
    const before = await tagsOf('old/prune');
    const planned = await prune(settings, true);
    expect(await tagsOf('old/prune')).toEqual(before);
    const removals = planned.reports[0]!.plan.removals.flatMap(({ tags }) =>
      tags.map(({ tag, reason }) => `${tag} ${reason}`),
    );
    expect(removals.sort()).toEqual([
      'gone_accelerated base-gone',
      'gone_containerd_accelerated base-gone',
      'moved_accelerated base-moved',
      'moved_containerd_accelerated base-moved',
      'shared_containerd_accelerated base-gone',
    ]);
    expect(planned.reports[0]!.plan.kept).toContainEqual(
      expect.objectContaining({ tag: 'shared_accelerated', reason: 'shared-digest', by: 'prod' }),
    );
    // An image that is about to be converted again is left alone.
    const { reports } = await prune(settings, true, (image) => image.endsWith(':moved'));
    expect(reports[0]!.plan.removals.flatMap(({ tags }) => tags).some(({ tag }) => tag.startsWith('moved'))).toBe(
      false,
    );
    // A registry that does not let manifests be removed is asked once, before anything.
    refuse = (method) => (method === 'DELETE' ? 405 : undefined);
    requests.length = 0;
    const refused = await prune(settings, false);
    expect(refused.run).toMatchObject({
      removed: 0,
      problems: [expect.stringMatching(/does not let manifests be removed.*405/)],
    });
    expect(requests.filter((line) => line.startsWith('DELETE')).length).toBe(1);
    expect(await tagsOf('old/prune')).toEqual(before);
    refuse = () => undefined;

    const done = await prune(settings, false);
    expect(done.run).toMatchObject({ removed: 5, problems: [] });
    expect(await tagsOf('old/prune')).toEqual(before.filter((tag) => !/^(gone|moved)_|^shared_containerd/.test(tag)));
    expect((await prune(settings, false)).run).toMatchObject({ removed: 0, problems: [] });
  });

  it('prune looks for the bases of a shared repository where they are', async () => {
    await push('src/a:1', 51);
    await push('src/b:2', 52);
    await push('src/b:3', 53);
    for (const [name, tag] of [
      ['a', '1'],
      ['b', '2'],
      ['b', '3'],
    ] as const)
      await convertTag(`src/${name}`, tag, 'fast/all');
    const target = { targetRepository: `${proxy.host}/fast/all` };
    const settings = await settingsOf(fast, [{ repositories: [`${proxy.host}/src/*`], ...target }]);
    expect((await prune(settings, false)).run).toMatchObject({ removed: 0, problems: [] });
    // Not all sources are known: nothing is gone.
    await untag('src/b', '3');
    refuse = (_, path) => (path.startsWith('/v2/_catalog') ? 401 : undefined);
    const partly = await settingsOf(fast, [{ repositories: [`${proxy.host}/src/a`, `${proxy.host}/*/b`], ...target }]);
    const left = await prune(partly, false);
    expect(left.run.problems.join()).toContain(`${proxy.host}/fast/all is left alone`);
    refuse = () => undefined;
    expect((await prune(settings, false)).run).toMatchObject({ removed: 2 });
    expect(await tagsOf('fast/all')).toEqual(
      expect.arrayContaining(['1_accelerated', '2_accelerated', '2_containerd_accelerated']),
    );
    expect(await tagsOf('fast/all')).not.toContain('3_accelerated');
  });

  it('images that wait for their conversion are pending', async () => {
    const queue = await open();
    const settings = await settingsOf({}, [{ repositories: [`${proxy.host}/old/*`] }]);
    await createEventSink({ queue, context: () => settings }).accept([
      { kind: 'api', registry: proxy.host, repository: 'old/app', tag: '9' },
    ]);
    const isPending = await pendingImages(queue);
    expect([isPending(`${proxy.host}/old/app:9`), isPending(`${proxy.host}/old/app:8`)]).toEqual([true, false]);
  });
});
