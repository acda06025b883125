/** Conversions that are killed without a warning: no tag points to what is not there, and the next run goes on. */
import { spawn } from 'node:child_process';
import { mkdtemp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Random } from '../../bench/content.ts';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { ACCEL, convert } from '../support/accel.ts';
import { type FaultyProxy, startFaultyProxy } from '../support/faulty-proxy.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { listTags, missingFrom, storedBlobs } from '../support/registry-store.ts';
import { describeWith, type TempDirectory, tempDirectory } from '../support/tools.ts';
import { noisyLayers, pullImage, pushLayout } from './noisy-image.ts';

/** ACCEL_KILL_SEED tries other moments. */
const SEED = Number(process.env.ACCEL_KILL_SEED ?? 20_261);
const MOMENTS = 20;
const SOURCE = 'team/source';

describeWith({ tools: ['docker-registry', 'skopeo'] }, `SIGKILL at ${MOMENTS} moments, seed ${SEED}`, () => {
  let registry: TestRegistry;
  let proxy: FaultyProxy;
  let scratch: TempDirectory;
  /** Digest of each tag, and the number of requests, of a run that nobody disturbs. */
  let undisturbed: { readonly digests: readonly string[]; readonly requests: number };
  /** Conversions that were still running when they were killed. */
  let hits = 0;

  const args = (repository: string) => [
    ...['-r', `${proxy.host}/${SOURCE}`, '-i', 'latest', '--target-repository', `${proxy.host}/${repository}`],
    ...['--overlaybd', 'full', '--turboOCI', 'lazy', '--plain'],
  ];

  beforeAll(async () => {
    scratch = await tempDirectory();
    registry = await startRegistry();
    proxy = await startFaultyProxy(registry.host);
    const layout = join(scratch.path, 'layout');
    await buildLayout(layout, 'latest', noisyLayers(6, 1_500_000));
    await pushLayout(layout, 'latest', `${registry.host}/${SOURCE}:latest`);
    proxy.clear();
    const { tags } = await convert(args('team/undisturbed'));
    undisturbed = { digests: tags.map((tag) => tag.digest), requests: proxy.passages.length };
  });
  afterAll(async () => {
    await proxy?.stop();
    await registry?.stop();
    await scratch?.remove();
  });

  /** Runs a conversion until it has made `requests` requests and `delay` milliseconds have passed. */
  async function killed(
    repository: string,
    requests: number,
    delay: number,
    signal: NodeJS.Signals = 'SIGKILL',
  ): Promise<{ readonly exitCode: number | null; readonly left: readonly string[] }> {
    const temporary = await mkdtemp(join(scratch.path, 'killed-'));
    const env = { ...process.env, TMPDIR: temporary, DOCKER_CONFIG: scratch.path };
    proxy.clear();
    const child = spawn(process.execPath, [ACCEL, 'convert', ...args(repository)], { stdio: 'ignore', env });
    proxy.onRequest((count) => {
      // Once: a second SIGTERM asks to stop without cleaning up.
      if (count === requests) setTimeout(() => child.kill(signal), delay);
    });
    await new Promise((resolve) => child.on('close', resolve));
    if (child.signalCode === 'SIGKILL') hits += 1;
    proxy.onRequest(() => undefined);
    await proxy.quiet();
    return { exitCode: child.exitCode, left: await readdir(temporary) };
  }

  const random = new Random(SEED);
  const moments = Array.from({ length: MOMENTS }, (_, number) => ({
    repository: `team/killed-${number}`,
    share: random.below(1000) / 1000,
    delay: random.below(40),
  }));

  test.each(moments)('after $share of the requests and $delay ms', async ({ repository, share, delay }) => {
    await killed(repository, Math.max(1, Math.ceil(share * undisturbed.requests)), delay);
    for (const tag of await listTags(registry, repository)) {
      expect(await missingFrom(registry, repository, tag), tag).toEqual([]);
      if (tag !== 'accel-cache') {
        await pullImage(`${registry.host}/${repository}:${tag}`, await mkdtemp(join(scratch.path, 'pulled-')));
      }
    }
    const standing = await storedBlobs(registry, repository);
    proxy.clear();
    const { tags } = await convert(args(repository));
    expect(tags.map((tag) => tag.digest)).toEqual(undisturbed.digests);
    const uploaded = uploads(proxy);
    expect(uploaded.filter((digest) => standing.has(digest))).toEqual([]);
    expect(uploaded).toEqual([...new Set(uploaded)]);
    expect(await listTags(registry, repository)).toEqual(['accel-cache', 'full', 'lazy']);
    for (const tag of ['full', 'lazy']) expect(await missingFrom(registry, repository, tag), tag).toEqual([]);
  });

  test.each([0.02, 0.3, 0.6, 0.9])('SIGTERM after %d of the requests: nothing is left behind', async (share) => {
    const repository = `team/ended-${share * 100}`;
    const { exitCode, left } = await killed(repository, Math.ceil(share * undisturbed.requests), 0, 'SIGTERM');
    // A signal that comes too late finds nothing to interrupt.
    expect([0, 130]).toContain(exitCode);
    expect(left).toEqual([]);
    for (const tag of await listTags(registry, repository)) {
      expect(await missingFrom(registry, repository, tag), tag).toEqual([]);
    }
    const { tags } = await convert(args(repository));
    expect(tags.map((tag) => tag.digest)).toEqual(undisturbed.digests);
  });

  test('nearly all of them were in time', () => {
    expect(hits).toBeGreaterThanOrEqual(MOMENTS - 3);
  });
});

/** Digests of the blobs that the registry took as uploads. */
function uploads(proxy: FaultyProxy): string[] {
  return proxy.passages
    .filter(({ method, url, status }) => method === 'PUT' && url.includes('/blobs/uploads/') && status === 201)
    .map(({ url }) => new URL(url, 'http://registry').searchParams.get('digest') ?? '');
}
