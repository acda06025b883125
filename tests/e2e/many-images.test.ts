/**
 * Many images of a real registry in one run that is killed three times and resumed. ACCEL_MANY_IMAGES=200 makes it as large as a team's
 * registry; CI takes a smaller one.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { decodeRecord } from '../../converter/publish/record-annotations.ts';
import { resolveDocument } from '../../oci/document.ts';
import { openRegistry, type RegistryTarget } from '../../oci/registry/registry-target.ts';
import { ACCEL, accel } from '../support/accel.ts';
import { BROKEN, pushBroken } from '../support/broken-images.ts';
import { type FaultyProxy, startFaultyProxy } from '../support/faulty-proxy.ts';
import { fileLayer, pushImage } from '../support/many-images.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { describeWith, type TempDirectory, tempDirectory } from '../support/tools.ts';

const IMAGES = Number(process.env.ACCEL_MANY_IMAGES ?? 36);
const GOOD = IMAGES - Object.keys(BROKEN).length;
const SUFFIXES = ['_accelerated', '_containerd_accelerated'];

/** The parts of `--json` that this test looks at. */
interface ManyDocument {
  readonly images: readonly {
    readonly reference: string;
    readonly state: string;
    readonly error?: { readonly code: string };
    readonly skip?: { readonly code: string };
    readonly tags: readonly { readonly tag: string; readonly digest: string }[];
  }[];
  readonly totals: Readonly<Record<string, number>>;
  readonly exitCode: number;
}

