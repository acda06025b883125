/** The service beside real registries that notify it: docker-registry 2.8 and distribution 3. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { buildIndexLayout, buildLayout } from '../../fixtures/image-builder.ts';
import { smallTar } from '../../tests/support/converter.ts';
import { freePort } from '../../tests/support/loopback.ts';
import { type RegistryProgram, startRegistry, type TestRegistry } from '../../tests/support/registry.ts';
import { describeWith, run, type TempDirectory, tempDirectory } from '../../tests/support/tools.ts';
import { verify } from '../../verify/verify-by-name.ts';
import { type Receiver, startReceiver } from './testing/notification-receiver.ts';
import { ServiceProcess, writeServiceConfig } from './testing/service-process.ts';

// Processes that start and convert: a busy machine takes its time.
vi.setConfig({ testTimeout: 240_000 });

const HOOK = 'Bearer registry-secret-1';
const KEY = 'notification-secret-2';
/** The command line as it is built. */
const CLI = fileURLToPath(new URL('../../dist/program/main.js', import.meta.url));

describe.each<RegistryProgram>(['docker-registry', 'distribution-3'])('%s', (program) => {
  describeWith({ tools: [program, 'skopeo'] }, 'beside the service', () => {
    let registry: TestRegistry;
    let receiver: Receiver;
    let folder: TempDirectory;
    let port: number;
    let service: ServiceProcess | undefined;
    beforeAll(async () => {
      port = await freePort();
      const url = `http://127.0.0.1:${port}/hooks/distribution`;
      registry = await startRegistry({ program, notify: { url, authorization: HOOK } });
      receiver = await startReceiver(KEY);
      folder = await tempDirectory();
      await writeFile(join(folder.path, 'hook'), HOOK);
      await writeFile(join(folder.path, 'key'), KEY);
    });
    afterEach(() => service?.end('SIGKILL'));
    afterAll(async () => {
      await registry?.stop();
      await receiver?.stop();
      await folder?.remove();
    });

    const copy = (layout: string, name: string) =>
      run('skopeo', [
        ...['copy', '--all', '--dest-tls-verify=false', `oci:${layout}:latest`],
        `docker://${registry.host}/${name}`,
      ]);
    const layers = (seed: number) => [{ tar: smallTar(seed), compression: 'gzip' as const }];
    const assertWhole = async (image: string): Promise<void> => {
      const { differenceCount, images } = await verify(image, { registry: { plain: true } });
      expect([image, differenceCount, images.length]).toEqual([image, 0, expect.any(Number)]);
    };

    it('a push becomes both tags and one notification, and nothing follows from those', async () => {
      const files = await writeServiceConfig(folder.path, {
        registries: [{ host: registry.host, plain: true }],
        port,
        rules: [{ repositories: [`${registry.host}/team/*`], verify: 'full' }],
        service: {
          store: join(folder.path, 'queue.db'),
          hooks: { distribution: { authorizationFile: join(folder.path, 'hook') } },
          notifications: [{ url: receiver.url, secretFile: join(folder.path, 'key') }],
        },
      });
      service = await ServiceProcess.start(files);
      const running = service;
      const [plain, index] = [join(folder.path, 'plain'), join(folder.path, 'index')];
      await buildLayout(plain, 'latest', layers(1));
      const member = (architecture: string, seed: number) => ({
        layers: layers(seed),
        options: { platform: { os: 'linux', architecture } },
      });
      await buildIndexLayout(index, 'latest', [member('amd64', 2), member('arm64', 3)]);
      await copy(plain, 'team/app:1.2');
      await copy(index, 'team/multi:3');
      await running.until(() => (receiver.received.length >= 2 ? true : undefined));
      for (const image of ['team/app:1.2', 'team/multi:3'])
        for (const suffix of ['_accelerated', '_containerd_accelerated'])
          await assertWhole(`${registry.host}/${image}${suffix}`);
      // The registry reports these tags too: of each image both are looked at, and left alone.
      await running.until(() => (running.count(': already-accelerated,') >= 4 ? true : undefined));
      await copy(plain, 'team/app:1.2');
      await running.until(() => (running.count('team/app:1.2: up-to-date,') > 0 ? true : undefined));
      // A repository of no rule: heard of, and not in the queue.
      await copy(plain, 'other/app:1');
      await copy(plain, 'team/last:1');
      await running.until(() => (receiver.received.length >= 3 ? true : undefined));
      expect(receiver.received.map(({ document, isSigned }) => [document.repository, isSigned]).sort()).toEqual([
        [`${registry.host}/team/app`, true],
        [`${registry.host}/team/last`, true],
        [`${registry.host}/team/multi`, true],
      ]);
      expect(receiver.received.find(({ document }) => document.repository.endsWith('/app'))?.document).toMatchObject({
        tags: [{ tag: '1.2_accelerated' }, { tag: '1.2_containerd_accelerated' }],
      });
      expect((await running.conversions()).map(({ tag, state }) => [tag, state])).toEqual([
        ['1', 'done'],
        ['3', 'done'],
        ['1.2', 'done'],
      ]);
      expect(running.log).not.toContain('registry-secret');
      await running.end('SIGTERM');
      expect(running.child.exitCode).toBe(0);
    });

    // Of docker-registry 2.8 tests/e2e has these and more.
    it.runIf(program === 'distribution-3')(
      'the command line converts into it, in each mode and into another repository',
      async () => {
        const layout = join(folder.path, 'cli');
        await buildLayout(layout, 'latest', [...layers(11), ...layers(12)]);
        await copy(layout, 'cli/app:1');
        const repository = `${registry.host}/cli/app`;
        const convert = async (...more: string[]): Promise<{ tags: { tag: string; upToDate: boolean }[] }> => {
          const args = [CLI, 'convert', '-r', repository, '-i', '1', '--plain', '--json', ...more];
          return JSON.parse((await run(process.execPath, args)).stdout.toString());
        };
        const made = await convert();
        expect(made.tags.map(({ tag }) => tag)).toEqual(['1_accelerated', '1_containerd_accelerated']);
        expect((await convert()).tags.every(({ upToDate }) => upToDate)).toBe(true);
        await convert('--mode', 'index-only', '-o', '1_turbo');
        // Layers of the same registry are mounted, not sent again.
        await convert('--target-repository', `${registry.host}/cli/fast`);
        for (const image of ['app:1_accelerated', 'app:1_containerd_accelerated', 'app:1_turbo'])
          await assertWhole(`${registry.host}/cli/${image}`);
        const tags = await fetch(`${registry.url}/v2/cli/fast/tags/list`);
        expect(((await tags.json()) as { tags: string[] }).tags).toContain('1_accelerated');
      },
    );
  });
});
