/** A drain whose time is over after a tag was made and before the conversion has ended: the next attempt notifies of the tag. */
import { createServer, request } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Loopback, listen } from '../../tests/support/loopback.ts';
import { startRegistry, type TestRegistry } from '../../tests/support/registry.ts';
import { describeWith, type TempDirectory, tempDirectory } from '../../tests/support/tools.ts';
import { pushMadeImage } from '../demo/push-image.ts';
import { type ConversionOrder, orderData } from './conversion.ts';
import { startConversionWorkers } from './conversion-worker.ts';
import { ProgressBus } from './progress-bus.ts';
import type { Queue } from './queue.ts';
import { openSqliteQueue } from './sqlite.ts';

describeWith({ tools: ['docker-registry'] }, 'a drain in the midst of the tags', () => {
  let registry: TestRegistry;
  let proxy: Loopback;
  let folder: TempDirectory;
  let queue: Queue;
  /** Called when a tag is in the registry; nobody hears the answer until it resolves. */
  let onTag: () => Promise<void>;
  beforeEach(async () => {
    registry = await startRegistry();
    folder = await tempDirectory();
    queue = await openSqliteQueue({ path: join(folder.path, 'queue.db') });
    proxy = await listen(
      createServer((asked, answer) => {
        const { method, url, headers } = asked;
        const forward = request(`${registry.url}${url}`, { method, headers }, async (from) => {
          if (method === 'PUT' && url!.endsWith('_accelerated')) await onTag();
          answer.writeHead(from.statusCode!, from.headers);
          from.pipe(answer);
        });
        asked.pipe(forward);
      }),
    );
  });
  afterEach(async () => {
    await queue.close();
    await proxy.stop();
    await registry.stop();
    await folder.remove();
  });

  const workers = () =>
    startConversionWorkers({
      queue,
      bus: new ProgressBus(),
      concurrency: 1,
      settings: () => ({
        registries: [{ host: proxy.host, plain: true }],
        sinks: [{ name: 'all', matches: (tag) => tag.endsWith('_accelerated') }],
        limits: { memory: 2 ** 31, timeout: 120_000 },
      }),
      log: () => undefined,
    });

  it('loses no notification', async () => {
    await pushMadeImage(`${registry.host}/app:1`, 2 ** 16);
    const options = { mode: 'index-only', platforms: [], verify: 'off' } as const;
    const order: ConversionOrder = {
      repository: `${proxy.host}/app`,
      tag: '1',
      rule: { number: 1, identity: 'x', options },
      from: 'api',
    };
    const tagged = new Promise<void>((resolve) => {
      onTag = () => {
        resolve();
        return new Promise(() => undefined);
      };
    });
    await queue.add([{ topic: 'convert', key: 'a', repository: order.repository, data: orderData(order) }]);
    const first = workers();
    await tagged;
    await first.drain(AbortSignal.abort());
    const [released] = await queue.list({ topic: 'convert', limit: 1 });
    expect(released).toMatchObject({ state: 'waiting', attempts: 1 });
    onTag = () => Promise.resolve();
    const second = workers();
    while ((await queue.list({ topic: 'convert', state: 'done', limit: 1 })).length === 0)
      await new Promise((resolve) => setTimeout(resolve, 20));
    await second.drain(AbortSignal.timeout(60_000));
    const [done] = await queue.list({ topic: 'convert', limit: 1 });
    expect(done?.result).toMatchObject({ tags: [{ upToDate: true }] });
    const [lease] = await queue.take('notify', 1);
    expect(lease?.job.data).toMatchObject({ sink: 'all', conversion: done!.id });
  });
});