describeWith({ tools: ['docker-registry'] }, `${IMAGES} images, ten of them broken`, () => {
  let registry: TestRegistry;
  let proxy: FaultyProxy;
  let scratch: TempDirectory;
  const targets: RegistryTarget[] = [];
  /** Digest of each sound image, by `repository:tag`. */
  const sound = new Map<string, string>();

  const args = () => [
    ...['convert', '--repository-pattern', `${proxy.host}/team/*`, '--tags', '*', '--exclude', '*-debug'],
    ...['--jobs', '6', '--json', '--plain'],
  ];

  beforeAll(
    async () => {
      scratch = await tempDirectory();
      registry = await startRegistry();
      proxy = await startFaultyProxy(registry.host);
      const base = [fileLayer('base', 200_000), fileLayer('lib', 100_000)];
      for (const repository of ['team/a', 'team/b']) {
        targets.push(await openRegistry({ registry: registry.host, repository }, { plain: true }));
      }
      const [a, b] = targets as [RegistryTarget, RegistryTarget];
      for (let index = 0; index < GOOD; index++) {
        const target = index % 3 === 0 ? b : a;
        const digest = await pushImage(target, `v${index}`, [...base, fileLayer(`app${index}`, 5000)]);
        sound.set(`${target.repository}:v${index}`, digest);
      }
      const lost = await pushBroken(a, base);
      await rm(join(registry.root, 'docker/registry/v2/blobs/sha256', lost.slice(7, 9), lost.slice(7)), {
        recursive: true,
      });
      // Tags that are skipped.
      await pushImage(b, 'v1-debug', base);
      await pushImage(b, 'mine_accelerated', base);
      await pushImage(b, `sha256-${'a'.repeat(64)}.sig`, base);
      await pushImage(b, 'chart', base, { configType: 'application/vnd.cncf.helm.config.v1+json' });
    },
    30_000 + IMAGES * 1000,
  );
  afterAll(async () => {
    for (const target of targets) await target.close();
    await proxy?.stop();
    await registry?.stop();
    await scratch?.remove();
  });

  /** Starts the run and kills it after so many requests. */
  async function killAfter(requests: number): Promise<void> {
    const env = { ...process.env, TMPDIR: scratch.path, DOCKER_CONFIG: scratch.path };
    const child = spawn(process.execPath, [ACCEL, ...args()], { env, stdio: 'ignore' });
    proxy.onRequest((count) => {
      if (count === requests) child.kill('SIGKILL');
    });
    proxy.clear();
    const [, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    expect(signal).toBe('SIGKILL');
    proxy.onRequest(() => undefined);
    await proxy.quiet();
  }

  async function runAll(): Promise<ManyDocument> {
    proxy.clear();
    const { stdout, stderr, exitCode, leftovers } = await accel(args());
    const document = JSON.parse(stdout) as ManyDocument;
    expect({ exitCode, leftovers, stated: document.exitCode }, stderr).toEqual({
      exitCode: 6,
      leftovers: [],
      stated: 6,
    });
    return document;
  }

  test('killed three times and resumed: the right tags and the right summary', {
    timeout: 60_000 + IMAGES * 2000,
  }, async () => {
    for (const share of [3, 6, 9]) await killAfter(share * IMAGES);
    const document = await runAll();
    const { totals, images } = document;
    expect(totals).toMatchObject({ failed: 10, interrupted: 0, notStarted: 0 });
    expect(totals.converted! + totals.upToDate!).toBe(GOOD);
    // Each kill left something to do, and what the runs before had done was not done again.
    expect(totals.upToDate).toBeGreaterThan(0);
    const failed = images
      .filter(({ state }) => state === 'failed')
      .map(({ reference, error }) => [reference.split(':').at(-1), error?.code]);
    expect(Object.fromEntries(failed)).toEqual(BROKEN);
    const skips = images.flatMap(({ reference, skip }) =>
      skip === undefined ? [] : [[reference.replace(/^.*:/, ''), skip.code]],
    );
    expect(Object.fromEntries(skips)).toMatchObject({
      mine_accelerated: 'named-accelerated',
      chart: 'not-an-image',
      [`sha256-${'a'.repeat(64)}.sig`]: 'referrer-tag',
    });
    for (const target of targets) {
      const tags = await target.tags();
      const made = [...sound.keys()]
        .filter((name) => name.startsWith(`${target.repository}:`))
        .map((name) => name.split(':')[1]!);
      const own = tags.filter((tag) => tag.endsWith('_accelerated') && tag !== 'mine_accelerated');
      expect(own).toEqual(made.flatMap((tag) => SUFFIXES.map((suffix) => tag + suffix)).sort());
      for (const tag of made) {
        const { descriptor, document: made } = await resolveDocument(target, `${tag}_accelerated`);
        const annotations = made.kind === 'manifest' ? made.manifest.annotations : undefined;
        expect(decodeRecord(annotations)?.sourceDigest).toBe(sound.get(`${target.repository}:${tag}`));
        const said = images.find(({ reference }) => reference === `${proxy.host}/${target.repository}:${tag}`);
        expect(said?.tags.find((one) => one.tag === `${tag}_accelerated`)?.digest).toBe(descriptor.digest);
      }
    }
  });

  test('an image that is done costs three requests, and its results none', {
    timeout: 60_000 + IMAGES * 200,
  }, async () => {
    const { totals, images } = await runAll();
    // The record is a tag by now, whenever the runs before were killed.
    const records = images.filter(({ skip }) => skip?.code === 'cache-tag').map(({ reference }) => reference);
    expect(records).toEqual(['team/a', 'team/b'].map((repository) => `${proxy.host}/${repository}:accel-cache`));
    expect(totals).toMatchObject({ converted: 0, upToDate: GOOD, failed: 10 });
    const asked = proxy.passages.map(({ method, url }) => `${method} ${url}`);
    for (const name of sound.keys()) {
      const [repository, tag] = name.split(':');
      const of = asked.filter((line) => new RegExp(`/v2/${repository}/manifests/${tag}(_|$)`).test(line));
      expect(of.sort()).toEqual(['', ...SUFFIXES].map((suffix) => `GET /v2/${repository}/manifests/${tag}${suffix}`));
    }
    // Three for each image that is done; the catalogue, the lists of tags, and what the broken ones and the others cost.
    expect(asked.length).toBeLessThanOrEqual(3 * GOOD + 3 + 10 * 24 + 8);
  });

  test('a result is what its source says', async () => {
    const { exitCode, stderr } = await accel(['verify', `${registry.host}/team/a:v1_accelerated`, '--plain']);
    expect(exitCode, stderr).toBe(0);
  });
});
