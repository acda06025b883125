/** A registry that fails while an image is converted: for a while, now and then, or for good. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { accel, convert } from '../support/accel.ts';
import {
  type Fault,
  type FaultPlan,
  type FaultyProxy,
  randomFaults,
  startFaultyProxy,
} from '../support/faulty-proxy.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { listTags, missingFrom, storedBlobs } from '../support/registry-store.ts';
import { describeWith, type TempDirectory, tempDirectory } from '../support/tools.ts';
import { noisyLayers, pushLayout } from './noisy-image.ts';

const SOURCE = 'team/source';
/** Share of the requests that fail. */
const SHARE = 0.3;
/** Tries of a request, after which a conversion must give up. */
const TRIES = 8;

describeWith({ tools: ['docker-registry', 'skopeo'] }, 'a registry that fails', () => {
  let registry: TestRegistry;
  let scratch: TempDirectory;
  let undisturbed: readonly string[];

  const args = (host: string, repository: string) => [
    ...['-r', `${host}/${SOURCE}`, '-i', 'latest', '--target-repository', `${host}/${repository}`],
    ...['--overlaybd', 'full', '--turboOCI', 'lazy', '--plain'],
  ];
  const digestsOf = async (host: string, repository: string) =>
    (await convert(args(host, repository))).tags.map((tag) => tag.digest);

  beforeAll(async () => {
    scratch = await tempDirectory();
    registry = await startRegistry();
    const layout = join(scratch.path, 'layout');
    await buildLayout(layout, 'latest', noisyLayers(3, 1_500_000));
    await pushLayout(layout, 'latest', `${registry.host}/${SOURCE}:latest`);
    undisturbed = await digestsOf(registry.host, 'team/undisturbed');
  });
  afterAll(async () => {
    await registry?.stop();
    await scratch?.remove();
  });

  /** Runs `body` before a proxy of its own. */
  async function withFaults(plan: FaultPlan, body: (proxy: FaultyProxy) => Promise<void>): Promise<void> {
    const proxy = await startFaultyProxy(registry.host, plan);
    try {
      await body(proxy);
    } finally {
      await proxy.stop();
    }
  }

  /** Everything that the tags refer to exists. */
  async function expectComplete(repository: string): Promise<void> {
    expect(await listTags(registry, repository)).toEqual(['accel-cache', 'full', 'lazy']);
    for (const tag of ['full', 'lazy']) expect(await missingFrom(registry, repository, tag), tag).toEqual([]);
  }

  test.each([1, 4, 8])('restarts when %i blobs exist', async (blobs) => {
    const repository = `team/restart-${blobs}`;
    const conversion = digestsOf(registry.host, repository);
    let ended = false;
    const restarted = (async () => {
      while (!ended && (await storedBlobs(registry, repository)).size < blobs) await pause(5);
      const early = !ended;
      await registry.restart();
      return early;
    })();
    const digests = await conversion.finally(() => {
      ended = true;
    });
    expect(await restarted).toBe(true);
    expect(digests).toEqual(undisturbed);
    await expectComplete(repository);
  });

  // These mostly wait for the next try: side by side they take the time of one.
  test.concurrent.each([11, 12, 13])('fails three requests of ten, seed %i', async (seed) => {
    const repository = `team/faults-${seed}`;
    await withFaults(randomFaults(seed, SHARE), async ({ host, passages }) => {
      expect(await digestsOf(host, repository)).toEqual(undisturbed);
      const failed = passages.filter(({ fault }) => fault !== undefined);
      expect(failed.length / passages.length).toBeGreaterThan(SHARE / 2);
      expect(new Set(failed.map(({ fault }) => fault)).size).toBe(4);
    });
    await expectComplete(repository);
  });

  describe('for good', () => {
    test.concurrent.each<[name: string, from: RegExp, fault: Fault, code: string]>([
      ['from the start, with 503', /./, 'unavailable', 'registry-error'],
      ['from the start, by resets', /./, 'reset', 'registry-unreachable'],
      ['at the first layer', /^GET .*\/blobs\//, 'reset', 'registry-unreachable'],
      ['at the first upload', /^POST .*\/uploads\//, 'unavailable', 'registry-error'],
      ['in the first upload', /^(PUT|PATCH) .*\/uploads\//, 'reset', 'registry-unreachable'],
      ['at the first manifest', /^PUT .*\/manifests\//, 'unavailable', 'registry-error'],
    ])('%s', async (name, from, fault, code) => {
      const repository = `team/${name.replace(/\W+/g, '-')}`;
      let down = false;
      const plan: FaultPlan = ({ method, url }) => {
        down ||= from.test(`${method} ${url}`);
        return down ? fault : undefined;
      };
      await withFaults(plan, async ({ host, passages }) => {
        const result = await accel(['convert', ...args(host, repository)]);
        const tries = new Map<string, number>();
        for (const { method, url, fault: failed } of passages)
          if (failed !== undefined) tries.set(`${method} ${url}`, (tries.get(`${method} ${url}`) ?? 0) + 1);
        expect(Math.max(...tries.values())).toBeLessThanOrEqual(TRIES);
        expect(result.exitCode).toBe(1);
        expect(result.stderr).toContain(`[${code}]`);
        expect(result.stderr).toContain(fault === 'unavailable' ? 'HTTP 503' : host);
        expect(result.leftovers).toEqual([]);
      });
      expect(await listTags(registry, repository)).toEqual([]);
    });
  });
});

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
