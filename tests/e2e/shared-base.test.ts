/** An image on a base that was converted before: the base is not read again, and the result is the one from scratch. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { accel, convert } from '../support/accel.ts';
import { type FaultyProxy, startFaultyProxy } from '../support/faulty-proxy.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { missingFrom } from '../support/registry-store.ts';
import { describeWith, type TempDirectory, tempDirectory } from '../support/tools.ts';
import { noisyLayers, noisyTar, pushLayout } from './noisy-image.ts';

const SIZE = 3_000_000;
/** Bytes that the second conversion may fetch, as a share of the first one's. */
const MOST_FETCHED = 0.25;

describeWith({ tools: ['docker-registry', 'skopeo'] }, 'an image that shares four of five layers', () => {
  let registry: TestRegistry;
  let proxy: FaultyProxy;
  let scratch: TempDirectory;

  beforeAll(async () => {
    scratch = await tempDirectory();
    registry = await startRegistry();
    proxy = await startFaultyProxy(registry.host);
    const first = noisyLayers(5, SIZE);
    const layout = join(scratch.path, 'layout');
    await buildLayout(layout, 'first', first);
    await buildLayout(layout, 'second', [...first.slice(0, 4), { tar: noisyTar(77, SIZE) }]);
    for (const repository of ['cached', 'scratch', 'cached-full', 'scratch-full']) {
      for (const tag of ['first', 'second']) await pushLayout(layout, tag, `${registry.host}/${repository}:${tag}`);
    }
  });
  afterAll(async () => {
    await proxy?.stop();
    await registry?.stop();
    await scratch?.remove();
  });

  /** Converts a tag; answers the digests of the results and the bytes that the registry sent. */
  async function measured(repository: string, tag: string, flags: readonly string[]) {
    proxy.clear();
    const { tags } = await convert(['-r', `${proxy.host}/${repository}`, '-i', tag, '--plain', ...flags]);
    const fetched = proxy.passages.reduce((sum, { bytes }) => sum + bytes, 0);
    return { digests: tags.map(({ digest }) => digest), fetched };
  }

  test.each([
    ['both tags', '', (_tag: string): string[] => []],
    ['a full image alone', '-full', (tag: string) => ['-o', `${tag}_obd`]],
  ] as const)('fetches at most a quarter for %s', async (_name, suffix, flags) => {
    const first = await measured(`cached${suffix}`, 'first', flags('first'));
    const second = await measured(`cached${suffix}`, 'second', flags('second'));
    expect(second.fetched / first.fetched).toBeLessThanOrEqual(MOST_FETCHED);
    const scratchRun = await measured(`scratch${suffix}`, 'second', [...flags('second'), '--no-cache']);
    expect(second.digests).toEqual(scratchRun.digests);
    expect(scratchRun.fetched).toBeGreaterThan(first.fetched * 0.9);
    const tag = flags('second').at(-1) ?? 'second_accelerated';
    expect(await missingFrom(registry, `cached${suffix}`, tag)).toEqual([]);
    const verified = await accel(['verify', `${registry.host}/cached${suffix}:${tag}`, '--plain']);
    expect(verified).toMatchObject({ exitCode: 0, stderr: '' });
  });
});
