/** SIGHUP: hooks, tokens, rules, tasks and receivers of notifications change while a conversion waits, which is not lost. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { smallTar } from '../../tests/support/converter.ts';
import { startRegistry, type TestRegistry } from '../../tests/support/registry.ts';
import { describeWith, run, type TempDirectory, tempDirectory } from '../../tests/support/tools.ts';
import { type Receiver, startReceiver } from './testing/notification-receiver.ts';
import { pushEnvelope, ServiceProcess, writeServiceConfig } from './testing/service-process.ts';

vi.setConfig({ testTimeout: 240_000 });

/** The configuration as it is written, as far as the test changes it. */
interface RawConfig {
  readonly rules: object[];
  readonly service: { readonly hooks: Record<string, object>; notifications?: object[]; watch?: object[] };
}

describeWith({ tools: ['docker-registry', 'skopeo'] }, 'SIGHUP', () => {
  let registry: TestRegistry;
  let receiver: Receiver;
  let folder: TempDirectory;
  let service: ServiceProcess;
  beforeAll(async () => {
    registry = await startRegistry();
    receiver = await startReceiver('key');
    folder = await tempDirectory();
  });
  afterAll(async () => {
    await service?.end('SIGKILL');
    await registry?.stop();
    await receiver?.stop();
    await folder?.remove();
  });
  const file = (name: string): string => join(folder.path, name);
  const push = async (name: string): Promise<void> => {
    await buildLayout(file(name), 'latest', [{ tar: smallTar(name.length) }]);
    const to = `docker://${registry.host}/${name}/app:1`;
    await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${file(name)}:latest`, to]);
  };

  it('changes all of them, and loses nothing that waits', async () => {
    for (const name of ['waits', 'watched', 'ruled']) await push(name);
    await writeFile(file('hook'), 'Bearer hook-1');
    await writeFile(file('token'), 'write-token-1');
    await writeFile(file('key'), 'key');
    const files = await writeServiceConfig(folder.path, {
      registries: [{ host: registry.host, plain: true }],
      rules: [{ repositories: [`${registry.host}/waits/*`] }],
      service: {
        store: file('queue.db'),
        tokens: [{ name: 'ci', file: file('token'), scope: 'write' }],
        hooks: { distribution: { authorizationFile: file('hook') } },
      },
    });
    service = await ServiceProcess.start(files);
    let reloads = 0;
    const reload = async (change: (config: RawConfig) => void = () => undefined): Promise<void> => {
      const config = JSON.parse(await readFile(files.path, 'utf8')) as RawConfig;
      change(config);
      await writeFile(files.path, JSON.stringify(config));
      service.child.kill('SIGHUP');
      reloads += 1;
      await service.until(() => (service.count('configuration read again') >= reloads ? true : undefined));
    };
    const hook = async (name: string, authorization: string): Promise<[number, number]> => {
      const { status, body } = await service.post(
        '/hooks/distribution',
        pushEnvelope(registry.host, `${name}/app`, '1'),
        {
          authorization,
        },
      );
      return [status, body.accepted];
    };
    const ask = async (name: string, token: string): Promise<number> => {
      const image = `${registry.host}/${name}/app:1`;
      return (await service.post('/api/v1/conversions', { image }, { authorization: `Bearer ${token}` })).status;
    };
    await registry.down();
    expect(await hook('waits', 'Bearer hook-1')).toEqual([202, 1]);
    await service.until(() => (service.log.includes('; again in ') ? true : undefined));
    expect(await hook('ruled', 'Bearer hook-1')).toEqual([200, 0]);
    expect(await ask('ruled', 'write-token-1')).toBe(400);

    // Secrets of hooks and tokens, whose files alone change.
    await writeFile(file('hook'), 'Bearer hook-2');
    await writeFile(file('token'), 'write-token-2');
    expect((await hook('waits', 'Bearer hook-1'))[0]).toBe(202);
    await reload();
    expect((await hook('waits', 'Bearer hook-1'))[0]).toBe(401);
    expect(await ask('ruled', 'write-token-1')).toBe(401);
    expect(await ask('ruled', 'write-token-2')).toBe(400);
    expect(await hook('waits', 'Bearer hook-2')).toEqual([202, 1]);

    // Rules, a receiver, a task; a hook of another kind.
    await registry.restart();
    const harbor = { type: 'PUSH_ARTIFACT', event_data: { resources: [], repository: { repo_full_name: 'a/b' } } };
    expect((await service.post('/hooks/harbor', harbor)).status).toBe(404);
    await reload((config) => {
      config.rules.push({ repositories: [`${registry.host}/ruled/*`, `${registry.host}/watched/*`] });
      config.service.hooks.harbor = {};
      config.service.notifications = [{ url: receiver.url, secretFile: file('key') }];
      config.service.watch = [{ repositories: [`${registry.host}/watched/app`], interval: '200ms' }];
    });
    expect((await service.post('/hooks/harbor', harbor)).status).toBe(200);
    expect(await hook('ruled', 'Bearer hook-2')).toEqual([202, 1]);
    await service.until(() => (receiver.received.length >= 3 ? true : undefined));
    expect(receiver.received.map(({ document }) => document.repository).sort()).toEqual(
      ['ruled', 'waits', 'watched'].map((name) => `${registry.host}/${name}/app`),
    );
    // The task goes as it came; a broken file changes nothing.
    await reload((config) => {
      delete config.service.watch;
    });
    await writeFile(`${files.path}.good`, await readFile(files.path));
    await writeFile(files.path, '{ "rules": [');
    service.child.kill('SIGHUP');
    await service.until(() => (service.log.includes('the configuration stays as it was') ? true : undefined));
    expect(await hook('ruled', 'Bearer hook-2')).toEqual([202, 1]);
    expect(await service.conversions('failed')).toEqual([]);
    expect((await service.conversions('done')).length).toBe(3);
    await service.end('SIGTERM');
    expect(service.child.exitCode).toBe(0);
  });
});
