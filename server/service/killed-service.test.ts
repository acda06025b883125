/**
 * SIGKILL at random moments, on both stores: whatever was accepted is converted in the end, no tag is there by half, and no attempt runs
 * twice. `ACCEL_SIGKILLS` is the number of kills for each store.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { smallTar } from '../../tests/support/converter.ts';
import { POSTGRES_TOOLS, startPostgres, type TestPostgres } from '../../tests/support/postgres.ts';
import { startRegistry, type TestRegistry } from '../../tests/support/registry.ts';
import { describeWith, run, type TempDirectory, tempDirectory } from '../../tests/support/tools.ts';
import { verify } from '../../verify/verify-by-name.ts';
import { type Receiver, startReceiver } from './testing/notification-receiver.ts';
import {
  pushEnvelope,
  type ServiceFiles,
  ServiceProcess,
  until,
  writeServiceConfig,
} from './testing/service-process.ts';

const KILLS = Number(process.env.ACCEL_SIGKILLS ?? 6);
const IMAGES = 12;
const KEY = 'notification-secret-1';

vi.setConfig({ testTimeout: 240_000 + KILLS * 10_000 });

describeWith({ tools: ['docker-registry', 'skopeo'] }, `${KILLS} SIGKILLs`, () => {
  let registry: TestRegistry;
  let receiver: Receiver;
  let folder: TempDirectory;
  const running = new Set<ServiceProcess>();
  /** Logs of the processes that are gone. */
  let logs = '';
  beforeAll(async () => {
    registry = await startRegistry();
    receiver = await startReceiver(KEY);
    folder = await tempDirectory();
    await writeFile(join(folder.path, 'key'), KEY);
  });
  afterEach(async () => {
    for (const one of running) await one.end('SIGKILL');
    running.clear();
    logs = '';
  });
  afterAll(async () => {
    await registry?.stop();
    await receiver?.stop();
    await folder?.remove();
  });

  const tags = Array.from({ length: IMAGES }, (_, index) => `v${index}`);
  const imageOf = (name: string, tag: string): string => `${registry.host}/${name}/app:${tag}`;
  const pushAll = async (name: string): Promise<void> => {
    for (const [index, tag] of tags.entries()) {
      const layout = join(folder.path, `layout-${Math.random()}`);
      await buildLayout(layout, 'latest', [{ tar: smallTar(index) }]);
      const to = `docker://${imageOf(name, tag)}`;
      await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${layout}:latest`, to]);
    }
  };
  const tagsOf = async (name: string): Promise<string[]> => {
    const answer = await fetch(`${registry.url}/v2/${name}/app/tags/list`);
    return ((await answer.json()) as { tags: string[] }).tags;
  };
  const configure = (store: string): Promise<ServiceFiles> =>
    writeServiceConfig(folder.path, {
      registries: [{ host: registry.host, plain: true }],
      rules: [{ repositories: [`${registry.host}/*/**`] }],
      service: {
        store,
        concurrency: 2,
        hooks: { distribution: {} },
        notifications: [{ url: receiver.url, secretFile: join(folder.path, 'key') }],
      },
    });
  const start = async (files: ServiceFiles, role?: string): Promise<ServiceProcess> => {
    const started = await ServiceProcess.start(files, role);
    running.add(started);
    return started;
  };
  const kill = async (one: ServiceProcess): Promise<void> => {
    await one.end('SIGKILL');
    running.delete(one);
    logs += one.log;
  };
  const logOfAll = (): string => logs + [...running].map(({ log }) => log).join('');

  /** Reports a push; the tag is among the accepted once the answer says so. */
  const report = async (name: string, tag: string, url: string, accepted: Set<string>): Promise<void> => {
    const body = JSON.stringify(pushEnvelope(registry.host, `${name}/app`, tag));
    // The process may be gone before it answers.
    const answer = await fetch(`${url}/hooks/distribution`, { method: 'POST', body }).catch(() => undefined);
    if (answer?.status === 202) accepted.add(tag);
  };
  /** Every tag that is there is there whole. */
  const assertTags = async (name: string, looked: Set<string>): Promise<void> => {
    for (const tag of await tagsOf(name)) {
      if (!tag.endsWith('_accelerated') || looked.has(tag)) continue;
      looked.add(tag);
      expect((await verify(imageOf(name, tag), { registry: { plain: true }, quick: true })).identical).toBe(true);
    }
  };
  /** All that was accepted is converted and notified of; no attempt of a conversion ran in two places. */
  const assertConverted = async (name: string, accepted: Set<string>): Promise<void> => {
    expect(accepted.size).toBeGreaterThan(0);
    const wanted = [...accepted].flatMap((tag) => [`${tag}_accelerated`, `${tag}_containerd_accelerated`]);
    await until(
      async () => {
        const found = new Set(await tagsOf(name));
        return wanted.every((tag) => found.has(tag)) ? true : undefined;
      },
      () => logOfAll(),
    );
    for (const tag of wanted)
      expect((await verify(imageOf(name, tag), { registry: { plain: true } })).differenceCount).toBe(0);
    const repository = `${registry.host}/${name}/app`;
    const notified = (): Map<string, string> =>
      new Map(
        receiver.received
          .filter(({ document }) => document.repository === repository)
          .map(({ document, delivery }) => [delivery, document.tags[0]!.tag]),
      );
    await until(
      () => ([...accepted].every((tag) => [...notified().values()].includes(`${tag}_accelerated`)) ? true : undefined),
      () => logOfAll(),
    );
    // Each once, by the identifier of the delivery; also of events whose sender did not get to see the answer.
    const named = [...notified().values()];
    expect(named.length).toBe(new Set(named).size);
    const attempts = logOfAll().match(/converting \S+ \(sha256:\w+\), attempt \d+/g) ?? [];
    expect(attempts.length).toBe(new Set(attempts).size);
  };

  it('of the one process with the embedded queue lose nothing', async () => {
    await pushAll('one');
    const files = await configure(join(folder.path, 'one.db'));
    const [accepted, looked] = [new Set<string>(), new Set<string>()];
    for (let count = 0; count < KILLS; count++) {
      const service = await start(files);
      const asked = report('one', tags[count % IMAGES]!, files.url, accepted);
      // Sometimes before the answer, sometimes within a conversion.
      await Promise.race([asked, delay(Math.random() * 60)]);
      await delay(Math.random() * 600);
      await kill(service);
      await assertTags('one', looked);
    }
    const service = await start(files);
    await assertConverted('one', accepted);
    expect(await service.conversions('failed')).toEqual([]);
    expect(await service.conversions('running')).toEqual([]);
    await service.end('SIGTERM');
    expect(service.child.exitCode).toBe(0);
  });

  describeWith({ tools: POSTGRES_TOOLS }, 'with PostgreSQL', () => {
    let server: TestPostgres;
    beforeAll(async () => {
      server = await startPostgres();
    });
    afterAll(() => server?.stop());

    it('of an API and three workers lose nothing', async () => {
      await pushAll('three');
      const files = await configure(await server.database('killed'));
      const [accepted, looked] = [new Set<string>(), new Set<string>()];
      const roles = ['api', 'worker', 'worker', 'worker'];
      const processes = await Promise.all(roles.map((role) => start(files, role)));
      for (let count = 0; count < KILLS; count++) {
        const asked = report('three', tags[count % IMAGES]!, files.url, accepted);
        await Promise.race([asked, delay(Math.random() * 60)]);
        await delay(Math.random() * 600);
        const which = Math.floor(Math.random() * roles.length);
        await kill(processes[which]!);
        await assertTags('three', looked);
        processes[which] = await start(files, roles[which]);
      }
      await assertConverted('three', accepted);
      expect(await processes[0]!.conversions('failed')).toEqual([]);
      for (const one of processes) await one.end('SIGTERM');
      expect(processes.map(({ child }) => child.exitCode)).toEqual([0, 0, 0, 0]);
    });
  });
});
