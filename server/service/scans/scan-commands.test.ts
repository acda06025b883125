/** `accel serve backfill` and `prune`, as they are built, without a service and beside one: on both registries, and on PostgreSQL. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { buildLayout } from '../../../fixtures/image-builder.ts';
import { smallTar } from '../../../tests/support/converter.ts';
import { complaints } from '../../../tests/support/json-schemas.ts';
import { POSTGRES_TOOLS, startPostgres } from '../../../tests/support/postgres.ts';
import { type RegistryProgram, startRegistry, type TestRegistry } from '../../../tests/support/registry.ts';
import { describeWith, run, type TempDirectory, tempDirectory } from '../../../tests/support/tools.ts';
import { type ServiceFiles, ServiceProcess, writeServiceConfig } from '../testing/service-process.ts';

vi.setConfig({ testTimeout: 240_000 });

/** The command line as it is built. */
const CLI = fileURLToPath(new URL('../../../dist/program/main.js', import.meta.url));
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const TOKEN = 'write-token-1';

describe.each<RegistryProgram>(['docker-registry', 'distribution-3'])('%s', (program) => {
  describeWith({ tools: [program, 'skopeo'] }, 'backfill and prune by hand', () => {
    let registry: TestRegistry;
    let folder: TempDirectory;
    let service: ServiceProcess | undefined;
    beforeAll(async () => {
      registry = await startRegistry({ program });
      folder = await tempDirectory();
      await run('sh', ['-c', `printf %s ${TOKEN} > ${join(folder.path, 'token')}`]);
    });
    afterEach(() => service?.end('SIGKILL'));
    afterAll(async () => {
      await registry?.stop();
      await folder?.remove();
    });

    const push = async (name: string, seed: number): Promise<void> => {
      const layout = join(folder.path, `layout-${Math.random()}`);
      await buildLayout(layout, 'latest', [{ tar: smallTar(seed) }]);
      const to = `docker://${registry.host}/${name}`;
      await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${layout}:latest`, to]);
    };
    const configure = (name: string, store = join(folder.path, `${name}.db`)): Promise<ServiceFiles> =>
      writeServiceConfig(folder.path, {
        registries: [{ host: registry.host, plain: true }],
        rules: [{ repositories: [`${registry.host}/${name}/*`] }],
        service: { store, tokens: [{ name: 'cli', file: join(folder.path, 'token'), scope: 'write' }] },
      });
    const accel = async (...args: string[]): Promise<string> =>
      (await run(process.execPath, [CLI, 'serve', ...args])).stdout.toString();
    const tagsOf = async (repository: string): Promise<string[]> => {
      const answer = await fetch(`${registry.url}/v2/${repository}/tags/list`);
      return (((await answer.json()) as { tags?: string[] | null }).tags ?? []).sort();
    };
    const removeBase = async (repository: string, tag: string): Promise<void> => {
      const manifests = `${registry.url}/v2/${repository}/manifests`;
      const found = await fetch(`${manifests}/${tag}`, { headers: { accept: MANIFEST } });
      const url = `${manifests}/${found.headers.get('docker-content-digest')}`;
      expect((await fetch(url, { method: 'DELETE' })).status).toBe(202);
    };
    const made = (...tags: string[]): string[] =>
      tags.flatMap((tag) => [tag, `${tag}_accelerated`, `${tag}_containerd_accelerated`]).sort();
    const until = (running: ServiceProcess, repository: string, tags: string[]): Promise<true> =>
      running.until(async () => {
        const [found, doing] = [await tagsOf(repository), await running.conversions('running')];
        return tags.every((tag) => found.includes(tag)) && doing.length === 0 ? true : undefined;
      });

    it('images from before are found, and converted by the service that starts later, and by one that runs', async () => {
      await push('old/app:1', 1);
      await push('old/app:2', 2);
      const files = await configure('old');
      const pattern = `${registry.host}/old/*`;
      const planned = JSON.parse(await accel('backfill', pattern, '-c', files.path, '--dry-run', '--json'));
      expect(planned).toMatchObject({ dryRun: true, due: 2, images: [{ rule: 1, outcome: 'convert' }, {}] });
      expect(complaints('serve-backfill', planned)).toEqual([]);
      expect(await tagsOf('old/app')).toEqual(['1', '2']);
      const added = await accel('backfill', pattern, '-c', files.path);
      expect(added.trim().split('\n').sort()).toEqual([
        `${registry.host}/old/app:1: added, rule 1`,
        `${registry.host}/old/app:2: added, rule 1`,
      ]);
      service = await ServiceProcess.start(files);
      await until(service, 'old/app', made('1', '2'));
      // Through its API now: its queue is a file of one process.
      await push('old/app:3', 3);
      await accel('backfill', pattern, '-c', files.path);
      await until(service, 'old/app', made('1', '2', '3'));
      expect(service.log).toContain('"caller":"cli"');
      expect(service.count('converting ')).toBe(3);
    });

    it('tags without a base are removed, beside a service that runs', async () => {
      await push('prune/app:1', 11);
      await push('prune/app:2', 12);
      const files = await configure('prune');
      await accel('backfill', `${registry.host}/prune/*`, '-c', files.path);
      service = await ServiceProcess.start(files);
      await until(service, 'prune/app', made('1', '2'));
      await removeBase('prune/app', '1');
      const before = await tagsOf('prune/app');
      expect(before).not.toContain('1');
      const { stdout, stderr } = await run(process.execPath, [CLI, 'serve', 'prune', '-c', files.path]);
      expect(stderr).toContain(
        `${before.length} tags in 1 repository, 2 manifests would be removed; --yes removes them`,
      );
      const planned = stdout.toString();
      expect(planned).toContain(`${registry.host}/prune/app: ${before.length} tags`);
      expect(planned).toMatch(/^ {2}1_accelerated +would go +[0-9a-f]{12} +its base tag is gone$/m);
      expect(await tagsOf('prune/app')).toEqual(before);
      const listed = JSON.parse(await accel('prune', '-c', files.path, '--json'));
      expect(listed).toMatchObject({ dryRun: true, repositories: [{ plan: { removals: [{}, {}] } }] });
      expect(complaints('prune', listed)).toEqual([]);
      const done = JSON.parse(await accel('prune', '-c', files.path, '--yes', '--json'));
      expect(done).toMatchObject({ dryRun: false, problems: [], removed: 2 });
      expect(complaints('prune', done)).toEqual([]);
      expect((await tagsOf('prune/app')).filter((tag) => tag !== 'accel-cache')).toEqual(made('2'));
      await service.end('SIGTERM');
      // And without it.
      await removeBase('prune/app', '2');
      expect(JSON.parse(await accel('prune', '-c', files.path, '--yes', '--json'))).toMatchObject({ removed: 2 });
      expect((await tagsOf('prune/app')).filter((tag) => tag !== 'accel-cache')).toEqual([]);
    });

    describeWith({ tools: program === 'docker-registry' ? POSTGRES_TOOLS : [] }, 'on PostgreSQL', () => {
      it.runIf(program === 'docker-registry')('both open the queue beside the service', async () => {
        const server = await startPostgres();
        try {
          await push('shared/app:1', 21);
          const files = await configure('shared', await server.database('commands'));
          service = await ServiceProcess.start(files);
          await accel('backfill', `${registry.host}/shared/*`, '-c', files.path);
          await until(service, 'shared/app', made('1'));
          await removeBase('shared/app', '1');
          expect(JSON.parse(await accel('prune', '-c', files.path, '--yes', '--json'))).toMatchObject({ removed: 2 });
          await service.end('SIGTERM');
        } finally {
          await server.stop();
        }
      });
    });
  });
});
