/**
 * Faults around a running service, through its API: a full disk, a database and a registry that are gone for a while, a clock that was
 * set back, and senders that lie. `ACCEL_OUTAGE` is the time in milliseconds for which the database is gone.
 */
import { writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { smallTar } from '../../tests/support/converter.ts';
import { POSTGRES_TOOLS, startPostgres } from '../../tests/support/postgres.ts';
import { startRegistry, type TestRegistry } from '../../tests/support/registry.ts';
import { describeWith, run, type TempDirectory, tempDirectory } from '../../tests/support/tools.ts';
import { verify } from '../../verify/verify-by-name.ts';
import { mountSmallDisk } from './testing/full-disk.ts';
import { type Receiver, startReceiver } from './testing/notification-receiver.ts';
import { pushEnvelope, ServiceProcess, writeServiceConfig } from './testing/service-process.ts';

vi.setConfig({ testTimeout: 240_000 });

const OUTAGE = Number(process.env.ACCEL_OUTAGE ?? 2000);
const DAY = 86_400_000;
const HOOK = '/hooks/distribution';
const SECRET = 'Bearer hook-secret-1';

describeWith({ tools: ['docker-registry', 'skopeo'] }, 'faults of the service', () => {
  let registry: TestRegistry;
  let receiver: Receiver;
  let folder: TempDirectory;
  const running: ServiceProcess[] = [];
  beforeAll(async () => {
    registry = await startRegistry();
    receiver = await startReceiver('key');
    folder = await tempDirectory();
    await writeFile(join(folder.path, 'hook'), SECRET);
  });
  afterEach(async () => {
    for (const one of running.splice(0)) await one.end('SIGKILL');
  });
  afterAll(async () => {
    await registry?.stop();
    await receiver?.stop();
    await folder?.remove();
  });

  const configure = (store: string, service: object = {}) =>
    writeServiceConfig(folder.path, {
      registries: [{ host: registry.host, plain: true }],
      rules: [{ repositories: [`${registry.host}/team/*`] }],
      service: { store, hooks: { distribution: {} }, ...service },
    });
  const start = async (...args: Parameters<typeof ServiceProcess.start>): Promise<ServiceProcess> => {
    const started = await ServiceProcess.start(...args);
    running.push(started);
    return started;
  };
  const push = async (name: string, ...tags: string[]): Promise<void> => {
    for (const tag of tags) {
      const layout = join(folder.path, `layout-${Math.random()}`);
      await buildLayout(layout, 'latest', [{ tar: smallTar(tag.length + tag.charCodeAt(0)) }]);
      const to = `docker://${registry.host}/team/${name}:${tag}`;
      await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${layout}:latest`, to]);
    }
  };
  const event = (name: string, tag: string): object => pushEnvelope(registry.host, `team/${name}`, tag);
  const accepted = async (service: ServiceProcess, name: string, tag: string): Promise<void> => {
    expect(await service.post(HOOK, event(name, tag))).toMatchObject({ status: 202, body: { accepted: 1 } });
  };
  /** Waits until readiness says why not; the text. */
  const unready = (service: ServiceProcess): Promise<string> =>
    service.until(async () => {
      const { status, body } = await service.ask('/readyz');
      return status === 503 ? String(body) : undefined;
    });
  const converted = async (service: ServiceProcess, name: string, ...tags: string[]): Promise<void> => {
    await service.until(async () => ((await service.conversions('done')).length >= tags.length ? true : undefined));
    for (const tag of tags)
      for (const suffix of ['_accelerated', '_containerd_accelerated']) {
        const image = `${registry.host}/team/${name}:${tag}${suffix}`;
        expect([image, (await verify(image, { registry: { plain: true } })).differenceCount]).toEqual([image, 0]);
      }
    expect((await service.conversions()).map(({ tag, state }) => `${tag} ${state}`).sort()).toEqual(
      tags.map((tag) => `${tag} done`).sort(),
    );
  };

  describeWith({ tools: ['mount', 'umount'], root: true }, 'a full disk', () => {
    it('is 507, and what runs ends when there is space again', async () => {
      await push('disk', '1', '2', '3');
      const disk = await mountSmallDisk(folder.path, 32);
      try {
        const service = await start(await configure(join(disk.path, 'queue.db')));
        await accepted(service, 'disk', '1');
        await service.until(() => (service.log.includes('converting ') ? true : undefined));
        await disk.fill();
        const refused = await service.post(HOOK, event('disk', '2'));
        expect(refused).toMatchObject({ status: 507, body: { error: { code: 'queue-full' } } });
        expect(await unready(service)).toContain('the disk of the queue is full');
        expect((await service.ask('/healthz')).status).toBe(200);
        // Its end cannot be stored: it is kept until it can.
        await service.until(() => (service.log.includes('is not stored yet') ? true : undefined));
        await disk.free();
        await service.until(async () => ((await service.ask('/readyz')).status === 200 ? true : undefined));
        await accepted(service, 'disk', '3');
        await converted(service, 'disk', '1', '3');
      } finally {
        // It has a file open there.
        for (const one of running.splice(0)) await one.end('SIGKILL');
        await disk.remove();
      }
    });
  });

  describeWith({ tools: POSTGRES_TOOLS }, 'PostgreSQL', () => {
    it('gone for a while is 503; what was accepted is converted', async () => {
      const server = await startPostgres();
      try {
        await push('database', '1', '2');
        const service = await start(await configure(await server.database('gone')));
        await accepted(service, 'database', '1');
        await service.until(() => (service.log.includes('converting ') ? true : undefined));
        await server.down();
        const refused = await service.post(HOOK, event('database', '2'));
        expect(refused).toMatchObject({ status: 503, body: { error: { code: 'queue-unavailable' } } });
        expect(await unready(service)).toContain('PostgreSQL does not serve the queue');
        await delay(OUTAGE);
        expect((await service.ask('/healthz')).status).toBe(200);
        await server.up();
        await service.until(async () => ((await service.ask('/readyz')).status === 200 ? true : undefined));
        await accepted(service, 'database', '2');
        await converted(service, 'database', '1', '2');
        await service.end('SIGTERM');
        expect(service.child.exitCode).toBe(0);
      } finally {
        await server.stop();
      }
    });
  });

  it('a registry that is gone is asked again', async () => {
    await push('registry', '1');
    const service = await start(await configure(join(folder.path, 'registry.db')));
    await registry.down();
    await accepted(service, 'registry', '1');
    await service.until(() => (/registry:1: .*; again in \d+ s/.test(service.log) ? true : undefined));
    await registry.restart();
    await converted(service, 'registry', '1');
  });

  it('a clock that is set back by two days keeps nothing waiting', async () => {
    await push('clock', '1');
    const files = await configure(join(folder.path, 'clock.db'));
    await registry.down();
    const before = await start(files, 'service', 2 * DAY);
    await accepted(before, 'clock', '1');
    await before.until(() => (before.log.includes('; again in ') ? true : undefined));
    await before.end('SIGKILL');
    await registry.restart();
    const service = await start(files);
    await converted(service, 'clock', '1');
    const [{ created, finished } = {}] = await service.conversions();
    expect(Date.parse(finished!)).toBeLessThan(Date.now() + DAY);
    expect(created).toBeDefined();
  });

  it('an expression made to explode keeps nobody waiting', async () => {
    const tag = 'x'.repeat(100);
    await push('expression', tag);
    // Some 2^100 steps by backtracking: without a linear engine this test does not end.
    const notifications = [{ url: receiver.url, expression: '(x+x+)+y' }];
    const service = await start(await configure(join(folder.path, 'expression.db'), { notifications }));
    await accepted(service, 'expression', tag);
    await converted(service, 'expression', tag);
    expect((await service.ask('/healthz')).status).toBe(200);
    expect(receiver.received).toEqual([]);
  });

  it('senders that lie, that send too much or too slowly, and deliveries that come again change nothing', async () => {
    await push('senders', '1');
    let connections = 0;
    const victim = createServer((socket) => {
      connections += 1;
      socket.destroy();
    }).listen(0, '127.0.0.1');
    const hooks = { distribution: { authorizationFile: join(folder.path, 'hook') } };
    const service = await start(await configure(join(folder.path, 'senders.db'), { hooks }));
    const { hostname, port } = new URL(service.files.url);
    const slow: Socket[] = [];
    for (let count = 0; count < 1000; count += 1) {
      const socket = connect(Number(port), hostname).on('error', () => undefined);
      socket.write(`POST ${HOOK} HTTP/1.1\r\nHost: ${hostname}\r\nX-Slow: `);
      slow.push(socket);
    }
    const post = async (document: object, authorization: string): Promise<number> =>
      (await service.post(HOOK, document, { authorization })).status;
    const push1 = event('senders', '1');
    expect(await post(push1, 'Bearer hook-secret-2')).toBe(401);
    expect(await post(push1, '')).toBe(401);
    const at = `127.0.0.1:${(victim.address() as { port: number }).port}`;
    const foreign = await service.post(HOOK, pushEnvelope(at, 'team/senders', '1'), { authorization: SECRET });
    expect(foreign).toMatchObject({ status: 200, body: { accepted: 0, dropped: 1 } });
    const large = await service
      .ask(HOOK, { method: 'POST', body: Buffer.alloc(100 * 2 ** 20, 0x20), headers: { authorization: SECRET } })
      // The connection ends while the rest is on its way.
      .catch(() => ({ status: 413 }));
    expect(large.status).toBe(413);
    for (let count = 0; count < 20; count += 1) expect(await post(push1, SECRET)).toBe(202);
    await converted(service, 'senders', '1');
    for (let count = 0; count < 20; count += 1) expect(await post(push1, SECRET)).toBe(202);
    await service.until(() => (service.log.includes('senders:1: up-to-date,') ? true : undefined));
    expect(service.count('converting ')).toBe(1);
    expect(connections).toBe(0);
    expect(service.log).not.toContain('hook-secret');
    for (const socket of slow) socket.destroy();
    victim.close();
  });
});
